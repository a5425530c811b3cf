"""The operator as programs on an API server of its own that writes down every request, with real stores. No pod runs.

Only programs show what restarts, hand-overs and kopf really write. Each operator logs in to the API server under its own
name, so that the audit log tells whose a write was.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes

from syntera_crds.contract import names
from syntera_dev.cluster.control_plane import ADMINISTRATORS, control_plane
from syntera_kube.resources import CONFIG_MAPS, LEASES, NAMESPACES, Resource
from syntera_operator.manifest import AGENTS, TENANTS, Manifest
from tests.support.apiserver import ApiRefused, RunningApiServer
from tests.support.make import make_agent_manifest, make_tenant_manifest
from tests.support.operator_process import PROGRAM, Audit, OperatorProcess
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

SYSTEM = "syntera-system"
LEASE = LEASES.path(namespace=SYSTEM, name=names.LEASE_NAME)
LEASE_SECONDS = 7
RENEW_SECONDS = 5
RETRY_SECONDS = 1
_MERGE = "application/merge-patch+json"


@dataclass
class Site:
    """An API server, the stores, and the operators that run on them."""

    server: RunningApiServer
    audit: Audit
    settings: dict[str, str]
    folder: Path
    running: list[OperatorProcess] = field(default_factory=list)

    def start(
        self,
        name: str = "operator-0",
        *,
        kubeconfig: Path | None = None,
        program: tuple[str, ...] = PROGRAM,
        settings: Mapping[str, str] | None = None,
    ) -> OperatorProcess:
        """Start an operator. `settings` are set beside the site's own, or instead of them."""
        reached_by = kubeconfig or self.kubeconfig_of(name)
        variables = {**self.settings, "KUBECONFIG": str(reached_by), **(settings or {})}
        process = OperatorProcess(self.folder, variables, name=name, program=program)
        self.running.append(process)
        return process

    def start_leader(self, name: str = "operator-0", **options: Any) -> OperatorProcess:
        """Start an operator and wait until it leads and has looked at everything."""
        process = self.start(name, **options)
        process.wait_until(process.is_leader)
        process.wait_until(lambda: process.metric("syntera_queue_depth") + process.metric("syntera_queue_active") == 0)
        return process

    def start_two(self, **options: Any) -> tuple[OperatorProcess, OperatorProcess]:
        """Start two operators side by side, and wait until one leads and the other could take over, in this order."""
        two = [self.start(name, **options) for name in ("first", "second")]
        two[0].wait_until(lambda: any(one.is_leader() for one in two))
        leader, standby = sorted(two, key=lambda one: not one.is_leader())
        standby.wait_until(lambda: standby.probe("/readyz") == 200)
        return leader, standby

    def start_standby(self, name: str = "operator-1", **options: Any) -> OperatorProcess:
        """Start an operator beside one that leads, and wait until it could take over."""
        process = self.start(name, **options)
        process.wait_until(lambda: process.probe("/readyz") == 200)
        return process

    def kubeconfig_of(self, name: str) -> Path:
        """The kubeconfig of an operator, which may do everything."""
        file = self.folder / f"kubeconfig-{name}"
        if not file.exists():
            file.write_text(self.server.plane.client_kubeconfig(name, [ADMINISTRATORS]))
        return file

    def end_all(self) -> None:
        """Kill the operators, and leave nobody's Lease behind."""
        for process in self.running:
            process.kill()
        self.running.clear()
        if self.get(LEASE) is not None:
            self.server.send("DELETE", LEASE)

    def get(self, path: str) -> Manifest | None:
        """An object, None if there is none."""
        try:
            return self.server.send("GET", path)
        except ApiRefused as exc:
            if exc.status == 404:
                return None
            raise

    def merge(self, path: str, patch: Manifest) -> Manifest:
        """Change an object as a person would."""
        return self.server.send("PATCH", path, patch, content_type=_MERGE)

    def delete(self, path: str) -> None:
        """Ask for an object's deletion."""
        self.server.send("DELETE", path)

    def conditions(self, path: str) -> dict[str, str]:
        """Status by type."""
        return {type_: one["status"] for type_, one in self.full_conditions(path).items()}

    def full_conditions(self, path: str) -> dict[str, Manifest]:
        """Condition by type."""
        found = self.get(path) or {}
        return {one["type"]: one for one in (found.get("status") or {}).get("conditions") or ()}

    def make_tenant(self, name: str, **spec: Any) -> str:
        """Create a Tenant; its path."""
        self.server.send("POST", TENANTS.path(), strip(make_tenant_manifest(name, quota={"pods": "20"}, **spec)))
        return TENANTS.path(name=name)

    def make_agent(self, namespace: str, name: str, **spec: Any) -> str:
        """Create an Agent; its path."""
        agent = strip(make_agent_manifest(name, namespace=namespace, **spec))
        self.server.send("POST", AGENTS.path(namespace=namespace), agent)
        return AGENTS.path(namespace=namespace, name=name)

    def is_published(self, path: str) -> Callable[[], bool]:
        """Whether an Agent's configuration is there and its status says so."""
        return lambda: self.conditions(path).get("ResolvedRefs") == "True"

    def is_provided(self, path: str) -> Callable[[], bool]:
        """Whether a Tenant has everything but running pods."""
        wanted = ("Accepted", "NamespaceReady", "DatabaseReady", "CacheReady")
        return lambda: all(self.conditions(path).get(one) == "True" for one in wanted)

    def is_current(self, path: str) -> bool:
        """Whether what is published for an Agent, whose instructions hold no template, is what its spec says now, and its status says so."""
        agent = self.get(path)
        if agent is None:
            return False
        published = self.published(agent["metadata"]["namespace"], agent["metadata"]["name"])
        status = agent.get("status") or {}
        return (
            status.get("observedGeneration") == agent["metadata"]["generation"]
            and published.get("instructions") == agent["spec"]["instructions"]
            and published.get("revision") == status.get("revision")
        )

    def published(self, namespace: str, agent: str) -> dict[str, Any]:
        """The configuration that is published for an Agent, empty where none is."""
        found = self.get(CONFIG_MAPS.path(namespace=namespace, name=names.published_agent_name(agent)))
        text = ((found or {}).get("data") or {}).get(names.AGENT_CONFIG_KEY, "{}")
        published: dict[str, Any] = json.loads(text)
        return published

    def list_names(self, resource: Resource, namespace: str | None = None, **query: str) -> list[str]:
        """Names of objects."""
        found = self.server.send("GET", resource.path(namespace=namespace), query=query)
        return [item["metadata"]["name"] for item in found["items"]]


