"""The chunks of a streamed chat completion."""

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from ...chat.events import CompletionCited, CompletionDelta, CompletionEnded, CompletionEvent, CompletionFailed
from ...models.turns import Turn
from .answers import (
    Chunk,
    ChunkChoice,
    ChunkWithUsage,
    CompletionCitation,
    CompletionUsage,
    Delta,
    ErrorChunk,
    Head,
    annotate,
)

_DONE = format_sse_event(data_str="[DONE]")


class ChunkRenderer:
    """Turns the events of one completion into chunks, in order."""

    def __init__(self, turn: Turn, *, with_usage: bool) -> None:
        self._head = Head.of(turn).model_dump()
        self._type = ChunkWithUsage if with_usage else Chunk
        self._has_begun = False

    def render(self, event: CompletionEvent) -> bytes:
        """The chunks for one event. The first text is preceded by the chunk that names the role."""
        match event:
            case CompletionDelta(text):
                return self._begin() + self._chunk(ChunkChoice(delta=Delta(content=text)))
            case CompletionCited(citation):
                return self._begin() + self._chunk(
                    ChunkChoice(delta=Delta(citations=[CompletionCitation.of(citation)]))
                )
            case CompletionEnded():
                return self._begin() + self._end(event)
            case CompletionFailed(error):
                return _data(ErrorChunk.of(error))

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._chunk(ChunkChoice(delta=Delta(role="assistant", content="")))

    def _end(self, event: CompletionEnded) -> bytes:
        delta = Delta(annotations=annotate(event.text, event.citations) or None, refused=event.refusal)
        chunks = self._chunk(ChunkChoice(delta=delta, finish_reason=event.finish_reason))
        if self._type is ChunkWithUsage:
            usage = event.turn.usage
            told = None if usage is None else CompletionUsage.of(usage)
            chunks += _data(ChunkWithUsage(**self._head, choices=[], usage=told))
        return chunks + _DONE

    def _chunk(self, choice: ChunkChoice) -> bytes:
        return _data(self._type(**self._head, choices=[choice]))


def _data(part: BaseModel) -> bytes:
    return format_sse_event(data_str=part.model_dump_json())
