"""Each rewrite from a model's JSON schema to a structural one."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from syntera_crds.errors import UnsupportedSchema
from syntera_crds.schema import build_structural_schema
from syntera_crds.v1alpha1.common import Model
from syntera_crds.v1alpha1.rules import Rule, UniqueBy, matching

from .constraints import Json


def schema_of(annotation: Any, default: Any = ...) -> Json:
    """The structural schema of a field of that type."""
    model = type("Whole", (BaseModel,), {"__annotations__": {"field": annotation}, "field": Field(default)})
    field: Json = build_structural_schema(model)["properties"]["field"]
    return field


class Colour(StrEnum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Part(Model):
    """A part."""

    size: int
    """How large
    it is."""


def test_references_are_inlined_at_every_depth() -> None:
    part = {
        "type": "object",
        "description": "A part.",
        "properties": {"size": {"type": "integer", "format": "int64", "description": "How large it is."}},
        "required": ["size"],
    }
    assert schema_of(Part) == part
    assert schema_of(list[Part]) == {"type": "array", "items": part}
    assert schema_of(dict[str, list[Part]]) == {
        "type": "object",
        "additionalProperties": {"type": "array", "items": part},
    }


def test_description_beside_a_reference_wins() -> None:
    assert schema_of(Annotated[Part, Field(description="This part.")])["description"] == "This part."


def test_description_loses_the_line_breaks_of_the_source() -> None:
    assert schema_of(Annotated[str, Field(description="One\n    two\n three.")])["description"] == "One two three."


def test_null_is_dropped_with_the_default() -> None:
    assert schema_of(str | None, None) == {"type": "string"}


def test_null_is_dropped_beside_a_reference_and_keeps_the_fields_description() -> None:
    made = schema_of(Annotated[Colour | None, Field(description="Which one.")], None)
    assert made == {"type": "string", "enum": ["red", "blue"], "description": "Which one."}


def test_defaults_are_dropped() -> None:
    assert schema_of(bool, True) == {"type": "boolean"}


def test_titles_are_dropped_and_fields_called_title_are_kept() -> None:
    class Titled(BaseModel):
        title: str = "x"
        default: int = 1

    assert build_structural_schema(Titled) == {
        "type": "object",
        "properties": {"title": {"type": "string"}, "default": {"type": "integer", "format": "int64"}},
    }


def test_const_becomes_an_enum_of_one() -> None:
    assert schema_of(Literal["only"]) == {"type": "string", "enum": ["only"]}


def test_enum_is_kept() -> None:
    assert schema_of(Literal["a", "b"]) == {"type": "string", "enum": ["a", "b"]}


def test_exclusive_bounds_become_bounds_with_a_mark() -> None:
    assert schema_of(Annotated[float, Field(gt=0, lt=1.5)]) == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 1.5,
        "exclusiveMaximum": True,
    }


def test_inclusive_bounds_are_kept() -> None:
    assert schema_of(Annotated[float, Field(ge=0, le=1)]) == {"type": "number", "minimum": 0, "maximum": 1}


def test_integers_say_their_width() -> None:
    assert schema_of(int) == {"type": "integer", "format": "int64"}


def test_times_keep_their_format() -> None:
    assert schema_of(datetime) == {"type": "string", "format": "date-time"}


def test_a_format_that_the_api_server_reads_otherwise_is_an_error() -> None:
    with pytest.raises(UnsupportedSchema, match=r"\.field: a structural schema cannot say 'format': 'date'"):
        schema_of(date)


def test_lengths_of_texts_lists_and_maps_are_kept() -> None:
    text = Annotated[str, Field(min_length=1, max_length=2, pattern="^a$")]
    assert schema_of(text) == {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^a$"}
    assert schema_of(Annotated[list[str], Field(min_length=1, max_length=2)]) == {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 2,
    }
    assert schema_of(Annotated[dict[str, str], Field(min_length=1, max_length=2)]) == {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "minProperties": 1,
        "maxProperties": 2,
    }


def test_a_map_of_anything_keeps_unknown_fields() -> None:
    assert schema_of(dict[str, Any]) == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_fields_beside_unknown_ones_are_rewritten_too() -> None:
    extra: Json = {"x-kubernetes-preserve-unknown-fields": True, "properties": {"seed": {"type": "integer"}}}
    assert schema_of(Annotated[dict[str, Any], Field(json_schema_extra=extra)]) == {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"seed": {"type": "integer", "format": "int64"}},
    }


def test_forbidden_extra_fields_need_no_word_because_unknown_ones_are_pruned() -> None:
    assert "additionalProperties" not in schema_of(Part)


def test_fields_beside_a_map_are_an_error() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        __pydantic_extra__: dict[str, int]

        known: int = 1

    with pytest.raises(UnsupportedSchema, match="exclude one another"):
        build_structural_schema(Open)


def test_integer_or_string_becomes_the_api_servers_own_type() -> None:
    bounded = Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=5)]
    assert schema_of(bounded) == {"x-kubernetes-int-or-string": True, "minimum": 0, "maxLength": 5}
    assert schema_of(bounded | None, None) == {"x-kubernetes-int-or-string": True, "minimum": 0, "maxLength": 5}


@pytest.mark.parametrize("union", [str | bool, Part | Colour, int | str | bool])
def test_any_other_union_is_an_error(union: Any) -> None:
    with pytest.raises(UnsupportedSchema, match=r"\.field: a structural schema cannot say a union"):
        schema_of(union)


def test_a_keyword_without_a_rewrite_is_an_error_that_names_the_field() -> None:
    with pytest.raises(UnsupportedSchema, match=r"\.field: .* 'propertyNames'"):
        schema_of(dict[Annotated[str, Field(max_length=3)], int])
    with pytest.raises(UnsupportedSchema, match=r"\.field\[\]: .* 'contentEncoding'"):
        schema_of(list[Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]])


def test_rules_stand_where_the_model_or_the_type_has_them() -> None:
    class Ordered(Model):
        rules = (Rule("self.a <= self.b", "must not exceed b", holds=None, field=".a", reason="FieldValueForbidden"),)

        a: int
        b: Annotated[str, matching("^b$", "must be b")]

    made = build_structural_schema(Ordered)
    assert made["x-kubernetes-validations"] == [
        {
            "rule": "self.a <= self.b",
            "message": "must not exceed b",
            "fieldPath": ".a",
            "reason": "FieldValueForbidden",
        }
    ]
    assert made["properties"]["b"]["x-kubernetes-validations"] == [
        {"rule": "self.matches(r'^b$')", "message": "must be b"}
    ]


def test_lists_told_apart_by_a_field_are_maps() -> None:
    assert schema_of(Annotated[list[Part], UniqueBy("size")])["x-kubernetes-list-map-keys"] == ["size"]
    assert schema_of(Annotated[list[Part], UniqueBy("size")])["x-kubernetes-list-type"] == "map"
