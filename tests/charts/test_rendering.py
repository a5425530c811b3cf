"""What the chart makes: golden renderings, hardened pods, settings that the operator accepts."""

import json
import re
from textwrap import indent
from typing import Any

import pytest
import yaml

from syntera_operator.config import NetworkSettings, Settings, load_settings
from tests.support.golden import Golden

from .chart import (
    CHART,
    DASHBOARDS,
    DEFAULTS,
    FULL,
    OLDEST_KUBERNETES,
    RELEASE,
    Chart,
    Manifest,
    Refused,
    Values,
    leaves,
    nested,
    operator_environment,
    pod_specs,
    without,
)

VARIANTS: dict[str, Values] = {
    "default": {},
    "full": FULL,
    # Everything that can be left out is left out.
    "least": {
        "crds": {"enabled": False},
        "stores": {"postgresql": {"existingSecret": ""}, "redis": {"existingSecret": ""}},
        "operator": {"replicas": 1, "topologySpreadConstraints": [], "resources": {"requests": None, "limits": None}},
        "serviceAccount": {"create": False, "name": "elsewhere"},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}

OTHERWISE: dict[tuple[str, ...], Any] = {
    ("crds", "enabled"): False,
    ("crds", "keep"): False,
    ("image", "operator", "digest"): "sha256:" + "0" * 64,
    ("image", "runtime", "tag"): "other",
    ("image", "ingestion", "tag"): "other",
    ("serviceAccount", "create"): False,
    ("rbac", "aggregate"): False,
    ("podDisruptionBudget", "enabled"): False,
    ("networkPolicy", "enabled"): False,
}
"""Values that full.values.yaml leaves alone because they would hide others, or whose default hides nothing."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_rendering_is_as_reviewed(variant: str, chart: Chart, golden: Golden) -> None:
    # The CRDs are golden already, in crds/.
    rendered = chart.render({**VARIANTS[variant], "crds": {"enabled": False}})
    for file in sorted(DASHBOARDS.iterdir()):  # long, and the chart's own: here it counts that they are there
        rendered = rendered.replace(indent(file.read_text().rstrip(), " " * 4), f"    (all of {file.name})")

    golden.check_text(f"charts/{variant}.yaml", "\n".join(line.rstrip() for line in rendered.splitlines()) + "\n")


@pytest.mark.parametrize("variant", VARIANTS)
def test_chart_passes_helms_own_lint(variant: str, chart: Chart) -> None:
    values = yaml.safe_dump(dict(VARIANTS[variant]))

    said = chart.run("lint", "--strict", "--kube-version", OLDEST_KUBERNETES, "--values", "-", CHART, stdin=values)

    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("path", [path for path, _ in leaves(DEFAULTS)], ids=".".join)
def test_every_value_changes_something(path: tuple[str, ...], chart: Chart) -> None:
    """A value that nobody reads would be a promise that is not kept."""
    if path in OTHERWISE:
        name = {"serviceAccount": {"name": "elsewhere"}} if path[0] == "serviceAccount" else {}
        before, after = {}, nested(path, OTHERWISE[path])
        after[path[0]] |= name.get(path[0], {})
    else:
        before, after = dict(FULL), without(FULL, path)
        assert before != after, "set it in full.values.yaml"

    assert chart.render(before) != chart.render(after)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_are_hardened(variant: str, chart: Chart) -> None:
    pods = pod_specs(chart.manifests(VARIANTS[variant]))

    assert len(pods) == 2
    for spec in pods.values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "projected", "emptyDir"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_is_rendered(variant: str, chart: Chart) -> None:
    manifests = chart.manifests(VARIANTS[variant])

    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    # Of the stores' Secrets only files: variables are read by whoever may look at the process.
    for spec in pod_specs(manifests).values():
        for container in spec["containers"]:
            sources = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
            assert {kind for source in sources for kind in source} <= {"fieldRef"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_are_what_the_operator_reads(variant: str, chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = chart.manifests(VARIANTS[variant])
    for name, value in operator_environment(manifests).items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    [account] = {
        subject["name"]
        for manifest in manifests
        if manifest["kind"] == "ClusterRoleBinding"
        for subject in manifest["subjects"]
    }
    assert settings.service_account == account
    assert settings.tenant_cluster_role in {
        manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "ClusterRole"
    }
    [operator] = settings.network.operator
    deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    assert operator.namespace_labels == {"kubernetes.io/metadata.name": deployment["metadata"]["namespace"]}
    assert operator.pod_labels == deployment["spec"]["selector"]["matchLabels"]
    ports = {port["name"]: port["containerPort"] for port in _operator_container(manifests)["ports"]}
    assert ports == {"probes": settings.probe_port, "metrics": settings.metrics_port}


def test_every_setting_of_the_operator_can_be_set(chart: Chart) -> None:
    variables = operator_environment(chart.manifests(FULL))

    assert set(variables) == {
        str(field.validation_alias or f"SYNTERA_{name.upper()}") for name, field in Settings.model_fields.items()
    }
    assert set(json.loads(variables["SYNTERA_NETWORK"])) == set(NetworkSettings.model_fields)


def test_defaults_are_the_operators_own(chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in operator_environment(chart.manifests()).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    for name, field in Settings.model_fields.items():
        # The chart knows its own name, where the passwords are mounted, and its own pods.
        if field.is_required() or name in ("pod_name", "postgresql_password_file", "redis_password_file", "network"):
            continue
        assert getattr(settings, name) == field.get_default(call_default_factory=True), name
    default = Settings.model_fields["network"].get_default(call_default_factory=True)
    assert settings.network.model_copy(update={"operator": []}) == default


def test_password_files_are_mounted_where_the_settings_say(chart: Chart) -> None:
    manifests = chart.manifests()
    variables = operator_environment(manifests)
    container = _operator_container(manifests)
    spec = pod_specs(manifests)[f"{RELEASE}-operator"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "passwords"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "passwords"]

    files = {
        f"{mount['mountPath']}/{item['path']}"
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }

    assert files == {variables["SYNTERA_POSTGRESQL_PASSWORD_FILE"], variables["SYNTERA_REDIS_PASSWORD_FILE"]}


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("postgresql://db.example.com/syntera", {5432, 6379}),
        ("postgresql://me@db.example.com:5433/syntera?sslmode=require", {5433, 6379}),
        ("postgresql://me@a:5433,b:5434,c/syntera", {5433, 5434, 6379}),
        ("postgresql://[2001:db8::5432]/syntera", {5432, 6379}),
        ("postgresql://me@[2001:db8::1]:6000/syntera", {6000, 6379}),
        ("postgresql://db:6379/syntera?application_name=a:1", {6379}),
    ],
)
def test_operators_network_policy_lets_it_reach_its_stores(url: str, ports: set[int], chart: Chart) -> None:
    values = {"stores": {"postgresql": {"url": url}}}
    policy = chart.one("NetworkPolicy", f"{RELEASE}-operator", values)

    stores = policy["spec"]["egress"][2]["ports"]

    assert {port["port"] for port in stores} == ports
    assert len(stores) == len(ports)


def test_lease_times_out_of_order_are_refused(chart: Chart) -> None:
    with pytest.raises(Refused, match="retrySeconds must be less than renewSeconds"):
        chart.render({"operator": {"lease": {"renewSeconds": 15}}})


def test_account_that_is_not_made_needs_a_name(chart: Chart) -> None:
    with pytest.raises(Refused, match=re.escape("serviceAccount.name is needed")):
        chart.render({"serviceAccount": {"create": False}})


@pytest.mark.parametrize("release", ["syntera", "prod", "a" * 53])
def test_names_fit_whatever_the_release_is_called(release: str, chart: Chart) -> None:
    rendered = chart.run("template", release, CHART, "--kube-version", OLDEST_KUBERNETES)

    names = {manifest["metadata"]["name"] for manifest in yaml.safe_load_all(rendered) if manifest}
    ours = {name for name in names if not name.endswith("syntera.io")}

    assert all(len(name) <= 63 for name in ours)
    assert all(name.startswith(release[:40]) for name in ours)


def _operator_container(manifests: list[Manifest]) -> Manifest:
    [deployment] = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container
