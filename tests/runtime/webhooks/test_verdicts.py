"""The schedule of tries."""

from datetime import timedelta

import pytest

from syntera_runtime.models.webhooks import DeliveryFailure, DeliveryState, DisabledReason, SendResult
from syntera_runtime.webhooks.verdicts import DELAYS, LONGEST_WAIT, judge


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_delivery_is_done_when_the_endpoint_takes_it(status: int) -> None:
    assert judge(SendResult.answered(status), attempts=1).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 400, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again(status: int) -> None:
    verdict = judge(SendResult.answered(status), attempts=1)
    assert (verdict.state, verdict.result.failure) == (DeliveryState.PENDING, DeliveryFailure.STATUS)
    assert verdict.disables is None


def test_tries_are_spread_over_a_day_and_then_given_up() -> None:
    failed = SendResult(failure=DeliveryFailure.TIMEOUT)
    verdicts = [judge(failed, attempts=number, draw=lambda: 0) for number in range(1, len(DELAYS) + 1)]
    assert all(verdict.state is DeliveryState.PENDING for verdict in verdicts)
    waits = [verdict.next_attempt_in for verdict in verdicts]
    assert waits == sorted(waits)
    assert timedelta(hours=23) < sum(waits, timedelta()) < timedelta(hours=24)
    last = judge(failed, attempts=len(DELAYS) + 1)
    assert (last.state, last.disables) == (DeliveryState.DEAD, None)


def test_jitter_makes_a_wait_longer_by_a_fifth_at_most() -> None:
    failed = SendResult(failure=DeliveryFailure.CONNECTION)
    for draw, part in ((0.0, 1.0), (0.5, 1.1), (1.0, 1.2)):
        assert judge(failed, attempts=3, draw=lambda draw=draw: draw).next_attempt_in == DELAYS[2] * part  # type: ignore[misc]


def test_endpoint_that_is_gone_is_disabled() -> None:
    verdict = judge(SendResult.answered(410), attempts=1)
    assert (verdict.state, verdict.disables) == (DeliveryState.DEAD, DisabledReason.GONE)


@pytest.mark.parametrize("status", [429, 503])
def test_pause_that_the_endpoint_asks_for_is_kept(status: int) -> None:
    def wait(pause: timedelta) -> timedelta:
        return judge(SendResult.answered(status, retry_after=pause), attempts=1, draw=lambda: 0).next_attempt_in

    assert wait(timedelta(minutes=7)) == timedelta(minutes=7)
    assert wait(timedelta(seconds=1)) == DELAYS[0]
    assert wait(timedelta(days=9)) == LONGEST_WAIT


def test_pause_counts_for_no_other_answer() -> None:
    asked = SendResult.answered(500, retry_after=timedelta(hours=1))
    assert judge(asked, attempts=1, draw=lambda: 0).next_attempt_in == DELAYS[0]
