"""Pages out of packages."""

import hashlib
import io
import lzma
import tarfile
from pathlib import Path

import pytest

from .books import Book, read_pages


def make_package(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": lzma.compress(data.getvalue())}
    package = b"!<arch>\n"
    for name, content in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        package += head + content + b"\n" * (len(content) % 2)
    return package


def make_book(package: bytes, cache: Path) -> Book:
    kept = cache / "eval" / "book_1_all.deb"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(package)
    return Book("book", "en", "book_1_all", hashlib.sha256(package).hexdigest(), "usr/doc/*.html")


def test_pages_are_those_of_the_folder_without_tables_of_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path))
    package = make_package(
        **{
            "usr/doc/b.html": b"B",
            "usr/doc/a.en.html": b"A",
            "usr/doc/index.en.html": b"contents",
            "usr/doc/more/c.html": b"C",
            "usr/doc/a.css": b"style",
        }
    )
    pages = list(read_pages((make_book(package, tmp_path),)))
    assert [(page.path, page.language, page.content) for page in pages] == [
        ("book/a.en.html", "en", b"A"),
        ("book/b.html", "en", b"B"),
    ]
