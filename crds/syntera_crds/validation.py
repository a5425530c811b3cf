"""Turns manifests into models, and what is wrong with them into sentences that name the field and the fix.

For objects as their authors write them and as the API server returns them: only the names of the YAML count.
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .contract.names import API_VERSION
from .crd import build_object_schema
from .errors import Fault, InvalidResource
from .schema import Schema
from .v1alpha1 import KINDS
from .v1alpha1.common import Resource

ResourceT = TypeVar("ResourceT", bound=Resource)

_WANTED_TYPES = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "an integer",
    "list_type": "a list",
    "model_type": "an object",
    "string_type": "a string",
}
_GIVEN_TYPES = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a string",
}
_MESSAGES = {
    "enum": "must be {expected}, not {input!r}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "missing": "is required",
    "rule": "{message}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must not be empty",
}


def load(manifest: Mapping[str, Any]) -> Resource:
    """The object that a manifest describes, of whichever kind it names.

    Raises:
        InvalidResource: it is no sound object of one of our kinds.
    """
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if version != API_VERSION:
        raise InvalidResource((Fault("apiVersion", f"must be {API_VERSION!r}, not {version!r}"),))
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidResource((Fault("kind", f"must be {_either(map(repr, KINDS))}, not {kind!r}"),))
    return load_as(KINDS[kind], manifest)


def load_as(kind: type[ResourceT], manifest: Mapping[str, Any]) -> ResourceT:
    """The same where the kind is known; `apiVersion` and `kind` are not looked at.

    Raises:
        InvalidResource: it is no sound object of that kind.
    """
    unknown = [name for name in manifest if name not in _schema(kind)["properties"]]
    if unknown:
        raise InvalidResource(tuple(_unknown_field(kind, (name,)) for name in unknown))
    try:
        return kind.model_validate(manifest, by_alias=True, by_name=False)
    except ValidationError as exc:
        # Not `from exc`: its text repeats the values, which may be of any length.
        raise InvalidResource(_faults(kind, manifest, exc)) from None


def _faults(kind: type[Resource], manifest: Mapping[str, Any], error: ValidationError) -> tuple[Fault, ...]:
    """One fault per field and sentence; a value that fits no branch of a union gets one for all branches."""
    wanted: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    faults: dict[Fault, None] = {}
    for detail in error.errors(include_url=False):
        location = _location(manifest, detail)
        if detail["type"] in _WANTED_TYPES:
            path = _path(location)
            wanted.setdefault(path, []).append(_WANTED_TYPES[detail["type"]])
            given[path] = _GIVEN_TYPES.get(type(detail["input"]), "null")
        else:
            faults[_fault(kind, location, detail)] = None
    mistyped = (Fault(path, f"must be {_either(types)}, not {given[path]}") for path, types in wanted.items())
    return (*mistyped, *faults)


def _fault(kind: type[Resource], location: Sequence[str | int], detail: ErrorDetails) -> Fault:
    if detail["type"] == "extra_forbidden":
        return _unknown_field(kind, location)
    context = detail.get("ctx", {})
    path = f"{_path(location)}{context.get('field', '')}".lstrip(".")
    template = _MESSAGES.get(detail["type"])
    return Fault(path, template.format(**context, input=detail["input"]) if template else detail["msg"])


def _unknown_field(kind: type[Resource], location: Sequence[str | int]) -> Fault:
    """A typo is the usual reason, so the nearest field is offered."""
    *parents, name = location
    near = difflib.get_close_matches(str(name), _fields(kind, parents), n=1)
    return Fault(_path(location), "is no field of this kind" + (f"; did you mean {near[0]!r}?" if near else ""))


def _fields(kind: type[Resource], location: Iterable[str | int]) -> list[str]:
    schema = _schema(kind)
    for step in location:
        schema = schema["items"] if isinstance(step, int) else schema["properties"][step]
    return list(schema["properties"])


@functools.cache
def _schema(kind: type[Resource]) -> Schema:
    return build_object_schema(kind)


def _location(manifest: Mapping[str, Any], detail: ErrorDetails) -> list[str | int]:
    """Where the error is, without the names of union branches, which pydantic appends and no YAML has."""
    location: list[str | int] = []
    value: Any = manifest
    for step in detail["loc"]:
        # A missing field's input is the object that lacks it.
        if value is detail["input"] and detail["type"] != "missing":
            break
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
        else:
            break
        location.append(step)
    return location


def _path(location: Iterable[str | int]) -> str:
    """As the API server writes it: `spec.models[0].baseURL`, and keys that are no plain names in brackets too."""
    parts = (
        f"[{step}]" if isinstance(step, int) else f".{step}" if re.fullmatch(r"[\w-]+", step) else f"[{step}]"
        for step in location
    )
    return "".join(parts).lstrip(".")


def _either(texts: Iterable[str]) -> str:
    return " or ".join(texts)
