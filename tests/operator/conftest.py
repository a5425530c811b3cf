"""Clients of the real API server for the operator's engine."""

from collections.abc import AsyncIterator

import pytest

from syntera_kube import ClusterConfig, KubeClient
from tests.support.apiserver import RunningApiServer


@pytest.fixture
async def client(api_server: RunningApiServer) -> AsyncIterator[KubeClient]:
    """The administrator of the real API server."""
    config = ClusterConfig.from_kubeconfig(api_server.kubeconfig)
    async with KubeClient.connect(config, component="syntera-tests") as made:
        yield made
