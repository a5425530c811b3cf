"""What versions and CRDs are told to mean."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from syntera_cli.doctor.findings import Check, Finding, State
from syntera_cli.doctor.judge_cluster import OLDEST_KUBERNETES, judge_kinds, judge_version, list_fields
from syntera_cli.doctor.manifests import Hidden, Seen
from syntera_crds.crd import build_crd
from syntera_crds.v1alpha1 import KINDS

from .make import Json, ago

CHART = Path(__file__).parents[3] / "charts" / "syntera" / "Chart.yaml"
WELL = [{"type": type_, "status": "True", "message": ""} for type_ in ("NamesAccepted", "Established")]


def make_crd(kind: str = "Tenant") -> Json:
    return {**copy.deepcopy(build_crd(KINDS[kind])), "status": {"conditions": copy.deepcopy(WELL)}}


def judge(tenants: Seen, *, served: bool = True) -> list[Finding]:
    found = judge_kinds({"Tenant": tenants, "Agent": make_crd("Agent")}, {"Tenant": served, "Agent": True})
    return [finding for finding in found if finding.subject != "customresourcedefinition/agents.syntera.io"]


@pytest.mark.parametrize(
    ("major", "minor", "state"),
    [
        ("1", "31", State.OK),
        ("1", "36+", State.OK),
        ("2", "0", State.OK),
        ("1", "30", State.PROBLEM),
        ("", "", State.PROBLEM),
    ],
)
def test_release_of_kubernetes_is_judged(major: str, minor: str, state: State) -> None:
    found = judge_version({"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.2"})
    assert (found.check, found.state) == (Check.CLUSTER, state)
    assert f"{major}.{minor}.2" in found.says


def test_oldest_release_is_the_chart_s() -> None:
    wanted = re.match(r">=(\d+)\.(\d+)", yaml.safe_load(CHART.read_text())["kubeVersion"])
    assert wanted is not None
    assert tuple(map(int, wanted.groups())) == OLDEST_KUBERNETES


def test_kinds_of_this_release_are_well() -> None:
    (found,) = judge(make_crd())
    assert (found.check, found.state, found.says) == (
        Check.KINDS,
        State.OK,
        "Tenant v1alpha1 is served, as this command line knows it.",
    )


def test_kinds_that_cannot_be_used_are_told() -> None:
    deleted, unnamed, withdrawn = make_crd(), make_crd(), make_crd()
    deleted["metadata"]["deletionTimestamp"] = ago(60)
    unnamed["status"]["conditions"][0] |= {"status": "False", "message": '"tnt" is already in use'}
    withdrawn["spec"]["versions"][0]["served"] = False
    for crd, served, says in (
        (None, False, "The CRD of Tenant is not installed."),
        (deleted, True, "is being deleted, and with it every Tenant."),
        (unnamed, False, 'is not in use: "tnt" is already in use.'),
        (withdrawn, True, "The cluster does not serve Tenant v1alpha1."),
        (make_crd(), False, "The cluster does not serve Tenant v1alpha1."),
    ):
        (found,) = judge(crd, served=served)
        assert found.state is State.PROBLEM
        assert says in found.says
        assert "chart" in found.do


def test_fields_of_another_release_are_told() -> None:
    older, newer = make_crd(), make_crd()
    spec_of = [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] for crd in (older, newer)]
    del spec_of[0]["properties"]["suspended"]
    spec_of[1]["properties"]["voice"] = {"type": "object"}
    (lacking,), (ahead,) = judge(older), judge(newer)
    assert lacking.state is ahead.state is State.WARNING
    assert "lacks the field spec.suspended: its CRD is older" in lacking.says
    assert "has the field spec.voice, which this command line" in ahead.says


def test_many_fields_are_counted() -> None:
    crd = make_crd()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = {}
    (found,) = judge(crd)
    assert re.search(r"lacks the fields .* and \d+ more:", found.says)


def test_who_may_not_read_crds_learns_what_discovery_says() -> None:
    well, told = judge(Hidden("read CustomResourceDefinitions"))
    assert (well.state, told.state) == (State.OK, State.FORBIDDEN)
    assert "You may not read CustomResourceDefinitions" in told.says
    missing, _ = judge(Hidden("read CustomResourceDefinitions"), served=False)
    assert missing.state is State.PROBLEM


def test_fields_are_listed_with_their_paths() -> None:
    schema = {
        "properties": {"a": {"items": {"properties": {"b": {}}}}, "c": {"additionalProperties": {"type": "string"}}}
    }
    assert list_fields(schema) == {"a", "a[].b", "c"}
