"""What the API server makes of the CRDs beside refusing: defaults, names, columns, help."""

import subprocess
import sys
from pathlib import Path

import pytest

from syntera_crds.v1alpha1 import KINDS
from tests.support.apiserver import unique_name

from .constraints import Json, crds
from .manifests import complete_manifests, make_manifest
from .server import Kinds

pytestmark = pytest.mark.api

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_crd_is_established_and_its_schema_is_structural(kind: str, kinds: Kinds) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crds()[kind]['metadata']['name']}"
    conditions = {one["type"]: one["status"] for one in kinds.server.send("GET", path)["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


@each_kind
def test_an_unseen_object_is_not_ready_and_says_why(kind: str, kinds: Kinds) -> None:
    manifest = next(complete_manifests(kind))
    manifest["metadata"]["name"] = name = unique_name()
    assert manifest["status"]["conditions"][0]["status"] == "True"  # an author cannot claim that an object is ready
    created = kinds.create(manifest)
    expected = {
        "conditions": [
            {
                "type": "Ready",
                "status": "Unknown",
                "reason": "NotObserved",
                "message": "The operator has not looked at this object yet. If this stays, see whether it runs.",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }
        ]
    }
    assert created["status"] == kinds.get(kind, name)["status"] == expected


@each_kind
def test_a_status_without_conditions_does_not_pass_for_ready(kind: str, kinds: Kinds) -> None:
    manifest = next(complete_manifests(kind))
    created = kinds.create({**manifest, "metadata": {"name": unique_name()}})
    kinds.update({**created, "status": {"observedGeneration": 1}}, subresource="status")
    status = kinds.get(kind, created["metadata"]["name"])["status"]
    assert status == {"observedGeneration": 1, "conditions": created["status"]["conditions"]}


@each_kind
def test_status_write_leaves_spec_and_generation_alone(kind: str, kinds: Kinds) -> None:
    manifest = next(complete_manifests(kind))
    created = kinds.create({**manifest, "metadata": {"name": unique_name()}})
    other = {**created, "spec": {}, "status": manifest["status"]}
    updated = kinds.update(other, subresource="status")
    assert (updated["spec"], updated["metadata"]["generation"]) == (created["spec"], 1)


@pytest.mark.parametrize(
    ("kind", "narrow", "wide"),
    [
        ("Tenant", {"Ready": "True", "Status": "Serving", "Namespace": "acme", "Agents": 3}, {
            "Knowledge": 2, "Endpoint": "https://acme.example", "Message": "It serves."}),
        ("Agent", {"Ready": "True", "Status": "Serving"}, {
            "Revision": 7, "Model": "large", "URL": "https://acme.example/v1/agents/travel", "Message": "It serves."}),
        ("KnowledgeBase", {"Ready": "True", "Status": "Serving", "Documents": 212, "Chunks": 5210}, {
            "Index": 3, "Failed": 2, "Next sync": "2026-01-02T03:00:00Z", "Message": "It serves."}),
    ],
)  # fmt: skip
def test_kubectl_get_shows_what_a_person_asks_first(kind: str, narrow: Json, wide: Json, kinds: Kinds) -> None:
    manifest = next(complete_manifests(kind))
    created = kinds.create({**manifest, "metadata": {"name": unique_name()}})
    name = created["metadata"]["name"]
    kinds.update({**created, "status": manifest["status"]}, subresource="status")
    table = kinds.get(kind, name, accept=_TABLE)
    (row,) = table["rows"]
    shown = {
        priority: {
            column["name"]: cell
            for column, cell in zip(table["columnDefinitions"], row["cells"], strict=True)
            if (column["priority"] > 0) == priority
        }
        for priority in (False, True)
    }
    age = shown[False].pop("Age")
    assert age.endswith("s")
    if kind == "KnowledgeBase":
        assert shown[False].pop("Last sync")[0].isdigit()  # the time since then
    assert shown == {False: {"Name": name, **narrow}, True: wide}


def test_columns_of_an_unseen_object_say_that_nobody_looked(kinds: Kinds) -> None:
    created = kinds.create(make_manifest("Tenant", {}, name=unique_name()))
    table = kinds.get("Tenant", created["metadata"]["name"], accept=_TABLE)
    columns = [column["name"] for column in table["columnDefinitions"]]
    cells = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert (cells["Ready"], cells["Status"]) == ("Unknown", "NotObserved")


@each_kind
def test_kind_has_its_category_and_short_names(kind: str, kinds: Kinds) -> None:
    resources = kinds.server.send("GET", "/apis/syntera.io/v1alpha1")["resources"]
    (served,) = (one for one in resources if one["kind"] == kind and "/" not in one["name"])
    info = KINDS[kind].info
    assert (served["categories"], served["shortNames"]) == (["syntera"], list(info.short_names))
    assert served["namespaced"] == (info.scope == "Namespaced")


def test_kubectl_explain_shows_the_strings_under_the_fields(kinds: Kinds) -> None:
    kubectl = Path(sys.executable).with_name("kubectl")
    login = f"--kubeconfig={kinds.server.kubeconfig}"
    words = [str(kubectl), login, "explain", "tenants.spec.models.timeoutSeconds"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "How long one request may take" in shown
    assert "<integer>" in shown
