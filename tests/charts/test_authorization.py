"""What the chart's roles allow, as a real API server judges them: for the operator, and for people with the cluster's own roles."""

from collections.abc import Iterator
from functools import partial
from uuid import UUID

import pytest

from syntera_crds.v1alpha1.tenant import Autoscaling, Exposure, Resources
from syntera_kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    INGRESSES,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from syntera_operator.desired.access import (
    build_operator_binding,
    build_runtime_binding,
    build_runtime_role,
    build_service_account,
)
from syntera_operator.desired.autoscaler import build_autoscaler
from syntera_operator.desired.credentials import build_stores_secret
from syntera_operator.desired.deployment import Image, RuntimePods, build_deployment
from syntera_operator.desired.exposure import build_exposure
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.namespace import build_namespace
from syntera_operator.desired.network_policies import build_default_deny
from syntera_operator.desired.quota import build_limit_range, build_quota
from syntera_operator.desired.service import build_disruption_budget, build_service
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name

from .chart import Manifest
from .installed import (
    AGENTS,
    MERGE_PATCH,
    TENANTS,
    Installed,
    Request,
    agent_manifest,
    check_allowed,
    eventually,
    is_allowed,
    role_binding,
    tenant_manifest,
    token_of,
)

pytestmark = pytest.mark.api

RESOURCES = {
    resource.kind: resource
    for resource in (
        CONFIG_MAPS, DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, INGRESSES, LIMIT_RANGES, NETWORK_POLICIES,
        POD_DISRUPTION_BUDGETS, RESOURCE_QUOTAS, ROLES, ROLE_BINDINGS, SECRETS, SERVICES, SERVICE_ACCOUNTS,
    )
}  # fmt: skip
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")


def children(scope: Scope, installed: Installed) -> Iterator[Manifest]:
    """Everything that the operator makes in a tenant's namespace, in the order in which it can."""
    yield build_operator_binding(
        scope,
        cluster_role=installed.tenant_role,
        operator_namespace=installed.namespace,
        service_account=installed.account,
    )
    yield build_quota(scope, {"pods": "10"})
    yield build_limit_range(scope, {"requests.cpu": "4", "limits.memory": "8Gi"})
    yield build_service_account(scope)
    yield build_stores_secret(scope, postgresql_url="postgresql://stores", redis_url="redis://stores")
    yield build_runtime_role(scope, secrets=["openai", "syntera-stores"])
    yield build_runtime_binding(scope)
    yield build_default_deny(scope)
    yield build_service(scope)
    yield build_disruption_budget(scope)
    yield build_autoscaler(scope, Autoscaling(min=1, max=3))
    yield build_exposure(scope, Exposure(host="acme.chat.example"))
    pods = RuntimePods(
        tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
        image=Image("registry.example/syntera-runtime:1", "IfNotPresent", ()),
        operator_subject=installed.user,
        replicas=1,
        resources=Resources(),
    )
    yield build_deployment(scope, pods)
    metadata = {"name": "agent-travel", "namespace": scope.namespace}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"agent.json": "{}"}}


def test_operator_may_make_all_that_it_builds_for_a_tenant_and_remove_it(
    operator: RunningApiServer, installed: Installed
) -> None:
    name = unique_name("acme")
    scope = Scope(tenant=name, namespace=f"syntera-{name}")
    operator.apply(NAMESPACES.path(name=scope.namespace), build_namespace(scope, tenant_uid="some-uid"))
    made = []
    for manifest in children(scope, installed):
        resource = RESOURCES[manifest["kind"]]
        path = resource.path(namespace=scope.namespace, name=manifest["metadata"]["name"])
        eventually(partial(operator.apply, path, manifest))
        made.append((path, manifest))

    assert {manifest["kind"] for _, manifest in made} == RESOURCES.keys()
    for path, manifest in made:
        operator.apply(path, manifest)
        operator.send("GET", path)
    # Its own rights go last.
    for path, _ in reversed(made):
        operator.send("DELETE", path)
    operator.send("DELETE", NAMESPACES.path(name=scope.namespace))


def test_operator_may_keep_its_kinds(
    operator: RunningApiServer, api_server: RunningApiServer, installed: Installed
) -> None:
    namespace, name = installed.tenant_namespace(), unique_name("tenant")
    tenant, agent = TENANTS.path(name=name), AGENTS.path(namespace=namespace, name="travel")
    api_server.send("POST", TENANTS.path(), tenant_manifest(name))
    api_server.send("POST", AGENTS.path(namespace=namespace), agent_manifest("travel", namespace))

    def patch(path: str, change: Manifest) -> None:
        operator.send("PATCH", path, change, content_type=MERGE_PATCH)

    patch(tenant, {"metadata": {"finalizers": ["syntera.io/tenant"]}})
    patch(f"{tenant}/status", {"status": {"observedGeneration": 1}})
    patch(f"{agent}/status", {"status": {"observedGeneration": 1}})
    eventually(lambda: operator.send("DELETE", agent))
    patch(tenant, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiRefused, match="forbidden"):
        operator.send("DELETE", tenant)


