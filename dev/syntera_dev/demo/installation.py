"""Syntera on a cluster, step by step: images, stores, the offline model server, the operator by its chart.

Each step can be repeated: what is there already is left as it is.
"""

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.build.binaries import ensure_binaries
from syntera_dev.commands import run
from syntera_dev.errors import CommandFailed
from syntera_dev.paths import REPOSITORY
from syntera_dev.progress import step

from .kubectl import Kubectl

RELEASE = "syntera"
SYSTEM_NAMESPACE = "syntera-system"
STORES_NAMESPACE = "syntera-stores"
MODELS_NAMESPACE = "syntera-dev"
STORES_CREDENTIALS = "syntera-stores-credentials"
CHART = REPOSITORY / "charts" / "syntera"
_CHART_PARTS = ("operator", "runtime", "ingestion")
"""Whose images the chart names; a chart of an older release does not know all of them."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation of Syntera, by default from this checkout."""

    kubectl: Kubectl
    images: dict[str, str]
    """Image reference of each part: operator, runtime, ingestion, models, postgresql, redis."""
    chart: Path = CHART

    def install(self) -> None:
        """Everything but tenants; returns when all of it is ready."""
        with step("stores and model server"):
            self.install_stores()
            self.install_models()
        with step("operator (helm upgrade --install)"):
            self.install_operator()
        with step("PostgreSQL, Redis and the model server are ready"):
            self.wait_rolled_out(STORES_NAMESPACE, ["statefulset/postgresql", "statefulset/redis"])
            self.wait_rolled_out(MODELS_NAMESPACE, ["deployment/stand-in-models"])
        with step("operator is ready"):
            self.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])

    def install_stores(self) -> None:
        """PostgreSQL and Redis for development, with random passwords that stay in the cluster."""
        self.kubectl.ensure_namespace(STORES_NAMESPACE)
        self._ensure_credentials()
        self.kubectl.apply(self._with_images(self.kubectl("kustomize", str(REPOSITORY / "dev/manifests/stores"))))

    def install_models(self) -> None:
        """The offline model server."""
        self.kubectl.apply(self._with_images((REPOSITORY / "dev/manifests/stand-in-models.yaml").read_text()))

    def install_operator(self, *values: str) -> None:
        """The chart, with further `--set` values where a caller wants them."""
        self.helm(
            "upgrade", RELEASE, str(self.chart), "--install", "--namespace", SYSTEM_NAMESPACE,
            *(word for part in _CHART_PARTS if part in self.images for word in _set(f"image.{part}", self.images[part])),
            *(word for value in values for word in ("--set", value)),
        )  # fmt: skip

    def helm(self, *arguments: str, timeout_seconds: float = 180) -> str:
        """Run the helm that the cache holds."""
        program = ensure_binaries(["helm"])["helm"]
        return run([program, *arguments], timeout_seconds=timeout_seconds, environment=self.kubectl.environment)

    def wait_rolled_out(self, namespace: str, workloads: Iterable[str], *, timeout_seconds: int = 180) -> None:
        """Wait until the workloads run as their specs say; on a time-out, say what their pods lack."""
        for workload in workloads:
            try:
                self.kubectl(
                    "rollout", "status", workload, "-n", namespace, f"--timeout={timeout_seconds}s",
                    timeout_seconds=timeout_seconds + 10,
                )  # fmt: skip
            except CommandFailed as exc:
                pods = self.kubectl("get", "pods", "-n", namespace, "-o", "wide")
                events = self.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
                raise CommandFailed(["kubectl", "rollout", "status", workload], str(exc), f"{pods}\n{events}") from exc

    def _ensure_credentials(self) -> None:
        """One set of passwords for the stores and the operator, made once."""
        exists = self.kubectl.works("get", "secret", STORES_CREDENTIALS, "-n", STORES_NAMESPACE)
        if exists:
            found = self.kubectl.get("secret", STORES_CREDENTIALS, "-n", STORES_NAMESPACE)
            passwords = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
        else:
            keys = ("postgresql-superuser-password", "postgresql-operator-password", "redis-operator-password")
            passwords = {key: secrets.token_urlsafe(24) for key in keys}
        self.kubectl.ensure_namespace(SYSTEM_NAMESPACE)
        for namespace in (STORES_NAMESPACE, SYSTEM_NAMESPACE):
            self.kubectl.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": STORES_CREDENTIALS, "namespace": namespace},
                    "stringData": passwords,
                }
            )

    def _with_images(self, text: str) -> str:
        """Development manifests name the local node's images with the tag `local`; put the built ones in their place."""
        for part, reference in self.images.items():
            text = text.replace(f"localhost/syntera/{part}:local", reference)
        return text


def _set(value: str, reference: str) -> list[str]:
    registry, _, path = reference.partition("/")
    repository, _, tag = path.rpartition(":")
    values = {"image.registry": registry, f"{value}.repository": repository, f"{value}.tag": tag}
    return [word for name, content in values.items() for word in ("--set-string", f"{name}={content}")]
