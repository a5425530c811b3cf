"""What is known of one open socket."""

import asyncio
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

from ...chat.followers import Follower
from ...errors import RateLimited
from ...models.identity import Principal, Session
from ...models.ids import ConversationId, TenantId, TurnId
from ...models.presence import Member
from .connections import Connection

MOST_AT_ONCE = 16
"""Events of one socket that are worked on at once."""
TYPING_SECONDS = 10.0
MOST_TYPING = 20
"""Times in `TYPING_SECONDS` that a socket may say whether it types."""


@dataclass(eq=False, slots=True)
class Participation:
    """A socket in a conversation."""

    tenant_id: TenantId
    conversation_id: ConversationId
    follower: Follower
    member: Member
    delivering: asyncio.Task[None] | None = None
    """Hands the events of turns over."""
    typing_until: float | None = None
    """When it is taken for granted that nothing is typed any more. None: nothing is typed."""
    asked_at: float = field(default_factory=time.monotonic)
    """When it was last found out that the conversation is there for whoever holds the socket."""
    asked_for: TurnId | None = None
    """The turn before which that was found out."""


@dataclass(eq=False, slots=True)
class Socket:
    """An open socket."""

    sid: str
    session: Session
    address: str | None
    request_id: str
    """What the problems of its turns name."""
    connection: Connection
    origin: str | None
    """Origin of the page that opened it; None: none did."""
    held: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What is given back when the socket is gone."""
    watch: ExitStack = field(default_factory=ExitStack)
    """Looks after its credentials."""
    joined: dict[ConversationId, Participation] = field(default_factory=dict)
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)
    has_ended: bool = False
    _busy: int = 0
    _typing: list[float] = field(default_factory=list)

    @property
    def principal(self) -> Principal:
        """Who holds it."""
        return self.session.principal

    def is_closed(self) -> bool:
        """Whether it has ended, perhaps while something was waited for."""
        return self.has_ended

    def begin_work(self) -> None:
        """An event has come, whose work ends with `end_work`.

        Raises:
            RateLimited: There are as many as may be worked on at once.
        """
        if self._busy >= MOST_AT_ONCE:
            raise RateLimited("Too many events of this socket are being worked on. Wait for their answers.")
        self._busy += 1

    def end_work(self) -> None:
        """The event's work is done."""
        self._busy -= 1

    def count_typing(self) -> None:
        """It says whether it types, be that news or not.

        Raises:
            RateLimited: It says so too often.
        """
        now = time.monotonic()
        self._typing = [said_at for said_at in self._typing if said_at > now - TYPING_SECONDS]
        if len(self._typing) >= MOST_TYPING:
            raise RateLimited(
                "This socket says too often whether it types.",
                retry_after_seconds=self._typing[0] + TYPING_SECONDS - now,
            )
        self._typing.append(now)
