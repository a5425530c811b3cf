"""The operator as a cluster sees it: two replicas, one leader, no trace of its framework, Helm's whole life.

Nothing smaller would do: what is looked at is what really stands in the cluster after real work.
"""

import json
import time
from collections.abc import Callable

import pytest

from syntera_dev.demo.installation import RELEASE, SYSTEM_NAMESPACE, Installation
from tests.support.e2e import TenantUnderTest, complete

pytestmark = pytest.mark.cluster

OURS = "tenants,agents,namespaces,configmaps,secrets,deployments,services,serviceaccounts,roles,rolebindings,leases"


def test_helm_test_passes(installation: Installation) -> None:
    said = installation.helm("test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", "2m")

    assert "Phase:          Succeeded" in said


def test_nothing_in_the_cluster_carries_a_framework_name(
    installation: Installation, new_tenant: Callable[..., TenantUnderTest]
) -> None:
    tenant = new_tenant("plain")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")

    everything = json.dumps(installation.kubectl.get(OURS, "-A", "--show-managed-fields"))

    assert "kopf" not in everything
    assert "zalando" not in everything


def test_leader_is_replaced_and_work_goes_on(
    installation: Installation, new_tenant: Callable[..., TenantUnderTest]
) -> None:
    tenant = new_tenant("orphan")
    kubectl = installation.kubectl

    def leader() -> str:
        holder: str = kubectl.get("lease", "operator.syntera.io", "-n", SYSTEM_NAMESPACE)["spec"]["holderIdentity"]
        return holder

    first = leader()
    kubectl("delete", "pod", first.split("_")[0], "-n", SYSTEM_NAMESPACE, "--wait=false")
    # The old leader may serve the Agent yet, before it is told to end.
    tenant.apply_agent("after")
    tenant.wait("agent/after")
    end = time.monotonic() + 60
    while leader() in (first, ""):
        assert time.monotonic() < end, "nobody took over"
        time.sleep(0.5)
    tenant.apply_agent("afterwards")
    tenant.wait("agent/afterwards")

    installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])


def test_helm_upgrade_and_uninstall_keep_tenants_and_kinds(
    installation: Installation, new_tenant: Callable[..., TenantUnderTest]
) -> None:
    tenant = new_tenant("survivor")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    pods = tenant.pod_uids()

    installation.install_operator("operator.podAnnotations.upgraded=yes")
    installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])
    assert tenant.pod_uids() == pods

    installation.helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")
    assert installation.kubectl.works("get", "crd", "tenants.syntera.io", "agents.syntera.io")
    with tenant.client() as client:
        assert "I am guide" in complete(client, "guide", "Is somebody there?")

    installation.install_operator()
    installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])
    tenant.apply_agent("guide", instructions="You are the one after the reinstallation.")
    tenant.kubectl(
        "wait", "--for=jsonpath={.status.revision}=2", "agent/guide", "-n", tenant.namespace, "--timeout=60s",
        timeout_seconds=70,
    )  # fmt: skip
    tenant.wait("agent/guide")
    assert tenant.pod_uids() == pods
