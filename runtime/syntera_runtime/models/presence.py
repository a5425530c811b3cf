"""Who is in a conversation now."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from .conversations import Side
from .ids import ConversationId

MemberId = NewType("MemberId", UUID)
"""One connection of somebody in one conversation; says nothing of who it is."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who is in a conversation."""

    id: MemberId
    side: Side


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is in a conversation, at one moment."""

    members: Sequence[Member]
    """At most `MOST_MEMBERS`."""
    revision: int
    """Of two presences of a conversation, the one with the greater number is the later one."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What was found when members were renewed."""

    changed: Mapping[ConversationId, Presence]
    """Who is there in those of the conversations where a lease had ended that nobody renewed."""
    lost: Mapping[ConversationId, Collection[Member]]
    """Members that were not there, so that nothing was renewed: they have left, or the register has lost them."""


MOST_MEMBERS = 100
