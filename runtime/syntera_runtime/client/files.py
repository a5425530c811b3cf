"""Files: send them, read them, link to them."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Literal
from uuid import UUID

import httpx2

from .calls import Caller, Request, once, segment
from .errors import ConnectionFailed
from .file_models import File, FileLink

UPLOAD_SECONDS = 600.0
"""As long as the server waits for a file."""
_PATH = "/v1/files"


class Files:
    """Sends and reads files. `Client.send` attaches them to a message."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def upload(
        self,
        name: str,
        content: bytes | AsyncIterable[bytes],
        *,
        idempotency_key: str | None = None,
        seconds: float = UPLOAD_SECONDS,
    ) -> File:
        """Send a file. What no message has within a day is removed.

        Args:
            content: The bytes, or what gives them piece by piece: then nothing is tried again once the first piece was taken.
            idempotency_key: The same key and name give the same file. None: one of the client's own.
            seconds: Deadline of all tries.

        Raises:
            InvalidRequest: The file is too large, or of a kind that is not taken.
            Conflict: There are too many files that no message has.
        """
        pieces = None if isinstance(content, bytes) else Pieces(content)
        request = Request(
            "POST",
            _PATH,
            query={"name": name},
            content=content if pieces is None else pieces,
            headers={"Content-Type": "application/octet-stream", **once(idempotency_key)},
            is_spent=lambda: pieces is not None and pieces.began,
            seconds=seconds,
        )
        return await self._caller.get(File, request)

    async def get(self, file_id: UUID | str) -> File:
        """What is known of a file.

        Raises:
            NotFound: There is none with that id.
        """
        return await self._caller.get(File, Request("GET", _of(file_id)))

    async def read(self, file_id: UUID | str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, piece by piece.

        Raises:
            NotFound: There is none with that id.
            ConnectionFailed: The connection was lost before the file was whole.
        """
        try:
            async with self._caller.open(Request("GET", f"{_of(file_id)}/content")) as answer:
                async for piece in answer.aiter_bytes():
                    yield piece
        except httpx2.TransportError:
            raise ConnectionFailed("The connection was lost before the file was whole.") from None

    async def link(self, file_id: UUID | str, *, disposition: Literal["inline", "attachment"] = "inline") -> FileLink:
        """A link that hands out the file without credentials, for 15 minutes.

        Args:
            disposition: Whether a browser shows it, where it is an image, or saves it.

        Raises:
            NotFound: There is none with that id.
        """
        request = Request("POST", f"{_of(file_id)}/links", body={"disposition": disposition})
        return await self._caller.get(FileLink, request)

    async def delete(self, file_id: UUID | str) -> None:
        """Delete a file that no message has.

        Raises:
            NotFound: There is none with that id.
            Conflict: A message has it.
        """
        # The second of two would be told that there is no such file, which the first has deleted.
        await self._caller.call(Request("DELETE", _of(file_id), is_repeatable=False))


class Pieces:
    """Remembers whether somebody began to take the pieces: they cannot be had again."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source
        self.began = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.began = True
        async for piece in self._source:
            yield piece


def _of(file_id: UUID | str) -> str:
    return f"{_PATH}/{segment(file_id)}"
