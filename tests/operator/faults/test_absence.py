"""What happens behind the operator's back: while it is down, by hand, to its kinds, and by somebody of the same name."""

import json
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
)
from syntera_operator.manifest import OWN_KINDS, TENANTS, Manifest
from tests.support.apiserver import ApiRefused, unique_name
from tests.support.make import make_tenant_manifest
from tests.support.operator_process import OperatorPod
from tests.support.operator_site import Site, strip

from .work import is_quiet, make_agents

pytestmark = [pytest.mark.api, pytest.mark.long]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CHILDREN = (CONFIG_MAPS, DEPLOYMENTS, NETWORK_POLICIES, ROLE_BINDINGS, SECRETS, SERVICES)
MANAGED = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


def test_operator_catches_up_with_what_happened_while_it_was_down(site: Site) -> None:
    operator = site.start_leader("before")
    kept, deleted, made = (unique_name(name) for name in ("kept", "deleted", "made"))
    tenants = [site.make_tenant(kept), site.make_tenant(deleted, deletionPolicy="Delete")]
    for tenant in tenants:
        operator.wait_until(site.is_provided(tenant))
    edited, gone, untouched = make_agents(site, kept, 3)
    doomed = site.make_agent(deleted, "travel", instructions="Be kind.")
    operator.wait_until(lambda: all(site.is_current(agent) for agent in (edited, gone, untouched, doomed)))
    assert operator.terminate() == 0

    tenants.append(site.make_tenant(made))
    site.merge(tenants[0], {"spec": {"quota": {"pods": "7"}}})
    site.merge(edited, {"spec": {"instructions": "Edited."}})
    new = site.make_agent(kept, "new", instructions="Be new.")
    site.delete(gone)
    site.delete(tenants[1])
    successor = site.start_leader("after")

    successor.wait_until(lambda: all(site.is_current(agent) for agent in (edited, untouched, new)))
    successor.wait_until(site.is_provided(tenants[2]))
    quota = f"/api/v1/namespaces/{kept}/resourcequotas/syntera"
    successor.wait_until(lambda: (site.get(quota) or {})["spec"]["hard"]["pods"] == "7")
    successor.wait_until(lambda: site.get(tenants[1]) is None, seconds=120)
    assert site.get(NAMESPACES.path(name=deleted)) is None
    assert site.published(kept, "agent-2")["revision"] == 1
    # The garbage collector of a cluster that has just started learns of new kinds within half a minute or so.
    successor.wait_until(lambda: not site.published(kept, "agent-1"), seconds=120)


