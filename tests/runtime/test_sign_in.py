"""Identity on real parts: PostgreSQL with the tenant's own login, an issuer's key set behind HTTP, two pods.

Nothing smaller shows that keys, contacts and conversations written by one pod are what another one reads.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_crds.contract.tenant_config import TokenIssuer
from syntera_runtime.adapters.key_sets import HttpKeySets
from syntera_runtime.api.app import build_public_app
from tests.runtime.adapters.raw_server import RawServer, head, raw_server
from tests.runtime.builders import make_agent, make_services, make_stored_key
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.fakes import FakeCatalogue
from tests.runtime.identity.issuer import OTHER_RSA, RSA, key_set, make_issuer, make_tenant, sign

ADMIN = ApiKey.generate(KeyKind.SECRET)


@pytest.fixture
async def issuer() -> AsyncIterator[RawServer]:
    """An issuer's key set behind HTTP."""
    async with raw_server() as server:
        server.will_answer([head(200, "application/json"), key_set()])
        yield server


class Pods:
    """Two pods of one tenant, and a way to ask either."""

    def __init__(self, clients: list[httpx.AsyncClient]) -> None:
        self._clients = clients

    async def ask(self, pod: int, text: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request to one of them."""
        headers = {"Authorization": f"Bearer {text}"}
        return await self._clients[pod].request(method, path, headers=headers, json=body)


@pytest.fixture
async def pods(postgresql_stores: PostgresqlStores, issuer: RawServer) -> AsyncIterator[Pods]:
    """Both on the tenant's own rows; the operator's key is `ADMIN`."""
    stores = postgresql_stores.stores
    await stores.put_api_key(make_stored_key(ADMIN, scopes=frozenset({Scope.ADMIN})))
    trusted: TokenIssuer = make_issuer(jwks_url=f"{issuer.url}/jwks")
    clients = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            services = make_services(
                tenant_id=stores.tenant_id,
                keys=stores.api_keys,
                contacts=stores.contacts,
                conversations=stores.conversations,
                turns=stores.turns,
                agents=FakeCatalogue(make_agent(access=Access.PUBLIC), tenant=make_tenant(trusted)),
                key_sets=HttpKeySets(),
            )
            stack.push_async_callback(services.runner.aclose)
            transport = httpx.ASGITransport(app=build_public_app(services))
            clients.append(
                await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://runtime"))
            )
        yield Pods(clients)


async def test_people_find_their_own_conversations_on_any_pod(pods: Pods) -> None:
    ada, bob = sign(sub="ada"), sign(sub="bob")
    made = await pods.ask(0, ada, "POST", "/v1/agents/travel/conversations")
    assert made.status_code == 201, made.text
    path = f"/v1/conversations/{made.json()['id']}"
    said = await pods.ask(1, ada, "POST", f"{path}/messages", {"content": "Hi"})
    assert said.json()["message"]["content"] == "Hello world"
    for pod in (0, 1):
        assert (await pods.ask(pod, ada, "GET", path)).status_code == 200
        refused = await pods.ask(pod, bob, "POST", f"{path}/messages", {"content": "Hi"})
        assert (refused.status_code, refused.json()["code"]) == (404, "conversation-not-found")
    # One of the tenant's own people, and a program of theirs.
    for text in (sign(sub="carol", app_metadata={"role": "member"}), ADMIN.text):
        assert len((await pods.ask(1, text, "GET", f"{path}/messages")).json()["items"]) == 2


async def test_key_set_is_fetched_once_a_pod_and_rotation_is_followed(
    pods: Pods, issuer: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert (await pods.ask(0, sign(), "GET", "/v1/agents")).status_code == 200
    assert [seen.target for seen in issuer.seen] == ["/jwks"]
    issuer.will_answer([head(200, "application/json"), key_set({"rsa-2": OTHER_RSA})])
    rotated = sign(OTHER_RSA, key_id="rsa-2")
    answer = await pods.ask(0, rotated, "GET", "/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (401, "token-key-unknown")
    monkeypatch.setattr("syntera_runtime.identity.issuer_keys.REFETCH_SECONDS", 0)
    assert (await pods.ask(0, rotated, "GET", "/v1/agents")).status_code == 200
    answer = await pods.ask(0, sign(RSA), "GET", "/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (401, "token-key-unknown")


async def test_issuer_that_is_away_is_told(pods: Pods, issuer: RawServer) -> None:
    issuer.will_answer([head(500)])
    answer = await pods.ask(0, sign(), "GET", "/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (503, "issuer-unavailable")
    assert answer.json()["retryable"] is True


async def test_visitor_goes_from_pod_to_pod_and_ends_with_the_key(pods: Pods) -> None:
    wanted = {"kind": "pk", "name": "site", "agents": ["travel"]}
    key = (await pods.ask(0, ADMIN.text, "POST", "/v1/api-keys", wanted)).json()
    visitor = (await pods.ask(1, key["key"], "POST", "/v1/visitor-tokens")).json()["visitorToken"]
    made = await pods.ask(0, visitor, "POST", "/v1/agents/travel/conversations")
    path = f"/v1/conversations/{made.json()['id']}"
    assert (await pods.ask(1, visitor, "GET", path)).status_code == 200
    token = {"visitorToken": visitor, "identity": {"identityToken": sign(sub="ada")}}
    known = (await pods.ask(1, key["key"], "POST", "/v1/visitor-tokens", token)).json()["visitorToken"]
    assert (await pods.ask(0, sign(sub="ada"), "GET", path)).status_code == 200
    assert (await pods.ask(0, known, "GET", path)).status_code == 200
    assert (await pods.ask(0, visitor, "GET", path)).status_code == 404

    assert (await pods.ask(0, ADMIN.text, "DELETE", f"/v1/api-keys/{key['id']}")).status_code == 204
    revoked_at = asked_at = time.monotonic()
    assert (await pods.ask(0, known, "GET", path)).json()["code"] == "key-revoked"
    while (answer := await pods.ask(1, known, "GET", path)).status_code == 200:
        assert asked_at - revoked_at < 5
        await asyncio.sleep(0.1)
        asked_at = time.monotonic()
    assert (answer.status_code, answer.json()["code"]) == (401, "key-revoked")


async def test_login_of_a_tenant_makes_no_key_in_the_operators_name(postgresql_stores: PostgresqlStores) -> None:
    columns = "tenant_id, id, kind, lookup, hash, name, scopes"
    values = "$1, gen_random_uuid(), 'sk', 'lookup01', sha256('x'), 'x', '{admin}'"
    connection = await asyncpg.connect(postgresql_stores.url_file.read_text())
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                f"INSERT INTO syntera.api_keys ({columns}, made_by) VALUES ({values}, 'operator')",
                postgresql_stores.stores.tenant_id,
            )
        made_by = await connection.fetchval(
            f"INSERT INTO syntera.api_keys ({columns}) VALUES ({values}) RETURNING made_by",
            postgresql_stores.stores.tenant_id,
        )
    finally:
        await connection.close()
    assert made_by == "tenant"
