"""That every test which the security page calls to witness is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WITNESSES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())))


def test_page_calls_witnesses() -> None:
    assert len(WITNESSES) > 40


@pytest.mark.parametrize(("file", "name"), WITNESSES)
def test_witness_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())

    assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