def test_children_that_are_deleted_and_edited_by_hand_all_at_once_are_repaired(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    operator.wait_until(site.is_provided(site.make_tenant(name)))
    agents = make_agents(site, name, 3)
    operator.wait_until(lambda: all(site.is_current(agent) for agent in agents))
    operator.wait_until(is_quiet(site, operator.name))
    before = contents(site, name)

    for kind in CHILDREN:
        for number, child in enumerate(sorted(site.list_names(kind, name, labelSelector=MANAGED))):
            path = kind.path(namespace=name, name=child)
            if number % 2 == 0:
                site.delete(path)
            else:
                site.merge(path, damage(site.server.send("GET", path)))

    operator.wait_until(lambda: contents(site, name) == before)
    operator.wait_until(is_quiet(site, operator.name))
    assert contents(site, name) == before


def contents(site: Site, namespace: str) -> dict[str, Any]:
    """What the operator's children say, secrets apart, which cannot come back as they were."""
    found = {}
    for kind in CHILDREN:
        listed = site.server.send("GET", kind.path(namespace=namespace), query={"labelSelector": MANAGED})
        for item in listed["items"]:
            label = item["metadata"]["labels"].get(names.TENANT_LABEL)
            found[f"{kind.kind}/{item['metadata']['name']}"] = [label, essence(kind.kind, item)]
    return found


def essence(kind: str, item: Manifest) -> Any:
    """What nobody but the operator decides."""
    match kind:
        case "Secret":
            return sorted(item.get("data") or {})
        case "ConfigMap":
            return item["data"]
        case "Service":
            return [item["spec"]["selector"], item["spec"]["ports"]]
        case "RoleBinding":
            return [item["roleRef"], item.get("subjects")]
        case _:
            return item["spec"]


def damage(item: Manifest) -> Manifest:
    """What a person may break."""
    match item["kind"]:
        case "Secret":
            return {"data": dict.fromkeys(item["data"])}
        case "ConfigMap":
            return {"data": dict.fromkeys(item["data"], "{}")}
        case "Deployment":
            return {"spec": {"replicas": 9}}
        case "NetworkPolicy":
            return {"spec": {"egress": [{}]}}
        case "RoleBinding":
            return {"subjects": None}
        case _:
            return {"spec": {"selector": {"app": "somebody-elses"}}}


def test_namespace_that_is_deleted_by_hand_is_made_anew(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    agent = site.make_agent(name, "travel", instructions="Be kind.")
    operator.wait_until(lambda: site.is_current(agent))
    namespace = NAMESPACES.path(name=name)
    before = (site.get(namespace) or {})["metadata"]["uid"]
    identity = (site.get(tenant) or {})["status"]["tenantID"]

    site.delete(namespace)

    operator.wait_until(
        lambda: (site.get(namespace) or {"metadata": {"uid": before}})["metadata"]["uid"] != before, seconds=120
    )
    operator.wait_until(site.is_provided(tenant))
    assert (site.get(tenant) or {})["status"]["tenantID"] == identity
    operator.wait_until(lambda: site.get(DEPLOYMENTS.path(namespace=name, name=names.RUNTIME)))
    agent = site.make_agent(name, "travel", instructions="Be kind again.")
    operator.wait_until(lambda: site.is_current(agent))


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_tenant_that_is_deleted_and_made_again_at_once_is_provided(site: Site, policy: str) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name, deletionPolicy=policy)
    operator.wait_until(site.is_provided(tenant))
    first = site.get(tenant) or {}

    site.delete(tenant)
    operator.wait_until(lambda: is_made_again(site, name, policy), seconds=120)

    second = site.get(tenant) or {}
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    operator.wait_until(site.is_provided(tenant))
    operator.wait_until(lambda: site.get(DEPLOYMENTS.path(namespace=name, name=names.RUNTIME)))
    operator.wait_until(is_quiet(site, operator.name))
    owners = {
        owner["uid"]
        for kind in CHILDREN
        for item in site.server.send("GET", kind.path(namespace=name), query={"labelSelector": MANAGED})["items"]
        for owner in item["metadata"]["ownerReferences"]
    }
    assert owners == {second["metadata"]["uid"]}
    same_identity = (site.get(tenant) or {})["status"]["tenantID"] == first["status"]["tenantID"]
    assert same_identity == (policy == "Retain")


def is_made_again(site: Site, name: str, policy: str) -> bool:
    """Create the Tenant, which the API server takes from the moment on when the one before is gone."""
    try:
        site.make_tenant(name, deletionPolicy=policy)
    except ApiRefused as refused:
        if refused.status != 409:
            raise
        return False
    return True


def test_objects_of_somebody_else_are_left_alone_although_they_carry_our_labels(site: Site) -> None:
    operator = site.start_leader()
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    agent = site.make_agent(name, "travel", instructions="Be kind.")
    operator.wait_until(lambda: site.is_current(agent))
    theirs = [make_stranger(site, kind, name) for kind in ("ConfigMap", "Secret", "Service", "ServiceAccount")]
    elsewhere = site.server.create_namespace("elsewhere", labels={names.MANAGED_BY_LABEL: names.MANAGED_BY})
    theirs += [make_stranger(site, kind, elsewhere) for kind in ("ConfigMap", "Service")]
    before = [site.get(path) for path in theirs]

    site.merge(tenant, {"spec": {"quota": {"pods": "7"}}})
    site.merge(agent, {"spec": {"instructions": "Edited."}})
    operator.wait_until(lambda: site.is_current(agent))
    operator.wait_until(is_quiet(site, operator.name))
    assert [site.get(path) for path in theirs] == before
    assert operator.terminate() == 0
    successor = site.start_leader("after")
    site.delete(tenant)
    successor.wait_until(lambda: site.get(tenant) is None)

    assert [site.get(path) for path in theirs] == before


def make_stranger(site: Site, kind: str, namespace: str) -> str:
    """An object that looks like the operator's and is not; its path."""
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.TENANT_LABEL: namespace,
        names.PUBLISHED_LABEL: "agent",
        names.USABLE_LABEL: "false",
    }
    name = "agent-theirs" if kind == "ConfigMap" else "theirs"
    content: Manifest = {"Service": {"spec": {"ports": [{"port": 80}]}}}.get(kind, {})
    collection = f"/api/v1/namespaces/{namespace}/{kind.lower()}s"
    metadata = {"name": name, "labels": labels}
    site.server.send("POST", collection, {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content})
    return f"{collection}/{name}"


def test_kinds_that_are_deleted_and_brought_back_are_served_again(site: Site) -> None:
    """All Tenants go with them. The processes are started again where they end, as the kubelet does."""
    pod = OperatorPod(lambda: site.start("operator"))
    name = unique_name("acme")
    pod.wait_until(pod.is_leader)
    tenant = site.make_tenant(name)
    pod.wait_until(site.is_provided(tenant))
    identity = (site.get(tenant) or {})["status"]["tenantID"]
    pod.wait_until(lambda: site.get(DEPLOYMENTS.path(namespace=name, name=names.RUNTIME)))
    crds = [f"{CRDS}/{kind.plural}.{names.GROUP}" for kind in OWN_KINDS]

    for crd in crds:
        site.delete(crd)
    pod.wait_until(lambda: not any(site.get(crd) for crd in crds))
    pod.wait_until(lambda: "install the CRDs" in pod.process.log)
    assert pod.process.probe("/healthz") == 200
    assert site.get(DEPLOYMENTS.path(namespace=name, name=names.RUNTIME)) is None
    site.server.install_crds()

    site.server.send("POST", TENANTS.path(), strip(make_tenant_manifest(name)))
    pod.wait_until(site.is_provided(tenant))
    assert (site.get(tenant) or {})["status"]["tenantID"] == identity
    agent = site.make_agent(name, "travel", instructions="Be kind.")
    pod.wait_until(lambda: site.is_current(agent))
    assert len(pod.ends) <= 2, pod.ends


def test_kinds_that_are_gone_for_a_moment_only_are_served_again(site: Site) -> None:
    pod = OperatorPod(lambda: site.start("operator"))
    pod.wait_until(pod.is_leader)

    for kind in OWN_KINDS:
        site.delete(f"{CRDS}/{kind.plural}.{names.GROUP}")
    pod.wait_until(lambda: not any(site.get(f"{CRDS}/{kind.plural}.{names.GROUP}") for kind in OWN_KINDS))
    site.server.install_crds()

    name = unique_name("acme")
    pod.wait_until(site.is_provided(site.make_tenant(name)))
    agent = site.make_agent(name, "travel", instructions="Be kind.")
    pod.wait_until(lambda: site.is_current(agent))
    assert json.dumps(pod.ends).count("unhealthy") == 0
