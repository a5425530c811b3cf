"""The runtime's Deployment."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from syntera_crds.contract import names
from syntera_crds.v1alpha1.tenant import Resources
from syntera_operator.desired.deployment import Image, RuntimePods, build_deployment, build_resources
from syntera_operator.desired.metadata import Scope
from tests.support.golden import Golden

PODS = RuntimePods(
    tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
    image=Image("registry.example/syntera-runtime:1", "IfNotPresent", ("registry",)),
    operator_subject="system:serviceaccount:syntera-system:syntera-operator",
    replicas=2,
    resources=Resources(),
)


def test_deployment(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/deployment.yaml", build_deployment(scope, PODS))


def test_deployment_when_autoscaled_says_nothing_of_replicas(scope: Scope) -> None:
    assert "replicas" not in build_deployment(scope, replace(PODS, replicas=None))["spec"]


def test_deployment_when_suspended_has_no_replicas(scope: Scope) -> None:
    assert build_deployment(scope, replace(PODS, replicas=0))["spec"]["replicas"] == 0


def test_deployment_starts_where_there_is_no_signing_key_yet(scope: Scope) -> None:
    volumes = build_deployment(scope, PODS)["spec"]["template"]["spec"]["volumes"]
    assert [volume["secret"]["secretName"] for volume in volumes if volume.get("secret", {}).get("optional")] == [
        names.SIGNING_SECRET
    ]


def test_deployment_outlives_the_longest_answer(scope: Scope) -> None:
    pod = build_deployment(scope, PODS)["spec"]["template"]["spec"]
    env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    needed = int(env["SYNTERA_DRAIN_SECONDS"] or 0) + int(env["SYNTERA_FINISH_SECONDS"] or 0)
    assert pod["terminationGracePeriodSeconds"] >= needed + 10


@pytest.mark.parametrize(
    ("wanted", "requests", "limits"),
    [
        ({}, {"cpu": "100m", "memory": "192Mi"}, {"memory": "512Mi"}),
        ({"limits": {"memory": "128Mi"}}, {"cpu": "100m", "memory": "128Mi"}, {"memory": "128Mi"}),
        ({"requests": {"memory": "1024Mi"}}, {"cpu": "100m", "memory": "1Gi"}, {"memory": "1Gi"}),
        (
            {"requests": {"cpu": 2}, "limits": {"cpu": "4000m", "memory": "2Gi"}},
            {"cpu": "2", "memory": "192Mi"},
            {"cpu": "4", "memory": "2Gi"},
        ),
        ({"limits": {"cpu": "50m"}}, {"cpu": "50m", "memory": "192Mi"}, {"cpu": "50m", "memory": "512Mi"}),
    ],
)
def test_resources_are_completed_by_the_documented_defaults(
    wanted: dict[str, Any], requests: dict[str, str], limits: dict[str, str]
) -> None:
    assert build_resources(Resources.model_validate(wanted)) == {"requests": requests, "limits": limits}


def test_runtime_is_told_where_traces_go(scope: Scope) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_SAMPLER": "always_off"}
    [container] = build_deployment(scope, replace(PODS, tracing=variables))["spec"]["template"]["spec"]["containers"]

    told = {one["name"]: one.get("value") for one in container["env"]}
    assert variables.items() <= told.items()
