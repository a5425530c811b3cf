"""values.schema.json refuses what nobody reads, and what is of the wrong kind, before Helm renders anything."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from .chart import DEFAULTS, FULL, SCHEMA, Chart, Refused, leaves, nested

VALIDATOR = Draft7Validator(SCHEMA)


def errors(values: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in VALIDATOR.iter_errors(values)]


def objects(values: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every object in the values, of those in lists too."""
    if isinstance(values, dict):
        yield path
        for key, value in values.items():
            yield from objects(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from objects(value, (*path, index))


def subschemas(schema: object) -> Iterator[dict[str, Any]]:
    """Every schema within the schema."""
    if isinstance(schema, dict):
        if "type" in schema and isinstance(schema["type"], str):
            yield schema
        for value in schema.values():
            yield from subschemas(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from subschemas(value)


MAPS = {"labels", "annotations", "Labels", "Annotations", "nodeSelector", "requests", "limits"}
"""Objects whose keys their author chooses, by the end of their names."""


def is_map(path: tuple[str | int, ...]) -> bool:
    return bool(path) and any(str(path[-1]).endswith(name) for name in MAPS)


def test_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_defaults_and_full_values_are_valid() -> None:
    assert errors(dict(DEFAULTS)) == []
    assert errors(dict(FULL)) == []


def test_every_object_is_closed() -> None:
    """`global` alone is open: Helm gives it to every chart."""
    kinds = [schema for schema in subschemas(SCHEMA) if schema["type"] == "object"]

    assert [schema for schema in kinds if "additionalProperties" not in schema] == [SCHEMA["properties"]["global"]]


def test_schema_and_values_have_the_same_keys() -> None:
    def keys(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
            # A Kubernetes structure: what it may hold is no value of the chart's own, except the image's parts.
            if "repository" not in schema.get("properties", {}):
                yield path
                return
        if "properties" not in schema:
            yield path
        for key, value in schema.get("properties", {}).items():
            yield from keys(value, (*path, key))

    written = {path for path, _ in leaves(DEFAULTS)}
    # Defaults within Kubernetes structures are deeper than the schema's own keys.
    shortened = {next((key for key in keys(SCHEMA) if path[: len(key)] == key), path) for path in written}

    assert shortened == set(keys(SCHEMA)) - {("global",)}


@pytest.mark.parametrize("path", list(objects(FULL)), ids=lambda path: ".".join(map(str, path)) or "top")
def test_unknown_key_is_refused_wherever_it_stands(path: tuple[str | int, ...]) -> None:
    values = copy.deepcopy(dict(FULL))
    place: Any = values
    for key in path:
        place = place[key]
    # In a map every key is somebody's, so there the value's kind is what must be right.
    place["surely-unknown"] = ["no", "string"] if is_map(path) else "value"

    assert errors(values) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("crds.enabled", "yes"),
        ("image.pullPolicy", "Sometimes"),
        ("image.operator.digest", "sha256:abc"),
        ("image.operator.repository", "syntera/operator:0.1.0"),
        ("image.runtime.tag", "not a tag"),
        ("image.pullSecrets", ["registry"]),
        ("stores.postgresql.url", "mysql://db.example.com/syntera"),
        ("stores.postgresql.url", "postgresql://me:hunter2@db.example.com/syntera"),
        ("stores.postgresql.url", "postgresql://db.example.com/syntera?user=me&password=hunter2"),
        ("stores.postgresql.url", ""),
        ("stores.postgresql.tenantURL", "postgresql://me@db.example.com/syntera"),
        ("stores.postgresql.existingSecret", "Not_A_Name"),
        ("stores.postgresql.tenantConnectionLimit", 0),
        ("stores.redis.url", "redis://me:hunter2@cache.example.com"),
        ("stores.redis.url", "http://cache.example.com"),
        ("stores.redis.tenantURL", "redis://me@cache.example.com"),
        ("operator.replicas", -1),
        ("operator.replicas", "2"),
        ("operator.logLevel", "info"),
        ("operator.workers", 257),
        ("operator.resyncSeconds", 1),
        ("operator.lease.seconds", 1),
        ("operator.resources.limits.memory", "lots"),
        ("operator.podLabels", {"app.kubernetes.io/name": "taken"}),
        ("operator.tolerations", [{"key": "a", "operator": "Is"}]),
        ("operator.topologySpreadConstraints", [{"maxSkew": 1}]),
        ("commonLabels", {"syntera.io/tenant": "taken"}),
        ("metrics.port", 0),
        ("metrics.serviceMonitor.interval", "often"),
        ("metrics.podMonitor.interval", "often"),
        ("metrics.alerts.runbookURL", "https://runbooks.example.com/"),
        ("metrics.alerts.runbookURL", ""),
        ("metrics.dashboards.labels", {"app.kubernetes.io/name": "taken"}),
        ("tracing.endpoint", "collector:4318"),
        ("tracing.endpoint", "http://me:secret@collector:4318"),
        ("tracing.samplingRatio", 10),
        ("networkPolicy.apiServerPorts", []),
        ("networkPolicy.storesTo", [{}]),
        ("networkPolicy.storesTo", [{"ipBlock": {"cidr": "10.0.0.0"}}]),
        ("tenants.network.storeCIDRs", ["10.0.0.0"]),
        ("tenants.network.clients", [{"labels": {}}]),
    ],
)
def test_wrong_value_is_refused(path: str, value: object) -> None:
    found = errors(nested(tuple(path.split(".")), value))

    assert found != []
    assert all(error.startswith(path) for error in found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stores.postgresql.url", "postgres://me@a.example.com:5433,b.example.com/syntera?sslmode=verify-full"),
        ("stores.postgresql.url", "postgresql://[2001:db8::1]:5432/syntera"),
        ("stores.redis.url", "rediss://me@cache.example.com:6380/0?ssl_cert_reqs=required"),
        ("image.registry", "registry.example.com:5000/platform"),
        ("image.registry", ""),
        ("operator.replicas", 0),
        ("operator.lease.retrySeconds", 0.5),
        ("operator.resources.limits.cpu", 2),
        ("tracing.endpoint", "https://collector.example.com:4318/otlp"),
        ("tracing.samplingRatio", 1),
        ("global", {"imageRegistry": "whatever a parent chart says"}),
    ],
)
def test_right_value_is_accepted(path: str, value: object) -> None:
    assert errors(nested(tuple(path.split(".")), value)) == []


def test_helm_asks_the_schema(chart: Chart) -> None:
    with pytest.raises(Refused, match="additional properties 'tagg' not allowed"):
        chart.render({"image": {"operator": {"tagg": "1"}}})
