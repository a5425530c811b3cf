"""The operator's reconciles on a real API server, for objects that somebody made to do harm."""

from collections.abc import AsyncIterator

import pytest

from tests.operator.reconcile.test_on_api_server import Api, running_api
from tests.support.apiserver import RunningApiServer, unique_name


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[Api]:
    async with running_api(api_server) as running:
        yield running


@pytest.fixture
def name() -> str:
    """Of a Tenant and its namespace."""
    return unique_name("acme")
