"""Accept headers."""

import pytest

from syntera_runtime.api.negotiation import negotiate
from syntera_runtime.errors import NotAcceptable

JSON, EVENTS = "application/json", "text/event-stream"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        (JSON, JSON),
        (EVENTS, EVENTS),
        ("TEXT/Event-Stream", EVENTS),
        ("text/*", EVENTS),
        ("text/event-stream;q=0.9, application/json;q=0.1", EVENTS),
        ("text/event-stream;q=0.1, */*;q=0.5", JSON),
        ("text/event-stream, */*", JSON),
        ("text/event-stream, */*;q=0.1", EVENTS),
        ("application/json;q=0, */*", EVENTS),
        ("text/html, text/event-stream;charset=utf-8", EVENTS),
        (f"{EVENTS};q=x, {JSON};q=0.1", JSON),
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str, chosen: str) -> None:
    assert negotiate(accept, (JSON, EVENTS)) == chosen


@pytest.mark.parametrize("accept", ["text/html", "*/*;q=0", "application/json;q=0", ",", "nonsense"])
def test_nothing_is_chosen_when_no_offer_is_liked(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="text/event-stream"):
        negotiate(accept, (JSON, EVENTS))
