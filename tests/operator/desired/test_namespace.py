"""The tenant's namespace."""

from syntera_crds.contract import names
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.namespace import build_adopted_namespace, build_namespace, is_made_by_operator
from tests.support.golden import Golden

ENFORCE = "pod-security.kubernetes.io/enforce"


def test_namespace_when_made(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/namespace.yaml", build_namespace(scope, tenant_uid="uid-acme"))


def test_namespace_when_adopted_gets_no_owner_label(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/namespace-adopted.yaml", build_adopted_namespace(scope, labels={"team": "travel"}))


def test_namespace_when_adopted_keeps_the_levels_of_its_owner(scope: Scope) -> None:
    built = build_adopted_namespace(scope, labels={ENFORCE: "baseline"})
    assert ENFORCE not in built["metadata"]["labels"]
    assert built["metadata"]["labels"]["pod-security.kubernetes.io/warn"] == "restricted"


def test_namespace_when_adopted_is_the_same_after_its_own_labels_were_added(scope: Scope) -> None:
    first = build_adopted_namespace(scope, labels={})
    assert build_adopted_namespace(scope, labels=first["metadata"]["labels"]) == first


def test_namespace_is_known_as_made_by_its_annotation_alone(scope: Scope) -> None:
    assert is_made_by_operator(build_namespace(scope, tenant_uid="uid-acme"))
    assert not is_made_by_operator({"metadata": {"labels": {names.TENANT_LABEL: "acme"}}})
