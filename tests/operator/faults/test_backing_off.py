"""An API server that asks to be spared, or fails for long: the operator does as it is told, and lives on."""

import time
from collections import defaultdict
from itertools import pairwise

import pytest

from tests.support.apiserver import unique_name
from tests.support.fault_proxy import Asked, Refuse, everything
from tests.support.operator_site import Site

from .conftest import ProxyOf

pytestmark = [pytest.mark.api, pytest.mark.long]

RETRY_AFTER_SECONDS = 3
OUTAGE_SECONDS = 18
"""Longer than kopf by itself tries."""


def test_operator_waits_as_long_as_it_is_told_to(site: Site, proxy_of: ProxyOf) -> None:
    """Whatever it asks: kopf and the operator's own client, for lists, watches, the Lease and writes."""
    proxy = proxy_of("told")
    too_many = Refuse(which=everything, status=429, retry_after=RETRY_AFTER_SECONDS, times=60)
    with proxy.suffering(too_many):
        tenant = site.make_tenant(unique_name("acme"))
        operator = site.start("told", kubeconfig=proxy.kubeconfig)
        operator.wait_until(operator.is_leader, seconds=120)
        operator.wait_until(site.is_provided(tenant), seconds=120)

    by_request: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
    for asked in proxy.asked(everything):
        by_request[asked.agent, asked.accept, asked.method, asked.path, str(asked.is_watch)].append(asked)
    assert too_many.struck == 60
    for request, asked_again in by_request.items():
        for refused, following in pairwise(asked_again):
            if refused.status == 429:
                assert following.began - refused.began > RETRY_AFTER_SECONDS * 0.95, request


def test_standby_outlives_an_api_server_that_fails_for_long_and_takes_over(site: Site, proxy_of: ProxyOf) -> None:
    """Longer than kopf tries by itself. What a standby may not do is end: the kubelet would start it later and later."""
    proxy = proxy_of("second")
    first = site.start_leader("first")
    second = site.start_standby("second", kubeconfig=proxy.kubeconfig)
    agent = None
    with proxy.suffering(Refuse(which=everything, status=500)):
        proxy.break_watches()
        began = time.monotonic()
        name = unique_name("acme")
        first.wait_until(site.is_provided(site.make_tenant(name)))
        agent = site.make_agent(name, "travel", instructions="Be kind.")
        first.wait_until(lambda: site.is_current(agent))
        second.wait_until(lambda: time.monotonic() - began > OUTAGE_SECONDS)
        assert second.probe("/healthz") == 200
        asked, lasted = len(proxy.asked(everything, since=began)), time.monotonic() - began

    assert asked < lasted * 25  # of twenty watches and more, each backs off
    first.terminate()
    second.wait_until(second.is_leader)
    site.merge(agent, {"spec": {"instructions": "Be kinder."}})
    second.wait_until(lambda: site.is_current(agent))
