"""Members of conversations: a sorted set for each, by the ends of their leases."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Literal
from uuid import UUID

from ...models.conversations import Side
from ...models.ids import ConversationId, TenantId
from ...models.presence import MOST_MEMBERS, Member, MemberId, Presence, Renewal
from .client import RedisClient
from .keys import presence_key
from .scripts import CHANGE_PRESENCE

KEPT = timedelta(minutes=5)
"""How long a conversation is remembered in which nobody renews anything; its members are gone before."""
MOST_AT_ONCE = 200
"""Conversations renewed in one step, in which the server does nothing else."""

_Found = tuple[int, int, Sequence[bytes], Sequence[bytes]]


class RedisPresence:
    """`PresenceRegister` on Redis."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def enter(
        self, tenant_id: TenantId, conversation_id: ConversationId, member: Member, *, lease: timedelta
    ) -> Presence:
        """See `PresenceRegister`."""
        found = await self._change("enter_conversation", "enter", tenant_id, {conversation_id: [member]}, lease=lease)
        return _read(found[0])

    async def leave(self, tenant_id: TenantId, conversation_id: ConversationId, member: Member) -> Presence:
        """See `PresenceRegister`."""
        found = await self._change("leave_conversation", "leave", tenant_id, {conversation_id: [member]})
        return _read(found[0])

    async def renew(
        self, tenant_id: TenantId, members: Mapping[ConversationId, Collection[Member]], *, lease: timedelta
    ) -> Renewal:
        """See `PresenceRegister`."""
        changed: dict[ConversationId, Presence] = {}
        lost: dict[ConversationId, Collection[Member]] = {}
        left = iter(members.items())
        while some := dict(islice(left, MOST_AT_ONCE)):
            found = await self._change("renew_presence", "renew", tenant_id, some, lease=lease)
            for conversation_id, one in zip(some, found, strict=True):
                if one[0]:
                    changed[conversation_id] = _read(one)
                if one[3]:
                    lost[conversation_id] = [_read_member(member) for member in one[3]]
        return Renewal(changed, lost)

    async def _change(
        self,
        operation: str,
        change: Literal["enter", "leave", "renew"],
        tenant_id: TenantId,
        members: Mapping[ConversationId, Collection[Member]],
        *,
        lease: timedelta = timedelta(),
    ) -> Sequence[_Found]:
        arguments: list[str | int] = [change, _ms(lease), _ms(KEPT), MOST_MEMBERS]
        for some in members.values():
            arguments += [len(some), *(f"{one.side}:{one.id.hex}" for one in some)]
        async with self._client.operation(operation, is_traced=False) as redis:
            found: Sequence[_Found] = await redis.register_script(CHANGE_PRESENCE)(
                keys=[presence_key(tenant_id, conversation_id) for conversation_id in members], args=arguments
            )
        return found


def _read(found: _Found) -> Presence:
    _, revision, members, _ = found
    return Presence([_read_member(one) for one in members], revision)


def _read_member(text: bytes) -> Member:
    side, _, member_id = text.decode().partition(":")
    return Member(MemberId(UUID(member_id)), Side(side))


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
