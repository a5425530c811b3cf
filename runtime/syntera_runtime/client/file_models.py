"""What the API answers of files; see `models`."""

from datetime import datetime
from uuid import UUID

from .models import Answer, Attachment


class File(Attachment):
    """A file."""

    sha256: str = ""
    """SHA-256 of its bytes, in hexadecimal digits."""
    created_at: datetime
    conversation_id: UUID | None = None
    message_id: UUID | None = None
    """The message that has it. None: none yet."""


class FileLink(Answer):
    """A link that needs no credentials: whoever has it gets the file until it ends."""

    url: str
    """Path and query, from the API's base URL on."""
    expires_at: datetime
