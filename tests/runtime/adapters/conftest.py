"""Servers that several adapters are tried on: one with a certificate of its own making, and Redis."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.runtime.adapters.raw_server import RawServer, answered, raw_server
from tests.runtime.knowledge_stores import KnowledgeStores, make_memory_knowledge, make_postgresql_knowledge
from tests.runtime.redis import TenantRedis, tenant_redis
from tests.support.certificates import make_certificate
from tests.support.redis_server import RedisServer, redis_binaries


@pytest.fixture
def certificate() -> tuple[str, str]:
    """A certificate for localhost that signs itself, and its key."""
    return make_certificate()


@pytest.fixture
async def tls_server(certificate: tuple[str, str], tmp_path: Path) -> AsyncIterator[RawServer]:
    """Answers with an empty list."""
    for file, text in zip(("cert.pem", "key.pem"), certificate, strict=True):
        (tmp_path / file).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with raw_server(context) as running:
        running.will_answer(answered(200, {"object": "list", "data": []}))
        yield running


@pytest.fixture(scope="module", params=["memory", *redis_binaries()])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer | None]:
    """Each server that the machine has; None: memory."""
    if request.param == "memory":
        yield None
        return
    server = RedisServer(redis_binaries()[request.param])
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def made(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[TenantRedis]:
    """A tenant of the session's server."""
    async with tenant_redis(redis_server, tmp_path, seconds=10) as made:
        yield made


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of the test's own, which it may stop."""
    server = RedisServer(RedisServer.default_binary())
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["memory", "postgresql_stores", "oldest_postgresql_stores"])
def knowledge(request: pytest.FixtureRequest) -> KnowledgeStores:
    """Each implementation of the stores of knowledge in turn."""
    if request.param == "memory":
        return make_memory_knowledge()
    return make_postgresql_knowledge(request.getfixturevalue(request.param))
