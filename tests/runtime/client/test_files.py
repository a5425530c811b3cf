"""Files through the client, against the real API on real stores."""

from collections.abc import AsyncIterator

import httpx
import pytest

from syntera_runtime.client import Client, Conflict, InvalidRequest, NotFound
from syntera_runtime.client.models import ImagePart, TextPart
from syntera_runtime.ids import new_id
from tests.runtime.files.samples import make_png

from .conftest import Api

PNG = make_png()


async def read(client: Client, file_id: object) -> bytes:
    return b"".join([piece async for piece in client.files.read(str(file_id))])


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 10):
        yield content[start : start + 10]


async def test_file_is_sent_attached_and_read(client: Client) -> None:
    file = await client.files.upload("beach.png", PNG)
    assert (file.name, file.media_type, file.bytes, file.width, file.message_id) == (
        "beach.png",
        "image/png",
        len(PNG),
        3,
        None,
    )
    conversation = (await client.start("travel")).id
    await client.ask(conversation, "Where is this?", attachments=[file.id])
    (_, question, _) = [message async for message in client.messages(conversation)]
    text, picture = question.parts
    assert isinstance(text, TextPart)
    assert text.text == question.content == "Where is this?"
    assert isinstance(picture, ImagePart)
    assert picture.file.id == file.id
    assert (await client.files.get(file.id)).message_id == question.id
    assert await read(client, file.id) == PNG
    with pytest.raises(Conflict) as caught:
        await client.files.delete(file.id)
    assert caught.value.code == "file-attached"


async def test_message_may_be_a_file_alone(client: Client) -> None:
    file = await client.files.upload("notes.txt", b"Gate 12")
    conversation = (await client.start("travel")).id
    assert [event async for event in client.send(conversation, "", attachments=[file.id])]


async def test_file_is_sent_piece_by_piece(client: Client) -> None:
    content = b"0123456789" * 1000
    file = await client.files.upload("digits.txt", in_pieces(content))
    assert await read(client, file.id) == content


async def test_link_needs_no_credentials(api: Api, client: Client) -> None:
    file = await client.files.upload("beach.png", PNG)
    link = await client.files.link(file.id, disposition="attachment")
    async with httpx.AsyncClient(base_url=api.url) as anybody:
        answer = await anybody.get(link.url)
    assert answer.content == PNG
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_deleted_file_is_gone(client: Client) -> None:
    file = await client.files.upload("beach.png", PNG)
    await client.files.delete(file.id)
    with pytest.raises(NotFound):
        await client.files.get(file.id)
    with pytest.raises(NotFound):
        await read(client, file.id)
    with pytest.raises(NotFound):
        await client.files.link(new_id())


async def test_same_key_is_the_same_file(client: Client) -> None:
    one, other = [await client.files.upload("a.txt", b"Hi", idempotency_key="once") for _ in range(2)]
    assert one == other


async def test_refused_file_says_why(client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await client.files.upload("a.bin", b"\0\1\2")
    assert (caught.value.code, caught.value.status) == ("file-type-refused", 415)
