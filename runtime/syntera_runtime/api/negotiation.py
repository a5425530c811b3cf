"""Which of the media types that we can make a client wants."""

from collections.abc import Sequence

from ..errors import NotAcceptable


def negotiate(accept: str, offers: Sequence[str]) -> str:
    """The offer that an Accept header likes best; of equally good ones the first.

    Raises:
        NotAcceptable: It takes none of them.
    """
    if not accept.strip():
        return offers[0]
    ranges = [_parse(part) for part in accept.split(",")]
    liked = {offer: _quality(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: liked[offer])
    if liked[best] <= 0:
        raise NotAcceptable(f"The answer can be one of: {', '.join(offers)}.")
    return best


def _parse(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value for name, _, value in (p.partition("=") for p in parameters) if name == "q"), "1")
    try:
        return media_range, float(quality)
    except ValueError:
        return media_range, 0.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """What the most specific range that fits says."""
    for wanted in (offer, offer.partition("/")[0] + "/*", "*/*"):
        fitting = [quality for media_range, quality in ranges if media_range == wanted]
        if fitting:
            return max(fitting)
    return 0.0
