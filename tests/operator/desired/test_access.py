"""Bindings, Roles and ServiceAccounts."""

from syntera_operator.desired.access import (
    build_operator_binding,
    build_runtime_binding,
    build_runtime_role,
    build_service_account,
)
from syntera_operator.desired.metadata import Scope
from tests.support.golden import Golden


def test_operator_binding(scope: Scope, golden: Golden) -> None:
    built = build_operator_binding(
        scope,
        cluster_role="syntera-tenant-namespace",
        operator_namespace="syntera-system",
        service_account="syntera-operator",
    )
    golden.check_manifests("desired/operator-binding.yaml", built)


def test_runtime_access(scope: Scope, golden: Golden) -> None:
    golden.check_manifests(
        "desired/runtime-access.yaml",
        build_service_account(scope),
        build_runtime_role(scope, secrets=["openai", "backup", "openai"]),
        build_runtime_binding(scope),
    )


def test_runtime_role_without_secrets_has_no_rule_for_them(scope: Scope) -> None:
    rules = build_runtime_role(scope, secrets=[])["rules"]
    assert [rule["resources"] for rule in rules] == [["configmaps"]]
