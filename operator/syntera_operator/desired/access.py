"""Who may do what in the tenant's namespace: the operator by its binding, the runtime by a Role that names its Secrets."""

from collections.abc import Iterable
from typing import Any

from syntera_crds.contract import names

from ..manifest import Manifest
from .metadata import Scope, build_object

_RBAC_GROUP = "rbac.authorization.k8s.io"
_RBAC = f"{_RBAC_GROUP}/v1"
_READ = ["get", "list", "watch"]


def build_operator_binding(
    scope: Scope, *, cluster_role: str, operator_namespace: str, service_account: str
) -> Manifest:
    """Gives the operator the rights of a fixed ClusterRole, in this namespace alone."""
    return build_object(
        _RBAC,
        "RoleBinding",
        names.OPERATOR_BINDING,
        scope,
        roleRef={"apiGroup": _RBAC_GROUP, "kind": "ClusterRole", "name": cluster_role},
        subjects=[{"kind": "ServiceAccount", "name": service_account, "namespace": operator_namespace}],
    )


def build_service_account(scope: Scope) -> Manifest:
    """The runtime's identity. No token is mounted by itself; the Deployment mounts one where it is needed."""
    return build_object("v1", "ServiceAccount", names.RUNTIME, scope, automountServiceAccountToken=False)


def build_ingestion_account(scope: Scope) -> Manifest:
    """The identity of sync Jobs, which has no right anywhere and gets no token."""
    return build_object("v1", "ServiceAccount", names.INGESTION, scope, automountServiceAccountToken=False)


def build_runtime_role(scope: Scope, *, secrets: Iterable[str]) -> Manifest:
    """Lets the runtime watch the namespace's ConfigMaps and exactly the Secrets named in `secrets`."""
    rules: list[dict[str, Any]] = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": _READ}]
    if resource_names := sorted(set(secrets)):
        # Without names a rule would stand for every Secret, so there is none.
        rules.append({"apiGroups": [""], "resources": ["secrets"], "resourceNames": resource_names, "verbs": _READ})
    return build_object(_RBAC, "Role", names.RUNTIME, scope, rules=rules)


def build_runtime_binding(scope: Scope) -> Manifest:
    """Gives the runtime its Role."""
    return build_object(
        _RBAC,
        "RoleBinding",
        names.RUNTIME,
        scope,
        roleRef={"apiGroup": _RBAC_GROUP, "kind": "Role", "name": names.RUNTIME},
        subjects=[{"kind": "ServiceAccount", "name": names.RUNTIME, "namespace": scope.namespace}],
    )
