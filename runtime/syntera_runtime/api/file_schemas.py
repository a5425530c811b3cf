"""Files and the parts of messages as JSON."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ..files.links import Disposition
from ..models.files import File
from ..views.base import View
from ..views.files import AttachmentView


class FileView(AttachmentView):
    """A file."""

    sha256: str
    """SHA-256 of its bytes, in hexadecimal digits."""
    created_at: datetime
    conversation_id: UUID | None
    message_id: UUID | None
    """The message that it is attached to. None: none yet; it is removed if none is within 24 hours."""

    @classmethod
    def describe(cls, file: File) -> Self:
        """The view of `file`."""
        return cls(
            **AttachmentView.of(file.attachment).model_dump(),
            sha256=file.content.sha256.hex(),
            created_at=file.created_at,
            conversation_id=file.conversation_id,
            message_id=file.message_id,
        )


class LinkInput(BaseModel):
    """What a link is to do."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)

    disposition: Annotated[Disposition, Field(strict=False)] = Disposition.INLINE
    """`inline`: an image is shown by the browser; every other file is saved all the same. `attachment`: it is saved."""


class FileLinkView(View):
    """A link that needs no credentials: whoever has it gets the file until it ends."""

    url: str
    """Path and query, from the API's base URL on."""
    expires_at: datetime
