"""Many Tenants and Agents at once: makes them, edits them, and notes when the operator has said what became of each change.

One process with one event loop, on the same processors as everything else; its own share of them is the same for the operator
and for the reference, so their ratio is what counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from syntera_crds.v1alpha1.tenant import NAMESPACE_PREFIX
from syntera_kube import Change, ClusterConfig, KubeClient, Reflector
from syntera_kube.resources import CONFIG_MAPS, NAMESPACES
from syntera_operator.manifest import AGENTS, TENANTS, Manifest

from .moments import AgentRef, Moments

AT_ONCE = 32
"""Requests that the load keeps under way."""
_DEADLINE_SECONDS = 300
_PROGRESS_SECONDS = 300
"""The `progressDeadlineSeconds` of the Tenants' Deployments."""
_PROVIDED = ("Accepted", "NamespaceReady", "DatabaseReady", "CacheReady")
"""What a Tenant has where no pod can run."""
_INSTRUCTIONS = (
    "You help customers of {{tenant.displayName}} with their bookings. Be brief and friendly, ask for the booking's"
    " reference where you need it, and say so when you do not know."
)


class Crowd:
    """Tenants and Agents of one administrator."""

    def __init__(self, client: KubeClient, published: Moments) -> None:
        self._client = client
        self._published_at = published

    @classmethod
    @asynccontextmanager
    async def open(cls, kubeconfig: Path) -> AsyncIterator["Crowd"]:
        """Connect, and watch all Agents until the block is left."""
        config = ClusterConfig.from_kubeconfig(kubeconfig)
        async with (
            KubeClient.connect(config, component="syntera-bench") as client,
            Moments.of(client, _is_published) as published,
        ):
            yield cls(client, published)

    async def make_namespaces(self, names: Iterable[str]) -> None:
        """Namespaces that belong to no Tenant."""
        await _all(self._client.create(NAMESPACES, {"metadata": {"name": name}}) for name in names)

    async def make_tenants(self, names: Sequence[str]) -> list[str]:
        """Tenants that have everything but pods; gives their namespaces."""
        await _all(self._client.create(TENANTS, _tenant(name)) for name in names)
        async with asyncio.timeout(_DEADLINE_SECONDS):
            for name in names:
                while not _is_provided(await self._client.get(TENANTS, name)):  # noqa: ASYNC110 - nothing is timed here
                    await asyncio.sleep(0.2)
        return [NAMESPACE_PREFIX + name for name in names]

    async def wait_until_given_up(self, names: Sequence[str]) -> None:
        """Wait until Kubernetes has given up starting the Tenants' pods, which cannot run here: after that it is quiet."""
        async with asyncio.timeout(_PROGRESS_SECONDS + _DEADLINE_SECONDS):
            for name in names:
                while not _has_given_up(await self._client.get(TENANTS, name)):  # noqa: ASYNC110 - nothing is timed here
                    await asyncio.sleep(1)

    async def make_agents(self, agents: Sequence[AgentRef]) -> list[float]:
        """Agents, as fast as the API server takes them; gives when each was published, in seconds from the first request."""
        return await self._change(agents, self._make)

    async def edit_agents(self, agents: Sequence[AgentRef], text: str) -> list[float]:
        """Edits, as fast as the API server takes them; gives when each was published, in seconds from the first request."""

        async def edit(agent: AgentRef) -> int:
            return await self._edit(agent, text)

        return await self._change(agents, edit)

    async def edit_paced(self, agents: Sequence[AgentRef], text: str, *, per_second: float) -> list[float]:
        """Edits one after the other at a steady pace; gives for each the seconds from its request to its status."""
        latencies: list[float] = []

        async def edit(agent: AgentRef) -> None:
            started = time.monotonic()
            generation = await self._edit(agent, text)
            latencies.append(await self._published_at.wait(agent, generation) - started)

        started = time.monotonic()
        async with asyncio.timeout(_DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            for number, agent in enumerate(agents):
                await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                group.create_task(edit(agent))
        return latencies

    async def break_published(self, agents: Sequence[AgentRef]) -> list[float]:
        """Change published ConfigMaps by hand, all at once; gives for each the seconds until it was as before."""
        before = {agent: await self._published(agent) for agent in agents}
        broken_at: dict[AgentRef, float] = {}

        async def spoil(agent: AgentRef) -> None:
            namespace, name = agent
            broken = {"metadata": {"name": f"agent-{name}", "namespace": namespace}, "data": {"agent.json": "{}"}}
            broken_at[agent] = time.monotonic()
            await self._client.merge_patch(CONFIG_MAPS, broken)

        repaired: dict[AgentRef, float] = {}
        is_done = asyncio.Event()

        def note(change: Change) -> None:
            metadata = change.object["metadata"]
            agent = (metadata["namespace"], metadata["name"].removeprefix("agent-"))
            is_as_before = change.new is not None and change.new.get("data") == before.get(agent)
            if agent in broken_at and agent not in repaired and is_as_before:
                repaired[agent] = time.monotonic() - broken_at[agent]
                if len(repaired) == len(before):
                    is_done.set()

        async with asyncio.timeout(_DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
            reflector = Reflector(self._client, CONFIG_MAPS, on_change=note)
            watching = tasks.create_task(reflector.run())
            await reflector.synced.wait()
            await _all(spoil(agent) for agent in agents)
            await is_done.wait()
            watching.cancel()
        return list(repaired.values())

    async def delete_agents(self, agents: Sequence[AgentRef]) -> None:
        """Delete Agents; what was made for them goes with them."""
        await _all(self._client.delete(AGENTS, name, namespace=namespace) for namespace, name in agents)

    async def _change(self, agents: Sequence[AgentRef], change: Callable[[AgentRef], Awaitable[int]]) -> list[float]:
        turns = asyncio.Semaphore(AT_ONCE)
        started = time.monotonic()

        async def run(agent: AgentRef) -> float:
            async with turns:
                generation = await change(agent)
            return await self._published_at.wait(agent, generation) - started

        async with asyncio.timeout(_DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(agent)) for agent in agents]
        return [task.result() for task in tasks]

    async def _make(self, agent: AgentRef) -> int:
        namespace, name = agent
        made = await self._client.create(
            AGENTS,
            {
                "apiVersion": AGENTS.api_version,
                "kind": AGENTS.kind,
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"displayName": name.title(), "instructions": _INSTRUCTIONS, "greeting": "Hello!"},
            },
        )
        return int(made["metadata"]["generation"])

    async def _edit(self, agent: AgentRef, text: str) -> int:
        namespace, name = agent
        changed = {"metadata": {"name": name, "namespace": namespace}, "spec": {"instructions": _INSTRUCTIONS + text}}
        return int((await self._client.merge_patch(AGENTS, changed))["metadata"]["generation"])

    async def _published(self, agent: AgentRef) -> Manifest:
        namespace, name = agent
        found = await self._client.get(CONFIG_MAPS, f"agent-{name}", namespace=namespace)
        return dict(found["data"])


async def _all(requests: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all, some at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(request: Coroutine[Any, Any, object]) -> None:
        async with turns:
            await request

    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(run(request))


def _tenant(name: str) -> Manifest:
    endpoint = {"name": "main", "baseURL": "https://models.example/v1", "chat": "chat-small"}
    spec = {"displayName": name.title(), "models": [endpoint]}
    return {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "metadata": {"name": name}, "spec": spec}


def _has_given_up(tenant: Manifest) -> bool:
    return any(one["type"] == "Stalled" and one["status"] == "True" for one in tenant["status"]["conditions"])


def _is_published(agent: Manifest) -> bool:
    return bool((agent.get("status") or {}).get("revision"))


def _is_provided(tenant: Manifest) -> bool:
    conditions = {one["type"]: one["status"] for one in (tenant.get("status") or {}).get("conditions") or ()}
    return all(conditions.get(name) == "True" for name in _PROVIDED)