def test_operator_may_keep_its_lease_and_ask_for_its_own_tokens(
    operator: RunningApiServer, installed: Installed
) -> None:
    path = LEASES.path(namespace=installed.namespace, name="operator.syntera.io")
    lease = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": {"name": "operator.syntera.io"}}
    operator.send("POST", LEASES.path(namespace=installed.namespace), lease)

    found = operator.send("GET", path)
    operator.send("PUT", path, found | {"spec": {"holderIdentity": "me"}})

    assert token_of(operator, installed.namespace, installed.account)
    with pytest.raises(ApiRefused, match="forbidden"):
        token_of(operator, installed.namespace, "default")


@pytest.mark.parametrize("namespace", ["default", "a tenant's"])
def test_operator_may_write_events_where_the_object_is(
    namespace: str, operator: RunningApiServer, installed: Installed
) -> None:
    """Those of a Tenant, which has no namespace, belong in `default`."""
    place = installed.tenant_namespace() if namespace == "a tenant's" else namespace
    event = {
        "apiVersion": EVENTS.api_version,
        "kind": "Event",
        "metadata": {"name": unique_name("event"), "namespace": place},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "syntera.io/operator",
        "reportingInstance": "operator-0",
        "action": "Reconcile",
        "reason": "Published",
        "type": "Normal",
        "regarding": {"kind": "Tenant", "name": "acme", "apiVersion": "syntera.io/v1alpha1", "namespace": place},
    }

    operator.send("POST", EVENTS.path(namespace=place), event)


@pytest.mark.parametrize(
    "request_",
    [
        Request("list", "secrets"),
        Request("get", "secrets", "kube-system", "any"),
        Request("get", "secrets", "default", "any"),
        Request("create", "secrets", "default"),
        Request("create", "pods", "default"),
        Request("create", "pods/exec", "default"),
        Request("get", "pods/log", "default"),
        Request("create", "configmaps", "default"),
        Request("create", "deployments.apps", "default"),
        Request("patch", "deployments.apps", "kube-system"),
        Request("create", "roles.rbac.authorization.k8s.io", "default"),
        Request("create", "clusterroles.rbac.authorization.k8s.io"),
        Request("patch", "clusterroles.rbac.authorization.k8s.io"),
        Request("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        Request("bind", "clusterroles.rbac.authorization.k8s.io", "", "cluster-admin"),
        Request("bind", "clusterroles.rbac.authorization.k8s.io", "", "admin"),
        Request("escalate", "clusterroles.rbac.authorization.k8s.io"),
        Request("impersonate", "users"),
        Request("create", "serviceaccounts/token", "default", "default"),
        Request("create", "serviceaccounts/token", "own", "default"),
        Request("update", "leases.coordination.k8s.io", "own", "another"),
        Request("create", "leases.coordination.k8s.io", "kube-system"),
        Request("get", "secrets", "own", "syntera-stores-credentials"),
        Request("update", "namespaces/finalize", "default", "default"),
        Request("update", "namespaces"),
        Request("create", "tenants.syntera.io"),
        Request("delete", "tenants.syntera.io"),
        Request("create", "agents.syntera.io", "default"),
        Request("delete", "agents.syntera.io", "default"),
        Request("get", "nodes"),
        Request("create", "customresourcedefinitions.apiextensions.k8s.io"),
        Request("delete", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        Request("delete", "validatingadmissionpolicybindings.admissionregistration.k8s.io"),
        # In a tenant's namespace too.
        Request("create", "pods", "tenant"),
        Request("create", "pods/exec", "tenant"),
        Request("create", "serviceaccounts/token", "tenant", "syntera-runtime"),
        Request("update", "deployments.apps/scale", "tenant"),
        Request("deletecollection", "secrets", "tenant"),
        Request("create", "knowledgebases.syntera.io", "tenant"),
        Request("delete", "knowledgebases.syntera.io", "default"),
        Request("create", "agents.syntera.io", "tenant"),
        Request("patch", "agents.syntera.io", "tenant"),
        Request("escalate", "roles.rbac.authorization.k8s.io", "tenant"),
        Request("bind", "roles.rbac.authorization.k8s.io", "tenant"),
    ],
    ids=lambda request: " ".join(filter(None, (request.verb, request.resource, request.namespace, request.name))),
)
def test_operator_may_not(request_: Request, installed: Installed, tenant_namespace: str) -> None:
    known = {"own": installed.namespace, "tenant": tenant_namespace}
    asked = Request(request_.verb, request_.resource, known.get(request_.namespace, request_.namespace), request_.name)

    assert not is_allowed(installed.server, installed.user, installed.groups, asked)


@pytest.fixture(scope="module")
def tenant_namespace(installed: Installed) -> str:
    """A tenant's namespace, in which the API server has seen the operator's rights."""
    namespace = installed.tenant_namespace()
    with installed.operator() as operator:
        eventually(lambda: operator.send("GET", SECRETS.path(namespace=namespace)))
    return namespace


def test_operator_cannot_give_the_runtime_more_than_it_has(operator: RunningApiServer, tenant_namespace: str) -> None:
    role = {
        "apiVersion": ROLES.api_version,
        "kind": "Role",
        "metadata": {"name": "step-up", "namespace": tenant_namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}],
    }

    with pytest.raises(ApiRefused, match="attempting to grant RBAC permissions not currently held"):
        operator.send("POST", ROLES.path(namespace=tenant_namespace), role)


# People ------------------------------------------------------------------------------------------------------------

NAMESPACED = {
    "view": {READ: True, WRITE: False},
    "edit": {READ: True, WRITE: True},
    "admin": {READ: True, WRITE: True},
}


@pytest.fixture(scope="module")
def people_namespace(installed: Installed) -> str:
    """A namespace in which the user `view` has the role view, `edit` the role edit and `admin` the role admin."""
    namespace = installed.server.create_namespace("people")
    for role in NAMESPACED:
        user = {"kind": "User", "name": role, "apiGroup": ROLES.group}
        binding = role_binding(role, namespace, ("ClusterRole", role), user)
        installed.server.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)
    for role, rights in NAMESPACED.items():
        # Roles are aggregated by a controller, a moment after they were made, and from several parts one after the other.
        for verbs, is_given in rights.items():
            if is_given:
                request = Request(verbs[-1], "agents.syntera.io", namespace)
                eventually(partial(check_allowed, installed.server, role, request))
    return namespace


