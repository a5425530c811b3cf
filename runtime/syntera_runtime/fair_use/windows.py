"""What a count means for whoever is limited. Pure."""

from math import floor

from ..models.limits import Count

WINDOW_SECONDS = 60


def remaining(count: Count, most: int) -> int:
    """How many more requests would fit now."""
    return max(0, floor(most - count.used))


def seconds_until_room(count: Count, most: int) -> float:
    """After how long one more request fits, if none is counted meanwhile."""
    if count.has_room(most):
        return 0
    # Within this window what came before it fades; what came in it fades in the next.
    fading, kept, begins = count.previous, count.current, 0
    if kept + 1 > most:
        fading, kept, begins = count.current, 0, 1
    share = begins + 1 - (most - 1 - kept) / fading
    return max(0, (share - count.passed) * WINDOW_SECONDS)


def seconds_until_whole(count: Count) -> float:
    """After how long all of the limit is there again, if nothing is counted meanwhile."""
    ends = 2 if count.current else 1 if count.previous else count.passed
    return (ends - count.passed) * WINDOW_SECONDS
