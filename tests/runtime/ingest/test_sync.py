"""Syncs over stores in memory: what they write, what they leave alone, and how they end."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES, Chunking, PineconeIndex, SyncBudget
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing, StoreUnavailable
from syntera_runtime.ingest import embedding as embedding_module
from syntera_runtime.ingest.failures import SyncFailed
from syntera_runtime.ingest.items import Item, Missed, Same
from syntera_runtime.ingest.sync import synchronise
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import (
    DocumentFacts,
    DocumentState,
    Extracted,
    Failing,
    IndexState,
    Sync,
    SyncState,
)
from tests.runtime.ingest.site import NAME, ListedSource, MeddledSource, SyncSite, fetched, make_config, make_source

GONE = Missed(None, Failing.UNAVAILABLE, "The server does not answer. Try again later.")


@pytest.fixture
def site() -> SyncSite:
    return SyncSite()


def long_text(number: int, sections: int = 3) -> str:
    """A document whose chunks no other number's document has."""
    body = " ".join(f"Sentence {place} of document {number} says something." for place in range(60))
    return "\n\n".join(f"# Part {part} of {number}\n\n{body} {part}" for part in range(sections))


async def fail(site: SyncSite, *items: object) -> SyncFailed:
    with pytest.raises(SyncFailed) as caught:
        await site.sync(*items)  # type: ignore[arg-type]
    assert (await site.syncs())[0].failure == caught.value.code
    assert (await site.syncs())[0].state is SyncState.FAILED
    return caught.value


async def try_sync(site: SyncSite, *items: Item) -> SyncFailed | None:
    """Why it failed; None: it did not."""
    try:
        await site.sync(*items)
    except SyncFailed as failure:
        return failure
    return None


async def renew(site: SyncSite, path: str) -> None:
    """Have the document taken in anew."""
    document = (await site.documents())[path]
    assert await site.knowledge.editor.renew_document(site.tenant_id, document.knowledge_base_id, document.id)


# ---- documents come, change and go ----


async def test_first_sync_takes_everything_in_and_activates(site: SyncSite) -> None:
    sync = await site.sync(fetched("a.md", "# A\n\nOne."), fetched("b.md", "# B\n\nTwo."))
    assert await site.contents() == {"a.md": ["# A\n\nOne."], "b.md": ["# B\n\nTwo."]}
    assert (sync.state, sync.index_number, sync.estimated_tokens) == (SyncState.COMPLETE, 1, 0)
    counts = sync.counts
    assert (counts.documents, counts.added, counts.chunks_written, counts.embedded_chunks) == (2, 2, 2, 2)
    assert counts.embedded_tokens > 0
    assert (await site.documents())["a.md"].facts.title == "A"
    assert [(sync.trigger, sync.revision) for sync in await site.syncs()] == [("request", 1)]


async def test_embedded_text_says_where_the_chunk_stands(site: SyncSite) -> None:
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"document_prefix": "passage: "}))
    text = "# Guide\n\n" + "A. " * 400 + "\n\n# Refunds\n\nYou get it back."
    await site.sync(fetched("a.md", text))
    assert site.embedder.texts[-1] == "passage: Guide > Refunds\n\n# Refunds\n\nYou get it back."


async def test_unchanged_sync_embeds_and_writes_nothing(site: SyncSite) -> None:
    items = [fetched("a.md", "One."), fetched("b.md", b"\xff"), fetched("c.md", "Three.", validators={"etag": "1"})]
    await site.sync(*items)
    before, embedded = await site.documents(), len(site.embedder.texts)
    writes = watch_writes(site)
    sync = await site.sync()
    assert await site.documents() == before
    assert len(site.embedder.texts) == embedded
    assert writes == []
    counts = sync.counts
    assert (counts.documents, counts.unchanged, counts.added, counts.changed, counts.failed) == (3, 2, 0, 0, 1)


def watch_writes(site: SyncSite) -> list[str]:
    """Names of methods that write, as they are called from now on; a sync's own row does not count."""
    calls: list[str] = []
    writer = site.knowledge.writer
    for name in (
        "put_document", "touch_documents", "set_audience", "fail_document", "remove_documents", "finish_index", "activate_index", "drop_index",
    ):  # fmt: skip
        method = getattr(writer, name)

        async def watched(*args: object, _name: str = name, _method: object = method, **fields: object) -> object:
            calls.append(_name)
            return await _method(*args, **fields)  # type: ignore[operator]

        setattr(writer, name, watched)
    for name in ("write", "delete", "drop"):
        method = getattr(site.knowledge.vectors, name)

        async def watched_vectors(*args: object, _name: str = name, _method: object = method) -> object:
            calls.append(_name)
            return await _method(*args)  # type: ignore[operator]

        setattr(site.knowledge.vectors, name, watched_vectors)
    return calls


