"""Whatever befalls the leader: never two writers, a quick successor, nothing lost and nothing doubled.

That there were never two is read from the API server's audit log, in which each operator has a name of its own.
"""

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.apiserver import unique_name
from tests.support.fault_proxy import Refuse, Silence, everything, of_lease
from tests.support.gate import Gate
from tests.support.operator_site import LEASE, LEASE_SECONDS, RETRY_SECONDS, Site
from tests.support.postgresql import Database

from .conftest import ProxyOf
from .work import (
    CANNOT_GO_ON,
    DEFAULT_LEASE,
    assert_nothing_lost_or_doubled,
    assert_one_after_another,
    editing,
    make_work,
)

pytestmark = [pytest.mark.api, pytest.mark.long]


async def test_successor_leads_in_3_seconds_after_sigterm_and_in_20_after_sigkill(
    site: Site, database: Database
) -> None:
    """With the default times of the Lease, and in the middle of work."""
    first, second = site.start_two(settings=DEFAULT_LEASE)
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents) as editor:
        first.wait_until(lambda: editor.edits > 20)
        told_at = datetime.now(UTC)
        first.process.send_signal(signal.SIGTERM)
        second.wait_until(second.is_leader)
        after_sigterm = site.audit.led_from(second.name, since=position) - told_at
        assert first.process.wait(timeout=30) == 0
        third = site.start_standby("third", settings=DEFAULT_LEASE)

        killed_at = datetime.now(UTC)
        second.kill()
        third.wait_until(third.is_leader)
        after_sigkill = site.audit.led_from(third.name, since=position) - killed_at
        third.wait_until(lambda: site.audit.writes_of("third", since=position))

    assert after_sigterm <= timedelta(seconds=3)
    assert after_sigkill <= timedelta(seconds=20)
    writes = site.audit.writes_of("first", "second", "third", since=position)
    assert {write.user for write in writes} == {"first", "second", "third"}
    assert_one_after_another(writes)
    assert_nothing_lost_or_doubled(site, third, agents)
    await assert_one_identity(database, agents)


async def assert_one_identity(database: Database, agents: list[str]) -> None:
    """PostgreSQL knows the Tenant once, with one key that the operator made."""
    tenant = agents[0].split("/")[-3]
    connection = await database.connect()
    try:
        found = await connection.fetch(
            """
            SELECT t.id, (
              SELECT count(*) FROM syntera.api_keys k
              WHERE k.tenant_id = t.id AND k.made_by = 'operator' AND k.revoked_at IS NULL
            ) AS keys
            FROM syntera.tenants t WHERE t.name = $1
            """,
            tenant,
        )
    finally:
        await connection.close()
    assert [row["keys"] for row in found] == [1]


def test_successor_leads_in_3_seconds_after_sigterm_although_the_leader_waits_for_a_store(
    site: Site, database: Database
) -> None:
    """PostgreSQL has fallen silent in the middle of the leader's work."""
    with Gate(database.port) as gate:
        dsn = database.operator_dsn.replace(f":{database.port}/", f":{gate.port}/")
        first, second = site.start_two(settings={"SYNTERA_POSTGRESQL_URL": dsn})
        first.wait_until(site.is_provided(site.make_tenant(unique_name("acme"))))
        with gate.frozen():
            tenants = [site.make_tenant(unique_name("late")) for _ in range(6)]
            first.wait_until(lambda: first.metric("syntera_queue_active") == len(tenants))
            position, told_at = site.audit.position(), datetime.now(UTC)
            first.process.send_signal(signal.SIGTERM)
            second.wait_until(second.is_leader)
            assert site.audit.led_from(second.name, since=position) - told_at <= timedelta(seconds=3)
        for tenant in tenants:
            second.wait_until(site.is_provided(tenant))
    assert first.process.wait(timeout=30) == 0
    assert first.log.count("leadership given back") == 1


