"""The stand-in behind a real server, fresh for every test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from tests.support.stand_in import StandIn, running_stand_in


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(server: StandIn) -> Iterator[StandIn]:
    """What a test sets is gone after it."""
    yield server
    server.reset()


@pytest.fixture
async def openai(stand_in: StandIn) -> AsyncIterator[AsyncOpenAI]:
    """The vendor's own client, which is the judge of the protocol."""
    async with AsyncOpenAI(base_url=stand_in.base_url, api_key="sk-test", max_retries=0) as client:
        yield client
