"""What all registers of who is where promise; memory and Redis pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from syntera_runtime.adapters.memory_presence import MemoryPresence
from syntera_runtime.adapters.redis import presence as redis_presence
from syntera_runtime.adapters.redis.keys import presence_key
from syntera_runtime.adapters.redis.presence import RedisPresence
from syntera_runtime.models.conversations import Side
from syntera_runtime.models.ids import ConversationId, TenantId
from syntera_runtime.models.presence import MOST_MEMBERS, Member, MemberId, Presence, Renewal
from syntera_runtime.ports.presence import PresenceRegister
from tests.runtime.redis import TenantRedis, tenant_redis
from tests.support.redis_server import RedisServer

LEASE = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Register:
    """One tenant's register."""

    tenant_id: TenantId
    presence: PresenceRegister

    async def enter(self, where: ConversationId, member: Member, *, lease: timedelta = LEASE) -> Presence:
        """Put a member in."""
        return await self.presence.enter(self.tenant_id, where, member, lease=lease)

    async def leave(self, where: ConversationId, member: Member) -> Presence:
        """Take a member out."""
        return await self.presence.leave(self.tenant_id, where, member)


@pytest.fixture
async def register(server: RedisServer | None, tmp_path: Path) -> AsyncIterator[Register]:
    """Each implementation in turn."""
    if server is None:
        yield Register(TenantId(uuid4()), MemoryPresence())
        return
    async with tenant_redis(server, tmp_path, seconds=10) as made:
        yield Register(made.tenant_id, RedisPresence(made.client))


def somewhere() -> ConversationId:
    return ConversationId(uuid4())


def somebody(side: Side = Side.CONTACT) -> Member:
    return Member(MemberId(uuid4()), side)


async def test_members_are_there_until_they_leave(register: Register) -> None:
    where, one, other = somewhere(), somebody(), somebody(Side.STAFF)
    first = await register.enter(where, one)
    second = await register.enter(where, other)
    third = await register.leave(where, one)
    assert [set(found.members) for found in (first, second, third)] == [{one}, {one, other}, {other}]
    assert first.revision < second.revision < third.revision


async def test_who_enters_again_is_there_once(register: Register) -> None:
    where, one = somewhere(), somebody()
    await register.enter(where, one)
    assert list((await register.enter(where, one)).members) == [one]


async def test_who_is_not_there_can_leave(register: Register) -> None:
    assert list((await register.leave(somewhere(), somebody())).members) == []


async def test_conversations_and_tenants_have_members_of_their_own(register: Register) -> None:
    where, one = somewhere(), somebody()
    await register.enter(where, one)
    assert list((await register.leave(somewhere(), one)).members) == []
    assert list((await register.leave(where, somebody())).members) == [one]


async def test_member_vanishes_whose_lease_ends(register: Register) -> None:
    where, gone, here = somewhere(), somebody(), somebody()
    await register.enter(where, gone, lease=SHORT)
    await asyncio.sleep(SHORT.total_seconds())
    assert list((await register.enter(where, here)).members) == [here]


async def test_renewal_tells_of_conversations_that_somebody_vanished_from(register: Register) -> None:
    where, elsewhere, here, gone = somewhere(), somewhere(), somebody(), somebody()
    await register.enter(where, here)
    await register.enter(elsewhere, here)
    await register.enter(where, gone, lease=SHORT)  # last: who comes after the end of a lease is told of it
    await asyncio.sleep(SHORT.total_seconds())
    members = {where: [here], elsewhere: [here]}
    renewal = await register.presence.renew(register.tenant_id, members, lease=LEASE)
    assert {one: list(found.members) for one, found in renewal.changed.items()} == {where: [here]}
    assert await register.presence.renew(register.tenant_id, members, lease=LEASE) == Renewal({}, {})


async def test_renewal_brings_nobody_back_but_tells_who_was_not_there(register: Register) -> None:
    """They may have left while the renewal was on its way."""
    where, here, gone = somewhere(), somebody(), somebody()
    await register.enter(where, here)
    await register.enter(where, gone)
    await register.leave(where, gone)
    renewal = await register.presence.renew(register.tenant_id, {where: [here, gone]}, lease=LEASE)
    assert (renewal.changed, {one: list(lost) for one, lost in renewal.lost.items()}) == ({}, {where: [gone]})
    assert list((await register.enter(where, here)).members) == [here]


async def test_renewal_keeps_members_beyond_their_leases(register: Register) -> None:
    where, here = somewhere(), somebody()
    await register.enter(where, here, lease=timedelta(seconds=2))
    await register.presence.renew(register.tenant_id, {where: [here]}, lease=LEASE)
    await asyncio.sleep(2.1)
    assert list((await register.leave(where, somebody())).members) == [here]


async def test_more_conversations_than_fit_into_one_step_are_renewed(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_presence, "MOST_AT_ONCE", 2)
    here, gone, places = somebody(), somebody(), [somewhere() for _ in range(5)]
    for where in places:
        await register.enter(where, here)
        await register.enter(where, gone, lease=SHORT)  # last: who comes after the end of a lease is told of it
    await asyncio.sleep(SHORT.total_seconds())
    renewal = await register.presence.renew(register.tenant_id, {where: [here] for where in places}, lease=LEASE)
    assert {where: list(found.members) for where, found in renewal.changed.items()} == {
        where: [here] for where in places
    }


async def test_no_more_members_are_shown_than_may_be(register: Register) -> None:
    where, members = somewhere(), [somebody() for _ in range(MOST_MEMBERS + 1)]
    for member in members:
        await register.enter(where, member)
    assert len((await register.enter(where, members[0])).members) == MOST_MEMBERS


async def test_redis_forgets_conversations_by_itself(made: TenantRedis) -> None:
    where = somewhere()
    await RedisPresence(made.client).enter(made.tenant_id, where, somebody(), lease=LEASE)
    async with made.administrator() as administrator:
        assert 0 < await administrator.pttl(presence_key(made.tenant_id, where)) <= 300_000
