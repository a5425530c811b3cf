"""What the admission policies keep the operator from, on a real API server, and that they keep nobody else.

The operator that is refused here holds every right that RBAC can give (`mighty_operator`), so that nothing but a policy refuses.
"""

from functools import partial
from typing import Any

import pytest

from syntera_kube.resources import (
    CONFIG_MAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name

from .installed import (
    AGENTS,
    DRY_RUN,
    KNOWLEDGE_BASES,
    MERGE_PATCH,
    TENANTS,
    Installed,
    agent_manifest,
    eventually_refused,
    knowledge_base_manifest,
    role_binding,
    tenant_manifest,
)

pytestmark = pytest.mark.api

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_POD = {"spec": {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Never"}}
MADE = {"syntera.io/made-for": "some-uid"}


def namespace_manifest(
    name: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def patch(server: RunningApiServer, path: str, change: dict[str, Any]) -> dict[str, Any]:
    return server.send("PATCH", path, change, content_type=MERGE_PATCH)


# Namespaces --------------------------------------------------------------------------------------------------------


def test_operator_may_make_change_and_delete_a_tenants_namespace(mighty_operator: RunningApiServer) -> None:
    name = unique_name("tenant")
    path = NAMESPACES.path(name=name)

    mighty_operator.apply(
        path, namespace_manifest(name, labels={"syntera.io/tenant": name} | RESTRICTED, annotations=MADE)
    )
    patch(mighty_operator, path, {"metadata": {"labels": {"another": "label"}}})
    patch(mighty_operator, path, {"metadata": {"annotations": {"syntera.io/made-for": "a later Tenant of the name"}}})
    mighty_operator.send("DELETE", path)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("stranger", RESTRICTED, "only namespaces with the label"),
        ("stranger", {"syntera.io/tenant": "", **RESTRICTED}, "only namespaces with the label"),
        ("privileged", {"syntera.io/tenant": "x"}, "no other Pod Security level"),
        (
            "privileged",
            {"syntera.io/tenant": "x", "pod-security.kubernetes.io/enforce": "privileged"},
            "no other Pod Security level",
        ),
        ("kube-stranger", {"syntera.io/tenant": "x", **RESTRICTED}, "may not touch this namespace"),
    ],
)
def test_operator_may_not_make_other_namespaces(
    name: str, labels: dict[str, str], message: str, mighty_operator: RunningApiServer
) -> None:
    unique = unique_name(name)

    with pytest.raises(ApiRefused, match=message) as caught:
        mighty_operator.apply(NAMESPACES.path(name=unique), namespace_manifest(unique, labels=labels))

    assert caught.value.status == 403


def test_operator_may_not_claim_a_namespace(mighty_operator: RunningApiServer, api_server: RunningApiServer) -> None:
    path = NAMESPACES.path(name=api_server.create_namespace("stranger"))

    with pytest.raises(ApiRefused, match="only namespaces that carry the label"):
        patch(mighty_operator, path, {"metadata": {"labels": {"syntera.io/tenant": "mine"}}})
    with pytest.raises(ApiRefused, match="only namespaces that carry the label"):
        patch(mighty_operator, path, {"metadata": {"annotations": {"any": "change"}}})
    with pytest.raises(ApiRefused, match="only namespaces that carry the label"):
        mighty_operator.send("DELETE", path)


def test_operator_may_not_touch_its_own_or_the_clusters_namespaces(
    mighty_operator: RunningApiServer, api_server: RunningApiServer, installed: Installed
) -> None:
    """Not even if somebody has labelled them as a tenant's."""
    label = {"metadata": {"labels": {"syntera.io/tenant": "trap"}}}
    unlabel = {"metadata": {"labels": {"syntera.io/tenant": None}}}
    for name in (installed.namespace, "kube-public", "default"):
        path = NAMESPACES.path(name=name)
        patch(api_server, path, label)
        try:
            with pytest.raises(ApiRefused, match="may not touch this namespace"):
                patch(mighty_operator, path, {"metadata": {"annotations": {"any": "change"}}})
            with pytest.raises(ApiRefused, match="may write only in namespaces"):
                mighty_operator.send("POST", CONFIG_MAPS.path(namespace=name), {"metadata": {"name": "trap"}})
        finally:
            patch(api_server, path, unlabel)


@pytest.mark.parametrize("value", [None, "another"])
def test_operator_may_not_change_a_tenants_label(
    value: str | None, mighty_operator: RunningApiServer, installed: Installed
) -> None:
    path = NAMESPACES.path(name=installed.tenant_namespace())

    with pytest.raises(ApiRefused, match="may not change the label"):
        patch(mighty_operator, path, {"metadata": {"labels": {"syntera.io/tenant": value}}})


def test_operator_may_not_delete_a_namespace_that_it_was_handed(
    mighty_operator: RunningApiServer, installed: Installed
) -> None:
    path = NAMESPACES.path(name=installed.tenant_namespace(made=False))

    with pytest.raises(ApiRefused, match="may delete only namespaces that it made"):
        mighty_operator.send("DELETE", path)
    with pytest.raises(ApiRefused, match="may not claim to have made"):
        patch(mighty_operator, path, {"metadata": {"annotations": MADE}})


def test_operator_may_tighten_but_not_loosen_pod_security(
    mighty_operator: RunningApiServer, installed: Installed
) -> None:
    path = NAMESPACES.path(name=installed.tenant_namespace(made=False))

    with pytest.raises(ApiRefused, match="no other Pod Security level"):
        patch(mighty_operator, path, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}})
    patch(mighty_operator, path, {"metadata": {"labels": RESTRICTED}})
    with pytest.raises(ApiRefused, match="no other Pod Security level"):
        patch(mighty_operator, path, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}})


