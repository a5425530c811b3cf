"""Files on real parts: PostgreSQL, and a model server that says what it was shown.

Nothing smaller shows that the very bytes that a customer sent are what the model gets.
"""

import base64
import hashlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_dev.models.control import Fault
from syntera_runtime.adapters.openai_models import OpenAIChatModels
from syntera_runtime.api.app import build_public_app
from syntera_runtime.chat.attachments import MOST_IMAGE_BYTES
from syntera_runtime.files.kinds import Examination
from syntera_runtime.models.files import MOST_IMAGES, MOST_TEXT, FileContent, Storage
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.builders import make_agent, make_candidate, make_services, make_stored_key
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.fakes import FakeCatalogue
from tests.runtime.files.samples import PDF, make_png
from tests.support.stand_in import StandIn, running_stand_in

KEY = ApiKey.generate(KeyKind.SECRET)


@pytest.fixture
def stand_in() -> Any:
    """The model server."""
    with running_stand_in() as running:
        yield running


@pytest.fixture
def agents(stand_in: StandIn) -> FakeCatalogue:
    """An agent whose model takes images."""
    return FakeCatalogue(make_agent(models=[make_candidate(base_url=stand_in.base_url, takes_images=True)]))


@pytest.fixture
async def client(postgresql_stores: PostgresqlStores, agents: FakeCatalogue) -> AsyncIterator[httpx.AsyncClient]:
    """The API on PostgreSQL."""
    stores = postgresql_stores.stores
    scopes = frozenset({Scope.CHAT, Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE})
    await stores.put_api_key(make_stored_key(KEY, scopes=scopes))
    models = OpenAIChatModels(FixedSecrets())
    services = make_services(
        tenant_id=stores.tenant_id,
        keys=stores.api_keys,
        contacts=stores.contacts,
        conversations=stores.conversations,
        turns=stores.turns,
        directory=stores.directory,
        editor=stores.editor,
        file_store=stores.files,
        blobs={Storage.POSTGRESQL: stores.blobs},
        models=models,
        agents=agents,
    )
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {KEY.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client
    await services.runner.aclose()
    await models.aclose()


async def send(client: httpx.AsyncClient, content: bytes, name: str) -> str:
    answer = await client.post("/v1/files", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    file_id: str = answer.json()["id"]
    return file_id


async def start(client: httpx.AsyncClient) -> str:
    conversation_id: str = (await client.post("/v1/agents/travel/conversations")).json()["id"]
    return conversation_id


async def say(client: httpx.AsyncClient, conversation_id: str, *file_ids: str, text: str = "See") -> dict[str, Any]:
    body = {"content": text, "attachments": [{"fileId": file_id} for file_id in file_ids]}
    answer = await client.post(f"/v1/conversations/{conversation_id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def last_message(stand_in: StandIn) -> Any:
    """The content of the last message of the last prompt that arrived."""
    body: Any = stand_in.journal()[-1].body
    return body["messages"][-1]["content"]


async def test_model_is_shown_the_very_image_that_was_sent(client: httpx.AsyncClient) -> None:
    picture = make_png(5, 6)
    told = await say(client, await start(client), await send(client, picture, "beach.png"))
    assert (
        f"You showed me an image: image/png, SHA-256 {hashlib.sha256(picture).hexdigest()}."
        in (told["message"]["content"])
    )


async def test_model_that_takes_no_images_is_told_that_there_is_one(
    client: httpx.AsyncClient, agents: FakeCatalogue, stand_in: StandIn
) -> None:
    agents.put(make_agent(models=[make_candidate(base_url=stand_in.base_url)]))
    await say(client, await start(client), await send(client, make_png(), "beach.png"))
    assert last_message(stand_in) == "See\n\n[The user attached the image 'beach.png', which is not shown to you]"


async def test_each_candidate_gets_what_it_takes(
    client: httpx.AsyncClient, agents: FakeCatalogue, stand_in: StandIn
) -> None:
    seeing = make_candidate(base_url=stand_in.base_url, takes_images=True)
    agents.put(make_agent(models=[seeing, make_candidate(endpoint="blind", base_url=stand_in.base_url)]))
    stand_in.fail(Fault(kind="status", status=400))
    await say(client, await start(client), await send(client, make_png(), "beach.png"))
    first, second = (entry.body["messages"][-1]["content"] for entry in stand_in.journal()[-2:])
    assert [part["type"] for part in first] == ["text", "image_url"]
    assert second == "See\n\n[The user attached the image 'beach.png', which you cannot see]"


async def test_text_is_put_into_the_prompt_and_other_files_are_named(
    client: httpx.AsyncClient, stand_in: StandIn
) -> None:
    text, document = await send(client, b"Terms\nand more", "terms.txt"), await send(client, PDF, "bill.pdf")
    await say(client, await start(client), text, document)
    assert last_message(stand_in) == (
        "See\n\n[The user attached the file 'terms.txt'. It says:]\nTerms\nand more\n[End of the file 'terms.txt']\n\n"
        f"[The user attached the file 'bill.pdf' (application/pdf, {len(PDF)} bytes), which you cannot read]"
    )


async def test_text_is_cut_where_there_is_no_room_left(client: httpx.AsyncClient, stand_in: StandIn) -> None:
    long, next_ = await send(client, b"a" * (MOST_TEXT + 1), "a.txt"), await send(client, b"b", "b.txt")
    await say(client, await start(client), long, next_)
    prompt = last_message(stand_in)
    assert prompt.count("a" * MOST_TEXT) == 1
    assert "[The rest of the file 'a.txt' is left out]" in prompt
    assert "[The user attached the file 'b.txt' (text/plain, 1 bytes), which you cannot read]" in prompt


async def test_only_the_newest_images_are_shown(client: httpx.AsyncClient, stand_in: StandIn) -> None:
    conversation_id = await start(client)
    for number in range(MOST_IMAGES + 1):
        await say(client, conversation_id, await send(client, make_png(number + 1), f"{number}.png"), text=f"{number}")
    messages = stand_in.journal()[-1].body["messages"]
    said = [message["content"] for message in messages if message["role"] == "user"]
    assert said[0] == "0\n\n[The user attached the image '0.png', which is not shown to you]"
    assert all(isinstance(content, list) for content in said[1:])


async def test_images_are_shown_as_far_as_their_bytes_fit(client: httpx.AsyncClient, stand_in: StandIn) -> None:
    large = make_png() + b"\0" * (MOST_IMAGE_BYTES - 200)
    small = make_png()
    conversation_id = await start(client)
    await say(client, conversation_id, await send(client, large, "old.png"), text="old")
    await say(client, conversation_id, await send(client, small + b"\0" * 200, "new.png"), text="new")
    old, new = (m["content"] for m in stand_in.journal()[-1].body["messages"] if m["role"] == "user")
    assert old == "old\n\n[The user attached the image 'old.png', which is not shown to you]"
    assert new[1]["type"] == "image_url"


async def test_turn_fails_in_clear_words_when_a_file_cannot_be_read(
    client: httpx.AsyncClient, postgresql_stores: PostgresqlStores
) -> None:
    conversation_id, file_id = await start(client), await send(client, make_png(), "beach.png")
    async with postgresql_stores.pool.connection("test") as connection:
        await connection.execute("SELECT syntera.delete_file_chunks($1)", file_id)
    body = {"content": "See", "attachments": [{"fileId": file_id}]}
    answer = await client.post(f"/v1/conversations/{conversation_id}/messages", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "file-unavailable")


async def test_old_file_that_cannot_be_read_is_named_and_the_conversation_goes_on(
    client: httpx.AsyncClient, postgresql_stores: PostgresqlStores, stand_in: StandIn
) -> None:
    conversation_id = await start(client)
    picture, text = await send(client, make_png(), "beach.png"), await send(client, b"Terms", "terms.txt")
    await say(client, conversation_id, picture, text, text="See")
    async with postgresql_stores.pool.connection("test") as connection:
        for file_id in (picture, text):
            await connection.execute("SELECT syntera.delete_file_chunks($1)", file_id)
    await say(client, conversation_id, text="And?")
    assert stand_in.journal()[-1].body["messages"][1]["content"] == (
        "See\n\n[The user attached the file 'beach.png', which cannot be read at the moment]\n\n"
        "[The user attached the file 'terms.txt', which cannot be read at the moment]"
    )


async def test_question_whose_file_could_not_be_read_does_not_block_the_next_one(
    client: httpx.AsyncClient, postgresql_stores: PostgresqlStores, stand_in: StandIn
) -> None:
    """The two are joined into one message of the prompt."""
    conversation_id, file_id = await start(client), await send(client, make_png(), "beach.png")
    async with postgresql_stores.pool.connection("test") as connection:
        await connection.execute("SELECT syntera.delete_file_chunks($1)", file_id)
    body = {"content": "See", "attachments": [{"fileId": file_id}]}
    assert (await client.post(f"/v1/conversations/{conversation_id}/messages", json=body)).status_code == 503
    await say(client, conversation_id, text="And?")
    assert last_message(stand_in) == (
        "See\n\nAnd?\n\n[The user attached the file 'beach.png', which cannot be read at the moment]"
    )


def completion(url: str) -> dict[str, Any]:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": "travel", "messages": [{"role": "user", "content": content}]}


async def test_chat_completion_hands_the_image_on(client: httpx.AsyncClient) -> None:
    picture = make_png(7, 8)
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    answer = await client.post("/v1/chat/completions", json=completion(url))
    assert hashlib.sha256(picture).hexdigest() in answer.json()["choices"][0]["message"]["content"]


async def test_chat_completion_with_an_image_is_refused_when_no_model_takes_any(
    client: httpx.AsyncClient, agents: FakeCatalogue, stand_in: StandIn
) -> None:
    agents.put(make_agent(models=[make_candidate(base_url=stand_in.base_url)]))
    url = f"data:image/png;base64,{base64.b64encode(make_png()).decode()}"
    answer = await client.post("/v1/chat/completions", json=completion(url))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "images_not_taken")


def completion_of(*urls: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"model": "travel", "messages": [{"role": "user", "content": [part]} for part in parts]}


async def test_chat_completion_with_too_many_images_is_refused_before_any_is_looked_at(
    client: httpx.AsyncClient, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"data:image/png;base64,{base64.b64encode(make_png()).decode()}"
    looks = watch_examinations(monkeypatch)
    answer = await client.post("/v1/chat/completions", json=completion_of(*[url] * (MOST_IMAGES + 1)))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["message"]) == ("messages", "messages: may hold at most 8 images in all")
    assert looks == []
    assert stand_in.journal() == []


async def test_images_of_a_chat_completion_are_looked_at_once_and_beside_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"data:image/png;base64,{base64.b64encode(make_png(side)).decode()}" for side in range(1, MOST_IMAGES + 1)]
    looks = watch_examinations(monkeypatch)
    answer = await client.post("/v1/chat/completions", json=completion_of(*urls))
    assert answer.status_code == 200, answer.text
    assert len(looks) == MOST_IMAGES
    assert threading.get_ident() not in looks


async def test_images_that_no_model_takes_are_not_looked_at(
    client: httpx.AsyncClient, agents: FakeCatalogue, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.put(make_agent(models=[make_candidate(base_url=stand_in.base_url)]))
    looks = watch_examinations(monkeypatch)
    answer = await client.post("/v1/chat/completions", json=completion_of("data:image/png;base64,aGVsbG8="))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "images_not_taken")
    assert looks == []


def watch_examinations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which images are looked at, one entry for each look."""
    looks: list[int] = []
    end = Examination.end

    def watched(self: Examination) -> FileContent:
        looks.append(threading.get_ident())
        return end(self)

    monkeypatch.setattr(Examination, "end", watched)
    return looks


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/a.png",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "data:image/png,abc",
        "data:image/png;base64,****",
        "data:image/png;base64,aGVsbG8=",
        f"data:image/png;base64,{base64.b64encode(make_png(20_000, 1)).decode()}",
    ],
)
async def test_chat_completion_with_something_else_for_an_image_is_refused_by_its_place(
    client: httpx.AsyncClient, stand_in: StandIn, url: str
) -> None:
    answer = await client.post("/v1/chat/completions", json=completion(url))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[1].image_url.url"
    assert stand_in.journal() == []
