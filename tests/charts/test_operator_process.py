"""The operator itself, run as the chart would run it: with the variables of its Deployment and the rights of its ServiceAccount.

Nothing smaller would do: only the program knows everything that it asks of the API server. A right that it lacks shows here,
long before a cluster with pods is up. No pod runs, so no tenant becomes Ready.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from syntera_kube.resources import CRON_JOBS, DEPLOYMENTS, JOBS, LEASES, NAMESPACES
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

from .chart import Chart, Manifest
from .installed import (
    AGENTS,
    KNOWLEDGE_BASES,
    TENANTS,
    Installed,
    agent_manifest,
    eventually,
    install,
    knowledge_base_manifest,
    tenant_manifest,
)

pytestmark = [pytest.mark.api, pytest.mark.long]


@pytest.fixture(scope="module")
def release(chart: Chart, own_server: RunningApiServer) -> Installed:
    """A release on a server of its own: an operator takes every Tenant that it finds, also other tests'."""
    return install(chart, own_server, {})


@pytest.fixture
def log(release: Installed, database: Database, redis_server: RedisServer, tmp_path: Path) -> Iterator[Path]:
    """The log of a running operator."""
    deployment = DEPLOYMENTS.path(namespace=release.namespace, name=release.account)
    spec = release.server.send("GET", deployment)["spec"]["template"]["spec"]
    variables = {variable["name"]: variable.get("value", "operator-0") for variable in spec["containers"][0]["env"]}
    variables |= {
        "SYNTERA_POSTGRESQL_URL": database.operator_dsn,
        "SYNTERA_REDIS_URL": redis_server.url,
        # Ports that are free, whatever else runs on this machine.
        "SYNTERA_PROBE_PORT": "0",
        "SYNTERA_METRICS_PORT": "0",
        "KUBECONFIG": str(release.server.kubeconfig_for(release.user, *release.groups)),
    }
    del variables["SYNTERA_POSTGRESQL_PASSWORD_FILE"], variables["SYNTERA_REDIS_PASSWORD_FILE"]
    path = tmp_path / "operator.log"
    with path.open("w") as file:
        process = _start(variables, file)
        try:
            yield path
            assert process.poll() is None, path.read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _start(variables: dict[str, str], output: IO[str]) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNTERA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "syntera_operator"],
        env=environment | variables, stdout=output, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def conditions(found: Manifest) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}


def is_gone(server: RunningApiServer, path: str) -> bool:
    try:
        server.send("GET", path)
    except ApiRefused as exc:
        return exc.status == 404
    return False


def is_lacking(line: str) -> bool:
    """Whether it tells of a right that was refused for good.

    The API server learns of a new RoleBinding a moment after it took it, in which the operator, whose first pauses may be short,
    tries again: its first refusals in the namespace may be that moment's.
    """
    refused = "forbidden" in line.lower() or '"status":403' in line
    return refused and json.loads(line).get("failures") not in (1, 2, 3, 4)


def test_operator_does_its_work_with_the_rights_that_the_chart_gives_it(
    log: Path, release: Installed, own_server: RunningApiServer
) -> None:
    name = unique_name("acme")
    namespace = f"syntera-{name}"
    tenant, agent = TENANTS.path(name=name), AGENTS.path(namespace=namespace, name="travel")
    knowledge_base = KNOWLEDGE_BASES.path(namespace=namespace, name="handbook")
    endpoint: dict[str, Any] = {"name": "stand-in", "baseURL": "https://models.example.com/v1", "chat": "stand-in"}
    endpoint |= {"embedding": {"model": "stand-in", "dimensions": 3}}
    manifest = tenant_manifest(name, models=[endpoint], deletionPolicy="Delete", quota={"pods": "10"})
    eventually(partial(own_server.send, "POST", TENANTS.path(), manifest))

    def check_provided() -> None:
        states = conditions(own_server.send("GET", tenant))
        wanted = ("Accepted", "ResolvedRefs", "NamespaceReady", "DatabaseReady", "CacheReady")
        assert {state: states.get(state) for state in wanted} == dict.fromkeys(wanted, "True"), log.read_text()[-4000:]

    def check_published() -> None:
        assert conditions(own_server.send("GET", agent)).get("Accepted") == "True"
        own_server.send("GET", f"/api/v1/namespaces/{namespace}/configmaps/agent-travel")

    def check_synced() -> None:
        for resource in (JOBS, CRON_JOBS):
            assert own_server.send("GET", resource.path(namespace=namespace))["items"], log.read_text()[-4000:]
        assert own_server.send("GET", knowledge_base)["status"].get("syncedDigest")

    def check_erased() -> None:
        for path in (knowledge_base, tenant, NAMESPACES.path(name=namespace)):
            assert is_gone(own_server, path)

    eventually(check_provided)
    own_server.send("GET", DEPLOYMENTS.path(namespace=namespace, name="syntera-runtime"))
    own_server.send("POST", AGENTS.path(namespace=namespace), agent_manifest("travel", namespace))
    eventually(check_published)
    scheduled = knowledge_base_manifest("handbook", namespace)
    scheduled["spec"]["schedule"] = {"cron": "@daily"}
    own_server.send("POST", KNOWLEDGE_BASES.path(namespace=namespace), scheduled)
    eventually(check_synced)
    lease = own_server.send("GET", LEASES.path(namespace=release.namespace, name="operator.syntera.io"))
    assert lease["spec"]["holderIdentity"].startswith("operator-0_")
    own_server.send("DELETE", tenant)
    eventually(check_erased)
    assert [line for line in log.read_text().splitlines() if is_lacking(line)] == []
