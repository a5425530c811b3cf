"""What a Tenant goes through: suspended and resumed, deleted with both policies, found again under its name.

Nothing smaller would do: garbage collection, namespace deletion, pods and stores all take part.
"""

from collections.abc import Callable

import pytest

from tests.support.e2e import TenantUnderTest, complete

pytestmark = pytest.mark.cluster


def test_suspended_tenant_runs_no_pod_and_resumes(new_tenant: Callable[..., TenantUnderTest]) -> None:
    tenant = new_tenant("sleeper", runtime={"autoscaling": {"min": 1, "max": 3}})
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    assert tenant.kubectl.works("get", "hpa", "syntera-runtime", "-n", tenant.namespace)

    tenant.apply(suspended=True)
    tenant.wait(f"tenant/{tenant.name}", "Ready", "False")
    tenant.kubectl(
        "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=runtime", "-n", tenant.namespace,
        "--timeout=90s", timeout_seconds=100,
    )  # fmt: skip
    assert not tenant.kubectl.works("get", "hpa", "syntera-runtime", "-n", tenant.namespace)
    tenant.wait("agent/guide", "Ready", "False")

    tenant.apply(suspended=False)
    tenant.wait(f"tenant/{tenant.name}")
    tenant.wait("agent/guide")
    assert tenant.kubectl.works("get", "hpa", "syntera-runtime", "-n", tenant.namespace)
    with tenant.client() as client:
        assert "I am guide" in complete(client, "guide", "Hi")


def test_retained_tenant_is_found_again_under_its_name(new_tenant: Callable[..., TenantUnderTest]) -> None:
    tenant = new_tenant("keeper")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    with tenant.client() as client:
        conversation = client.post("/v1/agents/guide/conversations", json={}).raise_for_status().json()
        path = f"/v1/conversations/{conversation['id']}/messages"
        client.post(path, json={"content": "Remember me"}).raise_for_status()
    old_key = tenant.secret("syntera-admin")["api-key"]

    tenant.kubectl("delete", "tenant", tenant.name, "--timeout=90s", timeout_seconds=100)
    for gone in ("deployment", "secret", "service", "networkpolicy"):
        left = tenant.kubectl.get(gone, "-n", tenant.namespace)["items"]
        assert [item["metadata"]["name"] for item in left] == [], gone
    assert tenant.kubectl.works("get", "agent", "guide", "-n", tenant.namespace)

    tenant.apply()
    tenant.wait(f"tenant/{tenant.name}", seconds=90)
    tenant.wait("agent/guide")
    with tenant.client() as client:
        kept = client.get(path).raise_for_status().json()["items"]
    assert any(message["content"] == "Remember me" for message in kept)
    with tenant.client(key=old_key) as client:
        assert client.get("/v1/agents").status_code == 401


def test_deleted_tenant_leaves_nothing(new_tenant: Callable[..., TenantUnderTest]) -> None:
    tenant = new_tenant("leaver", deletionPolicy="Delete")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    first_id = tenant.kubectl.get("tenant", tenant.name)["status"]["tenantID"]

    tenant.kubectl("delete", "tenant", tenant.name, "--timeout=120s", timeout_seconds=130)
    assert not tenant.kubectl.works("get", "namespace", tenant.namespace)

    tenant.apply()
    tenant.wait(f"tenant/{tenant.name}", seconds=90)
    assert tenant.kubectl.get("tenant", tenant.name)["status"]["tenantID"] != first_id
