"""Objects that are nested deeper than usual readers of JSON go, put in the way of the whole operator.

Nothing smaller would do: our own client reads such an object, and kopf does.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from syntera_kube.decoding import decode
from syntera_kube.resources import CONFIG_MAPS
from syntera_operator.manifest import AGENTS
from tests.support.apiserver import unique_name
from tests.support.operator_process import OperatorProcess
from tests.support.operator_site import Site, empty_site
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.api, pytest.mark.long]

DEPTH = 9_000
"""The API server takes 10,000."""


@pytest.fixture(scope="module")
def site(database: Database, redis_server: RedisServer) -> Iterator[Site]:
    with empty_site(database, redis_server) as made:
        made.server.install_crds()
        yield made
        made.end_all()


def nested(key: str) -> str:
    return f'{{"{key}":' * DEPTH + "{}" + "}" * DEPTH


def post(site: Site, path: str, manifest: dict[str, Any], *, deep: str) -> None:
    """Make an object in whose JSON the text "DEEP" is replaced; Python's own writer would not go that deep."""
    body = json.dumps(manifest).replace('"DEEP"', deep).encode()
    pool = site.server.client.rest_client.pool_manager
    answer = pool.request("POST", site.server.url + path, body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 201, answer.data[:1000]


def managed_fields(api_version: str) -> list[dict[str, Any]]:
    """What anybody may claim of the fields of an object that he makes."""
    return [{
        "manager": "anybody", "operation": "Update", "apiVersion": api_version, "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": "DEEP"},
    }]  # fmt: skip


def test_objects_of_any_depth_are_in_nobody_elses_way(site: Site) -> None:
    operator = site.start_leader()
    name, stranger = unique_name("acme"), site.server.create_namespace("stranger")
    operator.wait_until(site.is_provided(site.make_tenant(name)))

    labels = {"app.kubernetes.io/managed-by": "syntera-operator"}
    metadata = {"name": "deep", "managedFields": managed_fields("v1"), "labels": labels}
    post(site, CONFIG_MAPS.path(namespace=stranger), {"metadata": metadata, "data": {}}, deep=nested("f:a"))
    agent = {"apiVersion": AGENTS.api_version, "kind": AGENTS.kind}
    spec: dict[str, Any] = {"instructions": "x"}
    metadata = {"name": "claims", "managedFields": managed_fields(AGENTS.api_version)}
    post(site, AGENTS.path(namespace=name), {**agent, "metadata": metadata, "spec": spec}, deep=nested("f:a"))
    spec |= {"model": {"parameters": {"p": "DEEP"}}}
    post(site, AGENTS.path(namespace=name), {**agent, "metadata": {"name": "deep"}, "spec": spec}, deep=nested("a"))

    check_serves_others(site, operator, name)
    operator.kill()
    check_serves_others(site, site.start_leader(), name)


def check_serves_others(site: Site, operator: OperatorProcess, namespace: str) -> None:
    """That new Tenants and Agents are taken, and the deep ones too, as far as they make sense."""
    operator.wait_until(site.is_published(site.make_agent(namespace, unique_name("agent"))))
    operator.wait_until(site.is_provided(site.make_tenant(unique_name("other"))))
    for agent, condition, status in (("claims", "ResolvedRefs", "True"), ("deep", "Accepted", "False")):
        path = AGENTS.path(namespace=namespace, name=agent)
        operator.wait_until(partial(has_condition, site, path, condition, status))


def has_condition(site: Site, path: str, type_: str, status: str) -> bool:
    """Whether an object that Python's own reader could not read says so."""
    found = decode(site.server.client.rest_client.pool_manager.request("GET", site.server.url + path).data)
    return any((one["type"], one["status"]) == (type_, status) for one in found["status"]["conditions"])
