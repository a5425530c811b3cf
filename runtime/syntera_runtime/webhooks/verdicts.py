"""What becomes of a delivery after a try: pure, so that the whole schedule can be read and tested here.

Libraries for retries sleep inside one process. Here each wait is a row of the store, which any pod takes up.
"""

import random
from collections.abc import Callable
from datetime import timedelta

from ..models.webhooks import DeliveryState, DisabledReason, SendResult, Verdict

DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
)
"""Between one try and the next: nine tries in a day."""
JITTER = 0.2
"""A delay is longer by up to this part, so that those of an outage do not all come back at once."""
LONGEST_WAIT = timedelta(hours=12)
"""An endpoint that asks for a longer pause gets this one."""
GIVE_UP = timedelta(days=5)
"""An endpoint that fails for so long without a success is disabled."""
_GONE = 410
_WAITING = (429, 503)


def judge(result: SendResult, *, attempts: int, draw: Callable[[], float] = random.random) -> Verdict:
    """What becomes of a delivery whose try number `attempts` went like this.

    Args:
        draw: Gives a number from 0 to 1.
    """
    if result.failure is None:
        return Verdict(DeliveryState.DELIVERED, result)
    if result.status == _GONE:
        return Verdict(DeliveryState.DEAD, result, disables=DisabledReason.GONE)
    if attempts > len(DELAYS):
        return Verdict(DeliveryState.DEAD, result)
    wait = DELAYS[attempts - 1] * (1 + JITTER * draw())
    if result.retry_after is not None and result.status in _WAITING:
        wait = max(wait, min(result.retry_after, LONGEST_WAIT))
    return Verdict(DeliveryState.PENDING, result, wait)
