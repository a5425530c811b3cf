"""Manifests of our kinds in the how-tos are sound, so that whoever copies one has it accepted."""

from collections.abc import Iterator

import pytest
import yaml

from syntera_crds.contract.names import API_VERSION
from syntera_crds.validation import load

from .code_blocks import ROOT, code_blocks


def manifests() -> Iterator[tuple[str, dict[str, object]]]:
    """Each with the page that it stands in."""
    for page in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        blocks = code_blocks(f"how-to/{page.name}", "yaml") if "```yaml" in page.read_text() else []
        for block in blocks:
            for document in yaml.safe_load_all(block):
                if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                    yield page.name, document


FOUND = list(manifests())


def test_manifests_are_found() -> None:
    assert {str(document["kind"]) for _, document in FOUND} == {"Tenant", "Agent", "KnowledgeBase"}


@pytest.mark.parametrize(
    ("page", "document"), FOUND, ids=lambda value: value if isinstance(value, str) else value["kind"]
)
def test_manifest_is_sound(page: str, document: dict[str, object]) -> None:
    load(document)