async def test_changed_document_is_replaced_and_its_old_vectors_go(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    before = await site.hashes()
    sync = await site.sync(fetched("a.md", "Another."), fetched("b.md", "Two."))
    assert await site.contents() == {"a.md": ["Another."], "b.md": ["Two."]}
    assert (sync.counts.changed, sync.counts.unchanged, sync.counts.embedded_chunks) == (1, 1, 1)
    assert len(await site.hashes()) == 2
    assert await site.hashes() != before


async def test_document_that_is_gone_is_removed(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    sync = await site.sync(fetched("b.md", "Two."))
    assert set(await site.documents()) == {"b.md"}
    assert sync.counts.removed == 1
    assert len(await site.hashes()) == 1


async def test_equal_texts_are_embedded_once(site: SyncSite) -> None:
    facts = DocumentFacts(title="Same")
    await site.sync(*(fetched(f"{number}.md", "The same.", facts=facts) for number in range(5)))
    assert len(site.embedder.texts) == 1
    assert len(await site.contents()) == 5


async def test_source_that_is_configured_no_more_is_forgotten(site: SyncSite) -> None:
    site.config = make_config(make_source("docs"), make_source("news"))
    site.items = {"docs": [fetched("a.md", "One.")], "news": [fetched("b.md", "Two.")]}
    await site.sync()
    site.config = make_config(make_source("docs"))
    sync = await site.sync()
    assert set(await site.documents()) == {"a.md"}
    assert sync.counts.removed == 1


async def test_path_that_a_source_names_twice_counts_once(site: SyncSite) -> None:
    sync = await site.sync(fetched("a.md", "One."), fetched("a.md", "Two."))
    assert await site.contents() == {"a.md": ["One."]}
    assert sync.counts.documents == 1


# ---- what failed ----


async def test_document_that_cannot_be_read_fails_alone(site: SyncSite) -> None:
    sync = await site.sync(fetched("a.md", b"\xff\xfe"), fetched("b.md", "Two."))
    documents = await site.documents()
    assert documents["a.md"].state is DocumentState.FAILED
    assert documents["b.md"].state is DocumentState.INDEXED
    assert (sync.state, sync.counts.failed) == (SyncState.COMPLETE, 1)
    (failure,) = sync.failures
    assert (failure.source, failure.document, failure.reason) == ("docs", "a.md", Failing.BROKEN)


@pytest.mark.parametrize(
    ("text", "reason"), [("", Failing.NO_TEXT), (" \n", Failing.NO_TEXT), ("a\0b", Failing.BROKEN)]
)
async def test_text_that_no_store_keeps_fails_alone(site: SyncSite, text: str, reason: Failing) -> None:
    sync = await site.sync(fetched("a.md", text), fetched("b.md", "Two."))
    assert [failure.reason for failure in sync.failures] == [reason]


async def test_document_of_too_many_chunks_fails_alone(site: SyncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.knowledge.chunking.MOST_CHUNKS", 3)
    sync = await site.sync(fetched("a.md", long_text(1)), fetched("b.md", "Two."))
    assert [(failure.document, failure.reason) for failure in sync.failures] == [("a.md", Failing.TOO_LARGE)]
    assert set(await site.contents()) == {"b.md"}


async def test_rebuild_with_too_many_chunks_fails_the_document_alone(
    site: SyncSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.sync(fetched("a.md", long_text(1)), fetched("b.md", "Two."))
    monkeypatch.setattr("syntera_runtime.knowledge.chunking.MOST_CHUNKS", 3)
    site.config = make_config(chunking=Chunking(target_tokens=64, overlap_tokens=0))
    sync = await site.sync(Same("a.md"), Same("b.md"))
    assert (sync.state, sync.counts.failed) == (SyncState.COMPLETE, 1)
    assert set(await site.contents()) == {"b.md"}


async def test_path_that_is_too_long_fails_alone(site: SyncSite) -> None:
    sync = await site.sync(fetched("a" * 3000, "One."), fetched("b.md", "Two."))
    assert (sync.counts.failed, set(await site.documents())) == (1, {"b.md"})


async def test_document_that_recovers_is_taken_in(site: SyncSite) -> None:
    await site.sync(fetched("a.md", b"\xff"))
    await site.sync(fetched("a.md", "One."))
    assert await site.contents() == {"a.md": ["One."]}


async def test_document_that_could_not_be_fetched_stays(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    sync = await site.sync(Missed("a.md", Failing.UNAVAILABLE, "No answer."), fetched("b.md", "Two."))
    assert set(await site.contents()) == {"a.md", "b.md"}
    assert (sync.counts.documents, sync.counts.failed) == (2, 1)


async def test_missed_source_keeps_its_documents_and_others_are_read(site: SyncSite) -> None:
    site.config = make_config(make_source("docs"), make_source("news"))
    site.items = {"docs": [fetched("a.md", "One."), fetched("b.md", "Two.")], "news": [fetched("c.md", "Three.")]}
    await site.sync()
    site.items = {"docs": [fetched("a.md", "One, changed."), GONE], "news": [fetched("c.md", "Changed.")]}
    sync = await site.sync()
    assert await site.contents() == {"a.md": ["One, changed."], "b.md": ["Two."], "c.md": ["Changed."]}
    assert (sync.state, sync.counts.failed, sync.counts.documents) == (SyncState.COMPLETE, 0, 3)
    assert [(failure.source, failure.document) for failure in sync.failures] == [("docs", None)]


async def test_only_the_first_failures_are_listed(site: SyncSite) -> None:
    sync = await site.sync(*(fetched(f"{number}.md", b"\xff") for number in range(30)))
    assert (len(sync.failures), sync.counts.failed) == (10, 30)


# ---- conditional requests ----


async def test_source_is_told_what_is_known(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One.", validators={"etag": "1"}), fetched("b.md", b"\xff"))
    await site.sync()
    known = site.sources["docs"].known
    assert known["a.md"].content_hash is not None
    assert known["a.md"].validators == {"etag": "1"}
    assert known["b.md"].content_hash is None  # it was never read


async def test_document_that_is_as_it_was_keeps_or_renews_validators(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One.", validators={"etag": "1"}))
    await site.sync(Same("a.md"))
    await site.sync()
    assert site.sources["docs"].known["a.md"].validators == {"etag": "1"}
    await site.sync(Same("a.md", {"etag": "2"}))
    await site.sync()
    assert site.sources["docs"].known["a.md"].validators == {"etag": "2"}
    assert len(site.embedder.texts) == 1


async def test_another_reader_takes_documents_in_anew(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    site.reader = "r2"
    await site.sync()
    assert site.sources["docs"].known["a.md"].content_hash is None
    assert site.extractor.extracted == ["a.md", "a.md"]
    assert len(site.embedder.texts) == 1


async def test_document_to_be_renewed_is_fetched_whatever_is_known(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    await renew(site, "a.md")
    await site.sync()
    assert site.sources["docs"].known["a.md"].content_hash is None
    assert (await site.documents())["a.md"].state is DocumentState.INDEXED


@pytest.mark.parametrize("is_marked_before", [False, True])
async def test_mark_that_somebody_sets_while_the_document_is_taken_in_stays(
    site: SyncSite, is_marked_before: bool
) -> None:
    await site.sync(fetched("a.md", "One."))
    if is_marked_before:
        await renew(site, "a.md")
    site.embedder.begun.clear()
    site.embedder.wait = asyncio.Event()
    running = asyncio.create_task(site.sync(fetched("a.md", "Two.")))
    await site.embedder.begun.wait()
    await renew(site, "a.md")
    site.embedder.wait.set()
    await running
    assert await site.contents() == {"a.md": ["Two."]}
    assert (await site.documents())["a.md"].state is DocumentState.PENDING
    await site.sync(fetched("a.md", "Two."))
    assert site.sources["docs"].known["a.md"].content_hash is None
    assert (await site.documents())["a.md"].state is DocumentState.INDEXED


@pytest.mark.parametrize("item", [fetched("a.md", "Two."), Same("a.md", {"etag": "2"})], ids=["fetched", "same"])
async def test_document_that_somebody_marks_while_its_source_is_read_is_left_to_the_next_sync(
    site: SyncSite, item: Item
) -> None:
    await site.sync(fetched("a.md", "One."))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    site.build_source = lambda _, __: MeddledSource(ListedSource([item]), lambda: renew(site, "a.md"))
    assert (await site.sync()).index_number == 2
    assert await site.contents() == {"a.md": ["One."]}
    assert (await site.documents())["a.md"].state is DocumentState.PENDING


async def test_document_that_somebody_deletes_while_its_source_is_read_stays_away(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    documents = await site.documents()

    async def delete() -> None:
        await site.knowledge.writer.remove_documents(site.tenant_id, [documents["a.md"].id])
        base = documents["b.md"].knowledge_base_id
        await site.knowledge.editor.exclude_document(site.tenant_id, base, documents["b.md"].id)

    items = [fetched("a.md", "One, changed."), fetched("b.md", "Two, changed.")]
    site.build_source = lambda _, __: MeddledSource(ListedSource(items), delete)
    await site.sync()
    assert await site.contents() == {}
    assert set(await site.documents()) == {"b.md"}


async def test_document_to_be_taken_in_anew_that_is_not_embedded_stays_as_it_was(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    await renew(site, "a.md")
    site.embedder.fail = refuse_poison
    sync = await site.sync(fetched("a.md", "poison"))
    assert sync.counts.failed == 1
    assert await site.contents() == {"a.md": ["One."]}
    assert (await site.documents())["a.md"].state is DocumentState.PENDING


async def test_excluded_document_stays_out(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    document = (await site.documents())["a.md"]
    await site.knowledge.editor.exclude_document(site.tenant_id, document.knowledge_base_id, document.id)
    await site.sync(fetched("a.md", "One, changed."), fetched("b.md", "Two."))
    assert set(await site.contents()) == {"b.md"}
    assert (await site.documents())["a.md"].state is DocumentState.EXCLUDED


async def test_excluded_document_stays_out_although_its_source_was_without_it_once(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    document = (await site.documents())["a.md"]
    await site.knowledge.editor.exclude_document(site.tenant_id, document.knowledge_base_id, document.id)
    assert (await site.sync(fetched("b.md", "Two."))).counts.removed == 0
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    assert set(await site.contents()) == {"b.md"}


@pytest.mark.parametrize("trigger", ["request", "configuration"])
async def test_vectors_of_a_document_that_somebody_took_out_go_with_the_sync_asked_for(
    site: SyncSite, trigger: str
) -> None:
    """What it was about is gone by then, so that the sources alone tell of no change."""
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    document = (await site.documents())["a.md"]
    await site.knowledge.editor.exclude_document(site.tenant_id, document.knowledge_base_id, document.id)
    assert len(await site.hashes()) == 2
    await site.sync(trigger=trigger)
    assert len(await site.hashes()) == 1


async def test_vectors_of_a_document_that_somebody_took_out_go_from_what_is_kept_to_go_back_to(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    before = await site.active()
    assert before is not None
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    await site.sync()
    document = (await site.documents())["a.md"]
    await site.knowledge.editor.exclude_document(site.tenant_id, document.knowledge_base_id, document.id)
    await site.sync()
    pages = site.knowledge.vectors.hashes(site.tenant_id, before)
    assert len([key async for page in pages for key in page]) == 1


# ---- what the configuration says of a source ----


@pytest.mark.parametrize("is_same", [True, False], ids=["same", "fetched"])
async def test_another_audience_reaches_all_documents_without_embedding(site: SyncSite, is_same: bool) -> None:
    await site.sync(fetched("a.md", "One."))
    assert (await site.documents())["a.md"].facts.audience == {"public"}
    site.config = make_config(make_source(audience=["member"], tags=["internal"]))
    await site.sync(Same("a.md") if is_same else fetched("a.md", "One."))
    facts = (await site.documents())["a.md"].facts
    assert (facts.audience, facts.tags) == (frozenset({"member"}), frozenset({"internal"}))
    site.config = make_config(make_source(audience=["public"]))
    await site.sync()
    facts = (await site.documents())["a.md"].facts
    assert (facts.audience, facts.tags) == (frozenset({"public"}), frozenset())
    assert len(site.embedder.texts) == 1


async def test_another_audience_reaches_documents_of_a_missed_source(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    site.config = make_config(make_source(audience=["member"]))
    await site.sync(GONE)
    assert (await site.documents())["a.md"].facts.audience == {"member"}


async def test_narrower_audience_reaches_documents_although_the_sync_fails(site: SyncSite) -> None:
    site.config = make_config(make_source("docs"), make_source("news"))
    site.items = {"docs": [fetched("a.md", "One.")], "news": [fetched("b.md", "Two.")]}
    await site.sync()
    site.config = make_config(make_source("docs"), make_source("news", audience=["member"]))
    site.embedder.fail = lambda texts: SecretMissing("gone")
    await fail(site, fetched("a.md", "Changed."))
    assert (await site.documents())["b.md"].facts.audience == {"member"}


async def test_source_says_nothing_of_the_audience(site: SyncSite) -> None:
    site.config = make_config(make_source(audience=["owner"]))
    await site.sync(fetched("a.md", "One.", facts=DocumentFacts(title="A", audience=frozenset({"public"}))))
    assert (await site.documents())["a.md"].facts.audience == {"owner"}


async def test_another_language_has_documents_cut_again(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "Eins."))
    site.config = make_config(make_source(language="de"))
    writes = watch_writes(site)
    await site.sync(Same("a.md"))
    assert (await site.documents())["a.md"].facts.language == "de"
    assert writes == ["put_document", "finish_index"]
    assert len(site.embedder.texts) == 1


async def test_another_title_by_the_source_is_embedded(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    await site.sync(fetched("a.md", "One.", facts=DocumentFacts(title="Called otherwise")))
    assert site.embedder.texts[-1] == "Called otherwise\n\nOne."
    assert site.extractor.extracted == ["a.md"]


# ---- rebuilds ----


async def test_rebuild_takes_stored_texts_and_activates_when_whole(site: SyncSite) -> None:
    await site.sync(fetched("a.md", long_text(1)), fetched("b.md", long_text(2)))
    site.config = make_config(chunking=Chunking(target_tokens=100, overlap_tokens=20))
    sync = await site.sync(Same("a.md"), Same("b.md"))
    assert site.extractor.extracted == ["a.md", "b.md"]
    active = await site.active()
    assert active is not None
    assert (active.number, sync.index_number) == (2, 2)
    assert sync.estimated_tokens == sync.counts.embedded_tokens > 0
    assert set(await site.contents()) == {"a.md", "b.md"}


async def test_rebuild_keeps_documents_of_a_missed_source(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    sync = await site.sync(Missed("b.md", Failing.UNAVAILABLE, "No answer."), GONE)
    assert sync.state is SyncState.COMPLETE
    assert await site.contents() == {"a.md": ["One."], "b.md": ["Two."]}
    active = await site.active()
    assert active is not None
    assert active.number == 2


@pytest.mark.parametrize("item", [Missed("a.md", Failing.UNAVAILABLE, "No answer."), GONE], ids=["document", "source"])
async def test_rebuild_keeps_a_document_to_be_taken_in_anew_that_cannot_be_had(site: SyncSite, item: Missed) -> None:
    await site.sync(fetched("a.md", "One."))
    await renew(site, "a.md")
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    sync = await site.sync(item)
    assert (sync.index_number, sync.estimated_tokens) == (2, sync.counts.embedded_tokens)
    assert await site.contents() == {"a.md": ["One."]}
    assert (await site.documents())["a.md"].state is DocumentState.PENDING
    writes = watch_writes(site)
    await site.sync()
    assert writes == []
    await site.sync(fetched("a.md", "One, changed."))
    assert await site.contents() == {"a.md": ["One, changed."]}
    assert (await site.documents())["a.md"].state is DocumentState.INDEXED


async def test_text_that_another_reader_extracted_is_extracted_anew_once_its_source_is_back(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."))
    site.reader = "r2"
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    await site.sync(GONE)
    await site.sync(fetched("a.md", "One."))
    assert site.extractor.extracted == ["a.md", "a.md"]


async def test_rebuild_beyond_the_budget_embeds_nothing(site: SyncSite) -> None:
    await site.sync(fetched("a.md", long_text(1)))
    embedded = len(site.embedder.texts)
    site.config = make_config(
        embedding=site.config.embedding.model_copy(update={"model": "e-2"}), budget=SyncBudget(max_tokens_per_sync=50)
    )
    failure = await fail(site, Same("a.md"))
    assert (failure.code, failure.is_final) == ("budget-exceeded", True)
    assert "maxTokensPerSync" in failure.message
    assert len(site.embedder.texts) == embedded
    active = await site.active()
    assert active is not None
    assert active.number == 1
    sync = (await site.syncs())[0]
    assert sync.estimated_tokens is not None
    assert f"{sync.estimated_tokens:,}" in failure.message


def refuse_poison(texts: Sequence[str]) -> Exception | None:
    """As a model does that cannot take one text."""
    return ModelRefused("Too long.") if any("poison" in text for text in texts) else None


async def test_rebuild_that_lacks_too_much_is_not_activated(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "poison"))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    site.embedder.fail = refuse_poison
    failure = await fail(site)
    assert (failure.code, failure.is_final) == ("embedding-failed", False)
    assert set(await site.contents()) == {"a.md", "b.md"}
    site.embedder.fail = lambda texts: None
    await site.sync()
    assert site.embedder.texts.count("a.md\n\nOne.") == 2
    active = await site.active()
    assert active is not None
    assert active.number == 2
    assert set(await site.contents()) == {"a.md", "b.md"}


async def test_rebuild_is_activated_although_the_model_refuses_a_document(site: SyncSite) -> None:
    texts = [f"Text {number}." for number in range(20)]
    await site.sync(*(fetched(f"{number}.md", text) for number, text in enumerate([*texts, "poison"])))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    site.embedder.fail = refuse_poison
    sync = await site.sync()
    assert (sync.state, sync.counts.failed, sync.index_number) == (SyncState.COMPLETE, 1, 2)
    assert len(await site.contents()) == 20
    assert (await site.documents())["20.md"].state is DocumentState.FAILED


async def test_document_that_is_refused_again_and_again_costs_its_other_texts_once(site: SyncSite) -> None:
    site.embedder.fail = refuse_poison
    items = [fetched("a.md", long_text(1) + "\n\n# Last\n\n" + "poison " * 300), fetched("b.md", "Two.")]
    await site.sync(*items)
    paid = set(site.embedder.texts) - {"test"}
    assert len(paid) > 1
    writes = watch_writes(site)
    sync = await site.sync(items[0], fetched("b.md", "Two, changed."))
    assert sync.counts.failed == 1
    assert writes == ["write", "put_document", "finish_index", "delete"]
    embedded = [text for text in site.embedder.texts if text != "test"]
    assert len(embedded) == len(set(embedded)) == len(paid) + 1


@pytest.mark.parametrize("hours", [0, 1])
async def test_index_that_was_replaced_goes_after_its_time(site: SyncSite, hours: int) -> None:
    await site.sync(fetched("a.md", "One."))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}), rollback_hours=hours)
    await site.sync()
    base = (await site.documents())["a.md"].knowledge_base_id
    kept = await site.knowledge.writer.list_indexes(site.tenant_id, base)
    assert [(index.number, index.state) for index in kept] == [(1, IndexState.RETIRED), (2, IndexState.ACTIVE)]
    rows = site.knowledge.rows.of(site.tenant_id)[base].indexes
    for row in rows.values():
        if row.index.retired_at is not None:
            row.index = replace(row.index, retired_at=row.index.retired_at - timedelta(hours=2))
    await site.sync()
    kept = await site.knowledge.writer.list_indexes(site.tenant_id, base)
    assert [index.number for index in kept] == [2]


async def test_going_back_takes_the_index_before_up_again(site: SyncSite) -> None:
    before = site.config
    await site.sync(fetched("a.md", "One."))
    site.config = make_config(embedding=before.embedding.model_copy(update={"model": "e-2"}))
    await site.sync()
    site.config = before
    await site.sync()
    active = await site.active()
    assert active is not None
    assert active.number == 1
    assert len(site.embedder.texts) == 2


# ---- budgets of ordinary syncs ----


async def test_budget_stops_at_a_document_and_the_next_sync_goes_on(site: SyncSite) -> None:
    site.config = make_config(budget=SyncBudget(max_tokens_per_sync=2500))
    items = [fetched(f"{number}.md", long_text(number, sections=2)) for number in range(5)]
    runs = 1
    while (failure := await try_sync(site, *items)) is not None:
        assert failure.code == "budget-exceeded"
        assert (await site.syncs())[0].counts.embedded_tokens <= 2500
        runs += 1
    assert runs > 1
    assert len(await site.contents()) == 5
    assert len(site.embedder.texts) == len(set(site.embedder.texts))


async def test_budget_does_not_hinder_what_is_embedded_already(site: SyncSite) -> None:
    await site.sync(fetched("a.md", long_text(1)))
    site.config = make_config(budget=SyncBudget(max_tokens_per_sync=1))
    assert (await site.sync()).state is SyncState.COMPLETE


# ---- embedding ----


async def test_many_texts_go_in_several_requests(site: SyncSite) -> None:
    await site.sync(*(fetched(f"{number}.md", f"Text {number}.") for number in range(600)))
    assert len(site.embedder.texts) == 600
    assert site.embedder.requests >= 600 / embedding_module.REQUEST_TEXTS


async def test_busy_endpoint_is_asked_again(site: SyncSite) -> None:
    refusals = iter(range(5))
    site.embedder.fail = lambda texts: (
        ModelUnavailable(retry_after_seconds=0.001) if next(refusals, None) is not None else None
    )
    sync = await site.sync(*(fetched(f"{number}.md", f"Text {number}.") for number in range(50)))
    assert (sync.state, sync.counts.embedded_chunks) == (SyncState.COMPLETE, 50)


async def test_request_that_takes_too_long_is_halved(site: SyncSite) -> None:
    site.embedder.fail = lambda texts: ModelTimeout() if len(texts) > 2 else None
    sync = await site.sync(*(fetched(f"{number}.md", f"Text {number}.") for number in range(30)))
    assert (sync.state, sync.counts.embedded_chunks) == (SyncState.COMPLETE, 30)


async def test_text_that_the_model_refuses_fails_its_document_alone(site: SyncSite) -> None:
    site.embedder.fail = lambda texts: ModelRefused("Too long.") if any("poison" in text for text in texts) else None
    texts = [f"Text {number}." for number in range(40)]
    sync = await site.sync(*(fetched(f"{number}.md", text) for number, text in enumerate([*texts, "poison"])))
    documents = await site.documents()
    assert documents["40.md"].state is DocumentState.FAILED
    assert documents["40.md"].failure is not None
    assert documents["40.md"].failure.reason is Failing.EMBEDDING_FAILED
    assert (sync.counts.added, sync.counts.failed) == (40, 1)


async def test_text_that_breaks_the_server_fails_its_document_alone(site: SyncSite) -> None:
    site.embedder.fail = lambda texts: ModelUnavailable() if any("poison" in text for text in texts) else None
    texts = [f"Text {number}." for number in range(40)]
    sync = await site.sync(*(fetched(f"{number}.md", text) for number, text in enumerate([*texts, "poison"])))
    assert (sync.counts.added, sync.counts.failed) == (40, 1)


async def test_changed_document_that_was_not_embedded_stays_as_it_was(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    site.embedder.fail = lambda texts: ModelRefused("Too long.") if any("poison" in text for text in texts) else None
    sync = await site.sync(fetched("a.md", "poison"), fetched("b.md", "Two, changed."))
    assert await site.contents() == {"a.md": ["One."], "b.md": ["Two, changed."]}
    assert sync.counts.failed == 1


@pytest.mark.parametrize(
    ("error", "is_final"), [(ModelRefused("Check the API key."), True), (SecretMissing("It is not there."), False)]
)
async def test_refused_credentials_end_the_sync(site: SyncSite, error: ModelRefused, is_final: bool) -> None:
    site.embedder.fail = lambda texts: error
    failure = await fail(site, *(fetched(f"{number}.md", f"Text {number}.") for number in range(300)))
    assert (failure.code, failure.message, failure.is_final) == (error.code, error.message, is_final)
    assert site.embedder.requests < 100


async def test_endpoint_that_is_away_ends_the_sync(site: SyncSite) -> None:
    site.embedder.fail = lambda texts: ModelUnavailable()
    failure = await fail(site, *(fetched(f"{number}.md", f"Text {number}.") for number in range(2000)))
    assert (failure.code, failure.is_final) == ("embedding-failed", False)
    site.embedder.fail = lambda texts: None
    assert (await site.sync()).counts.added == 2000


async def test_documents_wait_at_their_source_while_the_endpoint_is_slow(site: SyncSite) -> None:
    site.embedder.wait = asyncio.Event()
    items = [fetched(f"{number}.md", f"Text {number}.") for number in range(2000)]
    running = asyncio.create_task(site.sync(*items))
    await site.embedder.begun.wait()
    seen = -1
    while seen != len(site.extractor.extracted):
        seen = len(site.extractor.extracted)
        for _ in range(200):
            await asyncio.sleep(0)
    assert seen <= embedding_module.BATCH_TEXTS + 20
    site.embedder.wait.set()
    assert (await running).counts.added == 2000


# ---- ends ----


async def test_progress_is_told_while_a_sync_runs(site: SyncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.ingest.progress.REPORT_SECONDS", 0.01)
    site.embedder.wait = asyncio.Event()
    told = asyncio.Event()
    report_sync = site.knowledge.writer.report_sync

    async def watched(tenant_id: TenantId, sync: Sync) -> None:
        await report_sync(tenant_id, sync)
        if sync.state is SyncState.RUNNING and sync.counts.documents == 2:
            told.set()

    monkeypatch.setattr(site.knowledge.writer, "report_sync", watched)
    running = asyncio.create_task(site.sync(fetched("a.md", "One."), fetched("b.md", "Two.")))
    await told.wait()
    (sync,) = await site.syncs()
    assert (sync.state, sync.index_number, sync.counts.documents) == (SyncState.RUNNING, 1, 2)
    site.embedder.wait.set()
    assert (await running).state is SyncState.COMPLETE


async def test_busy_knowledge_base_is_left_alone_or_waited_for(site: SyncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.ingest.sync.BUSY_SECONDS", 0.01)
    async with site.knowledge.writer.lock(site.tenant_id, NAME):
        run = synchronise(site.tools, lambda: site.config, name=NAME, trigger="schedule", waits=False)
        assert await run is None
        waiting = asyncio.create_task(
            synchronise(site.tools, lambda: site.config, name=NAME, trigger="request", waits=True)
        )
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert await waiting is not None


async def test_stop_ends_at_the_next_safe_point(site: SyncSite) -> None:
    site.embedder.wait = asyncio.Event()
    items = [fetched(f"{number}.md", long_text(number)) for number in range(200)]
    running = asyncio.create_task(fail(site, *items))
    await site.embedder.begun.wait()
    site.stop.set()
    site.embedder.wait.set()
    failure = await running
    assert (failure.code, failure.is_final) == ("killed", False)
    paid = len(site.embedder.texts)
    assert 0 < paid < 1800
    site.stop, site.embedder.wait = asyncio.Event(), None
    await site.sync()
    assert len(site.embedder.texts) == len(set(site.embedder.texts)) == 1800


async def test_vectors_in_pinecone_are_found_by_the_sync_after_one_that_broke_off(site: SyncSite) -> None:
    pinecone = PineconeIndex(index_host="https://pinecone.example", api_key=SecretKey(name="pinecone", key="key"))
    site.config = make_config(pinecone=pinecone)
    items = [fetched(f"{number}.md", long_text(number)) for number in range(200)]
    site.embedder.fail = lambda texts: SecretMissing("gone") if len(site.embedder.texts) > 300 else None
    await fail(site, *items)
    site.embedder.fail = lambda texts: None
    await site.sync()
    assert len(site.embedder.texts) == len(set(site.embedder.texts)) == 1800


async def test_cancelled_sync_says_so(site: SyncSite) -> None:
    site.embedder.wait = asyncio.Event()
    running = asyncio.create_task(site.sync(fetched("a.md", "One.")))
    await site.embedder.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (sync,) = await site.syncs()
    assert (sync.state, sync.failure) == (SyncState.FAILED, "killed")


async def test_store_that_goes_away_ends_the_sync(site: SyncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object, **fields: object) -> None:
        raise StoreUnavailable("PostgreSQL does not answer.", store="PostgreSQL")

    monkeypatch.setattr(site.knowledge.writer, "put_document", away)
    failure = await fail(site, fetched("a.md", "One."))
    assert (failure.code, failure.is_final) == ("store-unavailable", False)


async def test_knowledge_base_for_which_there_is_no_room_ends_the_sync_for_good(site: SyncSite) -> None:
    for number in range(MOST_KNOWLEDGE_BASES):
        await site.knowledge.editor.request_sync(site.tenant_id, f"base {number}")
    with pytest.raises(SyncFailed) as caught:
        await synchronise(site.tools, lambda: site.config, name=NAME, trigger="schedule", waits=True)
    assert (caught.value.code, caught.value.is_final) == ("too-many-knowledge-bases", True)


async def test_fault_of_ours_is_told_without_its_words(site: SyncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object, **fields: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(site.knowledge.writer, "put_document", broken)
    failure = await fail(site, fetched("a.md", "One."))
    assert failure.code == "internal-error"
    assert "secret words" not in failure.message


async def test_sync_after_one_that_broke_off_puts_statistics_right(site: SyncSite) -> None:
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    site.embedder.fail = lambda texts: SecretMissing("gone")
    await fail(site, fetched("a.md", "One."), fetched("b.md", "Two."), fetched("c.md", "Three."))
    site.embedder.fail = lambda texts: None
    writes = watch_writes(site)
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    assert writes == ["finish_index"]


async def test_what_was_written_while_a_sync_is_read_anew(site: SyncSite) -> None:
    """Somebody deletes a document between its listing and the look at its text."""
    await site.sync(fetched("a.md", "One."), fetched("b.md", "Two."))
    site.config = make_config(embedding=site.config.embedding.model_copy(update={"model": "e-2"}))
    read_text = site.knowledge.writer.read_text

    async def gone(tenant_id: object, document_id: object) -> Extracted | None:
        found = await read_text(tenant_id, document_id)  # type: ignore[arg-type]
        return None if found is not None and found.text == "One." else found

    site.knowledge.writer.read_text = gone  # type: ignore[method-assign]
    sync = await site.sync(Same("a.md"), Same("b.md"))
    assert sync.state is SyncState.COMPLETE
    assert set(await site.contents()) == {"b.md"}


def test_texts_of_one_request_are_bounded() -> None:
    texts: Sequence[tuple[bytes, str]] = [(bytes([number]), "x" * 3000) for number in range(20)]
    requests = list(embedding_module._requests(texts))
    assert [text for request in requests for text in request] == texts
    assert all(sum(len(text) for _, text in request) <= 3 * embedding_module.REQUEST_TOKENS for request in requests)
