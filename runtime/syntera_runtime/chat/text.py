"""Text from outside, made fit to be stored and sent."""

_LONGEST_TITLE = 80


def clean(text: str) -> str:
    """The text without what neither PostgreSQL nor UTF-8 can hold: NUL and halves of surrogate pairs.

    Both become U+FFFD. A pair that arrives as two halves in one text becomes the character that it stands for.
    """
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")


def build_title(content: str) -> str | None:
    """What a conversation is called that begins with these words: the first ones, on one line, cut between words if possible.

    None: there is nothing to be seen in them.
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in content).split())
    if len(line) <= _LONGEST_TITLE:
        return line or None
    whole_words = line[:_LONGEST_TITLE].rpartition(" ")[0]
    return f"{whole_words if len(whole_words) > _LONGEST_TITLE // 2 else line[: _LONGEST_TITLE - 1]}…"
