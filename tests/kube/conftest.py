"""Clients of a real and of a faulty API server."""

from collections.abc import AsyncIterator

import pytest

from syntera_kube import ClusterConfig, KubeClient
from tests.kube.faulty_server import FaultyServer, faulty_server
from tests.support.apiserver import RunningApiServer


@pytest.fixture
async def client(api_server: RunningApiServer) -> AsyncIterator[KubeClient]:
    """The administrator of the real API server."""
    config = ClusterConfig.from_kubeconfig(api_server.kubeconfig)
    async with KubeClient.connect(config, component="syntera-tests") as made:
        yield made


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyServer]:
    """An API server that fails as it is told."""
    async with faulty_server() as made:
        yield made


@pytest.fixture
async def faulty_client(faulty: FaultyServer) -> AsyncIterator[KubeClient]:
    """Its client; a request may take half a minute, retries included."""
    async with KubeClient.connect(faulty.config, component="syntera-tests", timeout_seconds=30) as made:
        yield made
