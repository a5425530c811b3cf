"""What the chat learns from a real API server, and how it says what it may not learn."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syntera_cli.cluster import AgentState, Cluster
from syntera_cli.errors import AgentUnavailable, ClusterUnusable
from tests.support.apiserver import RunningApiServer, unique_name

GROUP = "/apis/syntera.io/v1alpha1"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a kubeconfig the user's own."""

    def set_variable(file: Path) -> None:
        monkeypatch.setenv("KUBECONFIG", str(file))

    return set_variable


class Tenants:
    """Objects as users and the operator make them."""

    def __init__(self, server: RunningApiServer) -> None:
        self.server = server
        self.tenants: list[str] = []

    def tenant(self) -> tuple[str, str]:
        """A Tenant and its namespace, by name."""
        name = unique_name("tenant")
        namespace = self.server.create_namespace("ns", labels={"syntera.io/tenant": name})
        body = {
            "apiVersion": "syntera.io/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": name},
            "spec": {"namespace": namespace},
        }
        self.server.send("POST", f"{GROUP}/tenants", body)
        self.tenants.append(name)
        return name, namespace

    def agent(self, namespace: str, name: str, *, revision: int | None = None, trouble: str | None = None) -> None:
        """An Agent with a status."""
        metadata = {"name": name, "namespace": namespace}
        agent = {"apiVersion": "syntera.io/v1alpha1", "kind": "Agent", "metadata": metadata}
        path = f"{GROUP}/namespaces/{namespace}/agents"
        self.server.send("POST", path, {**agent, "spec": {"instructions": "Be brief."}})
        ready = {
            "type": "Ready",
            "status": "False" if trouble else "True",
            "reason": "NotLoaded" if trouble else "Serving",
            "message": trouble or "It serves.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status: dict[str, Any] = {"conditions": [ready]}
        if revision is not None:
            status["revision"] = revision
        merge = "application/merge-patch+json"
        self.server.send("PATCH", f"{path}/{name}/status", {"status": status}, content_type=merge)

    def secret(self, namespace: str, **entries: str) -> None:
        """The administrator's Secret."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "syntera-admin"}, "data": data}
        self.server.send("POST", f"/api/v1/namespaces/{namespace}/secrets", body)


@pytest.fixture
def tenants(api_server: RunningApiServer, use: Callable[[Path], None]) -> Iterator[Tenants]:
    use(api_server.kubeconfig)
    made = Tenants(api_server)
    yield made
    for name in made.tenants:
        api_server.send("DELETE", f"{GROUP}/tenants/{name}")


@pytest.mark.api
def test_namespace_of_the_tenant_is_found(tenants: Tenants) -> None:
    name, namespace = tenants.tenant()
    assert Cluster().find_namespace("travel", tenant=name) == namespace


@pytest.mark.api
def test_tenant_is_found_without_an_agent(tenants: Tenants) -> None:
    name, namespace = tenants.tenant()
    assert Cluster().tenant_namespace(name) == namespace


@pytest.mark.api
def test_unknown_tenant_is_answered_with_those_that_there_are(tenants: Tenants) -> None:
    name, _ = tenants.tenant()
    with pytest.raises(ClusterUnusable, match=rf"There is no tenant 'nobody'\. Tenants: .*{name}"):
        Cluster().find_namespace("travel", tenant="nobody")


@pytest.mark.api
def test_namespace_with_the_agent_is_found_when_there_is_one_only(tenants: Tenants) -> None:
    agent = unique_name("agent")
    _, first = tenants.tenant()
    _, second = tenants.tenant()
    tenants.agent(first, agent)
    assert Cluster().find_namespace(agent, tenant=None) == first
    tenants.agent(second, agent)
    with pytest.raises(AgentUnavailable) as caught:
        Cluster().find_namespace(agent, tenant=None)
    assert str(caught.value) == (
        f"Several namespaces have an agent {agent!r}: {', '.join(sorted([first, second]))}. Name one with -n."
    )
    with pytest.raises(AgentUnavailable, match=rf"no agent 'nobody' in this cluster\. Agents: .*{agent} -n {first}"):
        Cluster().find_namespace("nobody", tenant=None)


@pytest.mark.api
@pytest.mark.parametrize(
    ("revision", "trouble", "state"),
    [
        (3, None, AgentState(is_published=True, trouble=None)),
        (3, "The endpoint 'x' is not there.", AgentState(is_published=True, trouble="The endpoint 'x' is not there.")),
        (None, "No.\x1b[2J", AgentState(is_published=False, trouble="No.[2J")),
    ],
)
def test_state_is_what_the_ready_condition_says(
    tenants: Tenants, revision: int | None, trouble: str | None, state: AgentState
) -> None:
    _, namespace = tenants.tenant()
    tenants.agent(namespace, "travel", revision=revision, trouble=trouble)
    assert Cluster().agent_state(namespace, "travel") == state


@pytest.mark.api
def test_agent_that_nobody_has_looked_at_is_not_ready(tenants: Tenants) -> None:
    _, namespace = tenants.tenant()
    body = {"apiVersion": "syntera.io/v1alpha1", "kind": "Agent", "metadata": {"name": "new"}}
    tenants.server.send("POST", f"{GROUP}/namespaces/{namespace}/agents", {**body, "spec": {"instructions": "Hi."}})
    state = Cluster().agent_state(namespace, "new")
    assert not state.is_published
    assert state.trouble


@pytest.mark.api
def test_unknown_agent_is_answered_with_those_that_there_are(tenants: Tenants) -> None:
    _, namespace = tenants.tenant()
    tenants.agent(namespace, "travel")
    tenants.agent(namespace, "concierge")
    with pytest.raises(AgentUnavailable) as caught:
        Cluster().agent_state(namespace, "nobody")
    assert str(caught.value) == f"There is no agent 'nobody' in namespace {namespace!r}. Agents: concierge, travel."


@pytest.mark.api
def test_key_is_read_from_the_tenants_secret(tenants: Tenants) -> None:
    _, namespace = tenants.tenant()
    tenants.secret(namespace, **{"api-key": "syn_sk_x"})
    assert Cluster().admin_key(namespace) == "syn_sk_x"


@pytest.mark.api
@pytest.mark.parametrize("entries", [None, {}, {"other": "x"}])
def test_missing_key_is_told(tenants: Tenants, entries: dict[str, str] | None) -> None:
    _, namespace = tenants.tenant()
    if entries is not None:
        tenants.secret(namespace, **entries)
    with pytest.raises(ClusterUnusable, match="has no API key in a Secret 'syntera-admin'"):
        Cluster().admin_key(namespace)


@pytest.mark.api
def test_what_is_forbidden_is_told(tenants: Tenants, use: Callable[[Path], None]) -> None:
    use(tenants.server.kubeconfig_for("nobody"))
    cluster = Cluster()
    with pytest.raises(ClusterUnusable, match=r"You may not list agents in all namespaces; name one with -n\."):
        cluster.find_namespace("travel", tenant=None)
    with pytest.raises(ClusterUnusable, match=r"You may not read tenants; name the namespace with -n instead\."):
        cluster.find_namespace("travel", tenant="acme")
    with pytest.raises(ClusterUnusable, match=r"You may not read agents in namespace 'acme'\."):
        cluster.agent_state("acme", "travel")
    with pytest.raises(ClusterUnusable, match=r"You may not read the Secret 'syntera-admin' .* --api-key-file\."):
        cluster.admin_key("acme")


def write_kubeconfig(file: Path, *, server: str, namespace: str | None = None) -> Path:
    context = f"cluster: c, user: u{f', namespace: {namespace}' if namespace else ''}"
    file.write_text(
        f"""apiVersion: v1
kind: Config
current-context: main
contexts: [{{name: main, context: {{{context}}}}}, {{name: other, context: {{cluster: c, user: u, namespace: b}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""
    )
    return file


def test_namespace_of_the_context_is_taken(tmp_path: Path, use: Callable[[Path], None]) -> None:
    use(write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1", namespace="a"))
    assert Cluster().find_namespace("travel", tenant=None) == "a"
    assert Cluster("other").find_namespace("travel", tenant=None) == "b"
    assert Cluster("other").tenant_namespace(None) == "b"


@pytest.mark.parametrize("namespace", [None, "default"])
def test_tenant_must_be_named_when_the_context_has_no_namespace(
    tmp_path: Path, use: Callable[[Path], None], namespace: str | None
) -> None:
    use(write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1", namespace=namespace))
    with pytest.raises(ClusterUnusable, match="--tenant"):
        Cluster().tenant_namespace(None)


def test_context_that_is_named_needs_no_current_one(tmp_path: Path, use: Callable[[Path], None]) -> None:
    file = write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1")
    file.write_text(file.read_text().replace("current-context: main\n", ""))
    use(file)
    assert Cluster("other").find_namespace("travel", tenant=None) == "b"
    with pytest.raises(ClusterUnusable, match="current-context"):
        Cluster()


def test_cluster_that_is_down_is_told(tmp_path: Path, use: Callable[[Path], None]) -> None:
    use(write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1"))
    with pytest.raises(ClusterUnusable, match=r"The cluster http://127\.0\.0\.1:1 does not answer"):
        Cluster().agent_state("acme", "travel")


@pytest.mark.parametrize("content", [None, "", "no: kubeconfig", "[]", "{", "\x00"])
def test_unusable_kubeconfig_is_told(tmp_path: Path, use: Callable[[Path], None], content: str | None) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    use(file)
    with pytest.raises(ClusterUnusable, match=r"There is no usable kubeconfig \(.*Set KUBECONFIG, or name"):
        Cluster()


def test_unknown_context_is_told(tmp_path: Path, use: Callable[[Path], None]) -> None:
    use(write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1"))
    with pytest.raises(ClusterUnusable, match="nowhere"):
        Cluster("nowhere")
