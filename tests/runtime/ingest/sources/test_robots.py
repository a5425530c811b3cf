"""What robots.txt files allow and ask for."""

import random

import pytest

from syntera_runtime.ingest.sources.robots import MOST_BYTES, Robots

PAGE = "https://docs.example/a/b"


def rules(*lines: str, agent: str = "*") -> Robots:
    return Robots.read("\n".join([f"User-agent: {agent}", *lines]).encode())


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("Disallow: /", False),
        ("Disallow:", True),
        ("Disallow: /a/", False),
        ("Disallow: /b", True),
        ("Disallow: /*/b$", False),
        ("Disallow: /a/b/", True),
        ("Disallow: /\nAllow: /a/", True),
    ],
)
def test_rules_say_what_may_be_read(line: str, allowed: bool) -> None:
    assert rules(line).allows(PAGE) is allowed


def test_rules_for_us_win_over_those_for_all() -> None:
    both = Robots.read(b"User-agent: *\nDisallow: /\n\nUser-agent: SYNTERA\nDisallow: /private\n")
    assert both.allows(PAGE)
    assert not both.allows("https://docs.example/private")
    assert rules("Disallow: /", agent="otherbot").allows(PAGE)
    assert Robots().allows(PAGE)


def test_line_that_the_bound_has_cut_does_not_count() -> None:
    head = b"User-agent: *\n"
    filler = b"#" * (MOST_BYTES - len(head) - 12) + b"\n"
    cut = (head + filler + b"Disallow: /abc")[:MOST_BYTES]
    assert cut.endswith(b"Disallow: /")
    assert Robots.read(cut).allows(PAGE)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Crawl-delay: 2.5", 2.5),
        ("Request-rate: 1/10", 10),
        ("Request-rate: 2/1m", 30),
        ("Crawl-delay: 3\nRequest-rate: 1/2", 3),
        ("Crawl-delay: -1", 0),
        ("Crawl-delay: nan", 0),
        ("Crawl-delay: " + "9" * 300, 86400),
        ("Request-rate: 1/" + "9" * 400, 86400),
        ("Request-rate: " + "9" * 400 + "/1", 0),
        ("Request-rate: 0/1", 0),
    ],
)
def test_pauses_are_read(line: str, seconds: float) -> None:
    assert rules(line).pause_seconds() == pytest.approx(seconds)


def test_nonsense_hurts_nobody() -> None:
    chance = random.Random(5)
    parts = [
        "User-agent",
        "Disallow",
        "Allow",
        "Crawl-delay",
        "Request-rate",
        "Visit-time",
        "Sitemap",
        "Host",
        ":",
        " ",
    ]
    parts += [
        "*",
        "$",
        "%zz",
        "1/0",
        "0/5m",
        "1e999",
        "\x00",
        "\ud83d",
        "http://[::1",
        "\n",
        "\n",
        "\r",
        ";",
        "9" * 400,
    ]
    for _ in range(2000):
        text = "User-agent: *\n" + "".join(chance.choices(parts, k=20))
        read = Robots.read(text.encode("utf-8", "surrogatepass"))
        read.allows(PAGE)
        assert 0 <= read.pause_seconds() <= 86400
