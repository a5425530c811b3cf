"""Random sound objects, made from the models: their types, bounds and rules, field by field, nothing listed by hand."""

import types
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from syntera_crds.v1alpha1.quantity import PATTERN
from syntera_crds.v1alpha1.rules import Rule, UniqueBy

from .constraints import Json

_USUAL_SIZE = 4
"""Of most lists, maps and texts; the bounds themselves are tried elsewhere."""
# Half a pair is no character, and JSON cannot carry it.
_CHARACTERS = st.characters(exclude_categories=["Cs"])
_KEYS = st.from_regex(r"[a-z]([a-z_]{0,20}[a-z])?", fullmatch=True)
# Beyond this a double is no exact integer: the server writes one as digits that Python reads as another number.
_EXACT = 2**53
_NUMBERS = st.integers(-_EXACT, _EXACT) | st.floats(-_EXACT, _EXACT, allow_nan=False)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(_CHARACTERS, max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=3),
    max_leaves=8,
)


_FIRST, _LAST = datetime(1970, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - made UTC by `_to_time`


def objects(model: type[BaseModel]) -> st.SearchStrategy[Json]:
    """Sound values of a model, under the names of the YAML."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        strategy = _values(field.annotation, field.metadata)
        (required if field.is_required() else optional)[field.alias or name] = strategy
    drawn = st.fixed_dictionaries(required, optional=optional)
    return drawn.filter(lambda value: _is_sound(model, value))


def _is_sound(model: type[BaseModel], value: Json) -> bool:
    """Only what several fields say together can still be wrong here."""
    try:
        model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as exc:
        if {error["type"] for error in exc.errors()} != {"rule"}:
            raise
        return False
    return True


def _values(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _values(inner, [*more, *metadata])
    flat = [one for item in metadata for one in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if Rule in map(type, flat) and annotation == int | str:
        return st.integers(0, 10**15) | st.from_regex(PATTERN, fullmatch=True)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (present,) = (argument for argument in arguments if argument is not types.NoneType)
        return _values(present, metadata)
    if origin is list:
        return _lists(arguments[0], flat)
    if origin is dict:
        return _maps(arguments[1], flat)
    return _scalars(annotation, flat)


def _lists(entry: Any, metadata: list[Any]) -> st.SearchStrategy[list[Any]]:
    least, most = _sizes(metadata)
    drawn = st.lists(_values(entry, []), min_size=least, max_size=min(most, least + _USUAL_SIZE))
    keys = [one.key for one in metadata if isinstance(one, UniqueBy)]
    return drawn.filter(lambda made: all(len({one[key] for one in made}) == len(made) for key in keys))


def _maps(value: Any, metadata: list[Any]) -> st.SearchStrategy[Json]:
    least, most = _sizes(metadata)
    drawn = st.dictionaries(_KEYS, _values(value, []), min_size=least, max_size=min(most, least + _USUAL_SIZE))
    return drawn.filter(
        lambda made: all(rule.holds(made) for rule in metadata if isinstance(rule, Rule) and rule.holds)
    )


def _scalars(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    least, most = _range(metadata)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        Any: _ANYTHING,
        bool: st.booleans(),
        datetime: st.datetimes(_FIRST, _LAST).map(_to_time),
        float: st.floats(least, most, allow_nan=False, allow_infinity=False),
        int: st.integers(least or 0, most or 2**53),
        str: _texts(metadata),
    }
    if annotation in simple:
        return simple[annotation]
    if issubclass(annotation, Enum):
        return st.sampled_from([member.value for member in annotation])
    return objects(annotation)


def _texts(metadata: list[Any]) -> st.SearchStrategy[str]:
    least, most = _sizes(metadata)
    rules = [one for one in metadata if isinstance(one, Rule)]
    if any("isCIDR(self)" in rule.expression for rule in rules):
        return st.ip_addresses().map(lambda one: f"{one}/{one.max_prefixlen}").filter(lambda text: _keeps(rules, text))
    patterns = [rule.pattern for rule in rules if rule.pattern is not None]
    if not patterns:
        # Now and then as long as may be, in any script: a length counts characters, not bytes.
        longest = st.text(_CHARACTERS, min_size=1, max_size=1).map(lambda one: one * most)
        return st.text(_CHARACTERS, min_size=least, max_size=min(most, 30)) | longest
    drawn = st.from_regex(patterns[0], fullmatch=True).filter(lambda text: least <= len(text) <= most)
    return drawn.filter(lambda text: _keeps(rules, text))


def _keeps(rules: list[Rule], text: str) -> bool:
    return all(rule.holds(text) for rule in rules if rule.holds)


def _sizes(metadata: list[Any]) -> tuple[int, int]:
    least = [one.min_length for one in metadata if isinstance(one, annotated_types.MinLen)]
    most = [one.max_length for one in metadata if isinstance(one, annotated_types.MaxLen)]
    return max(least, default=0), min(most, default=64)


def _range(metadata: list[Any]) -> tuple[Any, Any]:
    least: list[Any] = [one.ge for one in metadata if isinstance(one, annotated_types.Ge)]
    most: list[Any] = [one.le for one in metadata if isinstance(one, annotated_types.Le)]
    return max(least, default=None), min(most, default=None)


def _to_time(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=UTC).isoformat().replace("+00:00", "Z")
