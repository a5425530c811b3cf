"""Nothing of what people write, no key and no instructions in logs or metrics, whatever happens and at every level."""

import io
import logging
from collections.abc import Iterator
from contextlib import aclosing

import httpx
import pytest
import structlog

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.tenant_config import ChallengeConfig
from syntera_runtime.adapters.http_challenges import HttpChallenges
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.logs import configure_logging
from tests.runtime.adapters.fixed_secrets import KEY, FixedSecrets
from tests.runtime.builders import make_agent, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeKeySets
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign
from tests.runtime.serving import served
from tests.runtime.sockets import ENDS, open_socket, refused, serving_sockets

SECRET = "xyzzy"
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)
    structlog.configure(cache_logger_on_first_use=False)  # the loggers of our modules would stay as this test has them
    yield stream
    root.handlers = handlers
    root.setLevel(level)


async def test_nothing_secret_is_logged_or_counted(log: io.StringIO) -> None:
    store, models = MemoryStore(), FakeChatModels()
    agents = FakeCatalogue(make_agent(instructions=f"Never say {SECRET}."))
    services = make_services(store, models=models, agents=agents)
    key = put_key(store)
    headers = {"Authorization": f"Bearer {key}"}
    scripts: list[list[str | Exception]] = [
        [SECRET],
        [SECRET, ModelUnavailable()],
        [ValueError(SECRET)],
        [SECRET, KeyError(SECRET)],
    ]
    asked = {"model": "travel", "messages": [{"role": "user", "content": SECRET}], "user": SECRET}
    async with served(build_public_app(services)) as url, httpx.AsyncClient(base_url=url, headers=headers) as client:
        made = (await client.post("/v1/agents/travel/conversations")).json()
        messages = f"/v1/conversations/{made['id']}/messages"
        for script in scripts:
            for path, body, accept in (
                (messages, {"content": SECRET}, {}),
                (messages, {"content": SECRET}, STREAM),
                ("/v1/chat/completions", asked, {}),
                ("/v1/chat/completions", {**asked, "stream": True}, {}),
            ):
                models.scripts = [[*script]]
                await client.post(path, json=body, headers=accept)
        for content in (SECRET.encode(), b"\0" + SECRET.encode()):
            sent = await client.post("/v1/files", params={"name": SECRET}, content=content)
        file_id = (await client.post("/v1/files", params={"name": SECRET}, content=SECRET.encode())).json()["id"]
        await client.post(messages, json={"content": SECRET, "attachments": [{"fileId": file_id}]})
        await client.get((await client.post(f"/v1/files/{file_id}/links")).json()["url"])
        assert sent.status_code == 415
        await client.post(messages, json={SECRET: SECRET})
        await client.post(messages, content=f'{{"{SECRET}', headers={"Content-Type": "application/json"})
        await client.post(messages, json={"content": "Hi"}, headers={"Authorization": f"Bearer {SECRET}"})
        await client.get(f"/v1/agents/{SECRET}")
        await client.get(f"/{SECRET}?{SECRET}={SECRET}")
        await client.get("/v1/agents", headers={"X-Request-Id": f"{SECRET} {SECRET}"})
    await services.runner.drain(seconds=30)
    logged = log.getvalue()
    assert logged.count('"event": "turn ended"') == 17
    assert '"event": "generation broke"' in logged
    for text in (SECRET, key, key[15:30]):
        assert text not in logged
        assert text.encode() not in services.metrics.render()


async def test_nothing_of_sockets_is_logged_or_counted(log: io.StringIO) -> None:
    store, models = MemoryStore(), FakeChatModels()
    models.scripts = [[SECRET], [SECRET, ModelUnavailable()], [KeyError(SECRET)]]
    services = make_services(store, models=models)
    key = put_key(store)
    async with serving_sockets(services) as url:
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
            conversation = (await client.post("/v1/agents/travel/conversations")).json()["id"]
        await refused(url, {"token": SECRET})
        await refused(url, {SECRET: SECRET})
        async with open_socket(url, key) as socket:
            await socket.ask("conversation.join", conversationId=conversation)
            for count in (1, 2, 3):
                await socket.ask(
                    "message.send", conversationId=conversation, content=SECRET, idempotencyKey=f"{SECRET}{count}"
                )
                await socket.wait_for(lambda _, ends=count: sum(one.name in ENDS for one in socket.told) == ends)  # type: ignore[misc]
            await socket.refusal(SECRET, {SECRET: SECRET})
            await socket.refusal("typing", {SECRET: SECRET})
            await socket.refusal("session.renew", {"token": SECRET})
    await services.runner.drain(seconds=30)
    logged = log.getvalue()
    assert logged.count('"event": "turn ended"') == 3
    assert '"event": "socket opened"' in logged
    for text in (SECRET, key, key[15:30]):
        assert text not in logged
        assert text.encode() not in services.metrics.render()


async def test_no_credential_is_logged_or_counted(log: io.StringIO) -> None:
    store, key_sets = MemoryStore(), FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    challenge = ChallengeConfig(verify_url=f"http://127.0.0.1:1/{SECRET}", secret=KEY)
    agents = FakeCatalogue(make_agent(), tenant=make_tenant(challenge=challenge))
    verifier = HttpChallenges()
    services = make_services(
        store, agents=agents, key_sets=key_sets, secrets=FixedSecrets({KEY: SECRET}), challenge_verifier=verifier
    )
    publishable, admin = put_publishable_key(store), put_key(store, scopes=frozenset({Scope.ADMIN}))
    proof = {"externalId": SECRET, "hmac": "0" * 64}
    person = sign(sub=SECRET, name=SECRET, email=f"{SECRET}@example.com")
    made: list[str] = []
    async with (
        aclosing(verifier),
        served(build_public_app(services)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):

        async def ask(method: str, path: str, text: str, body: object = None) -> httpx.Response:
            return await client.request(method, path, headers={"Authorization": f"Bearer {text}"}, json=body)

        answer = await ask("POST", "/v1/api-keys", admin, {"kind": "sk", "name": SECRET, "scopes": ["chat"]})
        made.append(answer.json()["key"])
        bought = await ask("POST", "/v1/visitor-tokens", publishable, {"identity": {"identityToken": person}})
        made.append(bought.json()["visitorToken"])
        assert (await ask("GET", "/v1/agents", made[1])).status_code == 200
        assert (await ask("POST", "/v1/visitor-tokens", publishable, {"identity": proof})).status_code == 401
        assert (await ask("POST", "/v1/visitor-tokens", publishable, {"challengeResponse": SECRET})).status_code == 503
        assert (await ask("GET", "/v1/agents", person)).status_code == 200
        assert (await ask("GET", "/v1/agents", person[:-9])).status_code == 401
        assert (await ask("GET", "/v1/agents", sign(sub=SECRET, exp=1))).status_code == 401
        origin = {"Origin": f"https://{SECRET}.example", "Access-Control-Request-Method": "GET"}
        assert (await client.options("/v1/agents", headers=origin)).status_code == 403
    logged = log.getvalue()
    assert '"event": "api key created"' in logged
    assert '"event": "challenge not verified"' in logged
    for text in (SECRET, publishable, admin, person, *made, *(text[15:30] for text in (publishable, admin, *made))):
        assert text not in logged
        assert text.encode() not in services.metrics.render()
