"""Everything that the generated CRDs refuse, as a list: each bound and each rule with the place where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Steps = tuple[str, ...]
"""Where in a schema: field names, `[]` for a list's entries, `{}` for a map's values."""

CRD_FOLDER = Path(__file__).parents[2] / "crds"

STRUCTURE = {
    "additionalProperties",
    "default",
    "description",
    "items",
    "properties",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
}
"""Keywords that refuse nothing of their own."""
BOUNDS = {
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
}
"""Keywords whose cases follow from their values."""
RULES = "x-kubernetes-validations"


@dataclass(frozen=True)
class Constraint:
    """One thing that a CRD refuses."""

    kind: str
    steps: Steps
    keyword: str
    value: Any
    schema: Json

    @property
    def name(self) -> str:
        """For test ids and messages."""
        place = ".".join(self.steps).replace(".[]", "[]").replace(".{}", "{}")
        what = f"={self.value['message'][:40]}" if self.keyword == RULES else f"={self.value}"
        return f"{self.kind}:{place or 'whole'}:{self.keyword}{what}"


@cache
def crds() -> dict[str, Json]:
    """The generated CRDs by kind."""
    loaded = (yaml.safe_load(file.read_text()) for file in sorted(CRD_FOLDER.glob("*.yaml")))
    return {crd["spec"]["names"]["kind"]: crd for crd in loaded}


def constraints() -> list[Constraint]:
    """All constraints of all kinds, one per required field, rule and bound."""
    return [
        constraint
        for kind, crd in crds().items()
        for version in crd["spec"]["versions"]
        for constraint in _below(kind, (), version["schema"]["openAPIV3Schema"])
    ]


def _below(kind: str, steps: Steps, schema: Json) -> Iterator[Constraint]:
    for keyword, value in schema.items():
        match keyword:
            case "properties":
                for name in sorted(value.keys() - _unbounded(steps, schema)):
                    yield from _below(kind, (*steps, name), value[name])
            case "items":
                yield from _below(kind, (*steps, "[]"), value)
            case "additionalProperties":
                yield from _below(kind, (*steps, "{}"), value)
            case "required":
                yield from (Constraint(kind, steps, keyword, name, schema) for name in value)
            case _ if keyword == RULES:
                yield from (Constraint(kind, steps, keyword, rule, schema) for rule in value)
            case "type" if steps in ((), ("metadata",), ("metadata", "name")):
                continue  # the API server's own
            case _ if keyword not in STRUCTURE:
                yield Constraint(kind, steps, keyword, value, schema)


def _unbounded(steps: Steps, schema: Json) -> set[str]:
    """Fields that bear no bounds of ours: the API server's own, and those declared only so that a rule sees them."""
    if not steps:
        return {"apiVersion", "kind"}
    return set(schema["properties"]) if "x-kubernetes-preserve-unknown-fields" in schema else set()
