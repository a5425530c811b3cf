"""Globs on paths, and what a document may be called."""

import time

import pytest

from syntera_runtime.ingest.sources.globs import Globs, is_match, is_nameable, spell


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("**", "a"),
        ("**", "a/b/c"),
        ("/docs/**", "/docs/"),
        ("/docs/**", "/docs/a/b"),
        ("/docs/**", "/docs"),
        ("docs/**/*.md", "docs/a.md"),
        ("docs/**/*.md", "docs/a/b/c.md"),
        ("**/*.md", "a.md"),
        ("**/docs/**", "a/docs/b"),
        ("**/**/a", "a"),
        ("*", "a"),
        ("a?c", "abc"),
        ("a*", "a"),
        ("*a*b*", "xaybz"),
        ("/", "/"),
        ("[a]", "[a]"),
        ("/ä/*", "/ä/ö"),
    ],
)
def test_glob_stands_for_path(glob: str, path: str) -> None:
    assert is_match(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*", "a/b"),
        ("*.md", "docs/a.md"),
        ("docs/*", "docs/a/b"),
        ("/docs/**", "/docsold/a"),
        ("docs/**/*.md", "docs/a.txt"),
        ("a?c", "ac"),
        ("a?c", "a/c"),
        ("a**b", "a/b"),
        ("[a]", "a"),
        ("a", "A"),
        ("**/b", "a/b/c"),
    ],
)
def test_glob_does_not_stand_for_path(glob: str, path: str) -> None:
    assert not is_match(glob, path)


def test_exclusion_wins() -> None:
    globs = Globs(["docs/**"], ["docs/private/**"])
    assert globs.has("docs/a")
    assert not globs.has("docs/private/a")
    assert not globs.has("blog/a")


def test_files_are_of_a_known_ending_or_of_a_kind_that_a_glob_names() -> None:
    assert Globs().has_file("a/b.MD")
    assert not Globs().has_file("a/b.py")
    assert not Globs().has_file("md")
    assert not Globs(["src/**"]).has_file("src/b.py")
    assert Globs(["src/**/*.py"]).has_file("src/b.py")
    assert Globs(["Makefile"]).has_file("Makefile")
    assert not Globs(["**/*.py"], ["src/**"]).has_file("src/b.py")


@pytest.mark.parametrize(
    ("glob", "path"),
    [("*a" * 120 + "b", "a" * 2048), ("**/a/" * 60 + "b", "a/" * 1000 + "c"), ("*" * 256, "a" * 2048)],
)
def test_hostile_paths_cost_little(glob: str, path: str) -> None:
    """A backtracking matcher would need longer than the universe is old."""
    began = time.process_time()
    is_match(glob, path)
    assert time.process_time() - began < 5


def test_names_of_documents() -> None:
    assert is_nameable("docs/ä b.md")
    for path in ("", "a\nb", "a\x00", "a\x85", "a\ufffd", "a/../b", "../a", "./a", "a//b", "/a", "a" * 2049, "\ud800"):
        assert not is_nameable(path)
        assert all(one.isprintable() for one in spell(path).replace("\ud800", ""))
