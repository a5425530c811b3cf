"""Text from outside, made fit to be stored and sent."""


def clean(text: str) -> str:
    """The text without what neither PostgreSQL nor UTF-8 can hold: NUL and halves of surrogate pairs.

    Both become U+FFFD. A pair that arrives as two halves in one text becomes the character that it stands for.
    """
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")
