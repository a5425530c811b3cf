"""What stores promise of documents, uploads and syncs: memory and PostgreSQL pass the same tests."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES
from syntera_runtime.errors import AudienceNotHeld, FileAttached, FileNotFound, TooManyKnowledgeBases
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import DocumentId, FileId, KnowledgeBaseId
from syntera_runtime.models.knowledge import (
    Document,
    DocumentChange,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Failing,
    KnownDocument,
    Mark,
    SearchFilter,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from tests.runtime.knowledge_stores import KnowledgeStores, content_hash, make_chunks, make_facts

BROKEN = DocumentFailure(Failing.BROKEN, "It cannot be read as a PDF. Save it anew.")
SEEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_knowledge_base_is_known_by_its_name_once_it_is_locked(knowledge: KnowledgeStores) -> None:
    assert await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook") is None
    assert await knowledge.editor.describe_knowledge_bases(knowledge.tenant_id, ["handbook"]) == []
    base = await knowledge.begin()
    assert await knowledge.begin() == base
    assert await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook") == base
    assert (base.name, base.active) == ("handbook", None)
    assert (await knowledge.begin("other")).id != base.id


async def test_knowledge_base_beyond_the_last_is_not_made_known(knowledge: KnowledgeStores) -> None:
    for number in range(MOST_KNOWLEDGE_BASES):
        await knowledge.editor.request_sync(knowledge.tenant_id, f"base {number}")
    with pytest.raises(TooManyKnowledgeBases):
        await knowledge.editor.request_sync(knowledge.tenant_id, "one more")
    with pytest.raises(TooManyKnowledgeBases):
        async with knowledge.writer.lock(knowledge.tenant_id, "one more"):
            pass
    async with knowledge.writer.lock(knowledge.tenant_id, "base 7") as known:
        assert known is not None


async def test_knowledge_bases_are_described_together(knowledge: KnowledgeStores) -> None:
    first, second = await knowledge.begin("first"), await knowledge.begin("second")
    await knowledge.begin("third")
    index = await knowledge.publish(await knowledge.open_index(first))
    await knowledge.put(index, "a.md", "one", "two")
    await knowledge.put(await knowledge.open_index(first, "f2"), "b.md", "three")
    for base in (first, first, second):
        sync = await knowledge.writer.begin_sync(knowledge.tenant_id, base.id, trigger="schedule", revision=1)
    names = ["second", "none", "first"]
    found = await knowledge.editor.describe_knowledge_bases(knowledge.tenant_id, names)
    described = {base.name: base for base in found}
    (last, _) = await knowledge.editor.list_syncs(knowledge.tenant_id, first.id, limit=9)
    assert described == {
        "first": replace(first, active=index, documents={DocumentState.INDEXED: 2}, chunks=2, last_sync=last),
        "second": replace(second, last_sync=sync),
    }


async def test_lock_is_held_by_one_at_a_time(knowledge: KnowledgeStores) -> None:
    lock = knowledge.writer.lock
    async with lock(knowledge.tenant_id, "handbook") as held:
        assert held is not None
        async with lock(knowledge.tenant_id, "handbook") as second, lock(knowledge.tenant_id, "other") as other:
            assert second is None
            assert other is not None
    with pytest.raises(RuntimeError):
        async with lock(knowledge.tenant_id, "handbook"):
            raise RuntimeError
    async with lock(knowledge.tenant_id, "handbook") as again:
        assert again is not None


async def test_document_is_read_as_it_was_put(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    facts = make_facts(
        title="Refunds",
        url="https://shop.example/refunds",
        media_type="text/html",
        language="de",
        audience={"authenticated", "admin"},
        tags={"b", "a"},
        modified_at=SEEN,
        size=2048,
    )
    extracted = Extracted(
        "# Refunds\n\nÄh 🙂", (Mark(0, ("Refunds", "a|b"), 1), Mark(9, ("Refunds",), 2)), "Refunds", "de"
    )
    made = await knowledge.writer.put_document(
        knowledge.tenant_id,
        index,
        document=None,
        origin=DocumentOrigin("web", "https://shop.example/refunds?a=1&b='"),
        facts=facts,
        content_hash=content_hash("x"),
        validators={"etag": 'W/"7"'},
        extracted=extracted,
        chunks=make_chunks(["# Refunds", "Äh 🙂"], headings=("Refunds",)),
        reader="r1",
    )
    found = await knowledge.editor.find_document(knowledge.tenant_id, base.id, made)
    assert found is not None
    assert (found.facts, found.origin.source, found.state) == (facts, "web", DocumentState.INDEXED)
    assert (found.content_hash, found.validators) == (content_hash("x"), {"etag": 'W/"7"'})
    assert (found.characters, found.failure, found.file_id) == (len(extracted.text), None, None)
    assert found.checked_at is not None
    assert await knowledge.writer.read_text(knowledge.tenant_id, made) == extracted
    (known,) = await knowledge.known(index, "web")
    assert (known.id, known.origin, known.facts, known.validators) == (made, found.origin, facts, found.validators)
    assert (known.content_hash, known.indexed_hash, known.reader) == (content_hash("x"), content_hash("x"), "r1")


async def test_document_that_changes_keeps_its_id_and_loses_its_old_chunks(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a.md", "one", "two", "three")
    (known,) = await knowledge.known(index)
    assert await knowledge.put(index, "a.md", "four", document=known, title="New", reader="r2") == made
    assert await knowledge.put(index, "a.md", "four", title="New", reader="r2") == made  # however it was called
    assert await knowledge.chunks_of(index, made) == ["four"]
    (known,) = await knowledge.known(index)
    assert (known.facts.title, known.reader, known.content_hash) == ("New", "r2", content_hash("four"))


async def test_all_documents_of_a_source_are_known(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    for number in reversed(range(7)):
        await knowledge.put(index, f"{number}.md", f"text {number}")
    await knowledge.put(index, "a.md", "other", source="other")
    assert {known.origin.path for known in await knowledge.known(index)} == {f"{number}.md" for number in range(7)}
    assert await knowledge.writer.list_sources(knowledge.tenant_id, base.id) == {"docs", "other"}


async def test_touched_document_has_new_facts_and_its_old_chunks(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a.md", "one", audience={"public"})
    await knowledge.writer.touch_documents(
        knowledge.tenant_id,
        {
            made: DocumentChange(make_facts(audience={"admin"}, title="T"), {"etag": "2"}),
            DocumentId(new_id()): DocumentChange(make_facts(), {}),
        },
    )
    (known,) = await knowledge.known(index)
    assert known.facts == make_facts(audience={"admin"}, title="T")
    assert known.validators == {"etag": "2"}
    assert await knowledge.chunks_of(index, made) == ["one"]


async def test_document_is_found_as_it_is_now(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    await knowledge.put(index, "a.md", "one", validators={"etag": "1"})
    await knowledge.put(index, "a.md", "other", source="other")
    await knowledge.put(index, "b.md", "two")

    async def find(path: str, source: str = "docs") -> KnownDocument | None:
        origin = DocumentOrigin(source, path)
        return await knowledge.writer.find_known(knowledge.tenant_id, base.id, index.id, origin=origin)

    for known in await knowledge.known(index):
        assert await find(known.origin.path) == known
    found = await find("a.md", "other")
    assert found is not None
    assert found.indexed_hash == content_hash("other")
    assert await find("c.md") is None


async def test_links_are_kept_until_others_are_given_or_the_document_is_taken_out(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    origin = DocumentOrigin("docs", "a.md")

    async def links() -> list[str] | None:
        found = await knowledge.writer.find_links(knowledge.tenant_id, base.id, origin=origin)
        return None if found is None else list(found)

    assert await links() is None
    made = await knowledge.put(index, "a.md", "one")
    assert await links() is None
    await knowledge.put(index, "a.md", "one", links=["https://a.example/1", "https://a.example/ü"])
    await knowledge.put(index, "a.md", "two")
    await knowledge.writer.touch_documents(knowledge.tenant_id, {made: DocumentChange(make_facts(), {})})
    assert await links() == ["https://a.example/1", "https://a.example/ü"]
    await knowledge.writer.touch_documents(knowledge.tenant_id, {made: DocumentChange(make_facts(), {}, [])})
    assert await links() == []
    await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, made)
    assert await links() is None


async def test_narrower_audience_reaches_a_document_that_is_to_be_taken_in_anew(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one", audience={"public"}, validators={"etag": "1"})
    await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    await knowledge.writer.set_audience(knowledge.tenant_id, [made, DocumentId(new_id())], frozenset({"admin"}))
    (known,) = await knowledge.known(index)
    assert (known.state, known.facts.audience, known.validators) == (DocumentState.PENDING, frozenset({"admin"}), {})
    assert await knowledge.with_words(index, "one") == []


async def test_document_that_fails_is_named_and_out_of_the_index(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a.md", "one", validators={"etag": "1"})
    (held,) = await knowledge.known(index)
    for path, document in (("a.md", held), ("b.md", None)):
        await knowledge.writer.fail_document(
            knowledge.tenant_id,
            base.id,
            index,
            document=document,
            origin=DocumentOrigin("docs", path),
            facts=make_facts(title="Broken"),
            failure=BROKEN,
        )
    failed, new = await knowledge.editor.list_documents(
        knowledge.tenant_id, base.id, state=DocumentState.FAILED, limit=9
    )
    assert (failed.id, failed.failure, failed.facts.title, failed.validators) == (made, BROKEN, "Broken", {})
    assert (new.origin.path, new.failure, new.chunks, new.content_hash) == ("b.md", BROKEN, 0, None)
    assert await knowledge.chunks_of(index, made) == []
    assert await knowledge.writer.read_text(knowledge.tenant_id, made) is None
    (known,) = [known for known in await knowledge.known(index) if known.id == made]
    assert (known.state, known.indexed_hash, known.failure) == (DocumentState.FAILED, None, BROKEN)
    await knowledge.put(index, "a.md", "one", document=known)
    found = await knowledge.editor.find_document(knowledge.tenant_id, base.id, made)
    assert found is not None
    assert (found.state, found.failure) == (DocumentState.INDEXED, None)


async def test_removed_document_leaves_nothing(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one")
    kept = await knowledge.put(index, "b.md", "two")
    await knowledge.writer.remove_documents(knowledge.tenant_id, [made, DocumentId(new_id())])
    assert await knowledge.editor.find_document(knowledge.tenant_id, base.id, made) is None
    assert await knowledge.chunks_of(index, made) == []
    assert await knowledge.with_words(index, "one") == []
    assert [known.id for known in await knowledge.known(index)] == [kept]


async def test_documents_are_listed_by_what_is_asked_for(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    first = await knowledge.put(index, "guide/refunds.md", "one", "two", title="Money back")
    second = await knowledge.put(index, "guide/100%_sure.md", "three", title="Refunds", source="web")
    third = await knowledge.put(index, "c.md", title="Other")

    async def listed(**asked: object) -> list[DocumentId]:
        options = {"limit": 10, **asked}
        found = await knowledge.editor.list_documents(knowledge.tenant_id, base.id, **options)  # type: ignore[arg-type]
        return [document.id for document in found]

    assert await listed() == [first, second, third]
    assert await listed(limit=2) == [first, second]
    assert await listed(after=second) == [third]
    assert await listed(source="web") == [second]
    assert await listed(words="REFUNDS") == [first, second]
    assert await listed(words="100%_S") == [second]
    assert await listed(words="%") == [second]
    assert await listed(words="\\") == []
    assert await listed(state=DocumentState.FAILED) == []
    found = await knowledge.editor.list_documents(knowledge.tenant_id, base.id, limit=10)
    assert [document.chunks for document in found] == [2, 1, 0]
    [described] = await knowledge.editor.describe_knowledge_bases(knowledge.tenant_id, ["handbook"])
    assert (described.documents, described.chunks, described.active) == ({DocumentState.INDEXED: 3}, 3, index)


async def test_chunks_are_listed_by_position_with_all_that_is_known(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a.md", "one", "two", "three", headings=("A", 'B, "C"'), title="T", tags={"x"})
    found = await knowledge.editor.list_chunks(knowledge.tenant_id, index, made, after=0, limit=1)
    (chunk,) = found
    assert chunk.chunk == replace(make_chunks(["one", "two"], headings=("A", 'B, "C"'))[1].chunk)
    assert (chunk.document_id, chunk.origin, chunk.facts) == (
        made,
        DocumentOrigin("docs", "a.md"),
        make_facts(title="T", tags={"x"}),
    )


# ---- what people do ----


async def test_excluded_document_is_found_no_more_and_no_sync_brings_it_back(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one")
    (known,) = await knowledge.known(index)
    assert await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, made)
    assert not await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, DocumentId(new_id()))
    assert await knowledge.with_words(index, "one") == []
    assert await knowledge.writer.read_text(knowledge.tenant_id, made) is None
    # The sync that was about to write it, and the next one.
    await knowledge.put(index, "a.md", "one", document=known)
    await knowledge.put(index, "a.md", "one")
    await knowledge.writer.fail_document(
        knowledge.tenant_id, base.id, index, document=known, origin=known.origin, facts=known.facts, failure=BROKEN
    )
    await knowledge.writer.touch_documents(knowledge.tenant_id, {made: DocumentChange(make_facts(title="new"), {})})
    (known,) = await knowledge.known(index)
    assert (known.state, known.indexed_hash, known.facts.title) == (DocumentState.EXCLUDED, None, "Guide")
    assert await knowledge.with_words(index, "one") == []
    assert await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    (known,) = await knowledge.known(index)
    await knowledge.put(index, "a.md", "one", document=known)
    assert await knowledge.with_words(index, "one") == ["one"]


async def test_renewed_document_is_searched_as_it_was_until_a_sync_takes_it_in(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one", validators={"etag": "1"})
    assert await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    assert not await knowledge.editor.renew_document(knowledge.tenant_id, base.id, DocumentId(new_id()))
    assert await knowledge.with_words(index, "one") == ["one"]
    (known,) = await knowledge.known(index)
    assert (known.state, known.content_hash, known.validators) == (DocumentState.PENDING, None, {})
    assert known.indexed_hash == content_hash("one")


@pytest.mark.parametrize("is_marked_before", [False, True])
async def test_mark_that_was_set_after_a_document_was_found_stays(
    knowledge: KnowledgeStores, is_marked_before: bool
) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one")
    if is_marked_before:
        await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    (known,) = await knowledge.known(index)
    await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    await knowledge.put(index, "a.md", "two", document=known, validators={"etag": "2"})
    assert await knowledge.chunks_of(index, made) == ["two"]
    (known,) = await knowledge.known(index)
    assert (known.state, known.content_hash, known.validators) == (DocumentState.PENDING, None, {})
    await knowledge.put(index, "a.md", "three", document=known)
    (known,) = await knowledge.known(index)
    assert (known.state, known.content_hash) == (DocumentState.INDEXED, content_hash("three"))


async def test_carried_upload_is_still_to_be_taken_in_and_found_by_its_new_bytes(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    first = await knowledge.publish(await knowledge.open_index(base))
    made, _ = await knowledge.upload(base.id, text="one")
    (known,) = await knowledge.known(first, "uploads")
    await knowledge.put(first, "guide.txt", "one", source="uploads", document=known)
    _, file_id = await knowledge.upload(base.id, text="two")
    second = await knowledge.open_index(base, "f2")
    (known,) = await knowledge.known(second, "uploads")
    assert known.indexed_hash is None
    await knowledge.put(second, "guide.txt", "one", source="uploads", document=known, is_pending=True)
    assert await knowledge.chunks_of(second, made) == ["one"]
    (known,) = await knowledge.known(second, "uploads")
    assert (known.state, known.indexed_hash) == (DocumentState.PENDING, content_hash("one"))
    found = await find_upload(knowledge, base.id, "two", file_id)
    assert found is not None
    assert (found.id, found.state) == (made, DocumentState.PENDING)


async def find_upload(
    knowledge: KnowledgeStores, base_id: KnowledgeBaseId, text: str, file_id: FileId
) -> Document | None:
    return await knowledge.editor.find_upload(
        knowledge.tenant_id, base_id, content_hash=content_hash(text), file_id=file_id
    )


async def test_uploads_of_the_same_bytes_at_the_same_time_are_one_document(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made = await asyncio.gather(*(knowledge.upload(base.id, name, text="Hello") for name in "abcdef"))
    (document,) = await knowledge.editor.list_documents(knowledge.tenant_id, base.id, limit=9)
    assert {document_id for document_id, _ in made} == {document.id}
    others = {file_id for _, file_id in made} - {document.file_id}
    for file_id in others:  # still nobody's
        await knowledge.files.doom_file(knowledge.tenant_id, file_id, owner=None)
    assert await knowledge.doomed() == others


async def test_upload_of_bytes_that_are_there_for_others_is_a_document_of_its_own(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    secret, _ = await knowledge.upload(base.id, "a", audience={"owner"})
    reach = frozenset({"public", "member"})
    open_one, file_id = await knowledge.upload(base.id, "b", reach=reach)
    assert open_one != secret
    again, _ = await knowledge.upload(base.id, "c", audience={"member"}, reach=reach)
    assert again == open_one
    found = await find_upload(knowledge, base.id, "Some text", file_id)
    assert found is not None
    assert found.id == open_one


async def test_upload_replaces_nothing_that_is_for_others(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made, kept = await knowledge.upload(base.id, "salaries.md", "Ten", audience={"owner"})
    with pytest.raises(AudienceNotHeld):
        await knowledge.upload(base.id, "salaries.md", "Mine", reach=frozenset({"public", "member"}))
    assert await knowledge.doomed() == set()
    (document,) = await knowledge.editor.list_documents(knowledge.tenant_id, base.id, limit=9)
    assert (document.id, document.file_id) == (made, kept)
    again, _ = await knowledge.upload(base.id, "salaries.md", "Mine", reach=frozenset({"owner"}))
    assert again == made


async def test_upload_is_a_pending_document_with_a_file(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made, file_id = await knowledge.upload(base.id, text="Hello")
    found = await knowledge.editor.find_document(knowledge.tenant_id, base.id, made)
    assert found is not None
    assert (found.state, found.file_id, found.origin) == (
        DocumentState.PENDING,
        file_id,
        DocumentOrigin("uploads", "guide.txt"),
    )
    assert await find_upload(knowledge, base.id, "Hello", file_id) == found
    assert await find_upload(knowledge, base.id, "Other", file_id) is None
    assert await find_upload(knowledge, base.id, "Hello", FileId(new_id())) is None
    index = await knowledge.open_index(base)
    (known,) = await knowledge.known(index, "uploads")
    assert (known.file_id, known.state, known.content_hash) == (file_id, DocumentState.PENDING, None)
    await knowledge.put(index, "guide.txt", "Hello", source="uploads", document=known)
    (known,) = await knowledge.known(index, "uploads")
    assert (known.file_id, known.state, known.content_hash) == (file_id, DocumentState.INDEXED, content_hash("Hello"))


async def test_no_sync_changes_for_whom_an_upload_is(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made, _ = await knowledge.upload(base.id)
    (before,) = await knowledge.known(index, "uploads")
    await knowledge.upload(base.id, text="Other text", audience={"owner"}, keeps_audience=True)
    # The sync began before the second upload.
    await knowledge.writer.set_audience(knowledge.tenant_id, [before.id], frozenset({"public"}))
    (known,) = await knowledge.known(index, "uploads")
    assert (known.facts.audience, known.facts.keeps_audience) == (frozenset({"owner"}), True)
    for facts in (before.facts, known.facts):
        await knowledge.writer.fail_document(
            knowledge.tenant_id,
            base.id,
            index,
            document=known,
            origin=known.origin,
            facts=facts,
            failure=BROKEN,
        )
        await knowledge.put(index, "guide.txt", "Other text", source="uploads", document=known)
        (shown,) = await knowledge.known(index, "uploads")
        assert (shown.facts.audience, shown.facts.keeps_audience) == (frozenset({"owner"}), True)
    await knowledge.upload(base.id, text="Third text")
    found = await knowledge.editor.find_document(knowledge.tenant_id, base.id, made)
    assert found is not None
    assert (found.facts.audience, found.facts.keeps_audience) == (frozenset({"public"}), False)


async def test_file_of_a_document_is_nobody_elses(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    _, file_id = await knowledge.upload(base.id)
    await knowledge.files.doom_left_files(knowledge.tenant_id, unattached=timedelta(seconds=-1))
    await knowledge.files.doom_orphaned_files(knowledge.tenant_id)
    assert await knowledge.doomed() == set()
    assert await knowledge.files.find_file(knowledge.tenant_id, file_id, owner=None) is None
    assert [file.id for file in await knowledge.files.find_files(knowledge.tenant_id, [file_id])] == [file_id]
    with pytest.raises(FileNotFound):
        await knowledge.files.doom_file(knowledge.tenant_id, file_id, owner=None)


async def test_document_takes_no_file_that_is_not_there_or_anothers(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    _, taken = await knowledge.upload(base.id)
    for file_id, error in ((FileId(new_id()), FileNotFound), (taken, FileAttached)):
        with pytest.raises(error):
            await knowledge.editor.add_upload(
                knowledge.tenant_id,
                base.id,
                origin=DocumentOrigin("uploads", "b.txt"),
                facts=make_facts(),
                content_hash=content_hash("b"),
                file_id=file_id,
            )
    assert len(await knowledge.editor.list_documents(knowledge.tenant_id, base.id, limit=9)) == 1


async def test_upload_of_the_same_name_takes_the_place_of_the_one_before(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made, first = await knowledge.upload(base.id, text="one")
    (known,) = await knowledge.known(index, "uploads")
    await knowledge.put(index, "guide.txt", "one", source="uploads", document=known)
    (known,) = await knowledge.known(index, "uploads")
    again, second = await knowledge.upload(base.id, text="two")
    assert again == made
    assert await knowledge.doomed() == {first}
    assert await knowledge.with_words(index, "one") == ["one"]
    # A sync that had read the one before comes too late.
    await knowledge.put(index, "guide.txt", "late", source="uploads", document=known)
    (known,) = await knowledge.known(index, "uploads")
    assert (known.file_id, known.state) == (second, DocumentState.PENDING)
    await knowledge.put(index, "guide.txt", "two", source="uploads", document=known)
    assert await knowledge.with_words(index, "one two late") == ["two"]


@pytest.mark.parametrize(("audience", "left"), [({"owner"}, ["secret"]), ({"owner", "public"}, []), ({"public"}, [])])
async def test_upload_for_others_shows_them_nothing_of_the_one_before(
    knowledge: KnowledgeStores, audience: set[str], left: list[str]
) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    seekers = SearchFilter(audience=frozenset({"public", "owner"}))
    made = await knowledge.put(index, "guide.txt", "secret", source="uploads", audience={"owner", "admin"})
    assert await knowledge.with_words(index, "secret", seekers) == ["secret"]
    again, _ = await knowledge.upload(base.id, text="open", audience=audience)
    assert again == made
    assert await knowledge.with_words(index, "secret", seekers) == left


async def test_deleted_upload_is_gone_with_its_file(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made, file_id = await knowledge.upload(base.id, text="one")
    (known,) = await knowledge.known(index, "uploads")
    await knowledge.put(index, "guide.txt", "one", source="uploads", document=known)
    assert await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, made)
    assert await knowledge.doomed() == {file_id}
    await knowledge.put(index, "guide.txt", "one", source="uploads", document=known)
    assert await knowledge.known(index, "uploads") == []
    assert await knowledge.with_words(index, "one") == []


async def test_upload_whose_source_is_gone_is_removed_with_its_file(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made, file_id = await knowledge.upload(base.id)
    await knowledge.writer.remove_documents(knowledge.tenant_id, [made])
    assert await knowledge.doomed() == {file_id}


async def test_failed_upload_keeps_the_hash_that_finds_it(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made, file_id = await knowledge.upload(base.id, text="one")
    (known,) = await knowledge.known(index, "uploads")
    await knowledge.writer.fail_document(
        knowledge.tenant_id,
        base.id,
        index,
        document=known,
        origin=DocumentOrigin("uploads", "guide.txt"),
        facts=make_facts(),
        failure=BROKEN,
    )
    found = await find_upload(knowledge, base.id, "one", file_id)
    assert found is not None
    assert (found.id, found.file_id, found.state) == (made, file_id, DocumentState.FAILED)


async def test_nothing_is_there_of_a_knowledge_base_that_is_not(knowledge: KnowledgeStores) -> None:
    nowhere, document = KnowledgeBaseId(new_id()), DocumentId(new_id())
    assert await knowledge.editor.list_documents(knowledge.tenant_id, nowhere, limit=9) == []
    assert await knowledge.editor.find_document(knowledge.tenant_id, nowhere, document) is None
    assert not await knowledge.editor.exclude_document(knowledge.tenant_id, nowhere, document)
    assert await knowledge.editor.list_syncs(knowledge.tenant_id, nowhere, limit=9) == []
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a.md", "one")
    assert await knowledge.editor.find_document(knowledge.tenant_id, nowhere, made) is None
    assert not await knowledge.editor.renew_document(knowledge.tenant_id, nowhere, made)


# ---- syncs ----


async def test_request_makes_the_knowledge_base_known(knowledge: KnowledgeStores) -> None:
    await knowledge.editor.request_sync(knowledge.tenant_id, "handbook")
    await knowledge.editor.request_sync(knowledge.tenant_id, "handbook")
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found == await knowledge.begin()


async def test_sync_is_read_as_it_was_reported(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    begun = await knowledge.writer.begin_sync(knowledge.tenant_id, base.id, trigger="request", revision=3)
    assert (begun.state, begun.trigger, begun.revision, begun.counts) == (SyncState.RUNNING, "request", 3, SyncCounts())
    assert list(await knowledge.editor.list_syncs(knowledge.tenant_id, base.id, limit=9)) == [begun]
    ended = replace(
        begun,
        state=SyncState.FAILED,
        ended_at=SEEN,
        index_number=2,
        estimated_tokens=70,
        counts=SyncCounts(documents=5, added=1, failed=2, fetched_bytes=2**40, embedded_tokens=12),
        failures=(
            SyncFailure("web", None, Failing.UNAVAILABLE, "It is away."),
            SyncFailure("web", "/a", Failing.BROKEN, "B"),
        ),
        failure="budget-exceeded",
        message="It needs more.",
    )
    await knowledge.writer.report_sync(knowledge.tenant_id, ended)
    assert list(await knowledge.editor.list_syncs(knowledge.tenant_id, base.id, limit=9)) == [ended]


async def test_sync_that_never_ended_was_killed(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    begin = knowledge.writer.begin_sync
    first = await begin(knowledge.tenant_id, base.id, trigger="schedule", revision=1)
    second = await begin(knowledge.tenant_id, base.id, trigger="schedule", revision=1)
    newest, oldest = await knowledge.editor.list_syncs(knowledge.tenant_id, base.id, limit=9)
    assert (newest.id, newest.state) == (second.id, SyncState.RUNNING)
    assert (oldest.id, oldest.state, oldest.failure) == (first.id, SyncState.FAILED, "killed")
    assert oldest.ended_at is not None


async def test_newest_syncs_are_kept_and_listed_in_pages(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made = [
        (await knowledge.writer.begin_sync(knowledge.tenant_id, base.id, trigger="schedule", revision=1)).id
        for _ in range(53)
    ]
    first = await knowledge.editor.list_syncs(knowledge.tenant_id, base.id, limit=3)
    rest = await knowledge.editor.list_syncs(knowledge.tenant_id, base.id, before=first[-1].id, limit=100)
    assert [sync.id for sync in (*first, *rest)] == made[::-1][:51]


# ---- the end ----


async def test_erased_knowledge_base_leaves_nothing(knowledge: KnowledgeStores) -> None:
    base, other = await knowledge.begin(), await knowledge.begin("other")
    index = await knowledge.publish(await knowledge.open_index(base))
    await knowledge.put(index, "a.md", "one")
    _, file_id = await knowledge.upload(base.id)
    await knowledge.writer.begin_sync(knowledge.tenant_id, base.id, trigger="schedule", revision=1)
    await knowledge.vectors.drop(knowledge.tenant_id, index)
    while await knowledge.writer.erase(knowledge.tenant_id, "handbook"):
        pass
    assert not await knowledge.writer.erase(knowledge.tenant_id, "never-known")
    assert await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook") is None
    assert await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "other") == other
    assert await knowledge.doomed() == {file_id}
    assert await knowledge.with_words(index, "one") == []


async def test_documents_are_put_side_by_side(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    await asyncio.gather(*(knowledge.put(index, f"{number}.md", f"text {number}", "shared") for number in range(12)))
    assert len(await knowledge.known(index)) == 12


async def test_upload_that_was_replaced_or_deleted_while_it_was_read_does_not_fail(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made, _ = await knowledge.upload(base.id, text="one", title="First")
    (before,) = await knowledge.known(index, "uploads")

    async def fail_first() -> None:
        await knowledge.writer.fail_document(
            knowledge.tenant_id,
            base.id,
            index,
            document=before,
            origin=before.origin,
            facts=before.facts,
            failure=BROKEN,
        )

    await knowledge.upload(base.id, text="two", title="Second")
    await fail_first()
    (known,) = await knowledge.known(index, "uploads")
    assert (known.state, known.facts.title) == (DocumentState.PENDING, "Second")
    await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, made)
    await fail_first()
    assert await knowledge.known(index, "uploads") == []


async def test_upload_that_has_just_come_is_not_overwritten_by_what_another_source_has_there(
    knowledge: KnowledgeStores,
) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made, file_id = await knowledge.upload(base.id, text="one")
    assert await knowledge.put(index, "guide.txt", "two", source="uploads") == made
    await knowledge.writer.fail_document(
        knowledge.tenant_id,
        base.id,
        index,
        document=None,
        origin=DocumentOrigin("uploads", "guide.txt"),
        facts=make_facts(),
        failure=BROKEN,
    )
    (known,) = await knowledge.known(index, "uploads")
    assert (known.state, known.file_id, known.indexed_hash) == (DocumentState.PENDING, file_id, None)


async def test_document_that_is_to_be_taken_in_anew_keeps_what_is_known_of_it(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    await knowledge.upload(base.id, text="one", title="First")
    (known,) = await knowledge.known(index, "uploads")
    await knowledge.put(index, "guide.txt", "one", source="uploads", document=known)
    (known,) = await knowledge.known(index, "uploads")
    await knowledge.upload(base.id, text="two", title="Second", url="https://second.example")
    # The sync found it as it was before the second upload.
    await knowledge.writer.touch_documents(knowledge.tenant_id, {known.id: DocumentChange(known.facts, {})})
    (known,) = await knowledge.known(index, "uploads")
    assert (known.facts.title, known.facts.url) == ("Second", "https://second.example")


async def test_document_that_is_marked_while_it_is_read_does_not_fail(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(index, "a.md", "one")
    (known,) = await knowledge.known(index)
    assert await knowledge.editor.renew_document(knowledge.tenant_id, base.id, made)
    await knowledge.writer.fail_document(
        knowledge.tenant_id, base.id, index, document=known, origin=known.origin, facts=known.facts, failure=BROKEN
    )
    (known,) = await knowledge.known(index)
    assert known.state is DocumentState.PENDING
    assert await knowledge.with_words(index, "one") == ["one"]