@pytest.mark.parametrize("kind", ["agents", "knowledgebases"])
@pytest.mark.parametrize("role", NAMESPACED)
def test_people_may_do_with_what_is_in_a_namespace_what_they_may_do_with_that(
    role: str, kind: str, installed: Installed, people_namespace: str
) -> None:
    def may(verb: str, namespace: str) -> bool:
        request = Request(verb, f"{kind}.syntera.io", namespace)
        return is_allowed(installed.server, role, ["system:authenticated"], request)

    for verbs, expected in NAMESPACED[role].items():
        assert {verb: may(verb, people_namespace) for verb in verbs} == dict.fromkeys(verbs, expected)
        assert not any(may(verb, "default") for verb in verbs)


@pytest.mark.parametrize("role", NAMESPACED)
def test_people_with_a_role_in_a_namespace_have_no_say_on_tenants(
    role: str, installed: Installed, people_namespace: str
) -> None:
    for verb in (*READ, *WRITE):
        request = Request(verb, "tenants.syntera.io")
        assert not is_allowed(installed.server, role, ["system:authenticated"], request)
    kinds = ("agents.syntera.io", "knowledgebases.syntera.io")
    for subresource in (f"{kind}/{part}" for kind in kinds for part in ("status", "finalizers")):
        request = Request("update", subresource, people_namespace)
        assert not is_allowed(installed.server, role, ["system:authenticated"], request)


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        ("view", True, False),
        ("edit", True, False),
        ("admin", True, False),
        ("the chart's tenant-admin", True, True),
    ],
)
def test_people_with_a_role_in_the_cluster(
    role: str, reads: bool, writes: bool, installed: Installed, people_namespace: str
) -> None:
    user = unique_name("person")
    name = f"{installed.release}-tenant-admin" if role.startswith("the") else role
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    binding = role_binding(user, "", ("ClusterRole", name), {"kind": "User", "name": user, "apiGroup": ROLES.group})
    binding |= {"kind": "ClusterRoleBinding", "metadata": {"name": user}}
    installed.server.send("POST", path, binding)

    def may(verb: str) -> bool:
        return is_allowed(installed.server, user, ["system:authenticated"], Request(verb, "tenants.syntera.io"))

    eventually(partial(check_allowed, installed.server, user, Request("get", "tenants.syntera.io")))
    assert {verb: may(verb) for verb in READ} == dict.fromkeys(READ, reads)
    assert {verb: may(verb) for verb in WRITE} == dict.fromkeys(WRITE, writes)
