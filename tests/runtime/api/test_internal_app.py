"""The internal port: probes, metrics, and that the operator's part is behind its token."""

from collections.abc import AsyncIterator

import httpx
import pytest

from syntera_runtime.api.internal_app import build_internal_app
from syntera_runtime.services import Services
from tests.runtime.fakes import FakeCatalogue

TRAVEL = "/internal/v1/config/agents/travel?digest=d"


@pytest.fixture
async def internal(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the internal port."""
    transport = httpx.ASGITransport(app=build_internal_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as client:
        yield client


async def test_process_is_alive_whatever_its_state(
    internal: httpx.AsyncClient, services: Services, agents: FakeCatalogue
) -> None:
    agents.is_loaded = False
    services.lifecycle.is_draining = True
    assert (await internal.get("/healthz")).status_code == 200


async def test_process_is_ready_when_its_configuration_is_loaded(
    internal: httpx.AsyncClient, agents: FakeCatalogue
) -> None:
    agents.is_loaded = False
    answer = await internal.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the configuration is not loaded yet")
    agents.is_loaded = True
    assert (await internal.get("/readyz")).status_code == 200


async def test_process_is_not_ready_while_it_drains(internal: httpx.AsyncClient, services: Services) -> None:
    services.lifecycle.is_draining = True
    answer = await internal.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "draining")


async def test_metrics_are_in_prometheus_format(internal: httpx.AsyncClient) -> None:
    await internal.get("/healthz")
    answer = await internal.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'syntera_http_requests_total{method="GET",port="internal",route="/healthz",status="200"} 1.0' in answer.text
    assert "process_resident_memory_bytes" in answer.text


@pytest.mark.parametrize("token", ["", "Bearer nobody", "Basic operator"])
async def test_operators_part_is_closed_to_others(internal: httpx.AsyncClient, token: str) -> None:
    answer = await internal.get(TRAVEL, headers={"Authorization": token})
    assert (answer.status_code, answer.json()["code"]) == (401, "token-refused")


async def test_operators_part_is_open_to_the_operator(internal: httpx.AsyncClient) -> None:
    answer = await internal.get(TRAVEL, headers={"Authorization": "Bearer operator"})
    assert answer.json()["name"] == "travel"


@pytest.mark.parametrize("path", ["/v1/agents", "/openapi.json", "/docs"])
async def test_nothing_else_is_served_there(internal: httpx.AsyncClient, path: str) -> None:
    assert (await internal.get(path)).status_code == 404
