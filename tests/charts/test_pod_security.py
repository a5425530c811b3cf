"""Every pod that an installation makes, put before the API server's own Pod Security admission at the level `restricted`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.v1alpha1.tenant import Resources
from syntera_kube.resources import PODS, SERVICE_ACCOUNTS
from syntera_operator.desired.deployment import Image, RuntimePods, build_deployment
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.namespace import build_namespace
from syntera_operator.desired.sync_job import SyncPods, build_cron_job, build_erase_job, build_sync_job
from tests.support.apiserver import ApiRefused, RunningApiServer

from .chart import FULL, ROOT, Chart, Manifest, pod_specs
from .installed import DRY_RUN

pytestmark = pytest.mark.api


def kustomized(folder: Path) -> list[Manifest]:
    kubectl = Path(sys.executable).with_name("kubectl")
    ended = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True, timeout=120)
    return list(yaml.safe_load_all(ended.stdout))


def runtime_deployment() -> Manifest:
    pods = RuntimePods(
        tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
        image=Image("registry.example/syntera-runtime:1", "IfNotPresent", ("registry",)),
        operator_subject="system:serviceaccount:syntera-system:syntera-operator",
        replicas=1,
        resources=Resources(),
    )
    return build_deployment(Scope(tenant="acme", namespace="acme"), pods)


def sync_jobs() -> list[Manifest]:
    scope = Scope(tenant="acme", namespace="acme")
    pods = SyncPods(
        tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
        knowledge_base="handbook",
        image=Image("registry.example/syntera-ingestion:1", "IfNotPresent", ("registry",)),
        config_maps=("policies",),
        secrets=frozenset({SecretKey(name="git", key="password")}),
    )
    return [
        build_sync_job(scope, pods, name="sync", trigger="request"),
        build_cron_job(scope, pods, cron="@daily", time_zone="Etc/UTC", is_suspended=False),
        build_erase_job(scope, pods, name="erase"),
    ]


def add_claims(manifest: Manifest) -> None:
    """Give a StatefulSet's pods the volumes that its controller would."""
    for claim in manifest.get("spec", {}).get("volumeClaimTemplates", ()):
        name = claim["metadata"]["name"]
        volume = {"name": name, "persistentVolumeClaim": {"claimName": name}}
        manifest["spec"]["template"]["spec"]["volumes"].append(volume)


def all_pods(chart: Chart) -> Iterator[tuple[str, Manifest]]:
    """The spec of every pod, with where it comes from."""
    sources = {
        "chart": chart.manifests(),
        "chart, with everything": chart.manifests(FULL),
        "stores": kustomized(ROOT / "manifests" / "stores"),
        "stores of the local node": kustomized(ROOT / "dev" / "manifests" / "stores"),
        "stand-in models": list(yaml.safe_load_all((ROOT / "dev" / "manifests" / "stand-in-models.yaml").read_text())),
        "tenant": [runtime_deployment()],
        "knowledge base": sync_jobs(),
    }
    for source, manifests in sources.items():
        for manifest in manifests:
            add_claims(manifest)
        found = pod_specs(manifests)
        assert found, source
        yield from ((f"{source}: {name}", spec) for name, spec in found.items())


@pytest.fixture(scope="module")
def namespace(api_server: RunningApiServer) -> str:
    """A namespace with the labels that tenants' have."""
    labels = build_namespace(Scope(tenant="acme", namespace="acme"), tenant_uid="uid")["metadata"]["labels"]
    return api_server.create_namespace("restricted", labels=labels)


def try_pod(server: RunningApiServer, namespace: str, spec: Manifest) -> None:
    """Have a pod admitted, but not made.

    Raises:
        ApiRefused: it is not.
    """
    account = spec.get("serviceAccountName", "default")
    server.apply(
        SERVICE_ACCOUNTS.path(namespace=namespace, name=account),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
    )
    # Priority classes are the cluster's, and say nothing of security.
    pod = {"metadata": {"name": "try"}, "spec": {key: spec[key] for key in spec if key != "priorityClassName"}}
    server.send("POST", PODS.path(namespace=namespace), pod, query=DRY_RUN)


def test_every_pod_passes_at_the_level_restricted(chart: Chart, api_server: RunningApiServer, namespace: str) -> None:
    tried = []
    for name, spec in all_pods(chart):
        try_pod(api_server, namespace, spec)
        tried.append(name)

    assert len(tried) == 13


def test_pod_that_may_raise_its_rights_does_not_pass(
    chart: Chart, api_server: RunningApiServer, namespace: str
) -> None:
    for _, spec in all_pods(chart):
        loose = yaml.safe_load(yaml.safe_dump(spec))
        loose["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(ApiRefused, match="violates PodSecurity"):
            try_pod(api_server, namespace, loose)