def strip(manifest: Manifest) -> Manifest:
    """As a person would write it."""
    metadata = {key: manifest["metadata"][key] for key in ("name", "namespace") if key in manifest["metadata"]}
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": metadata,
        "spec": manifest["spec"],
    }


@contextmanager
def empty_site(database: Database, redis_server: RedisServer) -> Iterator[Site]:
    """A site without our kinds, for the length of the block."""
    # A short path: the store's socket stands in it, and the kernel bounds the length of those.
    with (
        tempfile.TemporaryDirectory(prefix="syntera-op-") as path,
        control_plane(Path(path) / "plane", api_server_flags=Audit.flags(Path(path))) as plane,
    ):
        folder = Path(path)
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(plane.kubeconfig)
        )
        with client:
            server = RunningApiServer(plane, client)
            server.send("POST", NAMESPACES.path(), {"metadata": {"name": SYSTEM}})
            settings = {
                "SYNTERA_OPERATOR_NAMESPACE": SYSTEM,
                "SYNTERA_RUNTIME_IMAGE": "runtime:1",
                "SYNTERA_INGESTION_IMAGE": "ingestion:1",
                "SYNTERA_TENANT_CLUSTER_ROLE": "syntera-tenant-namespace",
                "SYNTERA_POSTGRESQL_URL": database.operator_dsn,
                "SYNTERA_REDIS_URL": redis_server.url,
                "SYNTERA_LEASE_SECONDS": str(LEASE_SECONDS),
                "SYNTERA_LEASE_RENEW_SECONDS": str(RENEW_SECONDS),
                "SYNTERA_LEASE_RETRY_SECONDS": str(RETRY_SECONDS),
            }
            yield Site(server, Audit(folder / "audit.log"), settings, folder)
