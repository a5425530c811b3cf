"""`syntera knowledge` against a tenant's real API."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from syntera_cli.__main__ import app
from syntera_crds.contract.knowledge_config import SearchMode
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import DocumentId, SyncId
from syntera_runtime.models.knowledge import (
    DocumentOrigin,
    Failing,
    Passage,
    SearchResult,
    SearchStage,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from tests.cli.conftest import RunningTenant
from tests.runtime.builders import TENANT
from tests.runtime.knowledge_stores import KnowledgeStores

BASE = "handbook"


def run(tenant: RunningTenant, *arguments: str, key: str | None = None) -> Result:
    """A command with an administrator's key, or another one."""
    environment = {"SYNTERA_API_KEY": tenant.admin_key if key is None else key}
    return CliRunner().invoke(app, ["knowledge", *arguments, "--url", tenant.url], env=environment)


def run_ok(tenant: RunningTenant, *arguments: str) -> str:
    """What a command prints."""
    result = run(tenant, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def stores(tenant: RunningTenant) -> KnowledgeStores:
    """The stores of the tenant, empty, to be filled as syncs do."""
    tenant.store.knowledge.rows.of(TENANT).clear()
    known = tenant.store.knowledge
    return KnowledgeStores(TENANT, known.reader, known.editor, known.writer, known.vectors, tenant.store.files)


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "guide.md"
    path.write_text("# Baggage\n\nOne cabin bag of 8 kg.\n")
    return path


def document_of(tenant: RunningTenant, *arguments: str) -> dict[str, Any]:
    """The only document."""
    (found,) = json.loads(run_ok(tenant, "documents", BASE, *arguments, "-o", "json"))["items"]
    return dict(found)


def test_uploaded_file_is_listed_and_taken_out(tenant: RunningTenant, stores: KnowledgeStores, guide: Path) -> None:
    arguments = ("--title", "Bags", "--audience", "member", "--audience", "public", "--tag", "x", "--language", "en")
    result = run(tenant, "upload", BASE, str(guide), *arguments, "--link", "https://acme.example/bags")
    assert result.exit_code == 0, result.stderr
    made = document_of(tenant)
    assert result.stdout == f"{made['id']}\n"
    assert "guide.md: Bags (pending)" in result.stderr
    assert (made["audience"], made["tags"], made["language"]) == (["member", "public"], ["manual", "x"], "en")
    assert made["url"] == "https://acme.example/bags"
    lines = run_ok(tenant, "documents", BASE, "--find", "GUIDE").splitlines()
    assert lines[0].split() == ["ID", "STATE", "SOURCE", "PATH", "TITLE", "AUDIENCE", "CHUNKS"]
    assert lines[1].split()[:4] == [made["id"], "pending", "uploads", "guide.md"]
    assert run_ok(tenant, "documents", BASE, "--state", "failed").count("\n") == 1
    assert run(tenant, "reingest", BASE, "guide.md").exit_code == 0
    result = run(tenant, "delete", BASE, "guide.md")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(run_ok(tenant, "documents", BASE, "-o", "json")) == {"items": []}
    result = run(tenant, "delete", BASE, "guide.md")
    assert result.exit_code == 1
    assert "syntera knowledge documents handbook" in result.stderr


def test_several_files_are_uploaded_at_once(tenant: RunningTenant, stores: KnowledgeStores, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_text(f"Text {file.name}")
    assert len(run_ok(tenant, "upload", BASE, *map(str, files)).split()) == 3
    assert run(tenant, "upload", BASE, *map(str, files), "--title", "x").exit_code == 2


def test_name_that_is_no_text_is_made_one(tenant: RunningTenant, stores: KnowledgeStores, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"gr\xfc\xdfe.txt")
    file.write_text("Hello")
    result = run(tenant, "upload", BASE, str(file))
    assert result.exit_code == 0, result.stderr
    assert document_of(tenant)["path"] == "gr��e.txt"


def test_what_cannot_be_uploaded_is_told(tenant: RunningTenant, stores: KnowledgeStores, tmp_path: Path) -> None:
    program = tmp_path / "invoice.pdf"
    program.write_bytes(b"MZ\x90\0" + b"\0" * 100)
    refused = run(tenant, "upload", BASE, str(program))
    assert (refused.exit_code, refused.stdout) == (1, "")
    missing = run(tenant, "upload", BASE, str(tmp_path / "none.md"))
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "cannot be read" in missing.stderr
    nowhere = run(tenant, "upload", "nowhere", str(program))
    assert (nowhere.exit_code, "knowledge base" in nowhere.stderr) == (1, True)


async def fill(stores: KnowledgeStores) -> DocumentId:
    """Two documents and a sync that could not take in a third."""
    base = await stores.begin(BASE)
    index = await stores.publish(await stores.open_index(base))
    document_id = await stores.put(index, "guide/bags.md", "One bag. ", "Two bags.", headings=("Baggage", "Cabin"))
    await stores.put(index, "guide/\x1b[31mred.md", "Red", source="other", title="Red \x1b[31mbags")
    sync = await stores.writer.begin_sync(TENANT, base.id, trigger="schedule", revision=4)
    ended = replace(
        sync,
        state=SyncState.COMPLETE,
        ended_at=sync.started_at + timedelta(seconds=75),
        counts=SyncCounts(documents=3, added=2, failed=1, embedded_tokens=1234),
        failures=(SyncFailure("docs", "scan.pdf", Failing.NO_TEXT, "Recognise its text first."),),
    )
    await stores.writer.report_sync(TENANT, ended)
    return document_id


async def put_again(stores: KnowledgeStores) -> None:
    """A document of the same path from another source."""
    base = await stores.begin(BASE)
    await stores.put(await stores.open_index(base), "guide/bags.md", "Again", source="other")


def test_chunks_are_shown_with_their_place(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    document_id = asyncio.run(fill(stores))
    by_path = run_ok(tenant, "chunks", BASE, "guide/bags.md")
    assert by_path.splitlines()[:2] == ["0  0-9  3 tokens  Baggage > Cabin", "  One bag. "]
    assert run_ok(tenant, "chunks", BASE, str(document_id)) == by_path
    shown = json.loads(run_ok(tenant, "chunks", BASE, str(document_id), "-o", "json"))["items"]
    assert [chunk["text"] for chunk in shown] == ["One bag. ", "Two bags."]


def test_path_that_two_sources_have_is_no_name(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    asyncio.run(fill(stores))
    asyncio.run(put_again(stores))
    result = run(tenant, "delete", BASE, "guide/bags.md")
    assert (result.exit_code, "Several sources" in result.stderr) == (1, True)


def test_knowledge_base_is_shown_for_people(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    empty = run_ok(tenant, "show", BASE)
    assert "none yet: no sync has come to its end" in empty
    asyncio.run(fill(stores))
    told = run_ok(tenant, "show", BASE)
    assert "2 indexed, 0 pending, 0 failed, 0 excluded" in told
    assert "stand-in/stand-in-embed, 4 dimensions" in told
    assert "complete after 75 s: 2 added" in told
    assert "docs/scan.pdf: NoText: Recognise its text first." in told
    assert "another one takes its place" in told  # its fingerprint is none that the configuration has
    lines = run_ok(tenant, "list").splitlines()
    assert lines[0].split() == ["NAME", "INDEXED", "PENDING", "FAILED", "CHUNKS", "MODEL", "LAST", "SYNC"]
    assert lines[1].split()[:7] == [BASE, "2", "0", "0", "3", "stand-in-embed", "complete"]
    assert json.loads(run_ok(tenant, "list", "-o", "json"))["items"] == [
        json.loads(run_ok(tenant, "show", BASE, "-o", "json"))
    ]


def test_texts_do_not_drive_the_terminal(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    asyncio.run(fill(stores))
    for output in ("text", "json"):
        assert "\x1b" not in run_ok(tenant, "documents", BASE, "-o", output)


def test_syncs_are_listed(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    asyncio.run(fill(stores))
    told = run_ok(tenant, "syncs", BASE).splitlines()
    assert told[0].split() == [
        "STARTED",
        "STATE",
        "SECONDS",
        "ADDED",
        "CHANGED",
        "UNCHANGED",
        "REMOVED",
        "FAILED",
        "TOKENS",
    ]
    assert told[1].split()[2:] == ["complete", "75", "2", "0", "0", "0", "1", "1,234"]
    assert told[2] == "docs/scan.pdf: NoText: Recognise its text first."


def test_sync_is_asked_for(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    result = run(tenant, "sync", BASE)
    assert (result.exit_code, result.stdout) == (0, "")
    assert tenant.store.knowledge.is_sync_requested(TENANT, BASE)


@pytest.mark.parametrize("state", [SyncState.COMPLETE, SyncState.FAILED])
def test_sync_is_waited_for(
    tenant: RunningTenant, stores: KnowledgeStores, monkeypatch: pytest.MonkeyPatch, state: SyncState
) -> None:
    asyncio.run(fill(stores))
    steps = iter(("running", "ended"))

    def go_on(_seconds: float) -> None:
        """What an operator and a Job do meanwhile."""
        rows = tenant.store.knowledge.rows.find(TENANT, BASE)
        assert rows is not None
        if next(steps) == "running":
            first = max(rows.syncs.values(), key=lambda sync: sync.id)
            begun = replace(first, id=SyncId(UUID(int=first.id.int + 1)), state=SyncState.RUNNING, ended_at=None)
            rows.syncs[begun.id] = begun
            return
        last = max(rows.syncs.values(), key=lambda sync: sync.id)
        failure = None if state is SyncState.COMPLETE else "budget-exceeded"
        rows.syncs[last.id] = replace(
            last, state=state, ended_at=last.started_at, failure=failure, message=failure and "It would cost 7 tokens."
        )

    monkeypatch.setattr("syntera_cli.knowledge.time.sleep", go_on)
    result = run(tenant, "sync", BASE, "--wait")
    assert result.exit_code == (0 if state is SyncState.COMPLETE else 1)
    assert result.stdout.startswith("Sync of ")
    assert ("It would cost 7 tokens." in result.stderr) == (state is SyncState.FAILED)


def test_search_shows_passages_with_their_scores(tenant: RunningTenant, stores: KnowledgeStores) -> None:
    passage = Passage(
        knowledge_base=BASE,
        index_number=1,
        document_id=DocumentId(new_id()),
        origin=DocumentOrigin("docs", "bags.md"),
        title="Bags [bold]",
        url="https://acme.example/bags",
        headings=("Baggage", "Cabin"),
        page=2,
        last_page=3,
        start=10,
        end=32,
        text="One cabin bag \x1b[31mof 8 kg.",
        tokens=8,
        score=0.8312,
        scores={"vector": 0.8312, "keyword": 0.4},
    )
    stages = [SearchStage("embed", 0.041, 0, failure="model-unavailable"), SearchStage("keyword", 0.002, 7)]
    tenant.searcher.result = SearchResult([passage], stages, SearchMode.HYBRID, left_out=2)
    told = run_ok(tenant, "search", BASE, "How many bags?", "--mode", "Keyword", "--top", "3", "--audience", "member")
    assert told.splitlines() == [
        "[1] Bags [bold]  0.831",
        "https://acme.example/bags  Baggage > Cabin, pages 2-3  10-32  vector 0.831, keyword 0.400",
        "  One cabin bag [31mof 8 kg.",
        "",
        "Hybrid: embed 0 in 41 ms (model-unavailable), keyword 7 in 2 ms; 2 below the least score",
    ]
    (_, asked) = tenant.searcher.asked[-1]
    assert (asked.mode, asked.top_k, asked.filter.audience, asked.rerank) == (
        SearchMode.KEYWORD,
        3,
        frozenset({"member"}),
        None,
    )
    tenant.searcher.result = SearchResult([], [], SearchMode.HYBRID)
    assert run_ok(tenant, "search", BASE, "Hi", "--no-rerank").startswith("Nothing was found.")
    assert tenant.searcher.asked[-1][1].rerank is False
    assert json.loads(run_ok(tenant, "search", BASE, "Hi", "-o", "json"))["passages"] == []


def test_key_that_may_not_is_told(tenant: RunningTenant) -> None:
    result = run(tenant, "list", key=tenant.key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'knowledge:read'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", BASE),
        ("search", BASE, "Hi", "--mode", "Magic"),
        ("search", BASE, "Hi", "--top", "0"),
        ("documents", BASE, "--state", "odd"),
        ("upload", BASE),
        ("upload", BASE, "x", "--audience", "pubic"),
        ("upload", BASE, "x", "--title", "\udcfc"),
        ("search", BASE, "gr\udcfc\udcdfe"),
        ("documents", BASE, "--find", "\udcfc"),
        ("delete", BASE, "\udcfc"),
        ("show", "\udcfc"),
    ],
)
def test_wrong_usage(tenant: RunningTenant, arguments: tuple[str, ...]) -> None:
    assert run(tenant, *arguments).exit_code == 2
