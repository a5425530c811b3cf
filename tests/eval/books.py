"""The corpus: books of Debian's documentation, out of pinned packages that are fetched once and kept in the cache.

All are under licences that allow it (GPL-2 or later; the handbook CC-BY-SA-3.0, too). One knowledge base holds all of them, in three
languages, as a company's would. No book is there in two languages, so that each question has its answer in one place.
"""

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from syntera_dev.commands import run
from syntera_dev.errors import CommandFailed
from syntera_dev.paths import cache_folder, write_atomically

# Tables of contents, search pages, a book once more in one page, and a list of what changed since 1996.
_LEFT_OUT = frozenset({"index", "search", "genindex", "developers-reference", "upgrading-checklist"})


@dataclass(frozen=True, slots=True)
class Book:
    """One book: where it is and which of the package's files are its pages."""

    name: str
    language: str
    package: str
    """Name, version and architecture, as the file of the package is called."""
    sha256: str
    pages: str
    """Glob on the paths in the package."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a book, as it stands in the package."""

    path: str
    """The book's name and the file's, for example `faq/choosing.en.html`."""
    language: str
    content: bytes


BOOKS = (
    Book(
        "handbook",
        "en",
        "debian-handbook_11.20220922_all",
        "3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa",
        "usr/share/doc/debian-handbook/html/en-US/*.html",
    ),
    Book(
        "faq",
        "en",
        "debian-faq_11.1_all",
        "427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0",
        "usr/share/doc/debian/FAQ/*.en.html",
    ),
    Book(
        "policy",
        "en",
        "debian-policy_4.6.2.0_all",
        "ef9d01b625c3b87c3a845c2cd1b66f1a16e9240b2b9e5bee53472a00e8457a39",
        "usr/share/doc/debian-policy/policy.html/*.html",
    ),
    Book(
        "developers-reference",
        "en",
        "developers-reference_12.18_all",
        "0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e",
        "usr/share/developers-reference/*.html",
    ),
    Book(
        "maint-guide",
        "en",
        "maint-guide_1.2.53_all",
        "762c8a400a36668d2eb814a3ba356b06488fd889dfce478eb11d5cfb189a47b5",
        "usr/share/doc/maint-guide/html/*.en.html",
    ),
    Book(
        "history",
        "en",
        "debian-history_2.28_all",
        "ae364cdfd075bf6a08ca8f5105b44db7093e3b201c95d3b70a863b8849c6a082",
        "usr/share/doc/debian-history/docs/*.en.html",
    ),
    Book(
        "reference-de",
        "de",
        "debian-reference-de_2.100_all",
        "3b0ce65fd63e75ddf8eb07ca36293425135080e690a07e06a6ac8bc8040ef0aa",
        "usr/share/debian-reference/*.de.html",
    ),
    Book(
        "installation-fr",
        "fr",
        "installation-guide-amd64_20230508+deb12u1_all",
        "812c43e1dc906daf671e3efe953dc023205c238e5bd5a3021ce4ca142793573a",
        "usr/share/doc/installation-guide-amd64/fr/*.html",
    ),
)


def read_pages(books: tuple[Book, ...] = BOOKS) -> Iterator[Page]:
    """Every page of the books, by path; packages that the cache lacks are fetched.

    Raises:
        RuntimeError: a package with the pinned content is not to be had.
    """
    for book in books:
        yield from _pages(book, _package(book))


def _pages(book: Book, package: bytes) -> Iterator[Page]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(_data(package))) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isfile() and fnmatch(name, book.pages) and name.count("/") == book.pages.count("/"):
                file = archive.extractfile(member)
                assert file is not None
                found[PurePosixPath(name).name] = file.read()
    for name, content in sorted(found.items()):
        if name.partition(".")[0] not in _LEFT_OUT:
            yield Page(f"{book.name}/{name}", book.language, content)


def _package(book: Book) -> bytes:
    kept = cache_folder() / "eval" / f"{book.package}.deb"
    if not kept.exists():
        write_atomically(kept, _fetch(book))
    return kept.read_bytes()


def _fetch(book: Book) -> bytes:
    name, version, _ = book.package.split("_")
    with TemporaryDirectory() as folder:
        try:
            run(["apt-get", "download", f"{name}={version}"], folder=Path(folder), timeout_seconds=300)
        except CommandFailed as error:
            raise RuntimeError(
                f"apt cannot have {name!r} in version {version!r}, which Debian 12 has: name its archive in"
                f" /etc/apt/sources.list and run `apt-get update`. {error}"
            ) from error
        [file] = Path(folder).iterdir()
        content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != book.sha256:
        raise RuntimeError(f"the package {book.package!r} is another one than pinned; find out who changed it")
    return content


def _data(package: bytes) -> bytes:
    """The uncompressed `data.tar` of a .deb, which is an ar archive: a line of 8 bytes, then heads of 60 bytes with contents."""
    position = 8
    while position < len(package):
        head = package[position : position + 60]
        name, size = head[:16].decode().strip(), int(head[48:58])
        content = package[position + 60 : position + 60 + size]
        if name == "data.tar.xz":
            return lzma.decompress(content)
        position += 60 + size + size % 2
    raise RuntimeError("a package without data.tar.xz")
