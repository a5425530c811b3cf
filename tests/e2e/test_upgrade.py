"""From the oldest release to this one, under load: nothing fails, nothing is lost, and each runtime pod is replaced once.

Nothing smaller would do: two charts, two operators, two runtimes and the stores' migrations take part. The cluster is its own,
because a release is installed once a cluster.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from syntera_dev.cluster.target import load_images, resolve_cluster
from syntera_dev.demo.installation import MODELS_NAMESPACE, RELEASE, SYSTEM_NAMESPACE, Installation
from syntera_dev.demo.kubectl import Kubectl
from syntera_dev.demo.setup import prepare, tear_down
from syntera_dev.demo.showcase import api_key, port_forward
from tests.support.e2e import TenantUnderTest, make_tenant
from tests.support.old_release import OldRelease, ensure_old_release

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),  # the older release may have to be built
    pytest.mark.skipif(os.environ.get("CLUSTER") == "current", reason="needs a cluster without Syntera, of its own"),
]

CLUSTER_NAME = "upgrade"
PROGRAM = Path(__file__).parents[1] / "support" / "load_program.py"
WORD_DELAY_SECONDS = 0.05


@pytest.fixture(scope="module")
def old_release() -> OldRelease:
    return ensure_old_release()


@pytest.fixture(scope="module")
def new(old_release: OldRelease) -> Iterator[Installation]:
    """This checkout's release, on a cluster that has the older one's images too; not installed yet."""
    prepared = prepare(CLUSTER_NAME)
    load_images(resolve_cluster(CLUSTER_NAME), old_release.archives)
    yield prepared
    tear_down(CLUSTER_NAME)


@pytest.fixture(scope="module")
def old(new: Installation, old_release: OldRelease) -> Installation:
    """The older release, installed."""
    others = {part: image for part, image in new.images.items() if part != "ingestion"}  # it has no such part
    installed = replace(new, images=others | old_release.images, chart=old_release.chart)
    installed.install()
    return installed


@dataclass
class Load:
    """A pod that talks to a tenant's agent without a pause."""

    tenant: TenantUnderTest
    agent: str
    image: str

    @property
    def _name(self) -> str:
        return f"load-{self.tenant.name}"

    def start(self) -> None:
        """Start, and wait for the first answers of each sort."""
        kubectl = self.tenant.kubectl
        kubectl.apply(_config_map(self._name, {"load.py": PROGRAM.read_text()}))
        url = f"http://syntera-runtime.{self.tenant.namespace}.svc"
        variables = {"LOAD_URL": url, "LOAD_KEY": api_key(kubectl, self.tenant.namespace), "LOAD_AGENT": self.agent}
        kubectl.apply(_pod(self._name, self.image, variables))
        self.wait_for_more({"short": 1, "streamed": 1, "stored": 1})

    def report(self) -> dict[str, Any]:
        """What it said last."""
        lines = self.tenant.kubectl("logs", self._name, "-n", MODELS_NAMESPACE, "--tail=1").splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {"answers": {}, "failures": []}
        return found

    def wait_for_more(self, more: dict[str, int], *, seconds: float = 90) -> None:
        """Wait until that many more requests of each sort were answered."""
        before = self._answers() if self.tenant.kubectl.works("logs", self._name, "-n", MODELS_NAMESPACE) else {}
        end = time.monotonic() + seconds
        while any(self._answers().get(name, 0) < before.get(name, 0) + count for name, count in more.items()):
            assert time.monotonic() < end, self.report()
            time.sleep(0.5)

    def stop(self) -> None:
        """Remove it."""
        self.tenant.kubectl("delete", "pod", self._name, "-n", MODELS_NAMESPACE, "--now")

    def _answers(self) -> dict[str, int]:
        if not self.tenant.kubectl.works("logs", self._name, "-n", MODELS_NAMESPACE):
            return {}
        answers: dict[str, int] = self.report()["answers"]
        return answers


@dataclass
class Observer:
    """Looks at a tenant's runtime pods all the time."""

    tenant: TenantUnderTest
    images_at_once: set[frozenset[str]] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    restarts: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        selector = ("-n", self.tenant.namespace, "-l", "app.kubernetes.io/component=runtime")
        while not self._stop.wait(0.5):
            pods = self.tenant.kubectl.get("pods", *selector)["items"]
            statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
            self.images_at_once.add(frozenset(status["image"] for status in statuses if status["ready"]))
            self.uids |= {pod["metadata"]["uid"] for pod in pods}
            self.restarts = max([self.restarts, *(status["restartCount"] for status in statuses)])


