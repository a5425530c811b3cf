"""Names of files, made fit to be stored, shown, and written into a header."""

import unicodedata

_LONGEST = 150
_UNNAMED = "file"


def clean_name(name: str) -> str:
    """The last part of a path, on one line, without characters that are not seen, and not too long; its ending stays."""
    last = unicodedata.normalize("NFC", name.replace("\\", "/")).rpartition("/")[2]
    seen = " ".join("".join(character for character in last if character.isprintable()).split()).strip(". ")
    if not seen:
        return _UNNAMED
    if len(seen) <= _LONGEST:
        return seen
    stem, dot, ending = seen.rpartition(".")
    if not dot or len(ending) > 20:
        return seen[:_LONGEST]
    return f"{stem[: _LONGEST - len(ending) - 1]}.{ending}"
