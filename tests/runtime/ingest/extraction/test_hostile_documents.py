"""Each document is read as a sync reads it, by a child; the bounds are shorter than those of a sync, so that no test takes long."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from syntera_runtime.ingest.extraction.pool import Bounds, ExtractorPool
from syntera_runtime.ingest.extraction_port import ExtractionFailed
from syntera_runtime.models.knowledge import Failing

from . import documents
from .hostile_documents import FAILING, READ, make_looping_form

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ExtractorPool]:
    async with ExtractorPool(bounds=Bounds(seconds=60)) as pool:
        yield pool


async def fail(pool: ExtractorPool, content: bytes, name: str) -> Failing:
    with pytest.raises(ExtractionFailed) as caught:
        await pool.extract(content, name=name)
    assert len(caught.value.message) <= 512
    return caught.value.reason


async def assert_reads_on(pool: ExtractorPool) -> None:
    assert (await pool.extract(b"Text.", name="a.txt")).extracted.text == "Text."


@pytest.mark.parametrize("case", FAILING)
async def test_a_hostile_document_fails_alone(pool: ExtractorPool, case: str) -> None:
    name, make, reason = FAILING[case]
    assert await fail(pool, make(), name) is reason
    await assert_reads_on(pool)


@pytest.mark.parametrize("case", READ)
async def test_what_looks_dangerous_is_read(pool: ExtractorPool, case: str) -> None:
    name, make, beginning = READ[case]
    extraction = await pool.extract(make(), name=name)
    assert extraction.extracted.text.lstrip().startswith(beginning)
    assert "root:" not in extraction.extracted.text


async def test_a_form_that_draws_itself_costs_its_own_reader_alone(pool: ExtractorPool) -> None:
    # pdfium follows it until its stack ends, or notices; either way nothing else is lost.
    assert await fail(pool, make_looping_form(), "a.pdf") in (Failing.BROKEN, Failing.NO_TEXT)
    await assert_reads_on(pool)


async def test_a_document_that_takes_too_long_is_given_up() -> None:
    marks = "\u0316\u0300" * 300_000
    async with ExtractorPool(bounds=Bounds(seconds=1, processor_seconds=1)) as pool:
        await assert_reads_on(pool)
        # Sorting combining marks takes time by the square of their number.
        assert await fail(pool, f"a{marks}".encode(), "a.txt") is Failing.TOOK_TOO_LONG
        await assert_reads_on(pool)


async def test_a_document_that_takes_too_much_memory_is_given_up() -> None:
    async with ExtractorPool(bounds=Bounds(seconds=60, memory_bytes=64 * 1024 * 1024)) as pool:
        assert await fail(pool, b"# a\n" * 200_000, "a.md") is Failing.TOOK_TOO_LONG
        await assert_reads_on(pool)


async def test_a_page_of_a_hundred_thousand_attributes_is_bounded() -> None:
    attributes = " ".join(f"a{number}='x'" for number in range(100_000))
    async with ExtractorPool(bounds=Bounds(seconds=2)) as pool:
        await assert_reads_on(pool)
        # lxml's own time for them grows by the square of their number.
        assert await fail(pool, f"<html><body><p {attributes}>text</p>".encode(), "a.html") is Failing.TOOK_TOO_LONG
        await assert_reads_on(pool)


async def test_a_document_of_every_format_is_read_by_a_child(pool: ExtractorPool) -> None:
    of_every_format = {
        "a.pdf": documents.make_pdf([[("Text", 10)]]),
        "a.docx": documents.make_word(documents.make_paragraph("Text")),
        "a.pptx": documents.make_presentation([("Text", [], "")]),
        "a.xlsx": documents.make_workbook({"Text": [["Text"]]}),
        "a.html": b"<html><p>Text</p></html>",
        "a.md": b"Text",
        "a.txt": b"Text",
        "a.csv": b"Text,b",
        "a.json": b'{"a": "Text"}',
        "a.jsonl": b'{"a": "Text"}',
    }
    for name, content in of_every_format.items():
        extraction = await pool.extract(content, name=name)
        assert "Text" in extraction.extracted.text, name
