"""An API server that is away for minutes. A file of its own: it waits most of the time, and others may run meanwhile."""

import time

import pytest

from syntera_operator.manifest import TENANTS
from tests.support.operator_process import OperatorProcess
from tests.support.operator_site import Site

from .work import (
    CANNOT_GO_ON,
    DEFAULT_LEASE,
    assert_nothing_lost_or_doubled,
    assert_one_after_another,
    editing,
    make_work,
)

pytestmark = [pytest.mark.api, pytest.mark.long]

AWAY_SECONDS = 120


def test_operators_outlive_an_api_server_that_was_away_for_two_minutes(site: Site) -> None:
    """With the default times. The leader ends, for it may write no more, and is started again, as the kubelet does."""
    first, second = site.start_two(settings=DEFAULT_LEASE)
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents) as editor:
        first.wait_until(lambda: editor.edits > 5)
        site.server.plane.stop_component("kube-apiserver", grace_seconds=0)
        away_since = time.monotonic()
        assert first.process.wait(timeout=60) == CANNOT_GO_ON
        third = site.start("third", settings=DEFAULT_LEASE)
        while time.monotonic() - away_since < AWAY_SECONDS:
            assert second.process.poll() is None, second.log
            assert third.process.poll() is None, third.log
            time.sleep(1)
        assert (second.probe("/healthz"), third.probe("/healthz")) == (200, 200)
        site.server.plane.start_component("kube-apiserver")
        back_at = time.monotonic()
        leader = next_leader(second, third)
        assert time.monotonic() - back_at <= 20
        leader.wait_until(lambda: site.audit.writes_of(leader.name, since=position))

    assert_one_after_another(site.audit.writes_of("first", "second", "third", since=position))
    assert_nothing_lost_or_doubled(site, leader, agents)
    for standby in (second, third):
        standby.wait_until(lambda standby=standby: standby.probe("/readyz") == 200)  # type: ignore[misc]
    assert site.list_names(TENANTS) == [agents[0].split("/")[-3]]


def next_leader(*operators: OperatorProcess) -> OperatorProcess:
    """Wait until one of them leads."""
    operators[0].wait_until(lambda: any(one.is_leader() for one in operators), seconds=60)
    return next(one for one in operators if one.is_leader())
