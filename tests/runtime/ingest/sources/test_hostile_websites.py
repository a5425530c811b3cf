"""Websites that mean no good: bounded time and memory, no address that must not be reached, and the other pages are read."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.ingest.sources.web import WebLimits
from syntera_runtime.ingest.sources.web_pages import read_page
from syntera_runtime.models.knowledge import Failing
from tests.runtime.ingest.sources.site import (
    BAD,
    GOOD,
    HTML,
    NamedResolver,
    Page,
    Site,
    Time,
    fetched,
    make_source,
    missed,
    read,
    running_site,
)

MEGABYTE = 1024 * 1024
LINK = '<a href="{0}">link</a>'


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        site.pages = {"/": Page(LINK.format("/bad") + LINK.format("/good")), "/good": Page("<p>good")}
        yield site


async def read_beside_good(site: Site, bad: Page, *, limits: WebLimits | None = None) -> Failing | None:
    """What becomes of a page among good ones."""
    site.pages["/bad"] = bad
    items = await read(make_source(urls=[site.url()]), limits=limits)
    assert {site.url(), site.url("/good")} <= set(fetched(items))
    assert None not in missed(items)
    found = missed(items).get(site.url("/bad"))
    return None if found is None else found.reason


async def test_calendar_without_an_end_is_left(site: Site) -> None:
    def month(path: str) -> Page | None:
        number = int(path.removeprefix("/month/")) if path.startswith("/month/") else None
        return None if number is None else Page("".join(LINK.format(f"/month/{number * 7 + i}") for i in range(7)))

    site.make = month
    site.pages["/"] = Page(LINK.format("/month/1"))
    items = await read(make_source(urls=[site.url()], max_pages=50, max_depth=10))
    assert len(fetched(items)) == 50
    assert len(site.asked()) == 50
    assert not missed(items)


async def test_pages_that_are_no_documents_end_too(site: Site) -> None:
    site.make = lambda path: Page(
        f"<meta name=robots content=noindex>{LINK.format(path + 'x')}{LINK.format(path + 'y')}"
    )
    items = await read(make_source(urls=[site.url()], max_pages=20, max_depth=1000))
    assert len(site.asked()) <= 80
    assert set(fetched(items)) == {site.url(), site.url("/good")}


@pytest.mark.parametrize("location", ["/bad", "/bad?again", "/loop/0"])
async def test_redirects_in_a_circle_end(site: Site, location: str) -> None:
    site.pages["/bad?again"] = Page("", 302, {"Location": "/bad"})
    site.make = lambda path: (
        Page("", 302, {"Location": f"/loop/{int(path[6:]) + 1}"}) if path.startswith("/loop/") else None
    )
    assert await read_beside_good(site, Page("", 302, {"Location": location})) is None
    assert len(site.asked()) <= 2 + 6


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://127.0.0.1:{port}/secret",
        "http://private.example:{port}/secret",
        "http://www.docs.example:{port}/secret",
        "file:///etc/passwd",
        "//",
        "http://",
        "gopher://docs.example/",
        "http://docs.example:{port}@169.254.169.254/",
    ],
)
async def test_redirect_leads_nowhere_that_it_must_not(site: Site, location: str) -> None:
    """Not to a start page either: the name with `www.` belongs to the site, and its address is private."""
    location = location.format(port=site.port)
    site.pages["/bad"] = Page("", 302, {"Location": location})
    site.pages["/secret"] = Page("<p>secret")
    resolver = NamedResolver(private=[[BAD]], www=[[BAD]])
    for start in ("/", "/bad"):
        items = await read(make_source(urls=[site.url(start)]), resolver=resolver)
        assert not any("secret" in path for path in fetched(items))
        assert (None in missed(items)) is (start == "/bad")
    assert site.addresses == {GOOD}


async def test_start_url_at_a_private_address_is_refused(site: Site) -> None:
    items = await read(make_source(urls=[site.url(host="private.example")]), resolver=NamedResolver(private=[[BAD]]))
    assert missed(items)[None].reason is Failing.REFUSED
    assert not site.requests


async def test_start_url_that_the_tenant_does_not_name_is_refused(site: Site) -> None:
    items = await read(make_source(urls=[site.url()]), policy=EgressPolicy(never=()))
    assert missed(items)[None].reason is Failing.REFUSED
    assert "spec.egress" in missed(items)[None].message
    assert not site.requests


async def test_name_that_changes_its_address_is_refused_when_it_does(site: Site) -> None:
    resolver = NamedResolver(docs=[[GOOD], [GOOD], [BAD]])
    items = await read(make_source(urls=[site.url()]), resolver=resolver)
    assert set(fetched(items)) == {site.url()}
    assert {one.reason for one in missed(items).values()} == {Failing.REFUSED}
    assert site.addresses == {GOOD}


async def test_start_urls_that_are_none_are_told(site: Site) -> None:
    for url in ("ftp://docs.example/", "http://user:secret@docs.example/", "http://127.1/", "nonsense", "http://a..b/"):
        items = await read(make_source(urls=[url, site.url()]))
        assert missed(items)[None].reason is Failing.REFUSED
        assert "secret@" not in missed(items)[None].message or url.startswith("http://user")
        assert site.url() in fetched(items)


async def test_body_that_drips_is_given_up(site: Site) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    reason = await read_beside_good(site, Page(drip), limits=WebLimits(page_seconds=0.3))
    assert reason is Failing.UNAVAILABLE


async def test_server_that_says_nothing_is_given_up(site: Site) -> None:
    async def wait(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    site.pages["/robots.txt"] = Page(wait, 200, {"Content-Length": "10"})
    items = await read(make_source(urls=[site.url()]), limits=WebLimits(page_seconds=0.1))
    assert missed(items)[None].reason is Failing.UNAVAILABLE
    assert site.asked() == []


async def test_body_without_an_end_is_left_at_the_bound(site: Site) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(1024):
            writer.write(b"x" * MEGABYTE)
            sent += 1
            await writer.drain()

    tracemalloc.start()
    try:
        reason = await read_beside_good(site, Page(flood), limits=WebLimits(page_bytes=4 * MEGABYTE))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason is Failing.TOO_LARGE
    assert sent < 100
    assert peak < 64 * MEGABYTE


async def test_body_that_says_that_it_is_large_is_not_read(site: Site) -> None:
    reason = await read_beside_good(site, Page(b"", 200, {"Content-Type": HTML, "Content-Length": "1000000000"}))
    assert reason is Failing.TOO_LARGE


_PACKED: dict[str, tuple[str, Callable[[], bytes], Failing | None]] = {
    "large": ("gzip", lambda: gzip.compress(bytes(200 * MEGABYTE)), Failing.TOO_LARGE),
    "large by deflate": ("deflate", lambda: zlib.compress(bytes(200 * MEGABYTE)), Failing.TOO_LARGE),
    "packed twice": ("gzip", lambda: gzip.compress(gzip.compress(bytes(200 * MEGABYTE))), None),
    "cut off": ("gzip", lambda: gzip.compress(b"<p>good")[:-6], Failing.BROKEN),
    "not packed": ("gzip", lambda: b"not packed", Failing.BROKEN),
    "unknown": ("br", lambda: b"anything", Failing.BROKEN),
    "two packings": ("gzip, gzip", lambda: b"anything", Failing.BROKEN),
    "in capitals": ("GZIP", lambda: gzip.compress(b"<p>good"), None),
}


@pytest.mark.parametrize("case", _PACKED)
async def test_packed_bodies_are_unpacked_up_to_the_bound(site: Site, case: str) -> None:
    packing, pack, reason = _PACKED[case]
    body = pack()
    page = Page(body, 200, {"Content-Type": HTML, "Content-Encoding": packing})
    tracemalloc.start()
    try:
        assert await read_beside_good(site, page, limits=WebLimits(page_bytes=8 * MEGABYTE)) is reason
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MEGABYTE


async def test_broken_encodings_and_markup_are_read_as_far_as_they_go(site: Site) -> None:
    pages = [
        b"\xff\xfe\x00\x00\xd8\xd8" * 100,
        b"<a href=\"\xff\xfe\">x<a href='/good'",
        b"<" * 100_000,
        b"<div>" * 100_000 + b"<a href=/good>",
        b"<a " + b"x=1 " * 100_000 + b">",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><p>&b;",
        b"\x00\x01\x02" * 1000,
        b"",
    ]
    site.pages["/"] = Page("".join(LINK.format(f"/{number}") for number in range(len(pages))) + LINK.format("/good"))
    for number, body in enumerate(pages):
        site.pages[f"/{number}"] = Page(body, 200, {"Content-Type": "text/html; charset=utf-8"})
    items = await read(make_source(urls=[site.url()]))
    assert len(fetched(items)) == len(pages) + 2
    assert not missed(items)


def test_page_of_links_alone_costs_little_memory() -> None:
    content = b"".join(b'<a href="/%d">x</a>' % number for number in range(500_000))
    tracemalloc.start()
    try:
        facts = read_page(content, url="http://docs.example/", is_unicode=True, robots_tags=())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(facts.links) == 2000
    assert peak < 16 * MEGABYTE


@pytest.mark.parametrize("header", ["A" * 100_000, "\x01", "text/html; charset=" + "x" * 5000])
async def test_odd_headers_hurt_nobody_else(site: Site, header: str) -> None:
    await read_beside_good(site, Page("<p>x", 200, {"Content-Type": header}))


@pytest.mark.parametrize("etag", ["x" * 5000, '"a\x7fb"'])
async def test_odd_validators_are_not_kept(site: Site, etag: str) -> None:
    site.pages = {"/": Page("<p>x", 200, {"Content-Type": HTML, "ETag": etag})}
    [found] = fetched(await read(make_source(urls=[site.url()]))).values()
    assert "etag" not in found.validators


async def test_page_that_is_as_before_though_nobody_asked_is_missed(site: Site) -> None:
    assert await read_beside_good(site, Page("", 304, {})) is Failing.BROKEN


async def test_long_robots_txt_is_read_as_far_as_the_bound(site: Site) -> None:
    rules = "User-agent: *\nDisallow: /bad\n" + "Disallow: /x*y*z*$\n" * 600_000 + "Disallow: /\n"
    assert len(rules) > 10_000_000
    site.pages["/robots.txt"] = Page(rules, 200, {"Content-Type": "text/plain"})
    async with asyncio.timeout(20):
        assert await read_beside_good(site, Page("<p>bad")) is None
    assert "/bad" not in site.asked()


async def test_robots_txt_that_wants_an_hour_between_pages_ends_the_source(site: Site) -> None:
    site.pages["/robots.txt"] = Page("User-agent: *\nCrawl-delay: 3600\n")
    time = Time()
    items = await read(make_source(urls=[site.url()]), limits=WebLimits(seconds=600), time=time)
    assert missed(items)[None].reason is Failing.TOOK_TOO_LONG
    assert "robots.txt" in missed(items)[None].message


XML = {"Content-Type": "application/xml"}
LOC = "<url><loc>{0}</loc></url>"


def urlset(inside: str, before: str = "") -> Page:
    return Page(f'<?xml version="1.0"?>{before}<urlset>{inside}</urlset>', 200, XML)


async def read_sitemap_beside_good(site: Site, sitemap: Page) -> Failing | None:
    site.pages["/sitemap.xml"] = sitemap
    items = await read(make_source(sitemap=site.url("/sitemap.xml"), urls=[site.url("/good")]))
    assert set(fetched(items)) == {site.url("/good")}
    found = missed(items).get(None)
    return None if found is None else found.reason


LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))


@pytest.mark.parametrize(
    "before",
    [
        f'<!DOCTYPE u [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE u [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE u SYSTEM "http://127.0.0.1/x.dtd">',
        '<!DOCTYPE u [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]>',
    ],
)
async def test_sitemap_with_entities_is_refused(site: Site, before: str) -> None:
    assert await read_sitemap_beside_good(site, urlset(LOC.format("&l9;"), before)) is Failing.BROKEN
    assert site.addresses == {GOOD}


async def test_sitemap_that_names_other_sites_is_read_for_its_own(site: Site) -> None:
    others = ("http://169.254.169.254/", f"http://elsewhere.example:{site.port}/", "file:///etc/passwd")
    inside = "".join(map(LOC.format, (*others, site.url("/good"))))
    assert await read_sitemap_beside_good(site, urlset(inside)) is None
    index = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in others)
    assert await read_sitemap_beside_good(site, Page(f"<sitemapindex>{index}</sitemapindex>", 200, XML)) is None


async def test_sitemaps_without_an_end_are_left(site: Site) -> None:
    def index(path: str) -> Page | None:
        if not path.startswith("/map/"):
            return None
        entries = "".join(f"<sitemap><loc>{site.url(f'{path}{n}/')}</loc></sitemap>" for n in range(9))
        return Page(f"<sitemapindex>{entries}</sitemapindex>", 200, XML)

    site.make = index
    found = index("/map/")
    assert found is not None
    assert await read_sitemap_beside_good(site, found) is Failing.TOO_LARGE
    assert len(site.asked()) <= 60


async def test_sitemap_that_unpacks_to_more_than_the_bound_is_refused(site: Site) -> None:
    bomb = gzip.compress(b"<urlset>" + b" " * (100 * MEGABYTE))
    tracemalloc.start()
    try:
        assert await read_sitemap_beside_good(site, Page(bomb, 200, XML)) is Failing.BROKEN
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * MEGABYTE


@pytest.mark.parametrize(
    "body",
    [
        "<html><p>not found</p></html>",
        "<urlset>" + "<url>" * 100_000,
        "<urlset><url><loc>" + "x" * 3_000_000,
        b"\xff\xfe<\x00u\x00",
        "<rss></rss>",
    ],
)
async def test_sitemap_that_is_none_is_told(site: Site, body: str | bytes) -> None:
    assert await read_sitemap_beside_good(site, Page(body, 200, XML)) is Failing.BROKEN


async def test_large_sitemap_fills_no_more_than_the_walk_takes(site: Site) -> None:
    inside = "".join(LOC.format(site.url(f"/{number}")) for number in range(60_000))
    site.make = lambda path: Page("<p>x")
    site.pages["/sitemap.xml"] = Page(gzip.compress(f"<urlset>{inside}</urlset>".encode()), 200, XML)
    items = await read(make_source(sitemap=site.url("/sitemap.xml"), max_pages=10))
    assert len(fetched(items)) == 10
