"""What becomes of the one question, against the real API with faults behind it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syntera_cli.doctor.findings import Finding, State
from syntera_cli.doctor.looking import Lookout
from syntera_cli.doctor.manifests import Hidden, Seen
from syntera_cli.doctor.question import Way, ask, judge_failure
from syntera_cli.errors import RequestRefused
from syntera_dev.models.control import Fault
from tests.cli.conftest import RunningTenant

from .make import make_conditions, make_tenant


class BlindLookout(Lookout):
    """Answers every request for an object with the same."""

    def __init__(self, answer: Seen) -> None:
        self._answer = answer

    def get(self, path: str, action: str) -> Seen:
        return self._answer


def ask_running(tenant: RunningTenant, agent: str = "travel", **changes: Any) -> Finding:
    way = {"context": None, "url": tenant.url, "key": tenant.key, **changes}
    return ask(BlindLookout(None), make_tenant(), agent, Way(**way))


def test_answer_is_timed(tenant: RunningTenant) -> None:
    found = ask_running(tenant)
    assert found.state is State.OK
    assert 0 < found.figures["secondsToFirstWord"] <= found.figures["seconds"]


def test_question_leaves_no_conversation_behind(tenant: RunningTenant) -> None:
    ask_running(tenant)
    (received,) = tenant.stand_in.journal()
    roles = [message["role"] for message in received.body["messages"]]
    assert roles == ["system", "user"]


@pytest.mark.parametrize(
    ("fault", "says", "do"),
    [
        (Fault(kind="status", status=503, times=9), "failed (HTTP 503)", "See whether the endpoint works."),
        (Fault(kind="status", status=401), "refused the credentials (HTTP 401)", "Check the endpoint's API key"),
        (Fault(kind="drop", after_words=1), "The connection to the model endpoint", "See whether the endpoint works."),
    ],
)
def test_failing_endpoint_is_told(tenant: RunningTenant, fault: Fault, says: str, do: str) -> None:
    tenant.stand_in.fail(fault)
    found = ask_running(tenant)
    assert found.state is State.PROBLEM
    assert "The Agent 'travel' does not answer: " in found.says
    assert says in found.says
    assert do in found.do


def test_agent_that_the_runtime_does_not_serve_is_told(tenant: RunningTenant) -> None:
    found = ask_running(tenant, "nobody")
    assert found.state is State.PROBLEM
    assert "There is no agent 'nobody'." in found.says
    assert found.command == "kubectl -n acme logs deployment/syntera-runtime --since=10m"


def test_api_that_is_away_is_told(tenant: RunningTenant) -> None:
    found = ask_running(tenant, url="http://127.0.0.1:1")
    assert found.state is State.PROBLEM
    assert "does not answer" in found.says


@pytest.mark.parametrize(
    ("database", "do"),
    [
        (("True", "UpToDate", ""), "see tenants.network.stores"),
        (("False", "Unavailable", ""), "Look after the store"),
    ],
)
def test_store_that_only_the_pods_do_not_reach_points_at_the_network(database: tuple[str, str, str], do: str) -> None:
    refused = RequestRefused("PostgreSQL does not answer.", status=503, code="store_unavailable")
    found = judge_failure(refused, make_tenant(conditions=make_conditions(DatabaseReady=database)), "travel")
    assert found.state is State.PROBLEM
    assert do in found.do


@pytest.mark.parametrize(
    ("secret", "state", "says"),
    [
        (Hidden("x"), State.FORBIDDEN, "You may not read the Secret 'syntera-admin' in namespace 'acme'"),
        (None, State.SKIPPED, "Not asked: the Secret 'syntera-admin' holds no API key."),
        ({"data": {"api-key": "bm9uZQ=="}}, State.SKIPPED, "holds no API key"),
        ({"data": {"api-key": "%"}}, State.SKIPPED, "holds no API key"),
    ],
)
def test_key_that_cannot_be_had_is_told(secret: Seen, state: State, says: str) -> None:
    found = ask(BlindLookout(secret), make_tenant(), "travel", Way(context=None, url=None, key=None))
    assert found.state is state
    assert says in found.says


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a kubectl in front of all others that says something and fails."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def put(said: str) -> None:
        file = tmp_path / "kubectl"
        file.write_text(f"#!/bin/sh\necho '{said}'\nexit 1\n")
        file.chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ('error: pods "x" is forbidden: User "u" cannot create resource "pods/portforward"', State.FORBIDDEN),
        ("error: timed out waiting for the condition", State.PROBLEM),
    ],
)
def test_port_that_cannot_be_forwarded_is_told(
    kubectl: Callable[[str], None], tenant: RunningTenant, said: str, state: State
) -> None:
    kubectl(said)
    assert ask_running(tenant, url=None).state is state


def test_missing_kubectl_is_no_fault_of_the_cluster(tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    found = ask_running(tenant, url=None)
    assert found.state is State.SKIPPED
    assert "kubectl is not installed" in found.says
