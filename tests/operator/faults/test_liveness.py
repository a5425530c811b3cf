"""Liveness: what has stopped is found, and the process restarts; what is merely idle lives."""

import pytest

from tests.support.apiserver import unique_name
from tests.support.fault_proxy import Garble, dropped, watches
from tests.support.operator_process import OperatorPod, OperatorProcess
from tests.support.operator_site import Site

from .conftest import ProxyOf
from .work import is_quiet

pytestmark = [pytest.mark.api, pytest.mark.long]


def test_watch_that_stopped_delivering_is_found_and_the_process_restarts(site: Site, proxy_of: ProxyOf) -> None:
    """Its connection lives and bookmarks come: only a comparison with the API server shows it."""
    proxy = proxy_of("operator")
    # After the restart, only the watch itself could tell of an edit: there is no comparison for a long time.
    settings = iter([{"SYNTERA_RESYNC_SECONDS": "10"}, {}])
    pod = OperatorPod(lambda: site.start("operator", kubeconfig=proxy.kubeconfig, settings=next(settings)))
    pod.wait_until(pod.is_leader)
    name = unique_name("acme")
    pod.wait_until(site.is_provided(site.make_tenant(name)))
    agent = site.make_agent(name, "travel", instructions="Be kind.")
    pod.wait_until(lambda: site.is_current(agent))
    pod.wait_until(is_quiet(site, "operator"))
    assert pod.ends == []

    with proxy.suffering(Garble(which=watches("agents"), change=dropped)):
        site.merge(agent, {"spec": {"instructions": "Be kinder."}})
        pod.wait_until(lambda: site.is_current(agent))  # by the comparison
        pod.wait_until(lambda: pod.ends)

    assert pod.ends == ["unhealthy"]
    pod.wait_until(pod.is_leader)
    site.merge(agent, {"spec": {"instructions": "Be kindest."}})
    pod.wait_until(lambda: site.is_current(agent))


def test_reconcile_that_hangs_is_found_and_the_process_restarts(site: Site) -> None:
    """One that does not even let go when its time is over, which is a defect."""
    hasty = {"SYNTERA_RECONCILE_TIMEOUT_SECONDS": "2"}
    programs = iter([("tests.support.stuck_operator", hasty), ("syntera_operator", {})])

    def start() -> OperatorProcess:
        module, settings = next(programs)
        return site.start(program=("-m", module), settings=settings)

    pod = OperatorPod(start)
    pod.wait_until(pod.is_leader)

    tenant = site.make_tenant(unique_name("acme"))

    pod.wait_until(site.is_provided(tenant))
    assert pod.ends == ["unhealthy"]


def test_idle_leader_and_standby_are_alive(site: Site) -> None:
    leader, standby = site.start_two(settings={"SYNTERA_RESYNC_SECONDS": "10"})
    began = standby.metric("syntera_kubernetes_requests_total", verb="GET")

    # Each comparison lists all kinds.
    standby.wait_until(
        lambda: standby.metric("syntera_kubernetes_requests_total", verb="GET") > began + 40, seconds=120
    )

    assert (leader.probe("/healthz"), standby.probe("/healthz")) == (200, 200)
    assert (leader.probe("/readyz"), standby.probe("/readyz")) == (200, 200)
    assert leader.is_leader()
