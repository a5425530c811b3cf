"""Files and the parts of messages."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from ..models.files import Attachment, CitationPart, FilePart, ImagePart, Part, TextPart
from .base import View
from .citations import CitationView


class AttachmentView(View):
    """A file of a message."""

    id: UUID
    name: str
    media_type: str
    """By its bytes, whatever its name says."""
    bytes: int
    width: int | None
    """Of an image, in pixels."""
    height: int | None
    url: str
    """Path of its bytes, to be read with your credentials. For `<img src>` and links ask for a signed link."""

    @classmethod
    def of(cls, file: Attachment) -> Self:
        """The view of `file`."""
        return cls(
            id=file.id,
            name=file.name,
            media_type=file.media_type,
            bytes=file.size,
            width=file.width,
            height=file.height,
            url=f"/v1/files/{file.id}/content",
        )


class TextPartView(View):
    """Text in a message."""

    type: Literal["text"] = "text"
    text: str


class ImagePartView(View):
    """A picture in a message."""

    type: Literal["image"] = "image"
    file: AttachmentView


class FilePartView(View):
    """Another file in a message."""

    type: Literal["file"] = "file"
    file: AttachmentView


class CitationPartView(View):
    """What a number in the text, `[1]`, stands for."""

    type: Literal["citation"] = "citation"
    citation: CitationView


PartView = Annotated[TextPartView | ImagePartView | FilePartView | CitationPartView, Field(discriminator="type")]
"""A part of a message. There will be more types: clients must ignore those that they do not know."""


def view_parts(parts: Sequence[Part]) -> list[PartView]:
    """The views of parts that have one."""
    views: list[PartView] = []
    for part in parts:
        match part:
            case TextPart(text):
                views.append(TextPartView(text=text))
            case ImagePart(file):
                views.append(ImagePartView(file=AttachmentView.of(file)))
            case FilePart(file):
                views.append(FilePartView(file=AttachmentView.of(file)))
            case CitationPart(citation):
                views.append(CitationPartView(citation=CitationView.of(citation)))
            case _:
                pass
    return views
