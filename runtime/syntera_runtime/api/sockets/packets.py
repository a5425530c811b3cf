"""What is taken for a packet: texts of the few kinds that clients have a use for. Everything else breaks the connection off."""

import re
from typing import Any

import orjson
import pydantic_core
from socketio.packet import EVENT, Packet

_RESERVED = frozenset({"connect", "disconnect"})
"""The library would take such an event for the connection's own beginning or end."""
_ENGINE = re.compile(r"[1236]|4[0-4]")
"""How packets of Engine.IO begin that clients send: close, ping, pong, upgrade; and messages, of Socket.IO's kinds without
those for binary data."""
_LONGEST_BARE = 16
"""Characters of a packet of Engine.IO that is no message."""


def is_packet(text: str | None) -> bool:
    """Whether the library may see what a client sent. None: it was binary."""
    if text is None or (found := _ENGINE.match(text)) is None:
        return False
    return found[0].startswith("4") or len(text) <= _LONGEST_BARE


class PacketJson:
    """JSON as the library wants it, strict and quick."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        """The text; options of the standard library's module mean nothing here."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """The value. Refuses NaN, halves of surrogate pairs, and nesting deeper than some 200 levels.

        Raises:
            ValueError: It is no JSON.
        """
        return pydantic_core.from_json(text, allow_inf_nan=False)


class TextPacket(Packet):  # type: ignore[misc]  # the library ships no types
    """A packet of Socket.IO that was checked before anything is done with it."""

    json = PacketJson

    def decode(self, encoded_packet: str) -> int:
        """See `Packet`.

        Raises:
            ValueError: It is an event without a name, or with one that clients may not use.
        """
        attachments: int = super().decode(encoded_packet)
        if self.packet_type == EVENT:
            data = self.data
            is_named = isinstance(data, list) and bool(data) and isinstance(data[0], str)
            if not is_named or data[0] in _RESERVED:
                raise ValueError("an event needs a name")
        return attachments
