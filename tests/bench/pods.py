"""The whole system on a cluster with pods: how soon a Tenant is ready, an Agent served, an edit live in every pod, and what a
runtime pod needs.
"""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import kubernetes
import uvloop

from syntera_crds.contract import names
from syntera_dev.demo.installation import MODELS_NAMESPACE, Installation
from syntera_dev.demo.setup import is_up, prepare, tear_down
from syntera_dev.demo.showcase import port_forward
from syntera_kube import ClusterConfig, KubeClient, Manifest
from syntera_operator.manifest import AGENTS
from tests.support.e2e import TenantUnderTest, complete, make_tenant

from .figures import Figure, percentile
from .moments import Moments

_CLUSTER = "bench"
_TENANTS = 5
_AGENTS = 20
_EDITS = 20
_CLIENTS = 4
_DEADLINE_SECONDS = 60


def measure() -> list[Figure]:
    """Everything, on a cluster that is taken down afterwards unless it was up before."""
    was_up = is_up(_CLUSTER)
    installation = prepare(_CLUSTER)
    try:
        installation.install()
        return list(_measure(installation))
    finally:
        if not was_up:
            tear_down(_CLUSTER)


def _measure(installation: Installation) -> Iterator[Figure]:
    bare = percentile([_seconds_of_bare_pod(installation) for _ in range(_TENANTS)], 50)
    seconds: list[float] = []
    tenants = []
    for _ in range(_TENANTS):
        started = time.monotonic()
        tenants.append(make_tenant(installation.kubectl, "bench"))
        seconds.append(time.monotonic() - started)
    what = "new Tenant → Ready, images present"
    yield Figure(f"{what}, median", percentile(seconds, 50), "s", None, None, bare, "a pod of a small server, bare")
    yield Figure(f"{what}, slowest of {_TENANTS}", max(seconds), "s", at_most=15)

    tenant = tenants[0]
    tenant.apply(runtime={"replicas": 2})
    tenant.wait(f"tenant/{tenant.name}", "RuntimeReady")
    installation.wait_rolled_out(tenant.namespace, [f"deployment/{names.RUNTIME}"])
    yield from uvloop.run(_measure_agents(tenant))
    yield from _measure_runtime(tenants[1])
    for made in tenants:
        made.erase()


def _seconds_of_bare_pod(installation: Installation) -> float:
    """How long the cluster needs for one pod, no operator involved: the offline model server, restarted."""
    started = time.monotonic()
    installation.kubectl("rollout", "restart", "deployment/stand-in-models", "-n", MODELS_NAMESPACE)
    installation.wait_rolled_out(MODELS_NAMESPACE, ["deployment/stand-in-models"])
    return time.monotonic() - started


async def _measure_agents(tenant: TenantUnderTest) -> list[Figure]:
    async with _Agents.open(tenant) as agents:
        ready: list[float] = [await agents.make(f"agent-{number:02}") for number in range(_AGENTS)]
        load = _Load(tenant, "agent-00")
        with load.running():
            edited = []
            with _clients_of_pods(tenant) as pods:
                for number in range(_EDITS):
                    edited.append(await agents.edit("agent-00", f"You are edition {number}."))
                    for client in pods:  # what the status claims is so
                        said = await asyncio.to_thread(complete, client, "agent-00", "Hi")
                        assert f"edition {number}" in said, said
    what = f"edit → served by both pods, beside {_CLIENTS} clients that chat"
    return [
        Figure("apply of an Agent → Ready, tenant up, p95", percentile(ready, 95), "s", at_most=2),
        Figure(f"{what}, p95", percentile(edited, 95), "s", at_most=2),
        Figure(f"{what}: failed of {load.answers:,} requests", load.failures, "", at_most=0, at_least=0),
    ]


