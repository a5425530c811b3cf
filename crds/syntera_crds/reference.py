"""Writes the field reference of all kinds as Markdown, from the same schemas that the API server gets. Pure text."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .contract.names import API_VERSION
from .crd import CATEGORY, build_object_schema
from .schema import Schema
from .v1alpha1.common import ConditionType, Reason, Resource
from .v1alpha1.rules import VALIDATIONS

_INTRODUCTION = f"""\
<!-- Generated from the models in crds/syntera_crds by `make generate`; do not edit. -->
# Resources

Everything of `{API_VERSION}`, field by field. `kubectl explain` shows the same in a terminal, for example
`kubectl explain tenant.spec.models`; `kubectl get {CATEGORY} -A` lists the objects of all kinds.

A field that is not required may be left out; what happens then stands beside it. Unknown fields are refused.
"""
_STATUS_NOTE = "Written by the operator; whoever edits an object leaves it alone."


@dataclass(frozen=True, slots=True)
class _Section:
    """One object of a kind's schema: a heading of the page."""

    kind: str
    path: str
    schema: Schema

    @property
    def title(self) -> str:
        return f"{self.kind} `{self.path}`"


def build_reference(kinds: Iterable[type[Resource]]) -> str:
    """The whole page, ending in a line break."""
    parts = [_INTRODUCTION, *(_build_kind(kind) for kind in kinds), _build_conditions()]
    return "\n".join(parts)


def _build_kind(kind: type[Resource]) -> str:
    schema, info = build_object_schema(kind), kind.info
    lines = [
        f"## {kind.kind()}\n",
        f"{schema['description']}\n",
        f"{'Cluster-scoped' if info.scope == 'Cluster' else 'Lives in the namespace of a tenant'}; "
        f"`kubectl get {info.plural}`, in short {' or '.join(f'`{name}`' for name in info.short_names)}. "
        f"Its name: {_limits(schema['properties']['metadata']['properties']['name'])}.\n",
        *_rules(schema),
        "| column | shows |",
        "|---|---|",
        *(
            f"| {column.name}{' (`-o wide`)' if column.wide else ''} | {column.description} |"
            for column in info.columns
        ),
        "",
    ]
    for field in ("spec", "status"):
        for section in _sections(_Section(kind.kind(), field, schema["properties"][field])):
            lines += _build_section(section)
    return "\n".join(lines)


def _sections(section: _Section) -> Iterator[_Section]:
    """The section itself and those of all objects below it, in the order of the fields."""
    yield section
    for name, schema in section.schema["properties"].items():
        inner, mark = (schema["items"], "[]") if schema.get("type") == "array" else (schema, "")
        if _is_object(inner):
            yield from _sections(_Section(section.kind, f"{section.path}.{name}{mark}", inner))


def _build_section(section: _Section) -> list[str]:
    lines = [f"### {section.title}\n", f"{section.schema['description']}\n"]
    if section.path == "status":
        lines.append(f"{_STATUS_NOTE}\n")
    lines += ["| field | type | meaning |", "|---|---|---|"]
    required = section.schema.get("required", [])
    for name, schema in section.schema["properties"].items():
        mark = " (required)" if name in required else ""
        meaning = " ".join(filter(None, [schema["description"], _sentence(_limits(schema))]))
        lines.append(f"| `{name}`{mark} | {_type(section, name, schema)} | {_cell(meaning)} |")
    return [*lines, "", *_rules(section.schema)]


def _type(section: _Section, name: str, schema: Schema) -> str:
    below = f"{section.path}.{name}"
    match schema:
        case _ if _is_amount(schema):
            text = "amount"
        case {"enum": values}:
            text = " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items} if _is_object(items):
            text = f"list of [objects](#{_anchor(_Section(section.kind, f'{below}[]', items))})"
        case {"type": "array", "items": {"enum": values}}:
            text = "list of " + " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            text = f"list of {_type(section, name, items)}s"
        case {"type": "object", "additionalProperties": values}:
            text = f"map to {_type(section, name, values)}s"
        case {"x-kubernetes-preserve-unknown-fields": True}:
            text = "any object"
        case {"format": "date-time"}:
            text = "time"
        case _ if _is_object(schema):
            text = f"[object](#{_anchor(_Section(section.kind, below, schema))})"
        case _:
            text = str(schema["type"])
    return text


def _limits(schema: Schema) -> str:
    """The bounds of one value in words; empty if there are none."""
    found = [
        _range(schema.get("minimum"), schema.get("maximum"), ""),
        "" if _is_amount(schema) else _range(schema.get("minLength"), schema.get("maxLength"), " characters"),
        _range(schema.get("minItems"), schema.get("maxItems"), " entries"),
        _range(schema.get("minProperties"), schema.get("maxProperties"), " entries"),
        *(rule["message"] for rule in schema.get(VALIDATIONS, []) if not _is_object(schema)),
    ]
    if keys := schema.get("x-kubernetes-list-map-keys"):
        found.append(f"no two of the same {keys[0]}")
    if items := schema.get("items"):
        each = "" if _is_object(items) else _limits(items)
        found.append(f"each {each}" if each else "")
    return "; ".join(filter(None, found))


def _range(least: float | None, most: float | None, unit: str) -> str:
    match least, most:
        case None, None:
            return ""
        case None, _:
            return f"at most {most}{unit}"
        case _, None:
            return f"at least {least}{unit}"
        case _:
            return f"{least} to {most}{unit}"


def _rules(schema: Schema) -> list[str]:
    """The rules on an object as a whole, each with the field that it speaks of."""
    rules = schema.get(VALIDATIONS, [])
    if not rules:
        return []
    subjects = (f"`{rule['fieldPath'].lstrip('.')}` " if "fieldPath" in rule else "" for rule in rules)
    return [*(f"- {subject}{rule['message']}." for subject, rule in zip(subjects, rules, strict=True)), ""]


def _build_conditions() -> str:
    lines = ["## Conditions\n", "| type | when it is true |", "|---|---|"]
    lines += [f"| `{value}` | {text} |" for value, text in _member_docs(ConditionType).items()]
    lines += ["", "| reason | what it means |", "|---|---|"]
    lines += [f"| `{value}` | {text} |" for value, text in _member_docs(Reason).items()]
    return "\n".join([*lines, ""])


def _member_docs(enum: type[StrEnum]) -> dict[str, str]:
    """The string under each member, which Python itself does not keep."""
    (definition,) = ast.parse(inspect.getsource(enum)).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        match statement, following:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                docs[enum[name].value] = " ".join(text.split())
    return docs


def _is_object(schema: Schema) -> bool:
    """Whether the schema has fields of its own; free-form objects and maps have none that a reader writes."""
    return "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema


def _is_amount(schema: Schema) -> bool:
    return "x-kubernetes-int-or-string" in schema


def _anchor(section: _Section) -> str:
    """The fragment that Markdown renderers make from a heading."""
    return re.sub(r"[^\w\- ]", "", section.title.lower()).replace(" ", "-")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
