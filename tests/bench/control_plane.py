"""The operator on a real API server without pods: throughput, latency, writes, memory, what failing objects cost the others."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

import uvloop

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, KubeClient
from syntera_kube.resources import PODS
from tests.support.operator_process import OperatorProcess

from .crowd import Crowd
from .figures import Figure, percentile
from .moments import AgentRef
from .site import Operator, Site, open_site

_SETTLE_SECONDS = 6.0
"""Until the counts of Agents, which are debounced, and what other controllers add are written."""
_PACE_PER_SECOND = 25.0
_BROKEN = 50
_RESTARTS = 3
_FAILING = 200
_BROKEN_TENANT = "broken"


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    tenants: int
    agents: int

    def refs(self, namespaces: Sequence[str]) -> list[AgentRef]:
        """The Agents, spread evenly."""
        return [(namespaces[number % len(namespaces)], f"agent-{number:04}") for number in range(self.agents)]


@dataclass(frozen=True, slots=True)
class Load:
    """What one wave of changes cost."""

    per_second: float
    cpu_seconds_per_1000: float
    writes: Counter[str]


def measure(size: Size, *, rest_minutes: float, paced_edits: int) -> list[Figure]:
    """Everything but growth."""

    async def collect() -> list[Figure]:
        return [figure async for figure in _measure(site, size, rest_minutes=rest_minutes, paced_edits=paced_edits)]

    with open_site() as site:
        return uvloop.run(collect())


def measure_growth(small: Size, large: Size) -> list[Figure]:
    """What an Agent and a Tenant cost among few and among many."""
    costs = []
    for size in (small, large):
        with open_site() as site:
            costs.append(uvloop.run(_measure_cost(site, size)))
    few, many = costs
    title = f"{large.agents:,} Agents over {large.tenants} Tenants"
    beside = f"with {small.agents:,} over {small.tenants}"
    return [
        Figure(f"{title}: operator CPU per 1,000 creates", many.cpu_seconds, "s", None, None, few.cpu_seconds, beside),
        Figure(f"{title}: memory of an Agent", many.agent_kibibytes, "KiB", None, None, few.agent_kibibytes, beside),
        Figure(f"{title}: memory of a Tenant", many.tenant_kibibytes, "KiB", None, None, few.tenant_kibibytes, beside),
        Figure(f"{title}: operator memory (RSS)", many.mebibytes, "MiB", None, None, few.mebibytes, beside),
    ]


@dataclass(frozen=True, slots=True)
class _Cost:
    """What there is costs the operator."""

    cpu_seconds: float
    """Per 1,000 Agents made."""
    agent_kibibytes: float
    tenant_kibibytes: float
    mebibytes: float


async def _measure_cost(site: Site, size: Size) -> _Cost:
    with site.operator() as operator:
        async with Crowd.open(site.server.kubeconfig) as crowd:
            idle = operator.resident_mebibytes()
            namespaces = await crowd.make_tenants([f"acme-{number:03}" for number in range(size.tenants)])
            await _settle(operator)
            with_tenants = operator.resident_mebibytes()
            load = await _make(site, operator, crowd, size.refs(namespaces))
            await _settle(operator)
            with_agents = operator.resident_mebibytes()
    return _Cost(
        load.cpu_seconds_per_1000,
        (with_agents - with_tenants) / size.agents * 1024,
        (with_tenants - idle) / size.tenants * 1024,
        with_agents,
    )


async def _measure(site: Site, size: Size, *, rest_minutes: float, paced_edits: int) -> AsyncIterator[Figure]:
    async with Crowd.open(site.server.kubeconfig) as crowd:
        made, edited, latencies = await _measure_reference(site, crowd, size, paced_edits)
        with site.operator() as operator:
            await asyncio.sleep(5)
            yield Figure("operator memory (RSS), idle", operator.resident_mebibytes(), "MiB", at_most=95)
            tenants = [f"acme-{number:03}" for number in range(size.tenants)]
            agents = size.refs(await crowd.make_tenants(tenants))
            await _settle(operator)

            title = f"{size.agents:,} Agents over {size.tenants} Tenants"
            load = await _make(site, operator, crowd, agents)
            for figure in _describe(f"{title}, create → published", load, size, reference=made):
                yield figure
            await _settle(operator)
            yield Figure(f"operator memory (RSS) with {title}", operator.resident_mebibytes(), "MiB", at_most=135)
            load = await _edit(site, operator, crowd, agents)
            for figure in _describe(f"{title}, edit → published", load, size, reference=edited):
                yield figure
            await _settle(operator)

            paced = [agents[number % len(agents)] for number in range(paced_edits)]
            found = await crowd.edit_paced(paced, " Paced.", per_second=_PACE_PER_SECOND)
            for percent, bound in ((50, 20), (99, 60)):
                value, least = (percentile(some, percent) * 1000 for some in (found, latencies))
                what = f"edits paced at {_PACE_PER_SECOND:.0f}/s, edit → status, p{percent}"
                yield Figure(what, value, "ms", at_most=bound, reference=least, compared_with=_REFERENCE)
            await _settle(operator)

            async for figure in _measure_repair(site, crowd, agents):
                yield figure
            await _settle(operator)
            async for figure in _measure_failing(site, operator, crowd, agents, found):
                yield figure
            await crowd.wait_until_given_up([*tenants, _BROKEN_TENANT])
            await _settle(operator)
            position = await site.position()
            await asyncio.sleep(rest_minutes * 60)
            writes = (await site.writes(since=position)).total()
            yield Figure(f"writes in {rest_minutes:g} minutes without a change", writes, "", at_most=0, at_least=0)
        async for figure in _measure_restart(site, size):
            yield figure


_REFERENCE = "the bare client"


async def _measure_reference(
    site: Site, crowd: Crowd, size: Size, paced_edits: int
) -> tuple[float, float, list[float]]:
    """The same changes, answered by `reference.py`: creates and edits per second, latencies of paced edits."""
    namespaces = [f"reference-{number:03}" for number in range(size.tenants)]
    await crowd.make_namespaces(namespaces)
    agents = size.refs(namespaces)
    with _reference(site):
        made = len(agents) / max(await crowd.make_agents(agents))
        edited = len(agents) / max(await crowd.edit_agents(agents, " Edited."))
        paced = [agents[number % len(agents)] for number in range(paced_edits)]
        latencies = await crowd.edit_paced(paced, " Paced.", per_second=_PACE_PER_SECOND)
    await crowd.delete_agents(agents)
    return made, edited, latencies


@contextlib.contextmanager
def _reference(site: Site) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.reference", str(site.server.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.terminate()


async def _make(site: Site, operator: Operator, crowd: Crowd, agents: Sequence[AgentRef]) -> Load:
    position, cpu = await site.position(), operator.cpu_seconds()
    seconds = max(await crowd.make_agents(agents))
    return await _load(site, operator, len(agents), seconds=seconds, position=position, cpu=cpu)


async def _edit(site: Site, operator: Operator, crowd: Crowd, agents: Sequence[AgentRef]) -> Load:
    position, cpu = await site.position(), operator.cpu_seconds()
    seconds = max(await crowd.edit_agents(agents, " Edited."))
    return await _load(site, operator, len(agents), seconds=seconds, position=position, cpu=cpu)


async def _load(site: Site, operator: Operator, changes: int, *, seconds: float, position: int, cpu: float) -> Load:
    used = operator.cpu_seconds() - cpu
    return Load(changes / seconds, used / changes * 1000, await site.writes(since=position))


def _describe(title: str, load: Load, size: Size, *, reference: float) -> Iterator[Figure]:
    yield Figure(title, load.per_second, "/s", at_least=120, reference=reference, compared_with=_REFERENCE)
    yield Figure(f"{title}: operator CPU per 1,000", load.cpu_seconds_per_1000, "s", at_most=3)
    counts = {name: count for name, count in load.writes.items() if name != "patch tenants/status"}
    yield Figure(f"{title}: writes per Agent", sum(counts.values()) / size.agents, "", at_most=2, at_least=2)


async def _measure_repair(site: Site, crowd: Crowd, agents: Sequence[AgentRef]) -> AsyncIterator[Figure]:
    position = await site.position()
    seconds = await crowd.break_published(agents[:_BROKEN])
    title = f"{_BROKEN} published ConfigMaps broken at once"
    yield Figure(f"{title}: repaired, p95", percentile(seconds, 95), "s", at_most=1)
    writes = (await site.writes(since=position)).total()
    yield Figure(f"{title}: writes", writes, "", at_most=_BROKEN, at_least=_BROKEN)


async def _measure_failing(
    site: Site, operator: Operator, crowd: Crowd, agents: Sequence[AgentRef], undisturbed: Sequence[float]
) -> AsyncIterator[Figure]:
    """Agents of a Tenant whose only pod takes connections and never answers fail for ever; the others must not notice."""
    [namespace] = await crowd.make_tenants([_BROKEN_TENANT])
    for failing in (1, _FAILING):
        broken = [(namespace, f"broken-{number:03}") for number in range(failing)]
        async with _silent_pod(site, namespace):
            await crowd.make_agents(broken)
            while operator.metric("syntera_reconcile_total", result="error") < failing:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            paced = [agents[number % len(agents)] for number in range(len(undisturbed))]
            found = await crowd.edit_paced(paced, f" Beside {failing}.", per_second=_PACE_PER_SECOND)
            calm = await _paced_without(operator, crowd, paced, broken)
        for percent in (50, 95):
            value, reference = (percentile(some, percent) * 1000 for some in (found, calm))
            what = f"others' edit → status beside {failing} failing, p{percent}"
            yield Figure(what, value, "ms", at_most=1.1 * reference, reference=reference, compared_with="without them")


async def _paced_without(
    operator: Operator, crowd: Crowd, paced: Sequence[AgentRef], broken: Sequence[AgentRef]
) -> list[float]:
    await crowd.delete_agents(broken)
    await _settle(operator)
    return await crowd.edit_paced(paced, " Alone.", per_second=_PACE_PER_SECOND)


@asynccontextmanager
async def _silent_pod(site: Site, namespace: str) -> AsyncIterator[None]:
    """A pod that is ready, as its status says, and hears everything without ever saying a word."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    address = "127.0.0.9"
    listener = await asyncio.start_server(hold, address, names.INTERNAL_PORT)
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.COMPONENT_LABEL: names.RUNTIME_COMPONENT}
    pod = {
        "metadata": {"name": "silent", "namespace": namespace, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "silent",
                    "image": "silent",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    async with KubeClient.connect(ClusterConfig.from_kubeconfig(site.server.kubeconfig), component="bench") as client:
        made = await client.create(PODS, pod)
        await client.patch_status(PODS, made | {"status": status})
        try:
            yield
        finally:
            await client.delete(PODS, "silent", namespace=namespace)
            listener.close()
            for writer in held:
                writer.transport.abort()


async def _measure_restart(site: Site, size: Size) -> AsyncIterator[Figure]:
    """After an orderly end the Lease is free, so what passes until everything was looked at is the operator's own."""
    position = await site.position()
    seconds = [await _restart(site, wanted=size.agents + size.tenants) for _ in range(_RESTARTS)]
    writes = (await site.writes(since=position)).total()
    title = f"restart with {size.agents:,} Agents"
    yield Figure(f"{title}: start → all looked at, median of {_RESTARTS}", median(seconds), "s", at_most=2.5)
    yield Figure(f"{title}: writes of all {_RESTARTS}", writes, "", at_most=0, at_least=0)


async def _restart(site: Site, *, wanted: int) -> float:
    started = time.monotonic()
    operator = site.start()
    try:
        await asyncio.to_thread(operator.wait_until, lambda: _looked_at(operator) >= wanted, seconds=120)
        return time.monotonic() - started
    finally:
        operator.terminate()


def _looked_at(operator: OperatorProcess) -> float:
    return operator.metric("syntera_reconcile_total", result="success")


async def _settle(operator: Operator) -> None:
    await asyncio.sleep(_SETTLE_SECONDS)
    await asyncio.to_thread(operator.wait_until, operator.is_idle, seconds=300)
