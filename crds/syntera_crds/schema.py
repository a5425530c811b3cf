"""Turns the JSON schema of a model into the structural OpenAPI v3 schema that a CustomResourceDefinition takes.

Each rewrite answers one difference between what pydantic writes and what the API server takes. A keyword that has no
rewrite is an error, never dropped: a bound that silently went missing would let objects in that the models refuse.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from .errors import UnsupportedSchema

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
_DROPPED = frozenset({"$defs", "title", "default", "examples", "deprecated"})
"""Titles repeat the names; defaults live in the models, so that the API server keeps an object as its author wrote it."""
_KEPT = frozenset(
    {
        "type",
        "enum",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
_FORMATS = frozenset({"date-time"})
"""Formats that pydantic and the API server read alike."""


def build_structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, under the names of the YAML.

    Raises:
        UnsupportedSchema: the model uses something that a structural schema cannot say.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return rewrite(schema, definitions=schema.get("$defs", {}))


def rewrite(schema: Mapping[str, Any], *, definitions: Mapping[str, Schema], path: str = "") -> Schema:
    """One schema and all below it, made structural. `path` names it in errors.

    Raises:
        UnsupportedSchema: it holds something that a structural schema cannot say.
    """
    flat = _without_unions(_without_reference(schema, definitions), path=path, definitions=definitions)
    result: Schema = {}
    for keyword, value in flat.items():
        match keyword:
            case _ if keyword in _DROPPED:
                continue
            case "description":
                result[keyword] = _one_line(value)
            case "const":
                result["enum"] = [value]
            case "exclusiveMinimum" | "exclusiveMaximum":
                result[keyword.removeprefix("exclusive").lower()] = value
                result[keyword] = True
            case "format" if value in _FORMATS:
                result[keyword] = value
            case "properties":
                result[keyword] = {
                    name: rewrite(below, definitions=definitions, path=f"{path}.{name}")
                    for name, below in value.items()
                }
            case "items":
                result[keyword] = rewrite(value, definitions=definitions, path=f"{path}[]")
            case "additionalProperties":
                result |= _additional_properties(value, flat, definitions=definitions, path=path)
            case _ if keyword in _KEPT:
                result[keyword] = value
            case _:
                raise UnsupportedSchema(f"{path or 'the root'}: a structural schema cannot say {keyword!r}: {value!r}")
    if result.get("type") == "integer":
        result["format"] = "int64"
    return result


def _without_reference(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """What stands beside a `$ref`, such as the field's description, wins over what it refers to."""
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
    return {**definitions[reference.rpartition("/")[2]], **beside}


def _without_unions(schema: Schema, *, path: str, definitions: Mapping[str, Schema]) -> Schema:
    """Unions are not structural but for two: `X or null`, where the API server drops the null, and integer or string."""
    if "anyOf" not in schema:
        return schema
    beside = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    branches = [_without_reference(branch, definitions) for branch in schema["anyOf"] if branch != _NULL]
    if len(branches) == 1:
        return _without_unions({**branches[0], **beside}, path=path, definitions=definitions)
    if [branch.get("type") for branch in branches] != ["integer", "string"]:
        raise UnsupportedSchema(f"{path or 'the root'}: a structural schema cannot say a union of {branches!r}")
    bounds = {key: value for branch in branches for key, value in branch.items() if key not in ("type", "title")}
    return {"x-kubernetes-int-or-string": True, **bounds, **beside}


def _additional_properties(
    value: bool | Schema, schema: Schema, *, definitions: Mapping[str, Schema], path: str
) -> Schema:
    """Unknown fields are pruned anyway (`false`); a map of anything is kept whole (`true`); else the map's values."""
    match value:
        case False:
            return {}
        case True:
            return {"x-kubernetes-preserve-unknown-fields": True}
        case _ if "properties" in schema:
            raise UnsupportedSchema(f"{path or 'the root'}: properties and additionalProperties exclude one another")
        case _:
            return {"additionalProperties": rewrite(value, definitions=definitions, path=f"{path}{{}}")}


def _one_line(text: str) -> str:
    """Line breaks of the source are no paragraphs."""
    return " ".join(text.split())
