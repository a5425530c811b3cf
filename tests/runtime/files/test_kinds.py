"""What a file is told by its bytes, in whatever pieces they come."""

import codecs
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.errors import FileTooLarge, FileTypeRefused
from syntera_runtime.files.kinds import DOCUMENTS, HEAD_BYTES, LONGEST_SIDE, MEDIA_TYPES, Examination
from syntera_runtime.models.files import FileContent

from .samples import GIF, JPEG, ODF, OOXML, PDF, WEBP, make_archive, make_png


def examine(content: bytes, *, step: int = 1_000_000, most: int = 10_000_000) -> FileContent:
    examination = Examination(most_bytes=most)
    for start in range(0, len(content), step):
        examination.take(content[start : start + step])
    return examination.end()


SAMPLES = {
    "png": (make_png(), "image/png"),
    "gif": (GIF, "image/gif"),
    "jpeg": (JPEG, "image/jpeg"),
    "webp": (WEBP, "image/webp"),
    "pdf": (PDF, "application/pdf"),
    "docx": (
        make_archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
        f"{OOXML}wordprocessingml.document",
    ),
    "xlsx": (make_archive("docProps/app.xml", "xl/workbook.xml", "[Content_Types].xml"), f"{OOXML}spreadsheetml.sheet"),
    "pptx": (make_archive("[Content_Types].xml", "ppt/presentation.xml"), f"{OOXML}presentationml.presentation"),
    "odt": (make_archive("content.xml", mimetype=f"{ODF}text"), f"{ODF}text"),
    "ods": (make_archive("content.xml", mimetype=f"{ODF}spreadsheet"), f"{ODF}spreadsheet"),
    "odp": (make_archive("content.xml", mimetype=f"{ODF}presentation"), f"{ODF}presentation"),
    "text": ("Grüße, 世界\r\n\tx".encode(), "text/plain"),
    "html": (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "text/plain"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "text/plain"),
    "json": (b'{"a": 1}', "text/plain"),
}


@pytest.mark.parametrize("step", [1, 7, 1_000_000])
@pytest.mark.parametrize("name", SAMPLES)
def test_file_is_what_its_bytes_say(name: str, step: int) -> None:
    content, media_type = SAMPLES[name]
    found = examine(content, step=step)
    is_image = media_type.startswith("image/")
    size = (3, 4) if is_image else (None, None)
    assert found == FileContent(media_type, len(content), hashlib.sha256(content).digest(), *size)


def test_every_type_that_is_taken_is_tried() -> None:
    assert {media_type for _, media_type in SAMPLES.values()} == MEDIA_TYPES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\0" + b"\0" * 100,
        b"\x7fELF" + b"\0" * 100,
        make_archive("a.txt"),
        make_archive("evil.jar", "META-INF/MANIFEST.MF"),
        make_archive("content.xml", mimetype="application/epub+zip"),
        make_archive("word"),
        b"caf\xe9 in Latin-1",
        b"text with \0 in it",
        b"text with \x1b[31m in it",
        "cut in the middle: ä".encode()[:-1],
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\0" * 40,
    ],
)
def test_file_of_another_kind_or_broken_is_refused(content: bytes) -> None:
    with pytest.raises(FileTypeRefused):
        examine(content)


def test_text_that_turns_out_to_be_none_after_the_head_is_refused() -> None:
    with pytest.raises(FileTypeRefused):
        examine(b"a" * (HEAD_BYTES + 10) + b"\0")


def test_file_is_refused_as_soon_as_it_has_one_byte_too_many() -> None:
    examination = Examination(most_bytes=10)
    examination.take(b"x" * 10)
    with pytest.raises(FileTooLarge):
        examination.take(b"x")
    assert examine(b"x" * 10, most=10).size == 10


@pytest.mark.parametrize(
    "size", [(LONGEST_SIDE + 1, 1), (1, LONGEST_SIDE + 1), (10_000, 10_000), (2**31 - 1, 2**31 - 1)]
)
def test_image_that_claims_to_be_huge_is_refused_by_its_head(size: tuple[int, int]) -> None:
    with pytest.raises(FileTooLarge):
        examine(make_png(*size))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(st.sampled_from([one for one, _ in SAMPLES.values()]), st.binary(max_size=60)).map(
            lambda pair: pair[0][:40] + pair[1]
        ),
    )
)
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    try:
        found = examine(content, step=13)
    except (FileTypeRefused, FileTooLarge):
        return
    assert found.media_type in MEDIA_TYPES


def examine_document(content: bytes, *, step: int) -> FileContent:
    examination = Examination(most_bytes=10_000_000, taken=DOCUMENTS, takes_any_encoding=True)
    for start in range(0, len(content), step):
        examination.take(content[start : start + step])
    return examination.end()


@pytest.mark.parametrize("step", [1, 2, 3, 1_000_000])
@pytest.mark.parametrize(
    "content",
    [
        b"a",
        "Grüße aus Zürich".encode(),
        "Grüße aus Zürich".encode("cp1252"),
        "Привет".encode("koi8-r"),
        "こんにちは".encode("shift-jis"),
        codecs.BOM_UTF16_LE + "Grüße".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Grüße".encode("utf-16-be"),
        codecs.BOM_UTF8 + b"text",
    ],
)
def test_text_of_a_document_may_be_of_any_encoding(content: bytes, step: int) -> None:
    assert examine_document(content, step=step).media_type == "text/plain"


@pytest.mark.parametrize("name", SAMPLES)
def test_document_is_what_its_bytes_say(name: str) -> None:
    content, media_type = SAMPLES[name]
    if media_type in DOCUMENTS:
        assert examine_document(content, step=7).media_type == media_type
    else:
        with pytest.raises(FileTypeRefused):
            examine_document(content, step=7)


@pytest.mark.parametrize("step", [1, 1_000_000])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x41",
        b"MZ\x90\0" + b"\0" * 100,
        b"caf\xe9 \0",
        codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"),
        codecs.BOM_UTF32_LE + "text".encode("utf-32-le"),
        make_archive("a.txt"),
    ],
)
def test_bytes_of_no_document_are_refused(content: bytes, step: int) -> None:
    with pytest.raises(FileTypeRefused):
        examine_document(content, step=step)
