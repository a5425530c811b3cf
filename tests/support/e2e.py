"""A tenant on a real cluster, as a test handles it: manifests in, requests through its Service."""

import base64
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from syntera_dev.demo.kubectl import Kubectl
from syntera_dev.demo.showcase import api_key, port_forward

STAND_IN = {
    "name": "stand-in",
    "baseURL": "http://stand-in-models.syntera-dev.svc:8000/v1",
    "chat": "stand-in-echo",
}
"""The offline model server as a model endpoint."""


@dataclass
class TenantUnderTest:
    """A Tenant, its namespace and how to talk to it."""

    kubectl: Kubectl
    name: str
    namespace: str
    spec: dict[str, Any] = field(default_factory=dict)

    def apply(self, **changes: object) -> None:
        """Apply the Tenant with some fields of its spec changed."""
        self.spec.update(changes)
        self.kubectl.apply(
            {
                "apiVersion": "syntera.io/v1alpha1",
                "kind": "Tenant",
                "metadata": {"name": self.name},
                "spec": self.spec,
            }
        )

    def apply_agent(self, name: str, **spec: object) -> None:
        """Apply an Agent; by default one that says who it is."""
        self.kubectl.apply(
            {
                "apiVersion": "syntera.io/v1alpha1",
                "kind": "Agent",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"instructions": f"You are {name} of {{{{tenant.displayName}}}}."} | spec,
            }
        )

    def apply_secret(self, name: str, data: Mapping[str, str], *, usable: bool = True) -> None:
        """Apply a Secret of the tenant's own."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": name,
                    "namespace": self.namespace,
                    "labels": {"syntera.io/usable": "true"} if usable else {},
                },
                "stringData": dict(data),
            }
        )

    def wait(self, what: str, condition: str = "Ready", value: str = "True", *, seconds: int = 60) -> None:
        """Wait for a condition of `tenant/NAME` or `agent/NAME`."""
        self.kubectl(
            "wait", f"--for=condition={condition}={value}", what, "-n", self.namespace, f"--timeout={seconds}s",
            timeout_seconds=seconds + 10,
        )  # fmt: skip

    def wait_generation(self, agent: str) -> dict[str, Any]:
        """Wait until the operator has judged the Agent's present spec; return the Agent."""
        generation = self.agent(agent)["metadata"]["generation"]
        self.kubectl(
            "wait", f"--for=jsonpath={{.status.observedGeneration}}={generation}", f"agent/{agent}",
            "-n", self.namespace, "--timeout=60s", timeout_seconds=70,
        )  # fmt: skip
        return self.agent(agent)

    def agent(self, name: str) -> dict[str, Any]:
        """The Agent as it is now."""
        return self.kubectl.get("agent", name, "-n", self.namespace)

    def secret(self, name: str) -> dict[str, str]:
        """The decoded entries of a Secret."""
        data = self.kubectl.get("secret", name, "-n", self.namespace)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def pod_uids(self) -> set[str]:
        """Uids of the runtime's pods."""
        found = self.kubectl.get("pods", "-n", self.namespace, "-l", "app.kubernetes.io/component=runtime")
        return {pod["metadata"]["uid"] for pod in found["items"]}

    @contextlib.contextmanager
    def client(self, *, key: str | None = None) -> Iterator[httpx.Client]:
        """An HTTP client of the tenant's API, with its administrator's key or another one."""
        with port_forward(self.kubectl, self.namespace) as url:
            headers = {"Authorization": f"Bearer {key or api_key(self.kubectl, self.namespace)}"}
            with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
                yield client

    @contextlib.asynccontextmanager
    async def postgresql(self) -> "AsyncIterator[asyncpg.Connection]":
        """A connection to PostgreSQL with the tenant's own login."""
        url = self.secret("syntera-stores")["postgresql-url"]
        with port_forward(self.kubectl, "syntera-stores", service="postgresql", port=5432) as forwarded:
            connection = await asyncpg.connect(redirected(url, forwarded))
            try:
                yield connection
            finally:
                await connection.close()

    def erase(self) -> None:
        """Delete the Tenant and all its data, whatever the test left of it."""
        if self.kubectl.works("get", "tenant", self.name):
            self.apply(deletionPolicy="Delete")
            self.kubectl("delete", "tenant", self.name, "--timeout=120s", timeout_seconds=130)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command line that has ended."""

    code: int
    stdout: str
    stderr: str


def run_syntera(kubectl: Kubectl, *arguments: str) -> Finished:
    """Run `syntera` as a user of the cluster does."""
    folder = Path(sys.executable).parent
    finished = subprocess.run(
        [folder / "syntera", *arguments],
        env={**os.environ, **kubectl.environment, "PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr)


def make_tenant(kubectl: Kubectl, name: str, **spec: object) -> TenantUnderTest:
    """A Tenant with one endpoint, the offline model server, that is Ready."""
    unique = f"{name}-{secrets.token_hex(3)}"
    default = {
        "displayName": name.title(),
        "models": [STAND_IN],
    }
    tenant = TenantUnderTest(kubectl, unique, f"syntera-{unique}", default | spec)
    tenant.apply()
    tenant.wait(f"tenant/{unique}", seconds=90)
    return tenant


def complete(client: httpx.Client, agent: str, text: str) -> str:
    """The answer of one chat completion."""
    answer = client.post("/v1/chat/completions", json={"model": agent, "messages": [{"role": "user", "content": text}]})
    answer.raise_for_status()
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content


def redirected(url: str, forwarded: str) -> str:
    """The URL with its host and port replaced by those of a port-forward."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@{urlsplit(forwarded).netloc}"))
