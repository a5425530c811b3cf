"""An API server, or a network before it, that is in trouble: the operator converges every time."""

from collections.abc import Callable, Iterator

import pytest

from syntera_crds.contract import names
from syntera_kube.resources import CONFIG_MAPS, DEPLOYMENTS
from tests.support.apiserver import unique_name
from tests.support.fault_proxy import (
    Asked,
    Fault,
    FaultProxy,
    Garble,
    Refuse,
    Reset,
    Stale,
    doubled,
    dropped,
    expired,
    of_lease,
    writes,
)
from tests.support.operator_process import OperatorPod
from tests.support.operator_site import Site

from .conftest import remove_everything
from .work import is_quiet, make_agents

pytestmark = [pytest.mark.api, pytest.mark.long]


@pytest.fixture(scope="module")
def proxy(shared_site: Site) -> Iterator[FaultProxy]:
    with FaultProxy(shared_site.kubeconfig_of("operator")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def running_pod(shared_site: Site, proxy: FaultProxy) -> Iterator[OperatorPod]:
    """An operator that reaches the API server by the proxy, and is started again when it ends."""
    pod = OperatorPod(
        lambda: shared_site.start("operator", kubeconfig=proxy.kubeconfig, settings={"SYNTERA_RESYNC_SECONDS": "10"})
    )
    yield pod
    shared_site.end_all()


@pytest.fixture
def pod(shared_site: Site, running_pod: OperatorPod) -> Iterator[OperatorPod]:
    """The same one for all faults, alive and with nothing to look after."""
    running_pod.wait_until(running_pod.is_leader)
    yield running_pod
    remove_everything(shared_site)


def watches_of_children(asked: Asked) -> bool:
    return asked.is_watch and "syntera.io" not in asked.path


def watches_of_own_kinds(asked: Asked) -> bool:
    return asked.is_watch and "syntera.io" in asked.path


def any_watch(asked: Asked) -> bool:
    return asked.is_watch


def lists_of_all(asked: Asked) -> bool:
    return asked.method == "GET" and not asked.is_watch and asked.path.rsplit("/", 1)[-1] in {
        "tenants", "agents", "configmaps", "deployments", "namespaces", "networkpolicies", "services",
    }  # fmt: skip


def all_but_lease(asked: Asked) -> bool:
    return not of_lease(asked)


def every_other_write() -> Callable[[Asked], bool]:
    seen = 0

    def which(asked: Asked) -> bool:
        nonlocal seen
        seen += writes(asked)
        return writes(asked) and seen % 2 == 1

    return which


FAULTS: dict[str, Callable[[], Fault]] = {
    "writes-are-refused-with-409": lambda: Refuse(which=every_other_write(), status=409, times=3),
    "writes-are-refused-with-429": lambda: Refuse(which=writes, status=429, retry_after=1, times=15),
    "everything-is-refused-with-500": lambda: Refuse(which=all_but_lease, status=500, times=40),
    "connections-break-before-anything-is-done": lambda: Reset(which=all_but_lease, times=25),
    "connections-break-after-everything-is-done": lambda: Reset(which=writes, times=25, is_done=True),
    "watches-of-children-lost-their-place": lambda: Garble(which=watches_of_children, change=expired, times=30),
    "watches-of-own-kinds-lost-their-place": lambda: Garble(which=watches_of_own_kinds, change=expired, times=8),
    "watches-are-refused-with-410": lambda: Refuse(which=any_watch, status=410, times=20),
    "events-of-children-are-lost": lambda: Garble(which=watches_of_children, change=dropped, times=60),
    "events-of-own-kinds-are-lost": lambda: Garble(which=watches_of_own_kinds, change=dropped, times=12),
    "events-come-late": lambda: Garble(delay_seconds=2.0),
    "events-come-twice": lambda: Garble(change=doubled),
    "lists-are-stale": lambda: Stale(which=lists_of_all, times=60),
}


@pytest.mark.parametrize("make_fault", FAULTS.values(), ids=FAULTS)
def test_operator_converges_although(
    shared_site: Site, proxy: FaultProxy, pod: OperatorPod, make_fault: Callable[[], Fault]
) -> None:
    """Objects are made, edited, deleted, and children meddled with, while the fault lasts."""
    site, fault = shared_site, make_fault()
    name, other = unique_name("acme"), unique_name("globex")
    tenant, deployment = site.make_tenant(name), DEPLOYMENTS.path(namespace=name, name=names.RUNTIME)
    pod.wait_until(site.is_provided(tenant))
    edited, deleted, damaged, untouched = make_agents(site, name, 4)
    pod.wait_until(lambda: all(site.is_current(agent) for agent in (edited, deleted, damaged, untouched)))
    pod.wait_until(lambda: site.get(deployment))
    with proxy.suffering(fault):
        if not isinstance(fault, Garble):
            proxy.break_watches()
        late = site.make_tenant(other)
        site.merge(edited, {"spec": {"instructions": "Edited."}})
        site.delete(deleted)
        site.merge(tenant, {"spec": {"quota": {"pods": "30"}}})
        site.delete(CONFIG_MAPS.path(namespace=name, name=names.published_agent_name("agent-2")))
        site.delete(deployment)

        pod.wait_until(lambda: all(site.is_current(agent) for agent in (edited, damaged, untouched)))
        pod.wait_until(lambda: site.get(deployment))
        pod.wait_until(site.is_provided(late))
        quota = f"/api/v1/namespaces/{name}/resourcequotas/syntera"
        pod.wait_until(lambda: (site.get(quota) or {})["spec"]["hard"]["pods"] == "30")
        pod.wait_until(lambda: fault.struck > 0)  # lists are asked for by the resync alone, every ten seconds
    pod.wait_until(is_quiet(site, "operator"))
    assert site.get(deleted) is None
    # The garbage collector of a cluster that has just started learns of new kinds within half a minute or so.
    pod.wait_until(lambda: not site.published(name, "agent-1"), seconds=120)
