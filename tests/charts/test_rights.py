"""The rules of the roles and the reach of the admission policies, read as texts; test_authorization.py asks a real API server."""

from collections.abc import Iterator

import pytest

from .chart import FULL, NAMESPACE, Chart, Manifest, Values

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
OPERATOR = "syntera-operator"
TENANT_NAMESPACE = "syntera-tenant-namespace"


def roles(chart: Chart, values: Values | None = None) -> list[Manifest]:
    return [manifest for manifest in chart.manifests(values) if manifest["kind"] in ("Role", "ClusterRole")]


def grants(role: Manifest) -> Iterator[tuple[str, str, str]]:
    """Group, resource and verb of everything that a role allows."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


@pytest.mark.parametrize("values", [{}, FULL], ids=["default", "full"])
def test_no_rule_has_a_wildcard(values: Values, chart: Chart) -> None:
    found = roles(chart, values)

    assert len(found) == 8
    for role in found:
        assert not any("*" in grant for grant in grants(role))
        # A rule on URLs or with an aggregation would be allowed beside what is read here.
        assert role.keys() <= {"apiVersion", "kind", "metadata", "rules"}
        assert all("nonResourceURLs" not in rule for rule in role["rules"])


def test_operator_has_no_secret_in_the_whole_cluster(chart: Chart) -> None:
    bound = {manifest["roleRef"]["name"] for manifest in chart.manifests() if manifest["kind"] == "ClusterRoleBinding"}
    assert bound == {OPERATOR}

    resources = {resource for _, resource, _ in grants(chart.one("ClusterRole", OPERATOR))}

    assert not any(resource.startswith("secrets") for resource in resources)


def test_operator_writes_little_in_the_whole_cluster(chart: Chart) -> None:
    written = {(resource, verb) for _, resource, verb in grants(chart.one("ClusterRole", OPERATOR)) if verb in WRITES}

    assert written == {
        ("tenants", "patch"),
        ("knowledgebases", "patch"),
        ("tenants/status", "patch"),
        ("agents/status", "patch"),
        ("knowledgebases/status", "patch"),
        ("tenants/finalizers", "update"),
        ("agents/finalizers", "update"),
        ("knowledgebases/finalizers", "update"),
        ("namespaces", "create"),
        ("namespaces", "patch"),
        ("namespaces", "delete"),
        ("rolebindings", "create"),
        ("rolebindings", "patch"),
        ("rolebindings", "delete"),
        ("events", "create"),
    }


def test_only_the_role_of_tenants_namespaces_may_be_bound(chart: Chart) -> None:
    binding = [
        (role["metadata"]["name"], rule)
        for role in roles(chart)
        for rule in role["rules"]
        if {"bind", "escalate", "impersonate"} & set(rule["verbs"])
    ]

    assert binding == [
        (
            OPERATOR,
            {
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["clusterroles"],
                "resourceNames": [TENANT_NAMESPACE],
                "verbs": ["bind"],
            },
        )
    ]


def test_policy_reaches_everything_that_is_written_in_a_tenants_namespace(chart: Chart) -> None:
    policy = chart.one("ValidatingAdmissionPolicy", f"{OPERATOR}-children")
    reached = {
        (group, resource): set(rule["operations"])
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    operations = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}
    written: dict[tuple[str, str], set[str]] = {}
    for group, resource, verb in grants(chart.one("ClusterRole", TENANT_NAMESPACE)):
        if verb in WRITES:
            # By patching with a whole object, one is made that is not there.
            made = {"CREATE"} if verb == "patch" else set()
            written.setdefault((group, resource), set()).update({operations[verb]}, made)

    assert written.keys() == reached.keys()
    assert all(needed <= reached[resource] for resource, needed in written.items())


@pytest.mark.parametrize("values", [{}, FULL], ids=["default", "full"])
def test_every_policy_denies_and_speaks_of_the_operator_alone(values: Values, chart: Chart) -> None:
    manifests = chart.manifests(values)
    policies = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in manifests
        if manifest["kind"] == "ValidatingAdmissionPolicy"
    }
    bindings = [manifest["spec"] for manifest in manifests if manifest["kind"] == "ValidatingAdmissionPolicyBinding"]
    account = values.get("serviceAccount", {}).get("name", OPERATOR)

    assert len(policies) == 4
    assert {binding["policyName"] for binding in bindings} == policies.keys()
    assert all(binding["validationActions"] == ["Deny"] for binding in bindings)
    for policy in policies.values():
        [condition] = policy["matchConditions"]
        assert condition["expression"] == f"request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:{account}'"
        assert policy["failurePolicy"] == "Fail"


def test_own_namespace_gives_the_lease_and_tokens_of_the_operator_alone(chart: Chart) -> None:
    assert chart.one("Role", OPERATOR)["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["operator.syntera.io"],
            "verbs": ["get", "update"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "resourceNames": [OPERATOR],
            "verbs": ["create"],
        },
    ]
