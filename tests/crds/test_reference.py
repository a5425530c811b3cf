"""The field reference: complete, and its links lead somewhere."""

import re

import pytest

from syntera_crds.reference import build_reference
from syntera_crds.v1alpha1 import KINDS, ConditionType, Reason

from .constraints import RULES, constraints

PAGE = build_reference(KINDS.values())
FIELDS = sorted(
    {
        (one.kind, ".".join(one.steps[:-1]).replace(".[]", "[]"), one.steps[-1])
        for one in constraints()
        if len(one.steps) > 1 and one.steps[0] != "metadata" and one.steps[-1] not in ("[]", "{}")
    }
)
MESSAGES = sorted({one.value["message"] for one in constraints() if one.keyword == RULES})


def section_of(kind: str, path: str) -> str:
    """The text from a heading to the next."""
    _, found, rest = PAGE.partition(f"### {kind} `{path}`\n")
    assert found, f"no section {kind} {path}"
    return re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("kind", "path", "field"), FIELDS)
def test_every_field_has_a_row_in_the_section_of_its_object(kind: str, path: str, field: str) -> None:
    assert f"| `{field}`" in section_of(kind, path)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_rule_is_told(message: str) -> None:
    assert message[1:] in PAGE, "where it begins a sentence, its first letter is a capital"


def test_required_fields_are_marked() -> None:
    section = section_of("Tenant", "spec.models[]")
    assert "| `baseURL` (required) | string |" in section
    assert "| `proxyURL` | string |" in section


@pytest.mark.parametrize(
    ("kind", "path", "row"),
    [
        ("Tenant", "spec", "| `deletionPolicy` | `Retain` or `Delete` |"),
        ("Tenant", "spec", "| `models` | list of [objects](#tenant-specmodels) |"),
        ("Tenant", "spec", "| `runtime` | [object](#tenant-specruntime) |"),
        ("Tenant", "spec", "| `quota` | map to amounts |"),
        ("Tenant", "status.conditions[]", "| `lastTransitionTime` (required) | time |"),
        ("Agent", "spec", "| `suggestions` | list of strings |"),
        ("Tenant", "spec.auth.issuers[]", "| `algorithms` | list of `RS256` or `RS384` or"),
        ("Agent", "spec.model", "| `parameters` | any object |"),
        ("Agent", "spec.model", "| `temperature` | number |"),
    ],
)
def test_types_are_told_in_words(kind: str, path: str, row: str) -> None:
    assert row in section_of(kind, path)


@pytest.mark.parametrize(
    ("kind", "path", "words"),
    [
        ("Tenant", "spec.models[]", "Default 60. 1 to 600."),
        ("Tenant", "spec", "At most 32 entries; no two of the same name."),
        ("Agent", "spec", "At most 16 entries; each 1 to 256 characters."),
        ("Tenant", "status", "At least 0."),
    ],
)
def test_bounds_are_told_in_words(kind: str, path: str, words: str) -> None:
    assert words in section_of(kind, path)


def test_every_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\(#([^)]*)\)", PAGE))
    assert links
    assert links <= anchors


def test_headings_are_unique() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    assert len(headings) == len(set(headings))


@pytest.mark.parametrize("member", [*ConditionType, *Reason])
def test_every_condition_and_reason_is_explained(member: ConditionType | Reason) -> None:
    _, _, table = PAGE.partition("## Conditions\n")
    assert re.search(rf"^\| `{member.value}` \| [A-Z`].*\. \|$", table, re.MULTILINE)


def test_tables_have_as_many_cells_as_columns() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 4}