# RoleBindings ------------------------------------------------------------------------------------------------------


def test_operator_may_bind_itself_and_the_runtime_in_a_tenants_namespace(
    mighty_operator: RunningApiServer, installed: Installed
) -> None:
    namespace = installed.tenant_namespace()
    runtime = {"kind": "ServiceAccount", "name": "syntera-runtime", "namespace": namespace}
    binding = role_binding("syntera-runtime", namespace, ("Role", "syntera-runtime"), runtime)
    path = ROLE_BINDINGS.path(namespace=namespace, name="syntera-operator")

    mighty_operator.apply(path, installed.own_binding(namespace))
    mighty_operator.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)
    mighty_operator.send("DELETE", path)


@pytest.mark.parametrize("namespace", ["kube-system", "default", "own", "unlabelled"])
def test_operator_may_bind_nothing_outside_of_tenants_namespaces(
    namespace: str, mighty_operator: RunningApiServer, api_server: RunningApiServer, installed: Installed
) -> None:
    known = {"own": installed.namespace, "unlabelled": api_server.create_namespace()}
    place = known.get(namespace, namespace)

    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        mighty_operator.send("POST", ROLE_BINDINGS.path(namespace=place), installed.own_binding(place))


def test_operator_may_not_remove_the_clusters_bindings(
    mighty_operator: RunningApiServer, api_server: RunningApiServer
) -> None:
    [*_, binding] = api_server.send("GET", ROLE_BINDINGS.path(namespace="kube-system"))["items"]
    path = ROLE_BINDINGS.path(namespace="kube-system", name=binding["metadata"]["name"])

    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        mighty_operator.send("DELETE", path)


def test_operator_may_bind_no_other_role(mighty_operator: RunningApiServer, installed: Installed) -> None:
    namespace = installed.tenant_namespace()
    me = installed.own_binding(namespace)["subjects"][0]

    for role in ("cluster-admin", "admin", installed.account):
        binding = role_binding("step-up", namespace, ("ClusterRole", role), me)
        with pytest.raises(ApiRefused, match="may bind only Roles of the namespace and the ClusterRole"):
            mighty_operator.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "ServiceAccount", "name": "syntera-runtime", "namespace": "the tenant's"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "the operator's"},
        {"kind": "User", "name": "somebody", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"},
    ],
    ids=lambda subject: f"{subject['kind']} {subject['name']}",
)
def test_operator_may_give_its_rights_to_nobody(
    subject: dict[str, str], mighty_operator: RunningApiServer, installed: Installed
) -> None:
    namespace = installed.tenant_namespace()
    places = {"the tenant's": namespace, "the operator's": installed.namespace}
    subject = {key: places.get(value, value) for key, value in subject.items()}
    binding = installed.own_binding(namespace)
    binding["metadata"]["name"] = "gift"
    binding["subjects"].append(subject)

    with pytest.raises(ApiRefused, match="to nobody but itself"):
        mighty_operator.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)


def test_operator_may_change_no_binding_into_a_gift(mighty_operator: RunningApiServer, installed: Installed) -> None:
    namespace = installed.tenant_namespace()
    path = ROLE_BINDINGS.path(namespace=namespace, name="syntera-operator")

    with pytest.raises(ApiRefused, match="to nobody but itself"):
        patch(mighty_operator, path, {"subjects": [{"kind": "Group", "name": "everybody"}]})


def test_operator_may_bind_a_role_to_accounts_of_its_namespace_only(
    mighty_operator: RunningApiServer, installed: Installed
) -> None:
    namespace = installed.tenant_namespace()
    for subject in (
        {"kind": "ServiceAccount", "name": "default", "namespace": installed.namespace},
        {"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"},
    ):
        binding = role_binding("gift", namespace, ("Role", "syntera-runtime"), subject)
        with pytest.raises(ApiRefused, match="only to ServiceAccounts of its namespace"):
            mighty_operator.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)


