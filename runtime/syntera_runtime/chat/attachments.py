"""What models get to know of the files in a prompt.

Images are loaded for models that take them, the newest first, within `MOST_IMAGES` and `MOST_IMAGE_BYTES`. Of plain text the
newest `MOST_TEXT` characters in all are put into the prompt. Everything else is named, and so is what does not fit, and what
cannot be read, unless it is asked about just now: an old file that is lost must not end its conversation.
"""

import codecs
from collections.abc import Collection, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace

from ..errors import FileNotFound, FileUnavailable, StoreUnavailable
from ..files.service import Files
from ..models.exchange import ModelMessage, ModelRequest
from ..models.files import MOST_IMAGES, MOST_TEXT, PLAIN_TEXT, Attachment, File, ModelImage, Storage
from ..models.ids import FileId, TenantId
from ..ports.files import FileStore

MOST_IMAGE_BYTES = 10 * 1024 * 1024


class AttachmentReader:
    """Puts into a prompt what its files hold."""

    def __init__(self, store: FileStore, files: Files) -> None:
        self._store = store
        self._files = files

    async def fill(
        self, tenant_id: TenantId, request: ModelRequest, *, needed: Collection[FileId], with_images: bool
    ) -> ModelRequest:
        """The request with its files read.

        Args:
            needed: The files of the newest message, without which there is no answer. Those of other messages may be lost.
            with_images: Whether any model that may be asked takes images.

        Raises:
            FileUnavailable: A file that is needed cannot be read now.
        """
        wanted = [file.id for message in request.messages for file in message.files]
        if not wanted:
            return request
        try:
            found = {file.id: file for file in await self._store.find_files(tenant_id, wanted)}
        except StoreUnavailable as error:
            raise FileUnavailable from error
        reading = _Reading(tenant_id, self._files, found, needed=needed, with_images=with_images)
        newest_first = [await reading.fill(message) for message in reversed(request.messages)]
        return replace(request, messages=tuple(reversed(newest_first)))


class _Reading:
    """Reads the files of one prompt, the newest message first, while there is room."""

    def __init__(
        self,
        tenant_id: TenantId,
        files: Files,
        found: dict[FileId, File],
        *,
        needed: Collection[FileId],
        with_images: bool,
    ) -> None:
        self._tenant_id = tenant_id
        self._files = files
        self._found = found
        self._needed = needed
        self._away: set[Storage] = set()
        """Stores that did not answer: they are not waited for again."""
        self._with_images = with_images
        self._images_left = MOST_IMAGES
        self._bytes_left = MOST_IMAGE_BYTES
        self._text_left = MOST_TEXT

    async def fill(self, message: ModelMessage) -> ModelMessage:
        notes, images = [], []
        for attached in message.files:
            try:
                told = await self._tell(attached)
            except FileUnavailable:
                if attached.id in self._needed:
                    raise
                told = f"[The user attached the file {attached.name!r}, which cannot be read at the moment]"
            if isinstance(told, ModelImage):
                images.append(told)
            else:
                notes.append(told)
        content = "\n\n".join(filter(None, (message.content, *notes)))
        return replace(message, content=content, files=(), images=(*message.images, *images))

    async def _tell(self, attached: Attachment) -> ModelImage | str:
        """What the model gets of a file.

        Raises:
            FileUnavailable: It cannot be read.
        """
        file = self._found.get(attached.id)
        if file is None:
            return _name(attached)
        if attached.is_image and self._with_images and self._has_room(file):
            return ModelImage(attached.name, attached.media_type, await self._read_all(file))
        if attached.media_type == PLAIN_TEXT and self._text_left > 0:
            return await self._quote(file)
        return _name(attached)

    def _has_room(self, file: File) -> bool:
        return self._images_left > 0 and file.content.size <= self._bytes_left

    async def _read_all(self, file: File) -> bytes:
        with self._reading(file):
            data = b"".join([piece async for piece in self._files.read(self._tenant_id, file)])
        self._images_left -= 1
        self._bytes_left -= file.content.size
        return data

    async def _quote(self, file: File) -> str:
        text = await self._read_text(file)
        is_whole = len(text) <= self._text_left
        text = text[: self._text_left]
        self._text_left -= len(text)
        end = f"[End of the file {file.name!r}]" if is_whole else f"[The rest of the file {file.name!r} is left out]"
        return f"[The user attached the file {file.name!r}. It says:]\n{text}\n{end}"

    async def _read_text(self, file: File) -> str:
        """Its first characters, one more than there is room for where it has more."""
        decoder, text = codecs.getincrementaldecoder("utf-8-sig")("replace"), ""
        with self._reading(file):
            async with aclosing(self._files.read(self._tenant_id, file)) as pieces:
                async for piece in pieces:
                    text += decoder.decode(piece)
                    if len(text) > self._text_left:
                        break
        return text

    @contextmanager
    def _reading(self, file: File) -> Iterator[None]:
        """Around the reading of one file.

        Raises:
            FileUnavailable: It cannot be read.
        """
        if file.storage in self._away:
            raise FileUnavailable
        try:
            yield
        except FileNotFound:
            raise FileUnavailable from None
        except StoreUnavailable as error:
            self._away.add(file.storage)
            raise FileUnavailable from error


def _name(file: Attachment) -> str:
    """What is said of a file whose content is not given."""
    if file.is_image:
        return f"[The user attached the image {file.name!r}, which is not shown to you]"
    return f"[The user attached the file {file.name!r} ({file.media_type}, {file.size} bytes), which you cannot read]"
