"""From `kubectl apply` to a streamed answer, and what may change without anybody noticing.

Nothing smaller would do: the API server, the operator, the kubelet, both stores and a pod all take part.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from syntera_dev.demo.installation import Installation
from syntera_dev.demo.showcase import port_forward
from tests.support.e2e import TenantUnderTest, complete, make_tenant

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def acme(installation: Installation) -> Iterator[TenantUnderTest]:
    tenant = make_tenant(installation.kubectl, "acme")
    tenant.apply_agent("travel", greeting="Hello from {{tenant.displayName}}!")
    tenant.wait("agent/travel")
    yield tenant
    tenant.erase()


def test_completion_is_streamed_when_agent_is_ready(acme: TenantUnderTest) -> None:
    body = {"model": "travel", "stream": True, "messages": [{"role": "user", "content": "Where is my booking?"}]}
    with acme.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, response.read()
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]

    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert len(chunks) > 3
    assert "I am travel of Acme" in text
    assert "Where is my booking?" in text


def test_conversation_is_kept_when_messages_are_sent(acme: TenantUnderTest) -> None:
    with acme.client() as client:
        conversation = client.post("/v1/agents/travel/conversations", json={}).raise_for_status().json()
        path = f"/v1/conversations/{conversation['id']}/messages"
        client.post(path, json={"content": "First question"}).raise_for_status()
        with client.stream(
            "POST", path, json={"content": "Second question"}, headers={"Accept": "text/event-stream"}
        ) as streamed:
            lines = list(streamed.iter_lines())
        kept = client.get(path).raise_for_status().json()

    numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert numbers == sorted(set(numbers))
    assert [line for line in lines if line.startswith("event: message.completed")]
    roles = [message["role"] for message in kept["items"]]
    assert sorted(roles) == ["assistant", "assistant", "assistant", "user", "user"]
    assert any("Hello from Acme" in message["content"] for message in kept["items"])


def test_edit_is_live_without_restart_or_failed_request(acme: TenantUnderTest) -> None:
    pods = acme.pod_uids()
    failures: list[object] = []
    answers: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with acme.client() as client:
            while not stop.is_set():
                try:
                    answers.append(complete(client, "travel", "Hi"))
                except httpx.HTTPError as error:
                    failures.append(error)

    def hear(more: int) -> None:
        """Wait until the worker has had so many more answers, or a failure."""
        enough, end = len(answers) + more, time.monotonic() + 60
        while len(answers) < enough and not failures:
            assert time.monotonic() < end, "the worker hears nothing"
            time.sleep(0.05)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        hear(2)
        before = acme.agent("travel")["status"]["revision"]
        acme.apply_agent("travel", instructions="You are the edited concierge.")
        acme.kubectl(
            "wait", f"--for=jsonpath={{.status.revision}}={before + 1}", "agent/travel", "-n", acme.namespace,
            "--timeout=60s", timeout_seconds=70,
        )  # fmt: skip
        acme.wait("agent/travel")
        with acme.client() as client:
            assert "I am the edited concierge" in complete(client, "travel", "Hi")
        hear(2)
    finally:
        stop.set()
        worker.join()

    assert failures == []
    assert "I am travel" in answers[0]
    assert "I am the edited concierge" in answers[-1]
    assert acme.pod_uids() == pods


def test_invalid_edit_changes_conditions_only(acme: TenantUnderTest) -> None:
    acme.apply_agent("careful", instructions="You are the careful one.")
    acme.wait("agent/careful")
    published = acme.kubectl.get("configmap", "agent-careful", "-n", acme.namespace)

    acme.apply_agent("careful", instructions="You are the careless one.", model={"endpoint": "nowhere"})
    judged = acme.wait_generation("careful")

    conditions = {condition["type"]: condition for condition in judged["status"]["conditions"]}
    assert conditions["ResolvedRefs"]["status"] == "False"
    assert conditions["ResolvedRefs"]["reason"] == "EndpointNotFound"
    assert "nowhere" in conditions["ResolvedRefs"]["message"]

    acme.apply_agent("careful", instructions="You are {{nobody}}.")
    judged = acme.wait_generation("careful")

    conditions = {condition["type"]: condition for condition in judged["status"]["conditions"]}
    assert conditions["Accepted"]["status"] == "False"
    assert "{{nobody}}" in conditions["Accepted"]["message"]
    assert conditions["Stalled"]["status"] == "True"
    assert acme.kubectl.get("configmap", "agent-careful", "-n", acme.namespace) == published
    with acme.client() as client:
        assert "I am the careful one" in complete(client, "careful", "Hi")


def test_rotated_secret_takes_effect_without_restart(new_tenant: Callable[..., TenantUnderTest]) -> None:
    tenant = new_tenant("rotating")
    tenant.apply_secret("models", {"api-key": "first-key"})
    endpoint = tenant.spec["models"][0] | {"apiKeySecretRef": {"name": "models", "key": "api-key"}}
    tenant.apply(models=[endpoint])
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    pods = tenant.pod_uids()

    with (
        port_forward(tenant.kubectl, "syntera-dev", service="stand-in-models", port=8000) as models,
        tenant.client() as client,
    ):
        complete(client, "guide", "one")
        assert _last_key(models) == "Bearer first-key"
        tenant.apply_secret("models", {"api-key": "second-key"})
        for _ in range(100):
            complete(client, "guide", "two")
            if _last_key(models) == "Bearer second-key":
                break
        else:
            pytest.fail("the runtime still sends the old key after 100 requests")
    assert tenant.pod_uids() == pods


def _last_key(models: str) -> str:
    journal = httpx.get(f"{models}/control/journal", timeout=10).raise_for_status().json()
    key: str = journal[-1]["headers"].get("authorization", "")
    return key
