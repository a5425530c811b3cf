"""Use cases on stores in memory and scripted models."""

from collections.abc import AsyncIterator

import pytest

from syntera_runtime.services import Services
from tests.runtime.builders import make_services
from tests.runtime.fakes import FakeChatModels, FakeFailingStore


@pytest.fixture
def store() -> FakeFailingStore:
    """All stores; it can be told to be away."""
    return FakeFailingStore()


@pytest.fixture
def models() -> FakeChatModels:
    """The models, scripted."""
    return FakeChatModels()


@pytest.fixture
async def services(store: FakeFailingStore, models: FakeChatModels) -> AsyncIterator[Services]:
    """The use cases."""
    services = make_services(store, models=models)
    yield services
    await services.runner.aclose()
