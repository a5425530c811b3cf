"""The chart's renderings, and a release of it on an API server."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kubernetes
import pytest

from syntera_dev.build import ensure_binary
from syntera_dev.cluster.control_plane import control_plane
from syntera_kube.resources import CONFIG_MAPS, NAMESPACES, ROLE_BINDINGS
from tests.support.apiserver import RunningApiServer, unique_name

from .chart import Chart
from .installed import (
    DRY_RUN,
    MERGE_PATCH,
    SYSTEM_MASTERS,
    TENANTS,
    Installed,
    eventually_refused,
    install,
    role_binding,
    tenant_manifest,
)


@pytest.fixture(scope="session")
def chart() -> Chart:
    """The chart of this checkout. The first run ever compiles helm, which takes a minute or two."""
    return Chart(ensure_binary("helm"))


@pytest.fixture(scope="session")
def installed(chart: Chart, api_server: RunningApiServer) -> Installed:
    """A release with the defaults, whose policies are in force. The CRDs are the session's."""
    installation = install(chart, api_server, {"crds": {"enabled": False}})
    with installation.operator(SYSTEM_MASTERS) as operator:
        _wait_for_policies(installation, operator)
    return installation


@pytest.fixture(scope="module")
def own_server() -> Iterator[RunningApiServer]:
    """A real API server for one module, without our CRDs: the chart brings them."""
    # A short path: the store's socket stands in it, and the kernel bounds the length of those.
    with control_plane(Path(tempfile.mkdtemp(prefix="syntera-helm-"))) as plane:
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(plane.kubeconfig)
        )
        with client:
            yield RunningApiServer(plane, client)


@pytest.fixture
def operator(installed: Installed) -> Iterator[RunningApiServer]:
    """The API server as the operator sees it."""
    with installed.operator() as seen:
        yield seen


@pytest.fixture
def mighty_operator(installed: Installed) -> Iterator[RunningApiServer]:
    """The same, if every role were given to it: only the admission policies are in its way."""
    with installed.operator(SYSTEM_MASTERS) as seen:
        yield seen


def _wait_for_policies(installation: Installed, operator: RunningApiServer) -> None:
    """A policy takes effect a moment after it was made; a dry run that it must refuse tells when."""
    namespace = installation.tenant_namespace()
    tenant = unique_name("tenant")
    installation.server.send("POST", TENANTS.path(), tenant_manifest(tenant))
    create = partial(operator.send, "POST", query=DRY_RUN)
    attempts = {
        "namespaces": partial(create, NAMESPACES.path(), {"metadata": {"name": unique_name("canary")}}),
        "children": partial(create, CONFIG_MAPS.path(namespace="default"), {"metadata": {"name": "canary"}}),
        "rolebindings": partial(
            create,
            ROLE_BINDINGS.path(namespace=namespace),
            role_binding("canary", namespace, ("ClusterRole", "cluster-admin")),
        ),
        "tenants": partial(
            operator.send, "PATCH", TENANTS.path(name=tenant), {"spec": {"suspended": True}},
            query=DRY_RUN, content_type=MERGE_PATCH,
        ),
    }  # fmt: skip
    for policy, attempt in attempts.items():
        eventually_refused(attempt, f"{installation.account}-{policy}")