# Everything else ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "content"),
    [
        (CONFIG_MAPS, {}),
        (SECRETS, {}),
        (SERVICE_ACCOUNTS, {}),
        (ROLES, {"rules": []}),
        (
            DEPLOYMENTS,
            {
                "spec": {
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {
                        "metadata": {"labels": {"a": "b"}},
                        "spec": {"containers": [{"name": "a", "image": "b"}]},
                    },
                }
            },
        ),
        (JOBS, {"spec": {"template": _POD}}),
        (CRON_JOBS, {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": _POD}}}}),
        (AGENTS, {"spec": {"instructions": "Help."}}),
    ],
    ids=lambda value: str(value) if isinstance(value, Resource) else "",
)
def test_operator_may_write_nothing_outside_of_tenants_namespaces(
    resource: Resource, content: dict[str, Any], mighty_operator: RunningApiServer, api_server: RunningApiServer
) -> None:
    namespace = api_server.create_namespace()
    manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "child"}, **content}
    path = resource.path(namespace=namespace, name="child")
    api_server.send("POST", resource.path(namespace=namespace), manifest)

    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        mighty_operator.send("POST", resource.path(namespace=namespace), manifest | {"metadata": {"name": "other"}})
    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        patch(mighty_operator, path, {"metadata": {"labels": {"any": "change"}}})
    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        mighty_operator.send("DELETE", path)


def test_operator_may_write_nothing_where_the_label_was_withdrawn(
    mighty_operator: RunningApiServer, api_server: RunningApiServer, installed: Installed
) -> None:
    """Its RoleBinding is still there, so RBAC alone would let it."""
    namespace = installed.tenant_namespace(made=False)
    mighty_operator.send("POST", SECRETS.path(namespace=namespace), {"metadata": {"name": "before"}})
    patch(api_server, NAMESPACES.path(name=namespace), {"metadata": {"labels": {"syntera.io/tenant": None}}})

    # Policies know namespaces by a watch of the API server's own, which is a moment behind.
    attempt = partial(
        mighty_operator.send, "POST", SECRETS.path(namespace=namespace), {"metadata": {"name": "after"}}, query=DRY_RUN
    )
    eventually_refused(attempt, "may write only in namespaces that carry the label")


def test_operator_may_change_a_tenants_finalizers_but_not_its_spec(
    mighty_operator: RunningApiServer, api_server: RunningApiServer
) -> None:
    name = unique_name("tenant")
    path = TENANTS.path(name=name)
    api_server.send("POST", TENANTS.path(), tenant_manifest(name, displayName="Acme"))

    patch(mighty_operator, path, {"metadata": {"finalizers": ["syntera.io/tenant"]}})
    with pytest.raises(ApiRefused, match="may not change the spec of a Tenant"):
        patch(mighty_operator, path, {"spec": {"suspended": True}})
    patch(mighty_operator, path, {"metadata": {"finalizers": None}})


def test_operator_may_change_a_knowledge_bases_finalizers_anywhere_but_not_its_spec(
    mighty_operator: RunningApiServer, api_server: RunningApiServer
) -> None:
    """Anywhere: a namespace that lost the tenant's label must not keep it for ever."""
    namespace = api_server.create_namespace()
    path = KNOWLEDGE_BASES.path(namespace=namespace, name="handbook")
    api_server.send("POST", KNOWLEDGE_BASES.path(namespace=namespace), knowledge_base_manifest("handbook", namespace))

    patch(mighty_operator, path, {"metadata": {"finalizers": ["syntera.io/knowledge-base"]}})
    with pytest.raises(ApiRefused, match="may not change the spec of a Tenant or a KnowledgeBase"):
        patch(mighty_operator, path, {"spec": {"rollbackHours": 1}})
    with pytest.raises(ApiRefused, match="may write only in namespaces that carry the label"):
        mighty_operator.send("DELETE", path)
    patch(mighty_operator, path, {"metadata": {"finalizers": None}})


def test_nobody_else_is_kept_from_anything(api_server: RunningApiServer, installed: Installed) -> None:
    """The administrator does all that the operator may not."""
    name = unique_name("anybody")
    path = NAMESPACES.path(name=name)
    stranger = {"kind": "Group", "name": "somebody", "apiGroup": "rbac.authorization.k8s.io"}
    binding = role_binding("any", name, ("ClusterRole", "admin"), stranger)

    api_server.send("POST", NAMESPACES.path(), namespace_manifest(name))
    api_server.send("POST", ROLE_BINDINGS.path(namespace=name), binding)
    api_server.send("POST", AGENTS.path(namespace=name), agent_manifest("travel", name))
    patch(api_server, path, {"metadata": {"labels": {"syntera.io/tenant": name}}})
    patch(api_server, path, {"metadata": {"labels": {"syntera.io/tenant": None}}})
    api_server.send("DELETE", path)
