"""The command line in scripts: what is printed where, and exit codes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from syntera_cli import __main__ as main
from syntera_cli.__main__ import app
from syntera_cli.cluster import AgentState
from syntera_cli.connections import FixedUrl
from syntera_cli.errors import ClusterUnusable, RuntimeUnreachable
from syntera_crds import __version__
from syntera_dev.models.control import Fault
from tests.cli.conftest import RunningTenant
from tests.cli.forwarded import fake_forwarded_port


def run(*arguments: str, piped: str | bytes | None = None, key: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=piped, env={"SYNTERA_API_KEY": key or ""})


def test_version_is_printed() -> None:
    result = run("version")
    assert (result.exit_code, result.stdout) == (0, f"syntera {__version__}\n")


def test_help_tells_the_commands() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "chat" in result.stdout


@pytest.mark.parametrize("piped", [None, "What?\n"])
def test_answer_alone_is_printed(tenant: RunningTenant, piped: str | None) -> None:
    tenant.stand_in.say("You may take **one** bag.")
    given = () if piped else ("-m", "What?")
    result = run("chat", "travel", "--url", tenant.url, *given, piped=piped, key=tenant.key)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "You may take **one** bag.\n", "")
    assert tenant.stand_in.journal()[-1].body["messages"][-1]["content"].strip() == "What?"


def test_message_wins_over_what_is_piped_in(tenant: RunningTenant) -> None:
    result = run("chat", "travel", "--url", tenant.url, "--message", "One", piped="Two", key=tenant.key)
    assert "You asked: **One**" in result.stdout


def test_key_comes_from_a_file(tenant: RunningTenant, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(tenant.key + "\n")
    result = run("chat", "travel", "--url", tenant.url, "--api-key-file", str(file), "-m", "Hi")
    assert result.exit_code == 0


def test_failed_answer_ends_with_one(tenant: RunningTenant) -> None:
    tenant.stand_in.fail(Fault(kind="drop", after_words=1))
    result = run("chat", "travel", "--url", tenant.url, "-m", "Hi", key=tenant.key)
    assert (result.exit_code, result.stdout) == (1, "Hello!\n")
    assert result.stderr == "The connection to the model endpoint 'stand-in' failed.\n"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "--url needs a key: name a file with --api-key-file, or set SYNTERA_API_KEY.\n"),
        ("syn_sk_short", "The API key is mistyped; a whole one looks like 'syn_sk_' and 46 letters and digits.\n"),
    ],
)
def test_unusable_key_is_told(tenant: RunningTenant, key: str | None, message: str) -> None:
    result = run("chat", "travel", "--url", tenant.url, "-m", "Hi", key=key)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_key_file_stands_for_no_other_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    result = run("chat", "travel", "--url", "http://x", "--api-key-file", str(file), "-m", "Hi")
    assert (result.exit_code, result.stderr) == (1, f"The file {str(file)!r} holds no API key.\n")


@pytest.mark.parametrize(("arguments", "piped"), [((), b"a caf\xe9"), (("-m", "a caf\udce9"), b"")])
def test_question_that_is_not_utf8_is_wrong_usage(
    tenant: RunningTenant, arguments: tuple[str, ...], piped: bytes
) -> None:
    result = run("chat", "travel", "--url", tenant.url, *arguments, piped=piped, key=tenant.key)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the question is not UTF-8" in result.stderr
    assert tenant.stand_in.journal() == []


def test_missing_key_file_is_told(tmp_path: Path) -> None:
    result = run("chat", "travel", "--url", "http://x", "--api-key-file", str(tmp_path / "none"), "-m", "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be read" in result.stderr


@pytest.mark.parametrize("arguments", [("-m", " "), ("--nonsense",), ()])
def test_wrong_usage_ends_with_two(arguments: tuple[str, ...]) -> None:
    assert run("chat", "travel", "--url", "http://x", *arguments, piped="").exit_code == 2


class FakeCluster:
    """Says what a test wants about the agent `travel` in `acme`."""

    state = AgentState(is_published=True, trouble=None)
    key = ""

    def __init__(self, context: str | None) -> None:
        self.context = context

    def find_namespace(self, agent: str, *, tenant: str | None) -> str:
        return "acme"

    def agent_state(self, namespace: str, agent: str) -> AgentState:
        return self.state

    def admin_key(self, namespace: str) -> str:
        if not self.key:
            raise ClusterUnusable("You may not read the Secret.")
        return self.key


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tenant: RunningTenant) -> type[FakeCluster]:
    """A cluster in which the running tenant lives; its port needs no forwarding."""

    class Cluster(FakeCluster):
        key = tenant.key

    monkeypatch.setattr("syntera_cli.cluster.Cluster", Cluster)
    monkeypatch.setattr(main, "ForwardedPort", fake_forwarded_port(tenant.url, namespace="acme"))
    return Cluster


def test_agent_of_the_cluster_is_asked_with_the_tenants_key(cluster: type[FakeCluster]) -> None:
    result = run("chat", "travel", "-m", "Hi")
    assert result.exit_code == 0
    assert "You asked: **Hi**" in result.stdout


def test_own_key_is_used_where_the_secret_may_not_be_read(cluster: type[FakeCluster], tenant: RunningTenant) -> None:
    cluster.key = ""
    assert run("chat", "travel", "-m", "Hi", key=tenant.key).exit_code == 0
    result = run("chat", "travel", "-m", "Hi")
    assert (result.exit_code, result.stderr) == (1, "You may not read the Secret.\n")


def test_agent_that_was_never_published_is_not_asked(cluster: type[FakeCluster], tenant: RunningTenant) -> None:
    cluster.state = AgentState(is_published=False, trouble="The endpoint 'x' is not among the Tenant's.")
    result = run("chat", "travel", "-m", "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "The agent 'travel' is not ready: The endpoint 'x' is not among the Tenant's.\n"
    assert tenant.stand_in.journal() == []


def test_agent_whose_last_edit_is_refused_answers_with_a_warning(cluster: type[FakeCluster]) -> None:
    cluster.state = AgentState(is_published=True, trouble="The endpoint 'x' is not among the Tenant's.")
    result = run("chat", "travel", "-m", "Hi")
    assert result.exit_code == 0
    assert "You asked: **Hi**" in result.stdout
    assert result.stderr == (
        "The agent 'travel' is not ready: The endpoint 'x' is not among the Tenant's. What was published last answers.\n"
    )


def test_trouble_of_the_agent_explains_why_nobody_answers(
    cluster: type[FakeCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(_: object) -> str:
        raise RuntimeUnreachable("no pods are running")

    monkeypatch.setattr(FixedUrl, "url", nowhere)
    result = run("chat", "travel", "-m", "Hi")
    assert (result.exit_code, result.stderr) == (1, "no pods are running\n")
    cluster.state = AgentState(is_published=True, trouble="The Tenant is suspended.")
    result = run("chat", "travel", "-m", "Hi")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "The agent 'travel' is not ready: The Tenant is suspended."
