"""Clients for model endpoints: whom they trust, how long they live, what they show."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from openai import APIConnectionError

from syntera_runtime.adapters.openai_clients import ClientPool, ClientSettings, EndpointClient
from syntera_runtime.errors import ModelRefused
from tests.runtime.adapters.raw_server import RawServer

SETTINGS = ClientSettings(base_url="http://localhost:1", api_key="sk-one", headers=(), ca_bundle=None, proxy_url=None)


@pytest.fixture
async def pool() -> AsyncIterator[ClientPool]:
    made = ClientPool(idle_seconds=0)
    yield made
    await made.aclose()


async def borrow_and_return(pool: ClientPool, settings: ClientSettings) -> EndpointClient:
    async with pool.borrow(settings, endpoint="main") as client:
        return client


async def test_ca_bundle_makes_its_server_trusted(
    pool: ClientPool, tls_server: RawServer, certificate: tuple[str, str]
) -> None:
    settings = replace(SETTINGS, base_url=tls_server.url, ca_bundle=certificate[0])
    async with pool.borrow(settings, endpoint="main") as client:
        assert (await client.openai.models.list(extra_headers=client.headers)).data == []


async def test_server_is_not_trusted_without_its_ca(pool: ClientPool, tls_server: RawServer) -> None:
    async with pool.borrow(replace(SETTINGS, base_url=tls_server.url), endpoint="main") as client:
        with pytest.raises(APIConnectionError):
            await client.openai.models.list(extra_headers=client.headers)
    assert tls_server.seen == []


@pytest.mark.parametrize("bundle", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----", "ä"])
async def test_ca_bundle_without_certificate_is_refused(pool: ClientPool, bundle: str) -> None:
    with pytest.raises(ModelRefused, match="CA bundle of the model endpoint 'main'"):
        await borrow_and_return(pool, replace(SETTINGS, ca_bundle=bundle))


async def test_same_settings_share_a_client(pool: ClientPool) -> None:
    async with pool.borrow(SETTINGS, endpoint="main") as one, pool.borrow(replace(SETTINGS), endpoint="main") as two:
        assert one is two


async def test_idle_client_is_closed_when_another_is_borrowed(pool: ClientPool) -> None:
    old = await borrow_and_return(pool, SETTINGS)
    assert not old.openai.is_closed()
    new = await borrow_and_return(pool, replace(SETTINGS, api_key="sk-two"))
    assert old.openai.is_closed()
    assert not new.openai.is_closed()


async def test_borrowed_client_stays_open(pool: ClientPool) -> None:
    async with pool.borrow(SETTINGS, endpoint="main") as old:
        await borrow_and_return(pool, replace(SETTINGS, api_key="sk-two"))
        assert not old.openai.is_closed()


async def test_client_is_kept_while_it_is_not_idle_for_long() -> None:
    pool = ClientPool(idle_seconds=60)
    old = await borrow_and_return(pool, SETTINGS)
    await borrow_and_return(pool, replace(SETTINGS, api_key="sk-two"))
    assert await borrow_and_return(pool, SETTINGS) is old
    await pool.aclose()
    assert old.openai.is_closed()


def test_settings_show_no_secret() -> None:
    shown = repr(replace(SETTINGS, headers=(("x", "secret-header"),), proxy_url="http://user:secret@proxy"))
    assert shown == "ClientSettings(base_url='http://localhost:1')"
