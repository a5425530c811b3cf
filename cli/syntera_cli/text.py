"""Text from elsewhere, made safe to print: a model, or whoever writes for one, must not drive the terminal."""

import re

# Everything of C0 and C1 but tab and line feed; escape sequences begin with one of these.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text without control characters."""
    return _CONTROL.sub("", text)