def test_leader_that_cannot_renew_stops_writing_before_another_begins(site: Site, proxy_of: ProxyOf) -> None:
    """Everything else that it asks is answered, so only it itself can stop it."""
    proxy = proxy_of("first")
    first = site.start_leader("first", kubeconfig=proxy.kubeconfig)
    second = site.start_standby("second")
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents):
        first.wait_until(lambda: site.audit.writes_of(first.name, since=position))
        with proxy.suffering(Refuse(which=of_lease, status=500)):
            assert first.process.wait(timeout=30) == CANNOT_GO_ON
            second.wait_until(second.is_leader)
            second.wait_until(lambda: site.audit.writes_of(second.name, since=position))

    writes = site.audit.writes_of("first", "second", since=position)
    assert_one_after_another(writes)
    assert {write.user for write in writes} == {"first", "second"}
    assert_nothing_lost_or_doubled(site, second, agents)


def test_leader_that_hears_nothing_any_more_ends_and_another_takes_over(site: Site, proxy_of: ProxyOf) -> None:
    """Its network is gone without a word: no connection breaks, and nothing is answered."""
    proxy = proxy_of("first")
    first = site.start_leader("first", kubeconfig=proxy.kubeconfig)
    second = site.start_standby("second")
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents):
        with proxy.suffering(Silence(which=everything)):
            assert first.process.wait(timeout=30) == CANNOT_GO_ON
            second.wait_until(second.is_leader)
        second.wait_until(lambda: site.audit.writes_of(second.name, since=position))

    assert_one_after_another(site.audit.writes_of("first", "second", since=position))
    assert_nothing_lost_or_doubled(site, second, agents)


def test_leader_whose_lease_is_stolen_writes_nothing_more(site: Site) -> None:
    first, second = site.start_two()
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents) as editor:
        first.wait_until(lambda: editor.edits > 5)
        stolen_at = datetime.now(UTC)
        site.merge(LEASE, {"spec": {"holderIdentity": "thief"}})
        assert first.process.wait(timeout=30) == CANNOT_GO_ON
        second.wait_until(second.is_leader)
        second.wait_until(lambda: site.audit.writes_of(second.name, since=position))

    last_write = max(write.ended for write in site.audit.writes_of(first.name, since=position))
    assert last_write - stolen_at < timedelta(seconds=RETRY_SECONDS + 2)
    # The thief might be an operator.
    assert site.audit.led_from(second.name, since=position) - stolen_at > timedelta(seconds=LEASE_SECONDS)
    assert_one_after_another(site.audit.writes_of("first", "second", since=position))
    assert_nothing_lost_or_doubled(site, second, agents)


def test_leader_that_was_paused_longer_than_its_lease_writes_nothing_when_it_goes_on(site: Site) -> None:
    first, second = site.start_two()
    agents = make_work(site, first)
    position = site.audit.position()
    with editing(site, agents) as editor:
        first.wait_until(lambda: editor.edits > 5)
        first.process.send_signal(signal.SIGSTOP)
        second.wait_until(second.is_leader)
        second.wait_until(lambda: site.audit.writes_of(second.name, since=position))
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(timeout=30) == CANNOT_GO_ON

    assert_one_after_another(site.audit.writes_of("first", "second", since=position))
    assert_nothing_lost_or_doubled(site, second, agents)


def test_leader_goes_on_when_the_clock_on_the_wall_jumps(site: Site) -> None:
    """Its own, by an hour and back; and that of whoever wrote into the Lease last."""
    jump = site.folder / "jump"
    jump.unlink(missing_ok=True)
    first, second = site.start_two(program=("-m", "tests.support.jumping_clock", str(jump)))
    agents = make_work(site, first, agents=2)
    position = site.audit.position()
    for seconds in (3600, -3600):
        jump.write_text(str(seconds))
        time.sleep(LEASE_SECONDS + 1)
        assert first.is_leader()
        assert not second.is_leader()
        site.merge(agents[0], {"spec": {"instructions": f"It is {seconds} seconds later."}})
        first.wait_until(lambda: site.is_current(agents[0]))

    assert {write.user for write in site.audit.writes_of("first", "second", since=position)} == {first.name}
    assert (first.probe("/healthz"), second.probe("/healthz")) == (200, 200)
