"""The whole operator as a program, on an API server of its own that writes down every request. No pod runs.

Only the program shows what restarts, hand-overs and kopf really write. What faults make of it is in `faults`.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from syntera_crds.contract import names
from syntera_kube.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, NAMESPACES
from syntera_operator.manifest import AGENTS, TENANTS
from tests.support import operator_site
from tests.support.apiserver import unique_name
from tests.support.operator_site import LEASE, LEASE_SECONDS, Site
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

from .faults.work import is_quiet

pytestmark = [pytest.mark.api, pytest.mark.long]

OPERATOR = "syntera-operator"


@pytest.fixture(scope="module")
def empty_site(database: Database, redis_server: RedisServer) -> Iterator[Site]:
    with operator_site.empty_site(database, redis_server) as site:
        yield site


@pytest.fixture(scope="module")
def site(empty_site: Site) -> Site:
    empty_site.server.install_crds()
    return empty_site


@pytest.fixture(autouse=True)
def _no_operator_is_left(empty_site: Site) -> Iterator[None]:
    yield
    empty_site.end_all()


def test_operator_waits_for_its_kinds_and_then_serves_them(empty_site: Site) -> None:
    """The first test of this module: the others bring the kinds."""
    site = empty_site
    operator = site.start()
    operator.wait_until(lambda: "install the CRDs" in operator.log)
    assert (operator.probe("/healthz"), operator.probe("/readyz")) == (200, 503)

    site.server.install_crds()
    operator.wait_until(operator.is_leader)
    assert operator.probe("/readyz") == 200
    tenant = site.make_tenant(unique_name("first"))
    operator.wait_until(site.is_provided(tenant))
    began = time.monotonic()

    assert operator.terminate() == 0
    assert time.monotonic() - began < 10
    lease = site.get(LEASE)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


def test_agent_costs_two_writes_and_rest_and_restart_none(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    # The Tenant settles: defaults of other controllers arrive.
    operator.wait_until(is_quiet(site, operator.name, seconds=3))
    position = site.audit.position()
    agents = [site.make_agent(name, f"agent-{number}") for number in range(5)]
    for agent in agents:
        operator.wait_until(site.is_published(agent))
    operator.wait_until(lambda: count_of_agents(site, tenant) == len(agents))
    operator.wait_until(is_quiet(site, operator.name, seconds=3))

    writes = site.audit.writes(agent=OPERATOR, since=position)
    assert writes.pop("patch tenants/status", 0) <= 2  # the count of Agents, debounced
    assert writes == {"patch configmaps": 5, "patch agents/status": 5}

    position = site.audit.position()
    time.sleep(5)
    assert operator.terminate() == 0
    looked_at = len(site.list_names(TENANTS)) + len(site.list_names(AGENTS))
    successor = site.start_leader()
    successor.wait_until(lambda: successor.metric("syntera_reconcile_total") >= looked_at)
    time.sleep(3)
    assert site.audit.list_writes(agent=OPERATOR, since=position) == []
    assert successor.metric("syntera_reconcile_total", result="error") == 0


def test_nothing_of_the_framework_is_in_the_cluster(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    agent = site.make_agent(name, "travel")
    operator.wait_until(site.is_published(agent))

    paths = [TENANTS.path(), AGENTS.path(), CONFIG_MAPS.path(), NAMESPACES.path(), DEPLOYMENTS.path(), LEASES.path()]
    everything = "".join(
        json.dumps(site.server.send("GET", path)) for path in [*paths, "/apis/events.k8s.io/v1/events"]
    )

    assert "kopf" not in everything
    assert "zalando" not in everything
    found = site.get(tenant)
    assert found is not None
    assert found["metadata"]["finalizers"] == [names.TENANT_FINALIZER]
    assert not [one for one in site.audit.agents() if "kopf" in one]


def test_change_by_hand_is_repaired_by_one_write(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    operator.wait_until(site.is_published(site.make_agent(name, "travel")))
    path = CONFIG_MAPS.path(namespace=name, name="agent-travel")
    before = site.get(path)
    assert before is not None
    operator.wait_until(lambda: count_of_agents(site, tenant) == 1)
    operator.wait_until(is_quiet(site, operator.name))
    position = site.audit.position()

    site.merge(path, {"data": {"agent.json": "{}"}})
    # At once: what is missed is looked for every ten minutes only.
    operator.wait_until(lambda: (site.get(path) or {}).get("data") == before["data"])
    site.server.send("DELETE", path)
    operator.wait_until(lambda: (site.get(path) or {}).get("data") == before["data"])
    time.sleep(1)

    assert site.audit.writes(agent=OPERATOR, since=position) == {"patch configmaps": 2}


def count_of_agents(site: Site, tenant: str) -> int:
    """How many Agents the Tenant's status tells of, which it does some seconds after they came."""
    return int(((site.get(tenant) or {}).get("status") or {}).get("agents", 0))


def test_standby_takes_over_at_once_when_the_leader_is_told_to_end(site: Site) -> None:
    leader = site.start_leader()
    name = unique_name("acme")
    leader.wait_until(site.is_provided(site.make_tenant(name)))
    standby = site.start_standby()
    time.sleep(LEASE_SECONDS + 1)
    assert not standby.is_leader()
    assert standby.metric("syntera_reconcile_total") == 0

    position, told_at = site.audit.position(), datetime.now(UTC)
    leader.terminate()
    agent = site.make_agent(name, "travel")
    standby.wait_until(standby.is_leader)
    assert site.audit.led_from(standby.name, since=position) - told_at < timedelta(seconds=3)
    standby.wait_until(site.is_published(agent))


def test_standby_takes_over_when_the_leader_was_killed(site: Site) -> None:
    leader = site.start_leader()
    standby = site.start_standby()

    position, killed_at = site.audit.position(), datetime.now(UTC)

    leader.kill()

    standby.wait_until(standby.is_leader)
    assert site.audit.led_from(standby.name, since=position) - killed_at < timedelta(seconds=LEASE_SECONDS + 3)


def test_standby_outlives_an_api_server_that_was_away_and_takes_over(site: Site) -> None:
    leader = site.start_leader()
    name = unique_name("acme")
    leader.wait_until(site.is_provided(site.make_tenant(name)))
    standby = site.start_standby()

    site.server.plane.stop_component("kube-apiserver", grace_seconds=0)
    assert leader.process.wait(timeout=60) == 70  # it could not renew, so it may not write any more
    time.sleep(LEASE_SECONDS)
    assert standby.probe("/healthz") == 200
    site.server.plane.start_component("kube-apiserver")

    standby.wait_until(standby.is_leader)
    agent = site.make_agent(name, "travel")
    standby.wait_until(site.is_published(agent))
    path = CONFIG_MAPS.path(namespace=name, name="agent-travel")
    site.server.send("DELETE", path)
    standby.wait_until(lambda: site.get(path) is not None)


def test_operator_ends_when_its_lease_is_taken(site: Site) -> None:
    operator = site.start_leader()

    site.merge(LEASE, {"spec": {"holderIdentity": "thief"}})

    assert operator.process.wait(timeout=60) == 70
    assert "leadership lost" in operator.log


def test_operator_says_what_is_wrong_with_its_settings(site: Site) -> None:
    operator = site.start(settings={"SYNTERA_WROKERS": "3"})

    assert operator.process.wait(timeout=60) == 78
    assert "SYNTERA_WROKERS" in operator.log
