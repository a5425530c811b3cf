"""The code in pages of the documentation, to be run as it stands there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def code_blocks(page: str, language: str) -> list[str]:
    """The blocks of that language in a page below `docs`, in order.

    Raises:
        LookupError: There is none.
    """
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise LookupError(f"{page} has no {language!r} block")
    return found
