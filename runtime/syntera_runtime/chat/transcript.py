"""A conversation as a text for people, as a pure function."""

from collections.abc import Iterator

from ..models.conversations import Message, MessageState, Role
from ..models.knowledge import Citation
from .management import Transcript

_SPEAKERS = {Role.USER: "Customer", Role.ASSISTANT: "Agent"}


def build_markdown(transcript: Transcript) -> str:
    """The conversation in Markdown.

    What was said is quoted line by line, so that no text can pass for a heading or for somebody else's words.
    """
    return "\n".join(_lines(transcript))


def _lines(transcript: Transcript) -> Iterator[str]:
    conversation = transcript.conversation
    yield f"# {_one_line(conversation.title or 'Conversation')}"
    yield ""
    yield f"- Conversation: {conversation.id}"
    yield f"- Agent: {conversation.agent}"
    yield f"- Channel: {conversation.channel}"
    yield f"- State: {conversation.state}"
    yield f"- Begun: {conversation.created_at.isoformat(timespec='seconds')}"
    ratings = {feedback.message_id: feedback.rating for feedback in transcript.feedback}
    for message in transcript.messages:
        yield ""
        yield f"## {_SPEAKERS[message.role]}, {message.created_at.isoformat(timespec='seconds')}{_note(message)}"
        yield ""
        yield from (f"> {line}".rstrip() for line in message.content.splitlines() or [""])
        for file in message.attachments:
            yield f"> [{file.name} ({file.media_type}, {file.size} bytes)]"
        if message.citations:
            yield ""
            yield from (f"- {_describe(citation)}" for citation in message.citations)
        if message.id in ratings:
            yield ""
            yield f"Rated: {ratings[message.id]}"
    yield ""


def _note(message: Message) -> str:
    if message.refused is not None:
        return f" (refused: {message.refused})"
    if message.state is not MessageState.COMPLETE:
        return f" ({message.state})"
    failure = None if message.retrieval is None else message.retrieval.failure
    return "" if failure is None else f" (knowledge not searched: {failure})"


def _describe(citation: Citation) -> str:
    """What a number stands for: title, headings, page, where to read it, and which characters of the document it is."""
    repeats = citation.headings[:1] == (citation.title,)  # many a document begins with its title as a heading
    place = " > ".join((citation.title, *citation.headings[repeats:]))
    pages = "" if citation.page is None else f", page {citation.page}"
    if citation.page is not None and citation.last_page not in (None, citation.page):
        pages = f", pages {citation.page} to {citation.last_page}"
    where = citation.url or f"{citation.knowledge_base}/{citation.source}/{citation.path}"
    return _one_line(f"[{citation.number}] {place}{pages}, {where} (characters {citation.start} to {citation.end})")


def _one_line(text: str) -> str:
    return " ".join(text.split())
