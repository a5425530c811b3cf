"""The life of a release on a real API server: installed, upgraded, uninstalled, installed again.

The server is the module's own: the session's has CRDs from the beginning.
"""

import json
from collections.abc import Iterator

import pytest

from syntera_kube.resources import CONFIG_MAPS, DEPLOYMENTS
from tests.support.apiserver import ApiRefused, RunningApiServer
from tests.support.golden import Golden

from .chart import CHART, NAMESPACE, RELEASE, Chart, Values
from .installed import TENANTS, eventually, tenant_manifest

pytestmark = [pytest.mark.api, pytest.mark.long]

_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tenants.syntera.io"
_DEPLOYMENT = DEPLOYMENTS.path(namespace=NAMESPACE, name=f"{RELEASE}-operator")


@pytest.fixture
def helm(chart: Chart, own_server: RunningApiServer) -> Iterator["Release"]:
    release = Release(chart, own_server)
    yield release
    release.chart.run("uninstall", RELEASE, *release.options, "--ignore-not-found", "--wait")


class Release:
    """The one release of this module's server. No pod runs, so nothing is waited for and no hook is run."""

    def __init__(self, chart: Chart, server: RunningApiServer) -> None:
        self.chart = chart
        self.options = ("--kubeconfig", str(server.kubeconfig), "--namespace", NAMESPACE)

    def install(self, values: Values | None = None) -> str:
        return self.chart.run(
            "upgrade", RELEASE, CHART, "--install", "--create-namespace", *self.options, "--no-hooks", "--values", "-",
            stdin=json.dumps(values or {}),
        )  # fmt: skip

    def uninstall(self) -> str:
        return self.chart.run("uninstall", RELEASE, *self.options, "--no-hooks")


def is_there(server: RunningApiServer, path: str) -> bool:
    try:
        server.send("GET", path)
    except ApiRefused as exc:
        assert exc.status == 404  # noqa: PT017 - any other answer is a failure of the test, not an absence
        return False
    return True


def test_release_is_installed_upgraded_uninstalled_and_installed_again(
    helm: Release, own_server: RunningApiServer
) -> None:
    helm.install()
    eventually(lambda: own_server.send("POST", TENANTS.path(), tenant_manifest("survivor")))
    assert own_server.send("GET", _DEPLOYMENT)["spec"]["replicas"] == 2

    helm.install({"operator": {"replicas": 3}})
    assert own_server.send("GET", _DEPLOYMENT)["spec"]["replicas"] == 3

    said = helm.uninstall()
    assert "tenants.syntera.io" in said
    assert not is_there(own_server, _DEPLOYMENT)
    assert is_there(own_server, TENANTS.path(name="survivor"))

    helm.install()
    assert is_there(own_server, _DEPLOYMENT)
    assert is_there(own_server, TENANTS.path(name="survivor"))


def test_upgrade_brings_the_kinds_up_to_date(helm: Release, own_server: RunningApiServer) -> None:
    """Helm's own folder for CRDs would leave them as they were."""
    helm.install()
    new_names = {"spec": {"names": {"shortNames": ["other"]}}}
    own_server.send("PATCH", _CRD, new_names, content_type="application/merge-patch+json")
    assert own_server.send("GET", _CRD)["spec"]["names"]["shortNames"] == ["other"]

    helm.install({"operator": {"replicas": 1}})

    assert own_server.send("GET", _CRD)["spec"]["names"]["shortNames"] == ["tnt"]


def test_uninstalling_without_keep_removes_the_kinds(helm: Release, own_server: RunningApiServer) -> None:
    helm.install({"crds": {"keep": False}})

    helm.uninstall()

    def check_gone() -> None:
        assert not is_there(own_server, _CRD)

    eventually(check_gone)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("default", {}),
        ("crds-by-others", {"crds": {"enabled": False}, "stores": {"redis": {"existingSecret": ""}}}),
        ("crds-not-kept", {"crds": {"keep": False}}),
    ],
)
def test_notes_say_what_to_do_next(name: str, values: Values, helm: Release, golden: Golden) -> None:
    said = helm.install(values)

    golden.check_text(f"charts/notes-{name}.txt", said[said.index("NOTES:") :])


def test_release_leaves_nothing_but_kinds_and_namespace(helm: Release, own_server: RunningApiServer) -> None:
    helm.install()
    helm.uninstall()

    everything = [
        own_server.send("GET", f"/apis/rbac.authorization.k8s.io/v1/{plural}")["items"]
        for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
    ] + [
        own_server.send("GET", f"/apis/admissionregistration.k8s.io/v1/{plural}")["items"]
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    ]
    names = [item["metadata"]["name"] for items in everything for item in items]
    assert [name for name in names if "syntera" in name and name != "syntera-admin"] == []
    assert (
        own_server.send("GET", CONFIG_MAPS.path(namespace=NAMESPACE), query={"labelSelector": "helm.sh/chart"})["items"]
        == []
    )
