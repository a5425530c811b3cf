"""From sources to cited answers: documents are taken in by Jobs, found, cited and changed.

Nothing smaller would do: operator, Job controller, kubelet, the image of the ingestion, the stores and the runtime's pods all take part.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from syntera_dev.demo.installation import Installation
from tests.support.e2e import STAND_IN, TenantUnderTest, make_tenant
from tests.support.e2e_knowledge import (
    EMBEDDING,
    apply_config_map,
    apply_knowledge_base,
    list_jobs,
    list_pods,
    names_of,
    read_knowledge_base,
    search,
    wait_for_sync,
    wait_until,
)

pytestmark = pytest.mark.cluster

HANDBOOK = "handbook"
ARTICLES = {
    "baggage.md": (
        "# Baggage\n\nA bicycle costs 60 euros each way and travels in a hard case.\n\n"
        "A cabin bag weighs at most 8 kilograms.\n"
    ),
    "miles.md": "# Miles\n\nYou earn five miles for each euro of the fare, and they end after three years.\n",
}
GOODWILL = "A member of the service desk may give a goodwill voucher of up to 77 euros."
SOURCES = [
    {"name": "articles", "configMap": {"name": "articles"}},
    {"name": "staff", "audience": ["member"], "inline": {"title": "Goodwill", "text": GOODWILL}},
    {"name": "uploads", "upload": {}},
]


@dataclass(frozen=True)
class Reply:
    """What an agent streamed, and what was stored of it."""

    text: str
    citations: Sequence[dict[str, Any]]
    """Of the events."""
    message: Mapping[str, Any]

    @property
    def cited_by_message(self) -> Sequence[dict[str, Any]]:
        """The citations that are parts of the message."""
        return [part["citation"] for part in self.message["parts"] if part["type"] == "citation"]


@pytest.fixture(scope="module")
def acme(installation: Installation) -> Iterator[TenantUnderTest]:
    """A Tenant with a KnowledgeBase that is filled, and an Agent that answers from it."""
    tenant = make_tenant(installation.kubectl, "reader", models=[STAND_IN | {"embedding": EMBEDDING}])
    apply_config_map(tenant, "articles", ARTICLES)
    apply_knowledge_base(tenant, HANDBOOK, SOURCES)
    tenant.apply_agent("guide", access="Public", knowledge=[{"name": HANDBOOK}])
    tenant.wait(f"knowledgebase/{HANDBOOK}", seconds=90)
    tenant.wait("agent/guide")
    yield tenant
    tenant.erase()


def test_sources_are_taken_in_by_a_restricted_job(acme: TenantUnderTest) -> None:
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    status = read_knowledge_base(acme, HANDBOOK)["status"]
    (job,) = list_jobs(acme, HANDBOOK)
    (pod,) = list_pods(acme, HANDBOOK)

    assert status["documents"] == {"total": 3, "indexed": 3, "failed": 0}
    assert status["chunks"] >= 3
    assert status["lastSync"]["trigger"] == "configuration"
    assert status["lastSync"]["added"] == 3
    assert status["lastSync"]["embeddedTokens"] > 0
    assert job["status"]["succeeded"] == 1
    namespace = acme.kubectl.get("namespace", acme.namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["status"]["phase"] == "Succeeded"
    sources = [source for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    assert not any("serviceAccountToken" in source for source in sources)


def test_answer_cites_the_right_document(acme: TenantUnderTest) -> None:
    with acme.client() as client:
        reply = _ask(client, "What does a bicycle cost each way?")

    assert "A bicycle costs 60 euros each way and travels in a hard case. [1]" in reply.text
    (citation,) = reply.citations
    assert citation["number"] == 1
    assert (citation["knowledgeBase"], citation["source"], citation["path"]) == (HANDBOOK, "articles", "baggage.md")
    assert citation["headings"] == ["Baggage"]
    assert "60 euros" in ARTICLES["baggage.md"][citation["start"] : citation["end"]]
    assert reply.cited_by_message == [citation]


def test_visitor_is_not_answered_from_what_is_for_members(acme: TenantUnderTest) -> None:
    question = "How large may a goodwill voucher of the service desk be?"
    with acme.client() as client:
        of_members = search(client, question, kb=HANDBOOK, filter={"audience": ["member"]})
        of_the_public = search(client, question, kb=HANDBOOK)
        wanted = {"kind": "pk", "name": "site", "agents": ["guide"]}
        key = client.post("/v1/api-keys", json=wanted).raise_for_status().json()["key"]
    with acme.client(key=key) as client:
        token = client.post("/v1/visitor-tokens", json={}).raise_for_status().json()["visitorToken"]
    with acme.client(key=token) as client:
        refused = client.post(f"/v1/knowledge-bases/{HANDBOOK}/search", json={"question": question})
        reply = _ask(client, question)

    assert [passage["text"] for passage in of_members] == [GOODWILL]
    assert "staff" not in {passage["source"] for passage in of_the_public}
    assert refused.status_code == 403
    assert "77" not in reply.text
    assert "staff" not in {citation["source"] for citation in reply.citations}


def test_edited_config_map_is_taken_in_by_another_job(acme: TenantUnderTest) -> None:
    before, jobs = read_knowledge_base(acme, HANDBOOK)["status"], names_of(list_jobs(acme, HANDBOOK))
    with acme.client() as client:
        assert not any(
            "fjord" in passage["text"] for passage in search(client, "Where is the night ferry boarded?", kb=HANDBOOK)
        )

        edited = ARTICLES["miles.md"] + "\n## Ferries\n\nThe night ferry is boarded at the fjord pier.\n"
        apply_config_map(acme, "articles", ARTICLES | {"miles.md": edited})
        status = wait_for_sync(acme, HANDBOOK, after=before)
        reply = _ask(client, "Where is the night ferry boarded?")

    assert (status["lastSync"]["changed"], status["lastSync"]["added"]) == (1, 0)
    assert len(names_of(list_jobs(acme, HANDBOOK)) - jobs) == 1
    assert "The night ferry is boarded at the fjord pier. [1]" in reply.text
    assert [citation["path"] for citation in reply.citations] == ["miles.md"]


def test_uploaded_file_is_taken_in(acme: TenantUnderTest) -> None:
    with acme.client() as client:
        path = f"/v1/knowledge-bases/{HANDBOOK}/documents"
        content = b"# Lounge\n\nThe lounge in Lisbon opens at half past five in the morning.\n"
        made = client.post(path, params={"name": "lounge.md"}, content=content).raise_for_status().json()
        wait_until(
            lambda: client.get(f"{path}/{made['id']}").raise_for_status().json()["state"] == "indexed", "it is indexed"
        )
        reply = _ask(client, "When does the lounge in Lisbon open?")

    assert made["state"] == "pending"
    assert "half past five" in reply.text
    assert [(citation["source"], citation["path"]) for citation in reply.citations] == [("uploads", "lounge.md")]


def test_broken_edit_changes_conditions_only(acme: TenantUnderTest) -> None:
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    published = acme.kubectl.get("configmap", f"knowledge-{HANDBOOK}", "-n", acme.namespace)
    jobs = names_of(list_jobs(acme, HANDBOOK))

    apply_knowledge_base(acme, HANDBOOK, SOURCES[:1], embedding={"endpoint": "nowhere"})
    conditions = _wait_for_conditions(acme, HANDBOOK)

    assert conditions["ResolvedRefs"]["status"] == "False"
    assert "nowhere" in conditions["ResolvedRefs"]["message"]
    assert acme.kubectl.get("configmap", f"knowledge-{HANDBOOK}", "-n", acme.namespace) == published
    with acme.client() as client:
        assert "[1]" in _ask(client, "What does a bicycle cost each way?").text

    apply_knowledge_base(acme, HANDBOOK, SOURCES)
    acme.wait(f"knowledgebase/{HANDBOOK}", "ResolvedRefs")
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    assert names_of(list_jobs(acme, HANDBOOK)) == jobs


def _ask(client: httpx.Client, question: str) -> Reply:
    """Ask in a conversation of its own."""
    conversation = client.post("/v1/agents/guide/conversations", json={}).raise_for_status().json()
    path = f"/v1/conversations/{conversation['id']}/messages"
    headers = {"Accept": "text/event-stream"}
    with client.stream("POST", path, json={"content": question}, headers=headers) as response:
        assert response.status_code == 200, response.read()
        events = list(_events(response.iter_lines()))
    text = "".join(data["text"] for name, data in events if name == "message.delta")
    citations = [data["citation"] for name, data in events if name == "citation"]
    last, data = events[-1]
    assert last == "message.completed", data
    stored = client.get(path).raise_for_status().json()["items"]
    (message,) = (one for one in stored if one["id"] == data["message"]["id"])
    assert message["content"] == text
    return Reply(text, citations, message)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def _wait_for_conditions(tenant: TenantUnderTest, name: str) -> dict[str, dict[str, Any]]:
    """The conditions, once the operator has judged the present spec."""

    def judged() -> dict[str, dict[str, Any]] | None:
        found = read_knowledge_base(tenant, name)
        if found["status"]["observedGeneration"] != found["metadata"]["generation"]:
            return None
        return {condition["type"]: condition for condition in found["status"]["conditions"]}

    return wait_until(judged, "the operator has judged the spec")
