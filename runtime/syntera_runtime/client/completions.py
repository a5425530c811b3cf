"""Questions to an agent of which the server keeps no text, over OpenAI's protocol.

For more of that protocol take OpenAI's own client; this is enough to ask something and hear the answer.
"""

from collections.abc import AsyncGenerator

import httpx2

from .calls import Caller, Request, parse
from .errors import ConnectionFailed, build_api_error
from .models import Answer, Problem


class _Delta(Answer):
    content: str | None = None


class _Choice(Answer):
    delta: _Delta


class _Error(Answer):
    message: str
    code: str | None = None


class _Chunk(Answer):
    choices: list[_Choice] = []
    error: _Error | None = None


class Completions:
    """Asks agents."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def stream(self, agent: str, content: str) -> AsyncGenerator[str, None]:
        """The answer, piece by piece. Leaving stops it. It cannot be resumed, and is asked for again only where it was refused
        before any model was asked.

        Raises:
            ApiError: No answer could be begun, or it broke off; the codes are those of `docs/reference/openai.md`.
            ConnectionFailed: The connection was lost before the answer was whole.
        """
        body = {"model": agent, "stream": True, "messages": [{"role": "user", "content": content}]}
        request = Request("POST", "/v1/chat/completions", body=body, is_repeatable=False)
        try:
            async with self._caller.stream(request) as events:
                async for sent in events:
                    if sent.data == "[DONE]":
                        return
                    for piece in _read_chunk(sent.data):
                        yield piece
        except httpx2.TransportError:
            raise ConnectionFailed("The connection was lost before the answer was whole.") from None
        raise ConnectionFailed("The answer ended before it was whole.")


def _read_chunk(data: str) -> list[str]:
    chunk = parse(_Chunk, data)
    if chunk.error is not None:
        problem = Problem(code=chunk.error.code or "", detail=chunk.error.message)
        raise build_api_error(problem, status=200)
    return [choice.delta.content for choice in chunk.choices if choice.delta.content]
