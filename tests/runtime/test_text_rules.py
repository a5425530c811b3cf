"""Nothing of what people write, no key and no instructions in logs or metrics, whatever happens and at every level."""

import io
import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.logs import configure_logging
from tests.runtime.builders import make_agent, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.serving import served

SECRET = "xyzzy"
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


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
        await client.post(messages, json={SECRET: SECRET})
        await client.post(messages, content=f'{{"{SECRET}', headers={"Content-Type": "application/json"})
        await client.post(messages, json={"content": "Hi"}, headers={"Authorization": f"Bearer {SECRET}"})
        await client.get(f"/v1/agents/{SECRET}")
        await client.get(f"/{SECRET}?{SECRET}={SECRET}")
        await client.get("/v1/agents", headers={"X-Request-Id": f"{SECRET} {SECRET}"})
    await services.runner.drain(seconds=5)
    logged = log.getvalue()
    assert logged.count('"event": "turn ended"') == 16
    assert '"event": "generation broke"' in logged
    for text in (SECRET, key, key[15:30]):
        assert text not in logged
        assert text.encode() not in services.metrics.render()
