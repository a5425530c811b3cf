"""The whole CustomResourceDefinition: what the API server is told beside the fields."""

from collections.abc import Iterator

import pytest

from syntera_crds.crd import build_crd
from syntera_crds.v1alpha1 import KINDS, Agent, Tenant

from .constraints import Json

each_kind = pytest.mark.parametrize("kind", KINDS.values())


def schema_of(crd: Json) -> Json:
    (version,) = crd["spec"]["versions"]
    schema: Json = version["schema"]["openAPIV3Schema"]
    return schema


def test_names_and_scope_are_the_kinds() -> None:
    crd = build_crd(Tenant)
    assert crd["metadata"] == {"name": "tenants.syntera.io"}
    assert {key: value for key, value in crd["spec"].items() if key != "versions"} == {
        "group": "syntera.io",
        "names": {
            "kind": "Tenant",
            "listKind": "TenantList",
            "plural": "tenants",
            "singular": "tenant",
            "shortNames": ["tnt"],
            "categories": ["syntera"],
        },
        "scope": "Cluster",
    }
    assert build_crd(Agent)["spec"]["scope"] == "Namespaced"


@each_kind
def test_version_is_served_and_stored_with_a_status_of_its_own(kind: type[Tenant]) -> None:
    (version,) = build_crd(kind)["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}


@each_kind
def test_columns_begin_with_ready_and_end_with_age(kind: type[Tenant]) -> None:
    columns = build_crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow = [column["name"] for column in columns if "priority" not in column]
    assert (narrow[:2], narrow[-1]) == (["Ready", "Status"], "Age")
    assert "Message" in [column["name"] for column in columns if column.get("priority") == 1]
    assert all(column["description"] for column in columns)


@each_kind
def test_object_needs_a_spec_and_bounds_no_metadata_but_the_name(kind: type[Tenant]) -> None:
    schema = schema_of(build_crd(kind))
    assert schema["required"] == ["spec"]
    assert list(schema["properties"]) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert list(schema["properties"]["metadata"]["properties"]) == ["name"]


@each_kind
def test_conditions_are_a_map_by_type(kind: type[Tenant]) -> None:
    conditions = schema_of(build_crd(kind))["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@each_kind
def test_only_the_status_has_a_default(kind: type[Tenant]) -> None:
    schema = schema_of(build_crd(kind))
    assert "default" not in [keyword for _, part in parts(schema["properties"]["spec"]) for keyword in part]


@each_kind
def test_every_text_list_and_map_is_bounded(kind: type[Tenant]) -> None:
    """Else the rules that read them cost more than the API server allows, and an object may grow without end."""
    unbounded = []
    for path, part in parts(schema_of(build_crd(kind)), skipped={"apiVersion", "kind", "parameters"}):
        match part:
            case {"enum": _} | {"format": "date-time"}:
                continue
            case {"type": "string"} if "maxLength" not in part:
                unbounded.append(path)
            case {"type": "array"} if "maxItems" not in part:
                unbounded.append(path)
            case {"additionalProperties": _} | {"x-kubernetes-preserve-unknown-fields": True}:
                unbounded += [] if "maxProperties" in part else [path]
    assert unbounded == []


@each_kind
def test_every_field_has_a_description_and_an_optional_one_tells_what_leaving_it_out_does(kind: type[Tenant]) -> None:
    silent = []
    for path, part in parts(schema_of(build_crd(kind))["properties"]["spec"], skipped={"parameters"}):
        for name, field in part.get("properties", {}).items():
            said = field.get("description", "")
            tells = any(word in said for word in ("Default", "(default)", "Left out"))
            if not said.endswith(".") or not (tells or name in part.get("required", [])):
                silent.append(f"{path}.{name}: {said}")
    assert silent == []


def parts(
    schema: Json, path: str = "", *, skipped: frozenset[str] | set[str] = frozenset()
) -> Iterator[tuple[str, Json]]:
    """A schema and all below it."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        if name not in skipped:
            yield from parts(below, f"{path}.{name}", skipped=skipped)
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield from parts(schema[keyword], f"{path}{mark}", skipped=skipped)
