"""Where the operator is measured without pods: an API server of its own with Syntera's chart, real stores, the operator as a
process with exactly the rights that the chart gives it. What it writes is counted by the API server, not by itself.
"""

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kubernetes
import yaml

from syntera_dev.build import ensure_binaries
from syntera_dev.cluster.control_plane import control_plane
from syntera_kube.resources import DEPLOYMENTS
from tests.support.apiserver import RunningApiServer
from tests.support.operator_process import OperatorProcess
from tests.support.postgresql import REPOSITORY, PostgresqlServer
from tests.support.redis_server import RedisServer

from .environment import install_operator
from .processes import cpu_seconds

NAMESPACE = "syntera-system"
ACCOUNT = "syntera-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
_GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
_WRITES = ["create", "update", "patch", "delete", "deletecollection"]
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [USER], "verbs": _WRITES}, {"level": "None"}],
}
_AUDIT_DELAY_SECONDS = 2.5
"""The API server writes its audit log in batches, once a second at the latest."""


class Operator(OperatorProcess):
    """A running operator."""

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return cpu_seconds(self.process.pid)

    def is_idle(self) -> bool:
        """Whether it has nothing to do now."""
        return self.metric("syntera_queue_depth") + self.metric("syntera_queue_active") == 0


@dataclass(frozen=True, slots=True)
class Site:
    """An API server with the chart, and what an operator needs to run on it."""

    server: RunningApiServer
    folder: Path
    settings: dict[str, str]
    python: Path
    """The operator's interpreter."""

    @contextlib.contextmanager
    def operator(self) -> Iterator[Operator]:
        """An operator that leads and has nothing left to do; it gives its Lease back at the end."""
        process = self.start()
        try:
            process.wait_until(process.is_leader, seconds=60)
            process.wait_until(process.is_idle, seconds=120)
            yield process
            process.terminate()
        finally:
            process.kill()

    def start(self) -> Operator:
        """An operator that has just been started."""
        return Operator(self.folder, self.settings, python=self.python)

    async def writes(self, *, since: int = 0) -> Counter[str]:
        """What the operator wrote, Leases apart: `verb resource/subresource`, how often."""
        await asyncio.sleep(_AUDIT_DELAY_SECONDS)
        found: Counter[str] = Counter()
        for event in self._events()[since:]:
            ref = event["objectRef"]
            if ref["resource"] not in ("leases", "serviceaccounts"):  # a token is no write
                part = f"/{ref['subresource']}" if ref.get("subresource") else ""
                found[f"{event['verb']} {ref['resource']}{part}"] += 1
        return found

    async def position(self) -> int:
        """How much was written by now; for `since`."""
        await asyncio.sleep(_AUDIT_DELAY_SECONDS)
        return len(self._events())

    def _events(self) -> list[dict[str, dict[str, str]]]:
        text = (self.folder / "audit.log").read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


@contextlib.contextmanager
def open_site() -> Iterator[Site]:
    """Bring everything up, and take it down at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syntera-bench-")))
        policy = folder / "policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))
        flags = [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={folder / 'audit.log'}",
            "--audit-log-mode=batch",
            "--audit-log-batch-max-wait=1s",
        ]
        plane = stack.enter_context(control_plane(folder / "plane", api_server_flags=flags))
        client = stack.enter_context(
            kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
                config_file=str(plane.kubeconfig)
            )
        )
        server = RunningApiServer(plane, client)
        postgresql = PostgresqlServer.start(18)
        stack.callback(postgresql.stop)
        database = asyncio.run(postgresql.create_ready_database())
        redis = RedisServer(RedisServer.default_binary())
        redis.start()
        stack.callback(redis.remove)
        _install_chart(server)
        settings = _settings(server) | {
            "SYNTERA_POSTGRESQL_URL": database.operator_dsn,
            "SYNTERA_REDIS_URL": redis.url,
            "KUBECONFIG": str(_json_kubeconfig(server.kubeconfig_for(USER, *_GROUPS))),
        }
        yield Site(server, folder, settings, install_operator(folder / "operator"))


def _install_chart(server: RunningApiServer) -> None:
    helm = ensure_binaries(["helm"])["helm"]
    subprocess.run(
        [helm, "install", "syntera", REPOSITORY / "charts" / "syntera", "--kubeconfig", server.kubeconfig,
         "--namespace", NAMESPACE, "--create-namespace"],
        check=True, stdout=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    time.sleep(2)  # kinds and roles arrive in the API server's own caches


def _settings(server: RunningApiServer) -> dict[str, str]:
    """The variables that the chart gives its operator."""
    deployment = server.send("GET", DEPLOYMENTS.path(namespace=NAMESPACE, name=ACCOUNT))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value", "operator-0") for variable in container["env"]}
    for name in ("SYNTERA_POSTGRESQL_PASSWORD_FILE", "SYNTERA_REDIS_PASSWORD_FILE"):
        variables.pop(name, None)
    return variables


def _json_kubeconfig(file: Path) -> Path:
    """The same as JSON: in a pod no operator loads a YAML parser, which would count as its memory."""
    written = file.with_suffix(".json")
    written.write_text(json.dumps(yaml.safe_load(file.read_text())))
    return written