@dataclass(frozen=True, slots=True)
class _Agents:
    """Agents of one tenant, timed by a watch of their statuses."""

    client: KubeClient
    namespace: str
    served: Moments

    @classmethod
    @asynccontextmanager
    async def open(cls, tenant: TenantUnderTest) -> AsyncIterator["_Agents"]:
        config = ClusterConfig.from_kubeconfig(Path(tenant.kubectl.kubeconfig))
        async with (
            KubeClient.connect(config, component="syntera-bench") as client,
            Moments.of(client, _is_served) as served,
        ):
            yield cls(client, tenant.namespace, served)

    async def make(self, name: str) -> float:
        """Seconds until it is ready."""
        named = {"name": name, "namespace": self.namespace}
        agent = {"apiVersion": AGENTS.api_version, "kind": AGENTS.kind, "metadata": named}
        spec = {"instructions": f"You are {name}."}
        return await self._until_ready(self.client.create(AGENTS, agent | {"spec": spec}))

    async def edit(self, name: str, instructions: str) -> float:
        """Seconds until the edit is served, as the status says."""
        changed = {"metadata": {"name": name, "namespace": self.namespace}, "spec": {"instructions": instructions}}
        return await self._until_ready(self.client.merge_patch(AGENTS, changed))

    async def _until_ready(self, change: Awaitable[Manifest]) -> float:
        started = time.monotonic()
        metadata = (await change)["metadata"]
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await self.served.wait((self.namespace, metadata["name"]), metadata["generation"]) - started


def _is_served(agent: Manifest) -> bool:
    conditions = (agent.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


class _Load:
    """Clients that chat without a pause."""

    def __init__(self, tenant: TenantUnderTest, agent: str) -> None:
        self.answers = 0
        self.failures = 0
        self._tenant = tenant
        self._agent = agent
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Chat until the block is left."""
        threads = [threading.Thread(target=self._chat) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _chat(self) -> None:
        with self._tenant.client() as client:
            while not self._stop.is_set():
                try:
                    complete(client, self._agent, "Hi")
                except httpx.HTTPError:
                    self.failures += 1
                self.answers += 1


@contextlib.contextmanager
def _clients_of_pods(tenant: TenantUnderTest) -> Iterator[list[httpx.Client]]:
    """A client of each runtime pod."""
    key = tenant.secret("syntera-admin")["api-key"]
    with contextlib.ExitStack() as stack:
        clients = []
        for pod in _pods(tenant):
            url = stack.enter_context(port_forward(tenant.kubectl, tenant.namespace, pod=pod, port=names.PUBLIC_PORT))
            headers = {"Authorization": f"Bearer {key}"}
            clients.append(stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30)))
        assert len(clients) == 2
        yield clients


def _pods(tenant: TenantUnderTest) -> list[str]:
    found = tenant.kubectl.get("pods", "-n", tenant.namespace, "-l", "app.kubernetes.io/component=runtime")
    return [pod["metadata"]["name"] for pod in found["items"] if not pod["metadata"].get("deletionTimestamp")]


def _measure_runtime(tenant: TenantUnderTest) -> Iterator[Figure]:
    """A new pod: from the start of its process until it is ready, and its memory when nothing happens."""
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    [old] = _pods(tenant)
    tenant.kubectl("delete", "pod", old, "-n", tenant.namespace, "--wait=false")
    with contextlib.closing(_PodProxy(tenant)) as proxy:
        while not (new := [pod for pod in _pods(tenant) if pod != old]):
            time.sleep(0.02)
        while proxy.get(new[0], "readyz") is None:
            time.sleep(0.02)
        ready_at = time.time()
        started_at = _metric(proxy, new[0], "process_start_time_seconds")
        time.sleep(10)
        memory = _metric(proxy, new[0], "process_resident_memory_bytes") / 2**20
    yield Figure("runtime: start of the process → ready", ready_at - started_at, "s", at_most=3)
    yield Figure("runtime: memory (RSS), idle", memory, "MiB", at_most=160)


class _PodProxy:
    """The internal port of pods, through the API server."""

    def __init__(self, tenant: TenantUnderTest) -> None:
        self._namespace = tenant.namespace
        self._client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it so
            config_file=tenant.kubectl.kubeconfig
        )
        self._core = kubernetes.client.CoreV1Api(self._client)

    def get(self, pod: str, path: str) -> str | None:
        """The body of a good answer, None while there is none."""
        try:
            body: str = self._core.connect_get_namespaced_pod_proxy_with_path(
                f"http:{pod}:{names.INTERNAL_PORT}", self._namespace, path, _request_timeout=5
            )
        except kubernetes.client.ApiException:
            return None
        return body

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _metric(proxy: _PodProxy, pod: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", proxy.get(pod, "metrics") or "", re.MULTILINE)
    assert found is not None
    return float(found[1])