def test_upgrade_under_load_fails_no_request_and_replaces_each_pod_once(old: Installation, new: Installation) -> None:
    kubectl = old.kubectl
    tenants = [make_tenant(kubectl, name) for name in ("alpha", "beta")]
    for tenant in tenants:
        tenant.apply_agent("guide")
        tenant.wait("agent/guide")
    conversations = {tenant.name: _converse(tenant) for tenant in tenants}
    before = {tenant.name: _facts(tenant) for tenant in tenants}
    revisions = {tenant.name: tenant.agent("guide")["status"]["revision"] for tenant in tenants}
    _slow_down(kubectl)
    loads = [Load(tenant, "guide", new.images["models"]) for tenant in tenants]
    observers = [Observer(tenant) for tenant in tenants]
    for load, observer in zip(loads, observers, strict=True):
        load.start()
        observer.start()

    new.install_operator()
    new.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])
    for tenant in tenants:
        _wait_for_image(tenant, new.images["runtime"])
        tenant.wait(f"tenant/{tenant.name}", seconds=120)
        tenant.wait("agent/guide")
    for load in loads:
        load.wait_for_more({"short": 20, "streamed": 3, "stored": 5})
    for observer in observers:
        observer.stop()
    reports = [load.report() for load in loads]
    for load in loads:
        load.stop()

    for tenant, report, observer in zip(tenants, reports, observers, strict=True):
        assert report["failures"] == []
        assert observer.restarts == 0
        assert len(observer.uids) == 2, "each tenant has one pod, replaced once"
        assert frozenset({old.images["runtime"], new.images["runtime"]}) in observer.images_at_once
        assert _facts(tenant) == before[tenant.name]
        # The older release counted defaults in its digests, so each Agent is published once more, and only once.
        assert tenant.agent("guide")["status"]["revision"] == revisions[tenant.name] + 1
        with tenant.client() as client:
            path = conversations[tenant.name]
            assert len(client.get(path).raise_for_status().json()["items"]) == 2
            client.post(path, json={"content": "And now?"}).raise_for_status()
            assert len(client.get(path).raise_for_status().json()["items"]) == 4
        tenant.apply_agent("guide", instructions="You are the one after the upgrade.")
        tenant.wait_generation("guide")
        tenant.wait("agent/guide")
        assert tenant.agent("guide")["status"]["revision"] == revisions[tenant.name] + 2


def _converse(tenant: TenantUnderTest) -> str:
    """Begin a conversation; the path of its messages."""
    with tenant.client() as client:
        made = client.post("/v1/agents/guide/conversations", json={}).raise_for_status().json()
        path = f"/v1/conversations/{made['id']}/messages"
        client.post(path, json={"content": "Before the upgrade."}).raise_for_status()
    return path


def _facts(tenant: TenantUnderTest) -> dict[str, Any]:
    """What an upgrade must leave as it is."""
    found = tenant.kubectl.get("tenant", tenant.name)
    return {
        "tenant id": found["status"]["tenantID"],
        "keys": tenant.secret("syntera-admin"),
        "logins": tenant.secret("syntera-stores"),
    }


def _wait_for_image(tenant: TenantUnderTest, image: str) -> None:
    path = "{.spec.template.spec.containers[0].image}"
    tenant.kubectl(
        "wait", f"--for=jsonpath={path}={image}", "deployment/syntera-runtime", "-n", tenant.namespace,
        "--timeout=120s", timeout_seconds=130,
    )  # fmt: skip
    tenant.kubectl(
        "rollout", "status", "deployment/syntera-runtime", "-n", tenant.namespace, "--timeout=120s",
        timeout_seconds=130,
    )  # fmt: skip


def _slow_down(kubectl: Kubectl) -> None:
    """Let streams last for seconds, so that some are under way whenever a pod is told to end."""
    with port_forward(kubectl, MODELS_NAMESPACE, service="stand-in-models", port=8000) as models:
        httpx.patch(f"{models}/control", json={"wordDelaySeconds": WORD_DELAY_SECONDS}).raise_for_status()


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": MODELS_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _pod(name: str, image: str, variables: dict[str, str]) -> dict[str, Any]:
    """A pod that runs the program with the interpreter of the model server's image."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": MODELS_NAMESPACE},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "load",
                    "image": image,
                    "command": ["python", "/program/load.py"],
                    "env": [{"name": key, "value": value} for key, value in variables.items()],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "program", "mountPath": "/program"}],
                }
            ],
            "volumes": [{"name": "program", "configMap": {"name": name}}],
        },
    }
