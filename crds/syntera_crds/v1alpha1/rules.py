"""Rules that types and bounds cannot say, each stated once and checked twice: by the API server as CEL, by the models as Python.

A `Rule` stands either in an `Annotated[...]` type, for one value, or in the `rules` of a model, for the whole of it.
Nothing here knows a kind. Regular expressions keep to what Go and Python read alike: ASCII classes, `^` and `$`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the API server and its Python twin."""

    expression: str
    """CEL; `self` is the value, with the field names of the YAML."""
    message: str
    """What to do, as a sentence without its dot. It follows the field's path."""
    holds: Callable[[Any], bool] | None
    """The same in Python. None: the rule compares with the object before the change, which a model does not know."""
    field: str = ""
    """The field at fault, below the value: `.min`. Empty: the value itself."""
    reason: Literal["FieldValueForbidden"] | None = None
    """None: FieldValueInvalid."""
    pattern: str | None = None
    """Where the rule is nothing but a regular expression: that expression."""

    def to_cel(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        optional = {"fieldPath": self.field or None, "reason": self.reason}
        return {"rule": self.expression, "message": self.message} | {k: v for k, v in optional.items() if v is not None}

    def check(self, value: Any) -> None:
        """Do nothing if the value keeps the rule.

        Raises:
            PydanticCustomError: it does not.
        """
        if self.holds is not None and not self.holds(value):
            raise broken(self.message, field=self.field)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the value after its type and bounds."""

        def checked(value: Any) -> Any:
            self.check(value)
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rule to the value's schema."""
        made = handler(schema)
        return {**made, VALIDATIONS: [*made.get(VALIDATIONS, []), self.to_cel()]}


@dataclass(frozen=True, slots=True)
class UniqueBy:
    """For a list of models that are told apart by one field: the API server and the models refuse doubles."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the whole list after its entries."""

        def checked(entries: list[Any]) -> list[Any]:
            seen = set()
            for index, entry in enumerate(entries):
                value = getattr(entry, self.key)
                if value in seen:
                    raise broken(f"{self.key} {value!r} stands here twice; give each entry its own", field=f"[{index}]")
                seen.add(value)
            return entries

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Make it a list of type `map`."""
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


def matching(pattern: str, message: str) -> Rule:
    """A rule that a string matches `pattern` from its first to its last character.

    CEL instead of the schema's own `pattern`, because that one answers with the regular expression and no word of help.
    """
    compiled = re.compile(pattern, re.ASCII)
    return Rule(
        f"self.matches(r'{pattern}')", message, holds=lambda value: bool(compiled.fullmatch(value)), pattern=pattern
    )


def broken(message: str, *, field: str) -> PydanticCustomError:
    """The error of a broken rule; `field` continues the path of the value that was checked."""
    return PydanticCustomError("rule", "{message}", {"message": message, "field": field})
