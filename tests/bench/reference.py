"""The least that could do an operator's work, to compare it with: every Agent costs it the same two writes, over the same client.

It compiles nothing, checks nothing and never repairs. What is slower than this is the price of what
it leaves out; how fast it is shows what the API server grants in this run.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from syntera_kube import Change, ClusterConfig, KubeClient, Reflector
from syntera_kube.resources import CONFIG_MAPS
from syntera_operator.manifest import AGENTS, Manifest

WORKERS = 16
"""As many as the operator has."""
_MANAGER = "syntera-reference"
_CONDITIONS = ("Accepted", "ResolvedRefs", "Ready", "Reconciling", "Stalled")


async def run(kubeconfig: Path) -> None:
    """Write until cancelled."""
    waiting: asyncio.Queue[Manifest] = asyncio.Queue()

    def take(change: Change) -> None:
        if change.new is not None and not _is_done(change.new):
            waiting.put_nowait(change.new)

    config = ClusterConfig.from_kubeconfig(kubeconfig)
    async with KubeClient.connect(config, component=_MANAGER) as client, asyncio.TaskGroup() as tasks:
        reflector = Reflector(client, AGENTS, on_change=take)
        tasks.create_task(reflector.run())
        for _ in range(WORKERS):
            tasks.create_task(_work(client, waiting))
        await reflector.synced.wait()
        print("ready", flush=True)


async def _work(client: KubeClient, waiting: "asyncio.Queue[Manifest]") -> None:
    while True:
        agent = await waiting.get()
        metadata = agent["metadata"]
        owner = {
            "apiVersion": AGENTS.api_version,
            "kind": AGENTS.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        named = {"name": f"agent-{metadata['name']}", "namespace": metadata["namespace"], "ownerReferences": [owner]}
        data = {"agent.json": agent["spec"]["instructions"], "digest": metadata["uid"]}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": data}
        await client.apply(CONFIG_MAPS, config_map, field_manager=_MANAGER)
        await client.patch_status(AGENTS, {"metadata": metadata, "status": _status(metadata)}, field_manager=_MANAGER)


def _status(metadata: Manifest) -> Manifest:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"status": "True", "reason": "UpToDate", "message": "As the reference says.", "lastTransitionTime": now}
    generation = metadata["generation"]
    conditions = [condition | {"type": type_, "observedGeneration": generation} for type_ in _CONDITIONS]
    return {"observedGeneration": generation, "revision": generation, "digest": "0" * 32, "conditions": conditions}


def _is_done(agent: Manifest) -> bool:
    return bool((agent.get("status") or {}).get("observedGeneration") == agent["metadata"]["generation"])


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1])))
