"""What the doctor says of a real installation, well and broken.

Nothing smaller would do: pods that are not ready, images that cannot be pulled and a question that is answered take a kubelet.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from syntera_dev.demo.installation import RELEASE, SYSTEM_NAMESPACE, Installation
from syntera_dev.demo.showcase import port_forward
from syntera_dev.models.control import Fault
from tests.support.e2e import STAND_IN, Finished, TenantUnderTest, run_syntera
from tests.support.stand_in import StandIn

pytestmark = pytest.mark.cluster

MODEL = "stand-in-doctor"
"""No other test's, so that faults hit nobody else."""
ENDPOINT = STAND_IN | {"chat": MODEL}
NO_IMAGE = f"sha256:{'0' * 64}"
IMAGE_TROUBLE = {"ErrImagePull", "ImagePullBackOff"}
Finding = dict[str, Any]


@pytest.fixture
def tenant(new_tenant: Callable[..., TenantUnderTest]) -> TenantUnderTest:
    """A tenant with an Agent that is served."""
    made = new_tenant("patient", models=[ENDPOINT])
    made.apply_agent("guide")
    made.wait("agent/guide")
    return made


@pytest.fixture
def stand_in(installation: Installation) -> Iterator[StandIn]:
    """A hand on the model server of the cluster; what the test told it is forgotten afterwards."""
    with port_forward(installation.kubectl, "syntera-dev", service="stand-in-models", port=8000) as url:
        made = StandIn(url)
        yield made
        made.reset()
        made.close()


def examine(tenant: TenantUnderTest, *options: str) -> tuple[Finished, list[Finding]]:
    """What the doctor says of a tenant."""
    finished = run_syntera(tenant.kubectl, "doctor", tenant.name, "--output", "json", *options)
    assert finished.stdout, finished.stderr
    found: list[Finding] = json.loads(finished.stdout)["findings"]
    return finished, found


def problems(findings: list[Finding]) -> list[tuple[str, str]]:
    """Step and sentence of everything that does not work."""
    return [(finding["check"], finding["says"]) for finding in findings if finding["state"] == "problem"]


def test_healthy_tenant_is_well_and_answers(tenant: TenantUnderTest) -> None:
    finished, findings = examine(tenant)

    assert finished.code == 0, finished.stdout
    assert problems(findings) == []
    states = {finding["check"]: finding["state"] for finding in findings}
    for check in ("cluster", "kinds", "operator", "lease", "admission", "stores", "references", "pods", "agents"):
        assert states[check] == "ok", check
    assert findings[-1]["check"] == "question"
    assert findings[-1]["state"] == "ok"
    assert findings[-1]["figures"]["secondsToFirstWord"] < 10


def test_report_for_people_fits_a_terminal(tenant: TenantUnderTest) -> None:
    finished = run_syntera(tenant.kubectl, "doctor", tenant.name)

    assert finished.code == 0, finished.stdout
    assert all(len(line) < 80 for line in finished.stdout.splitlines() if "$ " not in line)
    assert "\x1b" not in finished.stdout


def test_missing_secret_is_told_with_the_command_that_makes_it(tenant: TenantUnderTest) -> None:
    tenant.apply(models=[ENDPOINT | {"apiKeySecretRef": {"name": "openai", "key": "api-key"}}])
    tenant.wait(f"tenant/{tenant.name}", "ResolvedRefs", "False")

    finished, findings = examine(tenant, "--no-question")

    assert finished.code == 1
    (found,) = [finding for finding in findings if finding["check"] == "references"]
    assert found["state"] == "problem"
    assert f"the Secret 'openai' does not exist in '{tenant.namespace}'" in found["says"]
    assert f"kubectl -n {tenant.namespace} create secret generic openai" in found["command"]
    assert any(check == "conditions" for check, _ in problems(findings))


def test_suspended_tenant_is_told_and_nobody_is_asked(tenant: TenantUnderTest) -> None:
    tenant.apply(suspended=True)
    tenant.wait(f"tenant/{tenant.name}", "Ready", "False")

    finished, findings = examine(tenant)

    assert finished.code == 1
    assert [check for check, _ in problems(findings)] == ["tenant"]
    assert "is suspended: no pod of it runs" in problems(findings)[0][1]
    assert findings[-1]["says"] == "No question was asked, because the Tenant is suspended."


def test_failing_model_endpoint_is_told(tenant: TenantUnderTest, stand_in: StandIn) -> None:
    stand_in.fail(Fault(kind="status", status=401, times=10, model=MODEL))

    finished, findings = examine(tenant)

    assert finished.code == 1
    ((check, says),) = problems(findings)
    assert check == "question"
    assert "The model endpoint 'stand-in' refused the credentials (HTTP 401)" in says


def test_image_that_cannot_be_pulled_is_told(installation: Installation, tenant: TenantUnderTest) -> None:
    """A rollout keeps the old pod, so the tenant goes on answering; the new one is what somebody has to look at."""
    try:
        installation.install_operator(f"image.runtime.digest={NO_IMAGE}")
        installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])
        wait_until_some_pod_waits_for_its_image(tenant)

        finished, findings = examine(tenant)

        assert finished.code == 1, finished.stdout
        told = [says for check, says in problems(findings) if check == "pods"]
        assert len(told) == 1, findings
        assert f"{NO_IMAGE} cannot be had" in told[0]
        assert findings[-1]["state"] == "ok", "the old pod answers"
    finally:
        installation.install_operator()
        installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])
        tenant.wait(f"tenant/{tenant.name}", seconds=120)


def wait_until_some_pod_waits_for_its_image(tenant: TenantUnderTest) -> None:
    """`kubectl wait` would wait for all of them."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        pods = tenant.kubectl.get("pods", "-n", tenant.namespace, "-l", "app.kubernetes.io/component=runtime")["items"]
        containers = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
        if any(one["state"].get("waiting", {}).get("reason") in IMAGE_TROUBLE for one in containers):
            return
        time.sleep(0.5)
    pytest.fail("no pod has tried to have the image")


def test_operator_without_pods_is_told(installation: Installation, tenant: TenantUnderTest) -> None:
    try:
        installation.install_operator("operator.replicas=0")
        installation.kubectl(
            "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "-n", SYSTEM_NAMESPACE,
            "--timeout=60s", timeout_seconds=70,
        )  # fmt: skip

        finished, findings = examine(tenant)

        assert finished.code == 1
        assert [check for check, _ in problems(findings)] == ["operator", "lease"]
        assert findings[-1]["state"] == "ok", "tenants go on serving without the operator"
    finally:
        installation.install_operator()
        installation.wait_rolled_out(SYSTEM_NAMESPACE, [f"deployment/{RELEASE}-operator"])


def test_all_tenants_are_told_line_by_line(installation: Installation, tenant: TenantUnderTest) -> None:
    finished = run_syntera(installation.kubectl, "doctor", "--output", "json")

    found = json.loads(finished.stdout)["findings"]
    assert finished.code == 0, finished.stdout
    of_ours = [finding for finding in found if finding["tenant"] == tenant.name and finding["check"] == "tenant"]
    assert [finding["says"] for finding in of_ours] == [f"The Tenant '{tenant.name}' is served, and so is its 1 Agent."]
    assert [finding["state"] for finding in found if finding["check"] == "question"] == ["ok"]
