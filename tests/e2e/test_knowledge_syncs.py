"""Syncs that are killed and knowledge bases that are deleted: nothing is paid for twice, and nothing is left.

Nothing smaller would do: it takes a kubelet that kills pods, the Job controller that makes others, and the garbage collector.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from syntera_dev.demo.installation import Installation
from syntera_dev.demo.kubectl import Kubectl
from syntera_dev.demo.showcase import port_forward
from tests.support.e2e import STAND_IN, TenantUnderTest, make_tenant
from tests.support.e2e_knowledge import (
    EMBEDDING,
    apply_config_map,
    apply_knowledge_base,
    list_jobs,
    list_pods,
    read_knowledge_base,
    search,
    wait_for_sync,
    wait_until,
)

pytestmark = pytest.mark.cluster

SOURCES = [
    {"name": "notice", "inline": {"title": "Notice", "text": "The counter is closed on Sundays."}},
    {"name": "uploads", "upload": {}},
]
LEDGERS = ("eastern", "western")
ENTRIES = 320
"""Of one ledger: more than are embedded at once, so that one is stored while the other is not."""


@pytest.fixture(scope="module")
def acme(installation: Installation) -> Iterator[TenantUnderTest]:
    """A Tenant without a KnowledgeBase."""
    tenant = make_tenant(installation.kubectl, "keeper", models=[STAND_IN | {"embedding": EMBEDDING}])
    yield tenant
    tenant.erase()


def test_killed_sync_goes_on_where_it_was(acme: TenantUnderTest) -> None:
    _apply_ledgers(acme)
    with _models(acme.kubectl) as models, acme.client() as client:
        models.answer_after(seconds=1)
        _apply_ledger_base(acme, "killed")
        done = _wait_for_one_of_two(client, "killed")
        (pod,) = list_pods(acme, "killed")
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
        (passage, *_) = search(client, f"Entry 7 of the {LEDGERS[1]} ledger", kb="killed")

    status = read_knowledge_base(acme, "killed")["status"]
    assert status["documents"] == {"total": 2, "indexed": 2, "failed": 0}
    assert (newest["state"], newest["counts"]["unchanged"], newest["counts"]["added"]) == ("complete", 1, 1)
    assert (killed["state"], killed["failure"]) == ("failed", "killed")
    assert passage["path"] == f"{LEDGERS[1]}.md"
    (job,) = list_jobs(acme, "killed")
    assert job["status"]["succeeded"] == 1
    assert {count for text, count in embedded.items() if done in text} == {1}, "what was stored was paid for twice"
    assert len(embedded) == status["chunks"]


async def test_deleted_knowledge_base_leaves_nothing(acme: TenantUnderTest) -> None:
    rows = await _count_rows(acme)
    apply_knowledge_base(acme, "leaving", SOURCES)
    acme.wait("knowledgebase/leaving", seconds=90)
    before = read_knowledge_base(acme, "leaving")["status"]
    with acme.client() as client:
        path = "/v1/knowledge-bases/leaving/documents"
        client.post(path, params={"name": "note.txt"}, content=b"Nobody shall remember this.").raise_for_status()
        wait_for_sync(acme, "leaving", after=before)
    more = {table: count - rows[table] for table, count in (await _count_rows(acme)).items()}
    assert (more["knowledge_bases"], more["knowledge_documents"], more["files"]) == (1, 2, 1)

    with acme.client() as client:
        acme.kubectl("delete", "kb", "leaving", "-n", acme.namespace, "--wait=false")
        # What somebody asks for until the last moment must not outlive it.
        wait_until(lambda: client.post("/v1/knowledge-bases/leaving/syncs").status_code == 404, "it is served no more")
        acme.kubectl("wait", "--for=delete", "kb/leaving", "-n", acme.namespace, "--timeout=60s", timeout_seconds=70)

    assert await _count_rows(acme) == rows
    (erased,) = (job for job in list_jobs(acme, "leaving") if "erase" in job["metadata"]["name"])
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
        wait_until(lambda: _is_deleting(list_pods(acme, "ending")), "the sync is ended")
        models.answer_after(seconds=0)
        acme.kubectl("wait", "--for=delete", "kb/ending", "-n", acme.namespace, "--timeout=90s", timeout_seconds=100)

    assert await _count_rows(acme) == rows
    assert [job["status"].get("succeeded") for job in list_jobs(acme, "ending")] == [1], (
        "only the one that erased is left"
    )


def _apply_ledgers(tenant: TenantUnderTest) -> None:
    """A ConfigMap with two documents that take some seconds to embed."""
    texts = {name: "\n\n".join(_entry(name, number) for number in range(ENTRIES)) for name in LEDGERS}
    apply_config_map(tenant, "ledgers", {f"{name}.md": f"# Ledger\n\n{text}\n" for name, text in texts.items()})


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
    apply_knowledge_base(tenant, name, [source], embedding=embedding, chunking=chunking)


def _wait_for_one_of_two(client: httpx.Client, name: str) -> str:
    """Wait until a sync has stored one of the ledgers, while it is at the other; gives which."""

    def stored() -> str | None:
        answer = client.get(f"/v1/knowledge-bases/{name}/documents", params={"state": "indexed"})
        items = answer.json()["items"] if answer.is_success else ()
        return next((ledger for item in items for ledger in LEDGERS if item["path"] == f"{ledger}.md"), None)

    return wait_until(stored, "one document is stored")


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


def _is_deleting(pods: Sequence[Mapping[str, Any]]) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in pods)


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
