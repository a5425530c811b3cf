"""The official client of OpenAI against a real server."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.services import Services
from tests.runtime.builders import put_key
from tests.runtime.serving import served


@pytest.fixture
async def openai_url(services: Services) -> AsyncIterator[str]:
    """The base URL of a served API."""
    async with served(build_public_app(services)) as url:
        yield f"{url}/v1"


@pytest.fixture
async def openai(openai_url: str, store: MemoryStore) -> AsyncIterator[AsyncOpenAI]:
    """The official client, without retries."""
    async with AsyncOpenAI(base_url=openai_url, api_key=put_key(store), max_retries=0, timeout=10) as client:
        yield client
