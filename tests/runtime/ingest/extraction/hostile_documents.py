"""Documents that try to take a reader's time, memory or rights, made in the test that reads them."""

import io
import random
import zipfile
from collections.abc import Callable

from syntera_runtime.models.knowledge import Failing

from . import documents
from .documents import make_paragraph

MIB = 1024 * 1024
ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + depth)} "{f"&{chr(97 + depth)};" * 20}">' for depth in range(9))
    + "]>"
)
FILE_ENTITY = "<!DOCTYPE x [<!ENTITY i SYSTEM 'file:///etc/passwd'>]>"


def make_looping_pages() -> bytes:
    """A PDF whose tree of pages holds itself."""
    return documents.assemble_pdf(
        ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 3 /Kids [2 0 R 2 0 R 2 0 R] >>"]
    )


def make_looping_form() -> bytes:
    """A PDF whose page draws a form that draws itself."""
    resources = "/Resources << /XObject << /X 4 0 R >> >>"
    return documents.assemble_pdf(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] {resources} /Contents 5 0 R >>",
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] {resources} /Length 11 >>\nstream\n/X Do /X Do\nendstream",
            "<< /Length 5 >>\nstream\n/X Do\nendstream",
        ]
    )


def make_wide_workbook() -> bytes:
    """A sheet with one cell at the very end of what Excel knows."""
    workbook = documents.make_workbook({"A": [["x"]]})
    return _replace_part(
        workbook,
        "xl/worksheets/sheet1.xml",
        lambda part: part.replace(b'r="A1"', b'r="XFD1048576"').replace(b'r="1"', b'r="1048576"'),
    )


def make_presentation_with_entities() -> bytes:
    """A presentation whose slide declares entities."""
    slides = documents.make_presentation([("Title", ["text"], "")])
    return _replace_part(
        slides, "ppt/slides/slide1.xml", lambda part: part.replace(b"?>", b"?>" + ENTITIES.encode(), 1)
    )


def make_workbook_with_entities() -> bytes:
    """A workbook whose sheet declares entities."""
    workbook = documents.make_workbook({"A": [["x"]]})
    return _replace_part(workbook, "xl/worksheets/sheet1.xml", lambda part: ENTITIES.encode() + part)


