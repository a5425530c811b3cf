"""A walk through websites: which pages are documents, what they are called, and what it means that one is missed."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from syntera_runtime.ingest.items import Known, Same
from syntera_runtime.ingest.sources.web import WebLimits, WebPages
from syntera_runtime.models.knowledge import Failing
from tests.runtime.ingest.sources.site import (
    HTML,
    KnownPages,
    Page,
    Site,
    Time,
    fetched,
    make_source,
    missed,
    opening,
    read,
    remember,
    running_site,
    same,
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


def linking(*links: str, head: str = "", title: str = "A page") -> Page:
    body = "".join(f'<p><a href="{link}">link</a></p>' for link in links)
    return Page(f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>")


async def test_links_are_followed_on_the_same_host_as_deep_as_wanted(site: Site) -> None:
    site.pages = {
        "/": linking("/a", "b#part", "http://elsewhere.example/x", "mailto:x@example.com", "javascript:alert(1)"),
        "/a": linking("/deep", "/"),
        "/b": linking("/a"),
        "/deep": linking("/deeper"),
        "/deeper": linking(),
    }
    items = await read(make_source(urls=[site.url()], max_depth=2))
    assert set(fetched(items)) == {site.url(path) for path in ("/", "/a", "/b", "/deep")}
    assert not missed(items)
    assert site.asked() == ["/", "/a", "/b", "/deep"]
    only = await read(make_source(urls=[site.url()], max_depth=0))
    assert set(fetched(only)) == {site.url()}


async def test_document_says_what_the_source_knows(site: Site) -> None:
    site.pages = {
        "/a/guide.html": Page(
            "<title> The\n guide </title>",
            headers={"Content-Type": HTML, "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "ETag": '"v1"'},
        )
    }
    source = make_source(urls=[site.url("/a/guide.html")]).model_copy(
        update={"audience": ["authenticated"], "tags": ["t"], "language": "de"}
    )
    [found] = fetched(await read(source)).values()
    assert found.path == found.facts.url == site.url("/a/guide.html")
    assert found.name == "guide.html"
    assert found.facts.title == "The guide"
    assert found.facts.media_type == "text/html"
    assert found.facts.modified_at == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert (found.facts.audience, found.facts.tags, found.facts.language) == (
        frozenset({"authenticated"}),
        frozenset({"t"}),
        "de",
    )
    assert found.facts.size == len("<title> The\n guide </title>")
    assert found.validators["etag"] == '"v1"'


async def test_encoding_that_the_server_names_wins(site: Site) -> None:
    site.pages = {
        "/": Page("<meta charset=utf-8><title>Käse</title>".encode("latin-1"), headers={"Content-Type": "text/html; charset=ISO-8859-1"}),
        "/none": Page("Käse".encode("latin-1"), headers={"Content-Type": "text/plain"}),
        "/lie": Page("Käse".encode("latin-1"), headers={"Content-Type": "text/plain; charset=utf-8"}),
        "/odd": Page("Käse".encode(), headers={"Content-Type": "text/plain; charset=rot13"}),
    }  # fmt: skip
    found = fetched(await read(make_source(urls=[site.url(path) for path in site.pages])))
    assert found[site.url()].content.decode("utf-8-sig") == "<meta charset=utf-8><title>Käse</title>"
    assert found[site.url()].content.startswith(b"\xef\xbb\xbf")
    assert found[site.url()].facts.title == "Käse"
    assert found[site.url("/none")].content == found[site.url("/lie")].content == "Käse".encode("latin-1")
    assert found[site.url("/odd")].content == "Käse".encode()


async def test_globs_choose_pages_and_start_urls_are_read_for_their_links(site: Site) -> None:
    site.pages = {
        "/": linking("/docs/a", "/docs/private/b", "/blog/c"),
        "/docs/a": linking(),
        "/docs/private/b": linking(),
        "/blog/c": linking(),
    }
    source = make_source(urls=[site.url()], include=["/docs/**"], exclude=["/docs/private/**"])
    assert set(fetched(await read(source))) == {site.url("/docs/a")}
    assert site.asked() == ["/", "/docs/a"]


async def test_canonical_url_names_the_document(site: Site) -> None:
    canonical = f'<link rel="canonical" href="{site.url("/page")}">'
    site.pages = {
        "/": linking("/page?session=1", "/page?session=2", "/other"),
        "/page?session=1": linking(head=canonical),
        "/page?session=2": linking(head=canonical),
        "/other": linking(head='<link rel="canonical" href="https://elsewhere.example/">'),
    }
    items = await read(make_source(urls=[site.url()]))
    assert set(fetched(items)) == {site.url(), site.url("/page"), site.url("/other")}


async def test_robots_meta_and_headers_are_heeded(site: Site) -> None:
    site.pages = {
        "/": linking("/noindex", "/nofollow", "/header", "/ours", "/theirs", "/pdf"),
        "/noindex": linking("/behind-noindex", head='<meta name="ROBOTS" content="NOINDEX">'),
        "/behind-noindex": linking(),
        "/nofollow": linking("/behind-nofollow", head='<meta name="robots" content="nofollow">'),
        "/behind-nofollow": linking(),
        "/header": Page("<p>x", headers={"Content-Type": HTML, "X-Robots-Tag": "noindex, nofollow"}),
        "/ours": Page("<p>x", headers={"Content-Type": HTML, "X-Robots-Tag": "Syntera: none"}),
        "/theirs": Page("<p>x", headers={"Content-Type": HTML, "X-Robots-Tag": "otherbot: noindex"}),
        "/pdf": Page(b"%PDF-1.4", headers={"Content-Type": "application/pdf", "X-Robots-Tag": "noindex"}),
    }
    found = fetched(await read(make_source(urls=[site.url()])))
    assert set(found) == {site.url(path) for path in ("/", "/behind-noindex", "/nofollow", "/theirs")}


async def test_robots_txt_is_heeded_and_its_pauses_are_kept(site: Site) -> None:
    site.pages = {
        "/robots.txt": Page(
            "User-agent: *\nDisallow: /\n\nUser-agent: syntera\nAllow: /\nDisallow: /secret\nCrawl-delay: 7\n",
            headers={"Content-Type": "text/plain"},
        ),
        "/": linking("/a", "/secret/b"),
        "/a": linking(),
        "/secret/b": linking(),
    }
    time = Time()
    assert set(fetched(await read(make_source(urls=[site.url()]), time=time))) == {site.url(), site.url("/a")}
    assert [round(one) for one in time.slept if one > 1] == [7]
    assert all(one.headers["user-agent"].startswith("Syntera/") for one in site.requests)


async def test_start_url_that_robots_txt_forbids_is_told(site: Site) -> None:
    site.pages = {"/robots.txt": Page("User-agent: *\nDisallow: /"), "/": linking()}
    items = await read(make_source(urls=[site.url()]))
    assert not fetched(items)
    assert missed(items)[None].reason is Failing.REFUSED
    assert "robots.txt" in missed(items)[None].message
    assert site.asked() == []


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_robots_txt_that_cannot_be_had_forbids_all_for_now(site: Site, status: int) -> None:
    site.pages = {"/robots.txt": Page("", status), "/": linking()}
    items = await read(make_source(urls=[site.url()]))
    assert missed(items)[None].reason is Failing.UNAVAILABLE
    assert site.asked() == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_robots_txt_that_is_not_there_allows_all(site: Site, status: int) -> None:
    site.pages = {"/robots.txt": Page("User-agent: *\nDisallow: /", status), "/": linking()}
    assert set(fetched(await read(make_source(urls=[site.url()])))) == {site.url()}


async def test_requests_keep_their_distance(site: Site) -> None:
    site.pages = {"/": linking("/a", "/b"), "/a": linking(), "/b": linking()}
    time = Time()
    await read(make_source(urls=[site.url()], requests_per_second=0.5), time=time)
    assert [round(one) for one in time.slept] == [2, 2, 2]  # robots.txt is asked for, too


async def test_unchanged_pages_are_not_sent_again_and_their_links_are_followed(site: Site) -> None:
    dated = {"Content-Type": HTML, "ETag": '"v1"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    start, leaf = linking("/a", "/b"), linking()
    site.pages = {"/": Page(start.body, 200, dated), "/a": Page(leaf.body, 200, dated), "/b": leaf}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    site.requests.clear()
    site.pages = {"/": Page(b"", 304, {}), "/a": Page(b"", 304, {}), "/b": leaf}
    items = await read(source, known=known)
    assert same(items) == {site.url(), site.url("/a")}
    assert set(fetched(items)) == {site.url("/b")}
    assert not missed(items)
    [first, *_] = [one for one in site.requests if one.path == "/"]
    assert first.headers["if-none-match"] == '"v1"'
    assert first.headers["if-modified-since"] == dated["Last-Modified"]


async def test_page_whose_bytes_are_wanted_is_asked_for_without_conditions(site: Site) -> None:
    site.pages = {"/": Page(linking("/a").body, 200, {"Content-Type": HTML, "ETag": '"v1"'}), "/a": linking()}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    for path, one in known.items():
        known[path] = replace(one, content_hash=None)
    site.requests.clear()
    assert set(fetched(await read(source, known=known))) == {site.url(), site.url("/a")}
    assert not any("if-none-match" in one.headers for one in site.requests)
    site.pages["/"] = Page("", 500)
    items = await read(source, known=known)
    assert set(fetched(items)) == {site.url("/a")}  # its links count all the same


async def test_page_behind_a_canonical_url_is_asked_for_conditionally_where_it_was_read(site: Site) -> None:
    head = f'<link rel="canonical" href="{site.url("/page")}">'
    page = linking(head=head)
    site.pages = {"/": linking("/p?x=1"), "/p?x=1": Page(page.body, 200, {"Content-Type": HTML, "ETag": '"v1"'})}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    assert known[site.url("/page")].validators["url"] == site.url("/p?x=1")
    site.pages["/p?x=1"] = Page(b"", 304, {})
    assert Same(site.url("/page")) in await read(source, known=known)


async def test_other_rules_make_pages_show_their_links_anew(site: Site) -> None:
    site.pages = {"/": Page(linking("/a").body, 200, {"Content-Type": HTML, "ETag": '"v1"'}), "/a": linking()}
    known = remember(await read(make_source(urls=[site.url()], max_depth=0)))
    items = await read(make_source(urls=[site.url()], max_depth=1), known=known)
    assert set(fetched(items)) == {site.url(), site.url("/a")}
    assert not any("if-none-match" in one.headers for one in site.requests)


async def test_page_with_more_links_than_are_kept_is_always_sent(site: Site) -> None:
    links = [f"/{number}-{'x' * 500}" for number in range(100)]
    site.pages = {"/": Page(linking(*links).body, 200, {"Content-Type": HTML, "ETag": '"v1"'})}
    known = remember(await read(make_source(urls=[site.url()])))
    assert known[site.url()].validators == {}


async def test_pages_behind_one_that_was_taken_out_while_the_site_is_read_stay(site: Site) -> None:
    tagged = {"Content-Type": HTML, "ETag": '"v1"'}
    site.pages = {"/": linking("/hub"), "/hub": Page(linking("/a").body, 200, tagged), "/a": linking()}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    known.forget_links()
    site.pages["/hub"] = Page(b"", 304, {})
    items = await read(source, known=known)
    assert same(items) == {site.url("/hub")}
    assert set(missed(items)) == {site.url("/a")}


@pytest.mark.parametrize(("depth", "asked"), [(1, ["/", "/a"]), (2, ["/", "/a", "/b", "/c"])])
async def test_page_that_was_taken_out_is_asked_for_where_it_may_lead_on(
    site: Site, depth: int, asked: list[str]
) -> None:
    site.pages = {"/": linking("/a", "/b"), "/a": linking(), "/b": linking("/c"), "/c": linking()}
    source = make_source(urls=[site.url()], max_depth=depth)
    known = remember(await read(source))
    known[site.url("/b")] = Known(None, {}, is_excluded=True)
    site.requests.clear()
    await read(source, known=known)
    assert site.asked() == asked


@pytest.mark.parametrize("starts", [[], ["/"]])
async def test_page_of_a_sitemap_that_was_taken_out_is_asked_for_where_links_may_count(
    site: Site, starts: list[str]
) -> None:
    sitemap = f"<urlset><url><loc>{site.url('/a')}</loc></url></urlset>"
    site.pages = {"/sitemap.xml": Page(sitemap), "/": linking(), "/a": linking("/b"), "/b": linking()}
    source = make_source(urls=[site.url(path) for path in starts], sitemap=site.url("/sitemap.xml"))
    known = KnownPages()
    known[site.url("/a")] = Known(None, {}, is_excluded=True)
    await read(source, known=known)
    assert ("/a" in site.asked()) == bool(starts)


async def test_page_that_is_gone_is_not_named(site: Site) -> None:
    site.pages = {"/": linking("/a", "/b"), "/a": linking(), "/b": linking()}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    site.pages |= {"/a": Page("", 404), "/b": Page("", 410)}
    items = await read(source, known=known)
    assert {item.path for item in items} == {site.url()}


async def test_page_that_cannot_be_had_keeps_what_it_leads_to(site: Site) -> None:
    site.pages = {"/": linking("/hub"), "/hub": linking("/a"), "/a": linking()}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    site.pages["/hub"] = Page("", 500)
    items = await read(source, known=known)
    assert set(missed(items)) == {site.url("/hub")}
    assert missed(items)[site.url("/hub")].reason is Failing.UNAVAILABLE
    assert set(fetched(items)) == {site.url(), site.url("/a")}


async def test_pages_behind_one_that_is_no_document_stay_while_it_cannot_be_had(site: Site) -> None:
    listing = linking("/a", "/gone", head='<meta name="robots" content="noindex">')
    site.pages = {"/": linking("/list", "/gone"), "/list": listing, "/a": linking(), "/gone": linking()}
    source = make_source(urls=[site.url()], exclude=["/other"])
    known = remember(await read(source))
    assert set(known) == {site.url(path) for path in ("/", "/a", "/gone")}
    site.pages |= {"/list": Page("", 503), "/gone": Page("", 404)}
    items = await read(source, known=known)
    assert set(missed(items)) == {site.url("/list"), site.url("/a")}
    assert missed(items)[site.url("/a")].reason is Failing.UNAVAILABLE
    unwanted = make_source(urls=[site.url()], exclude=["/a"])
    assert set(missed(await read(unwanted, known=known))) == {site.url("/list")}
    site.pages["/list"] = linking("/x", head='<meta name="robots" content="noindex">')
    assert not missed(await read(source, known=known))


async def test_page_that_cannot_be_had_and_may_hide_others_is_the_whole_source(site: Site) -> None:
    links = [f"/{number}-{'x' * 500}" for number in range(100)]
    site.pages = {"/": linking("/hub"), "/hub": linking(*links)}
    source = make_source(urls=[site.url()])
    known = remember(await read(source))
    site.pages["/hub"] = Page("", 403)
    items = await read(source, known=known)
    assert {path: one.reason for path, one in missed(items).items()} == {
        site.url("/hub"): Failing.REFUSED,
        None: Failing.REFUSED,
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, Failing.NOT_FOUND), (403, Failing.REFUSED), (500, Failing.UNAVAILABLE), (302, Failing.UNAVAILABLE)],
)
async def test_start_url_that_cannot_be_had_is_the_whole_source_and_the_others_are_read(
    site: Site, status: int, reason: Failing
) -> None:
    site.pages = {"/one": Page("", status), "/two": linking("/a"), "/a": linking()}
    items = await read(make_source(urls=[site.url("/one"), site.url("/two")]))
    assert missed(items)[None].reason is reason
    assert items[-1].path is None
    assert set(fetched(items)) == {site.url("/two"), site.url("/a")}


async def test_server_that_wants_a_pause_gets_it(site: Site) -> None:
    site.pages = {
        "/": [Page("", 429, {"Retry-After": "17"}), Page("", 503, {"Retry-After": "23"}), linking()],
        "/robots.txt": Page(""),
    }
    time = Time()
    assert set(fetched(await read(make_source(urls=[site.url()]), time=time))) == {site.url()}
    assert [one for one in time.slept if one > 1] == [17, 23]


async def test_server_that_wants_a_long_pause_is_asked_the_next_time(site: Site) -> None:
    site.pages = {"/": Page("", 503, {"Retry-After": "86400"})}
    time = Time()
    items = await read(make_source(urls=[site.url()]), time=time)
    assert missed(items)[None].reason is Failing.UNAVAILABLE
    assert site.asked() == ["/"]
    assert max(time.slept, default=0) <= 1


async def test_types_that_are_not_read_are_told_where_somebody_named_them(site: Site) -> None:
    image = Page(b"\x89PNG", headers={"Content-Type": "image/png"})
    unnamed = Page(b"\x00", headers={"Content-Type": "application/octet-stream"})
    site.pages = {
        "/": linking("/a.png", "/b.bin", "/c.pdf"),
        "/start.png": image,
        "/a.png": image,
        "/b.bin": unnamed,
        "/c.pdf": unnamed,
    }
    items = await read(make_source(urls=[site.url(), site.url("/start.png")]))
    assert {path: one.reason for path, one in missed(items).items()} == {site.url("/start.png"): Failing.UNSUPPORTED}
    assert set(fetched(items)) == {site.url(), site.url("/c.pdf")}


async def test_redirects_lead_to_the_document(site: Site) -> None:
    site.pages = {
        "/": Page("", 301, {"Location": "/en/"}),
        "/en/": linking("/old"),
        "/old": Page("", 302, {"Location": site.url("/new#part")}),
        "/new": linking("/"),
    }
    items = await read(make_source(urls=[site.url()]))
    assert set(fetched(items)) == {site.url("/en/"), site.url("/new")}
    assert not missed(items)


async def test_site_may_send_its_readers_to_www(site: Site) -> None:
    async def answer(host: str) -> None:
        site.pages = {"/": [Page("", 301, {"Location": site.url(host=f"www.{host}")}), linking("/a")], "/a": linking()}
        items = await read(make_source(urls=[site.url(host=host)]))
        assert set(fetched(items)) == {site.url(path, host=f"www.{host}") for path in ("/", "/a")}

    await answer("docs.example")
    site.pages = {"/": linking(site.url("/a", host="www.docs.example"))}
    assert set(fetched(await read(make_source(urls=[site.url()])))) == {site.url()}


async def test_sitemap_names_pages_whose_links_are_not_followed(site: Site) -> None:
    def listed(tag: str, *urls: str) -> Page:
        outer = {"url": "urlset", "sitemap": "sitemapindex"}[tag]
        entries = "".join(f"<{tag}><loc> {url} </loc></{tag}>" for url in urls)
        return Page(
            f'<?xml version="1.0"?><{outer} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</{outer}>',
            headers={"Content-Type": "application/xml"},
        )

    site.pages = {
        "/sitemap.xml": listed("sitemap", site.url("/one.xml"), site.url("/two.txt"), site.url("/one.xml")),
        "/one.xml": listed("url", site.url("/a"), site.url("/a"), "https://elsewhere.example/", "not a URL"),
        "/two.txt": Page(site.url("/b") + "\n", headers={"Content-Type": "text/plain"}),
        "/a": linking("/c"),
        "/b": linking(),
        "/c": linking(),
    }
    items = await read(make_source(sitemap=site.url("/sitemap.xml")))
    assert set(fetched(items)) == {site.url("/a"), site.url("/b")}
    both = await read(make_source(sitemap=site.url("/sitemap.xml"), urls=[site.url("/b")], max_depth=2))
    assert set(fetched(both)) == {site.url("/a"), site.url("/b")}
    site.pages["/b"] = linking("/a")
    linked = await read(make_source(sitemap=site.url("/sitemap.xml"), urls=[site.url("/b")], max_depth=2))
    assert set(fetched(linked)) == {site.url("/a"), site.url("/b"), site.url("/c")}


async def test_sitemap_that_cannot_be_read_is_the_whole_source(site: Site) -> None:
    site.pages = {"/": linking(), "/broken.xml": Page("<urlset><url>")}
    for path, reason in (("/none.xml", Failing.NOT_FOUND), ("/broken.xml", Failing.BROKEN)):
        items = await read(make_source(sitemap=site.url(path), urls=[site.url()]))
        assert missed(items)[None].reason is reason
        assert set(fetched(items)) == {site.url()}


async def test_no_more_pages_are_read_than_wanted(site: Site) -> None:
    site.pages = {"/": linking(*(f"/{number}" for number in range(50)))}
    site.make = lambda path: linking() if re.fullmatch("/[0-9]+", path) else None
    items = await read(make_source(urls=[site.url()], max_pages=10))
    assert len(fetched(items)) == 10
    assert not missed(items)


async def test_source_that_takes_too_long_is_missed_as_a_whole(site: Site) -> None:
    site.pages = {"/": linking(*(f"/{number}" for number in range(50)))}
    site.make = lambda path: linking() if re.fullmatch("/[0-9]+", path) else None
    items = await read(make_source(urls=[site.url()], requests_per_second=0.1), limits=WebLimits(seconds=95))
    assert 5 <= len(fetched(items)) <= 10
    assert missed(items)[None].reason is Failing.TOOK_TOO_LONG


async def test_time_of_whoever_takes_the_documents_does_not_count(site: Site) -> None:
    site.pages = {"/": linking("/a", "/b", "/c"), "/a": linking(), "/b": linking(), "/c": linking()}
    time = Time()
    pages = WebPages(
        make_source(urls=[site.url()]),
        opening(),
        KnownPages(),
        limits=WebLimits(seconds=100),
        clock=time.clock,
        sleep=time.sleep,
    )
    found = []
    async for item in pages.read({}):
        found.append(item)
        time.now += 99
    assert len(fetched(found)) == 4
    assert not missed(found)


async def test_many_pages_have_the_time_that_their_pace_needs(site: Site) -> None:
    site.pages = {"/": linking(*(f"/{number}" for number in range(100)))}
    site.make = lambda path: linking() if re.fullmatch("/[0-9]+", path) else None
    time = Time()
    items = await read(make_source(urls=[site.url()], requests_per_second=0.02, max_pages=200), time=time)
    assert len(fetched(items)) == 101
    assert not missed(items)
    assert time.now > 4500


async def test_site_that_answers_no_more_is_left_alone(site: Site) -> None:
    site.pages = {"/": linking(*(f"/{number}" for number in range(50)))}
    site.make = lambda path: Page("", 500) if re.fullmatch("/[0-9]+", path) else None
    items = await read(make_source(urls=[site.url()]))
    assert len(missed(items)) == 6
    assert missed(items)[None].reason is Failing.UNAVAILABLE
