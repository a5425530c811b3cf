"""Files that people send, and what a message says of those that are attached to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator

from .ids import ContactId, ConversationId, FileId, MessageId, RequestKey
from .knowledge import Citation, Refusal, Retrieval

MOST_ATTACHMENTS = 10
"""Of one message."""
MOST_UNATTACHED = 20
"""Files of one customer that no message has yet."""

MOST_IMAGES = 8
"""That one prompt shows."""
MOST_TEXT = 40_000
"""Characters of text files in one prompt."""

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Media types of images that every browser shows and that models take."""
PLAIN_TEXT = "text/plain"


class Storage(StrEnum):
    """Where the bytes of a file are."""

    POSTGRESQL = "postgresql"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class FileContent:
    """What was found out about the bytes of a file."""

    media_type: str
    """By the bytes, never by what the sender says."""
    size: int
    """In bytes."""
    sha256: bytes
    width: int | None = None
    """Of an image, in pixels."""
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it stands in a message. Nothing of it ever changes."""

    id: FileId
    name: str
    media_type: str
    size: int
    """In bytes."""
    width: int | None = None
    """Of an image, in pixels."""
    height: int | None = None

    @property
    def is_image(self) -> bool:
        """Whether it can be shown as a picture."""
        return self.media_type in IMAGES


@dataclass(frozen=True, slots=True)
class File:
    """A file that is there in full."""

    id: FileId
    name: str
    content: FileContent
    storage: Storage
    created_at: datetime
    contact_id: ContactId | None = None
    """The customer who sent it; None: the tenant's side did."""
    conversation_id: ConversationId | None = None
    message_id: MessageId | None = None
    """The message that it is attached to; None: none yet."""
    request_hash: bytes | None = None
    """See `NewFile`."""

    @property
    def attachment(self) -> Attachment:
        """As it stands in a message."""
        content = self.content
        return Attachment(self.id, self.name, content.media_type, content.size, content.width, content.height)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is about to come."""

    id: FileId
    name: str
    storage: Storage
    request_key: RequestKey | None = None
    """Of the request that sends it; no two files have the same."""
    request_hash: bytes | None = None
    """SHA-256 of what the request says beside the file's name and bytes. None: nothing."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where bytes are that are to go."""

    file_id: FileId
    storage: Storage


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text in a message."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture in a message."""

    file: Attachment
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class FilePart:
    """Another file in a message."""

    file: Attachment
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class CitationPart:
    """What a number in the text stands for."""

    citation: Citation
    type: Literal["citation"] = "citation"


@dataclass(frozen=True, slots=True)
class RefusalPart:
    """The text is a refusal. This is for the store alone: readers see it as the message's `refused`."""

    reason: str
    """A `Refusal`, or what a later release calls one."""
    type: Literal["refusal"] = "refusal"


@dataclass(frozen=True, slots=True)
class RetrievalPart:
    """Knowledge was looked up for the text. This is for the store alone: readers see it as the message's `retrieval`."""

    retrieval: Retrieval
    type: Literal["retrieval"] = "retrieval"


Part = TextPart | ImagePart | FilePart | CitationPart | RefusalPart | RetrievalPart

_KNOWN = frozenset({"text", "image", "file", "citation", "refusal", "retrieval"})


def _drop_unknown(parts: Any) -> Any:
    """Parts of kinds that a later release writes are left out, so that this one reads the others."""
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        return parts
    return [part for part in parts if not isinstance(part, dict) or part.get("type") in _KNOWN]


Parts = Annotated[tuple[Annotated[Part, Discriminator("type")], ...], BeforeValidator(_drop_unknown)]
"""The parts of a message, in order."""


def build_parts(content: str, attachments: Sequence[Attachment]) -> tuple[Part, ...]:
    """The parts of a message that has a text and files. Empty: it has no files, and its content says all."""
    if not attachments:
        return ()
    files = [ImagePart(file) if file.is_image else FilePart(file) for file in attachments]
    return (*([TextPart(content)] if content else []), *files)


def build_reply_parts(
    text: str,
    citations: Sequence[Citation] = (),
    *,
    refusal: Refusal | None = None,
    retrieval: Retrieval | None = None,
) -> tuple[Part, ...]:
    """The parts of a reply. Empty: nothing was looked up for it, it is no refusal, and its content says all."""
    noted: list[Part] = [CitationPart(citation) for citation in citations]
    if refusal is not None:
        noted.append(RefusalPart(refusal.value))
    if retrieval is not None:
        noted.append(RetrievalPart(retrieval))
    return (*([TextPart(text)] if text else []), *noted) if noted else ()


def attachments_of(parts: Sequence[Part]) -> tuple[Attachment, ...]:
    """The files among the parts of a message."""
    return tuple(part.file for part in parts if isinstance(part, ImagePart | FilePart))


def citations_of(parts: Sequence[Part]) -> tuple[Citation, ...]:
    """What a message cites."""
    return tuple(part.citation for part in parts if isinstance(part, CitationPart))


def refusal_of(parts: Sequence[Part]) -> Refusal | None:
    """Why a message is a refusal; None: it is none."""
    reasons = (part.reason for part in parts if isinstance(part, RefusalPart))
    return next((Refusal(reason) for reason in reasons if reason in set(Refusal)), None)


def retrieval_of(parts: Sequence[Part]) -> Retrieval | None:
    """What was looked up for a message; None: nothing."""
    return next((part.retrieval for part in parts if isinstance(part, RetrievalPart)), None)


@dataclass(frozen=True, slots=True)
class ModelImage:
    """A picture that a model is to see."""

    name: str
    media_type: str
    data: bytes = field(repr=False)
