"""One spelling for each page, and which sites pages belong to."""

import pytest

from syntera_runtime.ingest.sources.web_urls import Sites, authority_of, name_of, normalize, path_of

BASE = "https://docs.example/a/b"


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("HTTPS://Docs.Example:443", "https://docs.example/"),
        ("http://docs.example:80/x#part", "http://docs.example/x"),
        ("https://docs.example:8443/x", "https://docs.example:8443/x"),
        ("https://docs.example/a/../b/./c", "https://docs.example/b/c"),
        ("https://docs.example/%7eme/%c3%a4 b", "https://docs.example/~me/%C3%A4%20b"),
        ("https://docs.example/ä?q=ö", "https://docs.example/%C3%A4?q=%C3%B6"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://docs.example/?utm_source=x&a=[1]", "https://docs.example/?utm_source=x&a=%5B1%5D"),
        ("  https://docs.example/x \n", "https://docs.example/x"),
        ("c", "https://docs.example/a/c"),
        ("../c#x", "https://docs.example/c"),
        ("/c", "https://docs.example/c"),
        ("?q=1", "https://docs.example/a/b?q=1"),
        ("//other.example/x", "https://other.example/x"),
        ("", "https://docs.example/a/b"),
        ("#top", "https://docs.example/a/b"),
    ],
)
def test_url_is_spelled_as_usual(written: str, spelled: str) -> None:
    assert normalize(written, base=BASE) == spelled


@pytest.mark.parametrize(
    "written",
    [
        "mailto:a@docs.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://docs.example/",
        "https://user:secret@docs.example/",
        "https://docs.example./",
        "https://127.1/",
        "https://0x7f000001/",
        "https://docs.example:99999/",
        "https://[::1",
        "https://docs.example/" + "x" * 2050,
        "https://a b/",
        "http:///x",
    ],
)
def test_what_is_no_page_has_no_spelling(written: str) -> None:
    assert normalize(written, base=BASE) is None


def test_parts_of_a_url() -> None:
    assert path_of("https://docs.example/%C3%A4/b?q=1") == "/ä/b"
    assert name_of("https://docs.example/a/b.html?q=1") == "b.html"
    assert name_of("https://docs.example/a/") == "a"
    assert name_of("https://docs.example/") == "docs.example"
    assert authority_of("http://docs.example/") == authority_of("https://docs.example/") == "docs.example"
    assert authority_of("https://docs.example:80/") == "docs.example:80"


def test_sites_are_hosts_with_ports() -> None:
    sites = Sites(["https://docs.example/a", "http://old.example:8080/"])
    assert sites.has("http://docs.example/b")
    assert sites.has("http://old.example:8080/x")
    for url in ("https://docs.example:8443/", "http://old.example/", "https://sub.docs.example/", "https://example/"):
        assert not sites.has(url)


def test_redirect_to_the_name_with_www_makes_it_one_of_the_sites() -> None:
    sites = Sites(["https://docs.example/", "https://www.acme.example/"])
    assert not sites.has("https://www.docs.example/")
    for url in ("https://www.docs.example/", "https://acme.example/"):
        assert sites.takes_redirect(url)
        assert sites.has(url)
    for url in ("https://www.www.docs.example/x", "https://ww.docs.example/", "https://wwwdocs.example/"):
        assert not Sites(["https://docs.example/"]).takes_redirect(url)


def test_old_links_of_a_secure_site_are_read_by_https() -> None:
    sites = Sites(["https://docs.example/", "http://plain.example/"])
    assert sites.secure("http://docs.example/a") == "https://docs.example/a"
    assert sites.secure("http://plain.example/a") == "http://plain.example/a"
    assert sites.secure("http://other.example/a") == "http://other.example/a"
    assert sites.takes_redirect("https://plain.example/")
    assert sites.secure("http://plain.example/a") == "https://plain.example/a"
