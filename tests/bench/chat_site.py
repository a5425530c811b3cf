"""A tenant whose runtime runs as processes on loopback: real API server and stores, its configuration published as the operator
does, the offline model server as provider. Nothing is limited that is not said, and nothing is left out that a request passes.
"""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import kubernetes
import yaml

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_dev.cluster.control_plane import control_plane
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.published import build_published, build_published_tenant
from syntera_runtime.models.ids import TenantId
from tests.runtime.builders import make_stored_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.redis import ensure_user
from tests.support.apiserver import RunningApiServer
from tests.support.postgresql import Database, PostgresqlServer, TenantLogin
from tests.support.redis_server import RedisServer
from tests.support.servers import bound_to_us, free_port

from .processes import cpu_seconds, resident_mebibytes

AGENT = "travel"
MODEL = "stand-in-echo"
_START_SECONDS = 60
_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "log_statement": "none",
    "shared_buffers": "256MB",
}
"""What tests do without for speed, a server in production has."""
_MANY = 1_000_000
"""Limits that are checked and never met."""


@dataclass(slots=True)
class Served:
    """A program that serves HTTP on loopback."""

    command: list[str]
    settings: Mapping[str, str]
    port: int
    ready_url: str
    log_file: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: It ended, or does not answer in time.
        """
        self.launch()
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command} did not start:\n{self.log_file.read_text()[-4000:]}")
            time.sleep(0.02)

    def launch(self) -> None:
        """Start it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNTERA_")}
        with self.log_file.open("ab") as log:
            command = bound_to_us(self.command, signal="KILL")
            self.process = subprocess.Popen(command, env={**kept, **self.settings}, stdout=log, stderr=log)

    def is_ready(self) -> bool:
        """Whether it takes requests."""
        try:
            with urllib.request.urlopen(self.ready_url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=30)

    @contextlib.contextmanager
    def running(self) -> Iterator["Served"]:
        """Serve for the length of the block."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return cpu_seconds(self.process.pid)

    def resident_mebibytes(self) -> float:
        """Its memory now (RSS)."""
        return resident_mebibytes(self.process.pid)


class Provider(Served):
    """The offline model server."""

    @classmethod
    def make(cls, folder: Path) -> "Provider":
        """One that is not started yet."""
        port = free_port()
        url = f"http://127.0.0.1:{port}/control"
        settings = {"SYNTERA_MODELS_PORT": str(port)}
        return cls([sys.executable, "-m", "syntera_dev.models"], settings, port, url, folder / "models.log")

    def behave(self, **behaviour: Any) -> None:
        """Change how it answers from now on; fields of `Behaviour`, in camel case."""
        body = json.dumps(behaviour).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.ready_url, body, headers, method="PATCH")
        urllib.request.urlopen(request, timeout=5).close()


@dataclass(frozen=True, slots=True)
class ChatSite:
    """What runtimes of one tenant need, and what is asked of them."""

    folder: Path
    server: RunningApiServer
    postgresql: PostgresqlServer
    database: Database
    redis: RedisServer
    login: TenantLogin
    namespace: str
    key: str
    provider: Provider

    @property
    def tenant_id(self) -> UUID:
        """The tenant in the stores."""
        return self.login.tenant_id

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}"}

    def runtime(self, name: str) -> Served:
        """A runtime process that is not started yet."""
        port, internal = free_port(), free_port()
        kubeconfig = self.folder / "kubeconfig.json"
        if not kubeconfig.exists():  # as JSON, because no pod loads a parser for YAML
            kubeconfig.write_text(json.dumps(yaml.safe_load(self.server.kubeconfig.read_text())))
        settings = {
            "KUBECONFIG": str(kubeconfig),
            "SYNTERA_TENANT": self.login.name,
            "SYNTERA_TENANT_ID": str(self.tenant_id),
            "SYNTERA_NAMESPACE": self.namespace,
            "SYNTERA_POD_NAME": name,
            "SYNTERA_STORES_DIR": str(self.folder / "stores"),
            "SYNTERA_SIGNING_DIR": str(self.folder / "signing"),
            "SYNTERA_INTERNAL_AUDIENCE": "bench",
            "SYNTERA_OPERATOR_SUBJECT": "system:serviceaccount:bench:operator",
            "SYNTERA_HOST": "127.0.0.1",
            "SYNTERA_PUBLIC_PORT": str(port),
            "SYNTERA_INTERNAL_PORT": str(internal),
        }
        ready = f"http://127.0.0.1:{internal}/readyz"
        command = [sys.executable, "-m", "syntera_runtime"]
        return Served(command, settings, port, ready, self.folder / f"{name}.log")


@contextlib.contextmanager
def open_chat_site() -> Iterator[ChatSite]:
    """Bring everything up but the runtimes, and take it down at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syntera-bench-")))
        for name in ("stores", "signing"):
            (folder / name).mkdir()
        plane = stack.enter_context(control_plane(folder / "plane", controllers=False))
        client = stack.enter_context(
            kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
                config_file=str(plane.kubeconfig)
            )
        )
        server = RunningApiServer(plane, client)
        postgresql = PostgresqlServer.start(18, _DURABLE)
        stack.callback(postgresql.stop)
        redis = RedisServer(RedisServer.default_binary())
        redis.start()
        stack.callback(redis.remove)
        provider = Provider.make(folder)
        stack.enter_context(provider.running())
        database, login, key = asyncio.run(_make_tenant(postgresql, redis, folder))
        namespace = server.create_namespace("bench")
        _publish(server, namespace, login, provider)
        yield ChatSite(folder, server, postgresql, database, redis, login, namespace, key, provider)


async def _make_tenant(
    postgresql: PostgresqlServer, redis: RedisServer, folder: Path
) -> tuple[Database, TenantLogin, str]:
    database = await postgresql.create_ready_database()
    login = await database.make_tenant()
    (folder / "stores" / names.POSTGRESQL_URL_KEY).write_text(login.dsn)
    await ensure_user(redis, TenantId(login.tenant_id), folder / "stores" / names.REDIS_URL_KEY)
    (folder / "signing" / names.SIGNING_KEY_KEY).write_bytes(base64.b64encode(os.urandom(32)))
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key, scopes=frozenset({"chat", "admin"}))
    await insert_api_key(database, TenantId(login.tenant_id), stored)
    return database, login, key.text


def _publish(server: RunningApiServer, namespace: str, login: TenantLogin, provider: Provider) -> None:
    agent = AgentConfig(
        name=AGENT,
        uid="bench",
        revision=1,
        display_name="Travel assistant",
        instructions="You are a travel assistant. Answer in a few words.",
        models=[ModelCandidate(endpoint="provider", base_url=f"{provider.url}/v1", model=MODEL, timeout_seconds=600)],
    )
    limits = Limits(
        requests_per_minute=_MANY,
        requests_per_minute_per_key=_MANY,
        requests_per_minute_per_address=_MANY,
        messages_per_minute_per_user=_MANY,
        concurrent_streams=100_000,
    )
    tenant = TenantConfig(name=login.name, display_name="Bench", limits=limits)
    scope = Scope(tenant=login.name, namespace=namespace)
    for manifest in (build_published(scope, agent, digest=agent.digest()), build_published_tenant(scope, tenant)):
        name = manifest["metadata"]["name"]
        server.apply(f"/api/v1/namespaces/{namespace}/configmaps/{name}", manifest)
