"""Sources that are at hand: inline texts, ConfigMaps, uploads."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest

from syntera_crds.contract.knowledge_config import InlineSource, Source, UploadSource
from syntera_crds.v1alpha1.knowledge_sources import Upload
from syntera_runtime.errors import ConfigurationError
from syntera_runtime.ids import new_id
from syntera_runtime.ingest.extraction.faults import MOST_BYTES
from syntera_runtime.ingest.items import DocumentSource, Fetched, Item, Known, Missed
from syntera_runtime.ingest.sources.build import SourceTools
from syntera_runtime.ingest.sources.config_map import ConfigMapFiles
from syntera_runtime.ingest.sources.git import GitFiles
from syntera_runtime.ingest.sources.inline import InlineText
from syntera_runtime.ingest.sources.s3 import S3Objects
from syntera_runtime.ingest.sources.uploads import MEGABYTE, UploadedFiles
from syntera_runtime.ingest.sources.web import WebPages
from syntera_runtime.models.files import FileContent, NewFile, Storage
from syntera_runtime.models.ids import FileId
from syntera_runtime.models.knowledge import DocumentFacts, DocumentOrigin, DocumentState, Failing
from tests.runtime.adapters.fixed_secrets import KEY, FixedSecrets
from tests.runtime.ingest.site import NAME, MeddledSource, SyncSite, fetched, make_config, make_source
from tests.runtime.ingest.sources.site import KnownPages
from tests.runtime.ingest.test_sync import watch_writes


async def read(source: DocumentSource, known: dict[str, Known] | None = None) -> list[Item]:
    return [item async for item in source.read(known or {})]


def nothing(*_: object, **__: object) -> NoReturn:
    """For tests that ask nobody."""
    raise AssertionError


def make_tools(site: SyncSite, folder: Path) -> SourceTools:
    return SourceTools(
        site.tenant_id, folder, site.files, {Storage.POSTGRESQL: site.blobs}, FixedSecrets(), nothing, nothing
    )


async def test_inline_text_keeps_its_title(tmp_path: Path) -> None:
    site = SyncSite()
    inline = InlineSource(title="Opening hours", text="# Hours\n\nNine to five.")
    site.config = make_config(Source(name="hours", inline=inline))
    site.build_source = make_tools(site, tmp_path).build
    await site.sync()
    (document,) = (await site.documents()).values()
    assert (document.facts.title, document.origin.path) == ("Opening hours", "text")


# ---- ConfigMaps ----


def mount(folder: Path, entries: dict[str, bytes]) -> None:
    """A volume as the kubelet writes it: entries are links into a folder that is swapped as a whole."""
    data = folder / "..2026_11_29"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for key, content in entries.items():
        (data / key).write_bytes(content)
        (folder / key).symlink_to(Path("..data") / key)


async def test_each_entry_of_a_config_map_is_a_document(tmp_path: Path) -> None:
    mount(tmp_path / "faq", {"b.md": b"Two.", "a.pdf": b"%PDF\xff"})
    items = await read(ConfigMapFiles(tmp_path / "faq", name="faq"))
    assert all(isinstance(item, Fetched) for item in items)
    assert [(item.path, item.content, item.name) for item in items if isinstance(item, Fetched)] == [
        ("a.pdf", b"%PDF\xff", "a.pdf"),
        ("b.md", b"Two.", "b.md"),
    ]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"inline": {"title": "t", "text": "x"}}, InlineText),
        ({"config_map": {"name": "faq"}}, ConfigMapFiles),
        ({"web": {"urls": ["https://shop.example"]}}, WebPages),
        ({"git": {"url": "https://git.example/docs"}}, GitFiles),
        (
            {
                "s3": {
                    "endpoint": "https://s3.example",
                    "region": "eu",
                    "bucket": "docs",
                    "access_key_id": KEY,
                    "secret_access_key": KEY,
                }
            },
            S3Objects,
        ),
        ({"upload": {}}, UploadedFiles),
    ],
)
def test_each_kind_of_source_has_a_reader(tmp_path: Path, fields: dict[str, object], kind: type) -> None:
    source = Source.model_validate({"name": "docs", **fields})
    assert isinstance(make_tools(SyncSite(), tmp_path).build(source, KnownPages()), kind)


@pytest.mark.parametrize("is_mounted", [True, False])
async def test_config_map_without_entries_is_missed_as_a_whole(tmp_path: Path, is_mounted: bool) -> None:
    if is_mounted:
        mount(tmp_path / "faq", {})
    (item,) = await read(ConfigMapFiles(tmp_path / "faq", name="faq"))
    assert isinstance(item, Missed)
    assert (item.path, item.reason) == (None, Failing.NOT_FOUND)
    assert "'faq'" in item.message


# ---- uploads ----


async def upload(site: SyncSite, path: str, content: bytes, **facts: Any) -> FileId:
    """A file as the API leaves it."""
    new = NewFile(FileId(new_id()), path, Storage.POSTGRESQL)

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 3):
            yield content[start : start + 3]

    await site.files.add_file(site.tenant_id, new, owner=None)
    await site.blobs.write(site.tenant_id, new.id, pieces())
    digest = sha256(content).digest()
    await site.files.complete_file(site.tenant_id, new.id, FileContent("text/plain", len(content), digest))
    await site.knowledge.editor.request_sync(site.tenant_id, NAME)
    base = await site.knowledge.reader.find_knowledge_base(site.tenant_id, NAME)
    assert base is not None
    await site.knowledge.editor.add_upload(
        site.tenant_id,
        base.id,
        origin=DocumentOrigin("docs", path),
        facts=DocumentFacts(title=path, **facts),
        content_hash=digest,
        file_id=new.id,
    )
    return new.id


@pytest.fixture
def uploads(tmp_path: Path) -> SyncSite:
    site = SyncSite()
    site.config = make_config(Source(name="docs", upload=UploadSource(max_file_megabytes=1)))
    site.build_source = make_tools(site, tmp_path).build
    return site


async def test_uploaded_files_are_taken_in_once(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"One of them.")
    await upload(uploads, "b.md", b"Another.")
    sync = await uploads.sync()
    assert await uploads.contents() == {"a.md": ["One of them."], "b.md": ["Another."]}
    assert sync.counts.added == 2
    sync = await uploads.sync()
    assert (sync.counts.unchanged, sync.counts.fetched_bytes) == (2, 0)
    assert len(uploads.extractor.extracted) == 2


def test_no_file_may_be_uploaded_that_is_too_large_to_be_read() -> None:
    largest = Upload.model_json_schema()["properties"]["maxFileMegabytes"]["maximum"]
    assert largest * MEGABYTE <= MOST_BYTES


async def test_upload_in_place_of_another_is_taken_in(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"One of them.")
    await uploads.sync()
    await upload(uploads, "a.md", b"Newer.")
    await uploads.sync()
    assert await uploads.contents() == {"a.md": ["Newer."]}


async def test_upload_that_comes_while_uploads_are_read_is_for_the_next_sync(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"One of them.")
    await uploads.sync()
    build = uploads.build_source
    assert build is not None

    async def meddle() -> None:
        await upload(uploads, "a.md", b"Newer.")
        await upload(uploads, "b.md", b"Another.")

    uploads.build_source = lambda source, documents: MeddledSource(build(source, documents), meddle)
    assert (await uploads.sync()).counts.fetched_bytes == 0
    assert await uploads.contents() == {"a.md": ["One of them."]}
    uploads.build_source = build
    await uploads.sync()
    assert await uploads.contents() == {"a.md": ["Newer."], "b.md": ["Another."]}


async def test_source_that_becomes_one_of_uploads_keeps_none_of_its_documents(uploads: SyncSite) -> None:
    config, build = uploads.config, uploads.build_source
    uploads.config, uploads.build_source = make_config(), None
    await uploads.sync(fetched("page.md", "A page."))
    uploads.config, uploads.build_source = config, build
    await upload(uploads, "a.md", b"One of them.")
    await uploads.sync()
    assert await uploads.contents() == {"a.md": ["One of them."]}
    assert set(await uploads.documents()) == {"a.md"}


async def test_source_that_is_none_of_uploads_any_more_keeps_no_upload(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"Ten.", audience=frozenset({"public"}), keeps_audience=True)
    await uploads.sync()
    uploads.config, uploads.build_source = make_config(make_source(audience=["owner"])), None
    await uploads.sync(fetched("a.md", "Ten."))
    document = (await uploads.documents())["a.md"]
    assert (document.facts.audience, document.facts.keeps_audience) == (frozenset({"owner"}), False)
    assert document.file_id is None


@pytest.mark.parametrize("sources", [[make_source("other")], [make_source()]], ids=["unknown", "of another kind"])
async def test_upload_that_has_just_come_waits_for_a_configuration_that_knows_its_source(
    uploads: SyncSite, monkeypatch: pytest.MonkeyPatch, sources: list[Source]
) -> None:
    """Whoever edits the KnowledgeBase uploads to it at once, and a sync that begins in this moment has read the one before."""
    config, build = uploads.config, uploads.build_source
    await upload(uploads, "a.md", b"One of them.")
    uploads.config, uploads.build_source = make_config(*sources), None
    await uploads.sync()
    uploads.config, uploads.build_source = config, build
    await uploads.sync()
    assert await uploads.contents() == {"a.md": ["One of them."]}
    await upload(uploads, "b.md", b"Another.")
    monkeypatch.setattr("syntera_runtime.ingest.source_pass.FRESH", timedelta(0))
    uploads.config, uploads.build_source = make_config(*sources), None
    await uploads.sync()
    assert await uploads.documents() == {}


async def test_upload_for_others_than_its_source_stays_for_them(uploads: SyncSite) -> None:
    await upload(uploads, "salaries.md", b"Ten.", audience=frozenset({"owner"}), keeps_audience=True)
    await upload(uploads, "desk.md", b"Nine to five.")
    for audience in ("public", "member"):
        source = Source(name="docs", audience=[audience], upload=UploadSource(max_file_megabytes=1))
        uploads.config = make_config(source)
        await uploads.sync()
        shown = {path: document.facts.audience for path, document in (await uploads.documents()).items()}
        assert shown == {"salaries.md": {"owner"}, "desk.md": {audience}}
    writes = watch_writes(uploads)
    await uploads.sync()
    assert writes == []


async def test_upload_that_was_deleted_is_gone(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"One of them.")
    await upload(uploads, "b.md", b"Another.")
    await uploads.sync()
    document = (await uploads.documents())["a.md"]
    editor = uploads.knowledge.editor
    await editor.exclude_document(uploads.tenant_id, document.knowledge_base_id, document.id)
    await uploads.sync()
    assert set(await uploads.documents()) == {"b.md"}


async def test_upload_without_bytes_fails_alone(uploads: SyncSite) -> None:
    file_id = await upload(uploads, "a.md", b"One of them.")
    await upload(uploads, "b.md", b"Another.")
    await uploads.blobs.delete(uploads.tenant_id, file_id)
    sync = await uploads.sync()
    assert [(failure.document, failure.reason) for failure in sync.failures] == [("a.md", Failing.NOT_FOUND)]
    assert set(await uploads.contents()) == {"b.md"}


async def test_upload_that_is_too_large_fails_alone(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"x" * (1024 * 1024 + 1))
    await upload(uploads, "b.md", b"Another.")
    sync = await uploads.sync()
    assert [(failure.document, failure.reason) for failure in sync.failures] == [("a.md", Failing.TOO_LARGE)]


async def test_upload_that_failed_is_tried_again(uploads: SyncSite) -> None:
    await upload(uploads, "a.md", b"\xff")
    await uploads.sync()
    assert (await uploads.documents())["a.md"].state is DocumentState.FAILED
    sync = await uploads.sync()
    assert sync.counts.failed == 1


# ---- kinds ----


def test_source_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'later'"):
        make_tools(SyncSite(), tmp_path).build(Source(name="later"), KnownPages())