def _replace_part(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[name] = change(parts[name])
    return documents.make_archive(parts)


def make_noise(size: int) -> bytes:
    """Bytes without any order."""
    return random.Random(1).randbytes(size)


FAILING: dict[str, tuple[str, Callable[[], bytes], Failing]] = {
    "a zip bomb": (
        "a.docx",
        lambda: documents.make_word("", parts={"word/media/a.xml": b" " * (100 * MIB)}),
        Failing.TOO_LARGE,
    ),
    "a document that unpacks to little else": (
        "a.docx",
        lambda: documents.make_word(make_paragraph("word " * 20) * 400_000),
        Failing.TOO_LARGE,
    ),
    "entities in a document": (
        "a.docx",
        lambda: documents.make_word(make_paragraph("&i;"), prologue=ENTITIES),
        Failing.BROKEN,
    ),
    "entities in UTF-16": (
        "a.docx",
        lambda: documents.make_word("", parts={"word/comments.xml": f"{ENTITIES}<a>&i;</a>".encode("utf-16")}),
        Failing.BROKEN,
    ),
    "a file as an entity": (
        "a.docx",
        lambda: documents.make_word(make_paragraph("&i;"), prologue=FILE_ENTITY),
        Failing.BROKEN,
    ),
    "entities in a presentation": ("a.pptx", make_presentation_with_entities, Failing.BROKEN),
    "entities in a workbook": ("a.xlsx", make_workbook_with_entities, Failing.BROKEN),
    "paragraphs in paragraphs": (
        "a.docx",
        lambda: documents.make_word("<w:p>" * 5000 + "</w:p>" * 5000),
        Failing.BROKEN,
    ),
    "ten thousand pages": ("a.pdf", lambda: documents.make_pdf([[("x", 10)]] * 10_000), Failing.TOO_LARGE),
    "pages that hold themselves": ("a.pdf", make_looping_pages, Failing.NO_TEXT),
    "entities in a drawing": (
        "a.svg",
        f"<?xml version='1.0'?>{ENTITIES}<svg>&i;</svg>".encode,
        Failing.UNSUPPORTED,
    ),
    "HTML deeper than any page": ("a.html", lambda: b"<html><body>" + b"<div>" * 100_000 + b"text", Failing.NO_TEXT),
    "a sheet with one cell at its end": ("a.xlsx", make_wide_workbook, Failing.TOO_LARGE),
    "noise that is called text": ("a.md", lambda: make_noise(MIB), Failing.UNSUPPORTED),
    "noise behind the mark of UTF-16": ("a.txt", lambda: b"\xff\xfe" + make_noise(100_001), Failing.UNSUPPORTED),
    "nothing but NULs": ("a.txt", lambda: bytes(5 * MIB), Failing.UNSUPPORTED),
    "a row of a million columns": ("a.csv", lambda: b"a," * 1_000_000, Failing.TOO_LARGE),
    "a quotation without end": ("a.csv", lambda: b'"' + b"a" * (10 * MIB), Failing.BROKEN),
    "lists in lists": ("a.json", lambda: b"[" * 1_000_000, Failing.BROKEN),
    "long paths": (
        "a.json",
        lambda: b"[" + b",".join([b'{"aaaaaaaaaaaaaaaaaaaa":' * 900 + b"1" + b"}" * 900] * 500) + b"]",
        Failing.TOO_LARGE,
    ),
    "ten million values": ("a.json", lambda: b"[" + b"1," * 10_000_000 + b"1]", Failing.TOO_LARGE),
    "25 MiB on one line": ("a.md", lambda: b"word " * (5 * MIB), Failing.TOO_LARGE),
}
"""Name, content, and as what each fails."""

READ: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "an archive in an archive": (
        "a.docx",
        lambda: documents.make_word(
            make_paragraph("text"), parts={"word/embeddings/a.zip": documents.make_archive({"b.zip": bytes(MIB)})}
        ),
        "text",
    ),
    "a file as an entity in HTML": (
        "a.html",
        f"{FILE_ENTITY}<html><body><p>text &i;</p></body></html>".encode,
        "]>\n\ntext &i;",  # HTML knows no such declarations
    ),
    "entities of front matter": (
        "a.md",
        lambda: (
            b"---\na0: &a0 [x]\n"
            + b"".join(b"a%d: &a%d [%s]\n" % (n + 1, n + 1, b",".join([b"*a%d" % n] * 9)) for n in range(60))
            + b"---\ntext"
        ),
        "text",
    ),
    "a long line of words": ("a.md", lambda: b"word " * 1_000_000, "word word"),
    "a long line of spaces": ("a.md", lambda: b" " * 5_000_000 + b"text", "text"),
    "brackets": ("a.md", lambda: b"[" * 1_000_000, "[[["),
    "quotations in quotations": ("a.md", lambda: b"> " * 500_000 + b"text", "> >"),
    "references": ("a.md", lambda: b"[a]: <" * 200_000, "[a]: <"),
    "pictures without end": ("a.md", lambda: b"(data:" * 300_000, "(data:"),
    "fences": ("a.md", lambda: b"```\n" * 200_000, "```"),
    "emphasis in a heading": ("a.md", lambda: b"# " + b"a_" * 500_000, "# a_a_"),
    "comments that never end": ("a.html", lambda: b"<html><body>text" + b"<!--" * 300_000, "text"),
    "opened tags": ("a.html", lambda: b"<html><body>text " + b"<" * 500_000, "text"),
    "tables in tables": ("a.html", lambda: b"<html><body>" + b"<table><tr><td>text " * 20_000, "text"),
    "lists in lists": ("a.html", lambda: b"<html><body>" + b"<ul><li>text" * 20_000, "- text"),
    "quotation marks": ("a.csv", lambda: b'""' * 1_000_000, '| "'),
}
"""Name, content, and what its text begins with, after spaces."""
