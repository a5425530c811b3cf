"""Which answers are documents, as far as the server says. What they really are, readers of formats find out."""

from .globs import has_known_ending
from .web_http import Answer
from .web_urls import path_of

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_READ = _HTML | {
    "application/json",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "text/csv",
    "text/markdown",
    "text/plain",
    "text/x-markdown",
}
_SAYS_NOTHING = frozenset({None, "application/octet-stream", "binary/octet-stream"})


def is_html(answer: Answer) -> bool:
    """Whether it is a page that may have links."""
    if answer.media_type is not None:
        return answer.media_type in _HTML
    return answer.content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def is_read(answer: Answer) -> bool:
    """Whether documents of that type are read; where the server says nothing of it, the name counts."""
    if answer.media_type in _SAYS_NOTHING:
        return answer.media_type is None or has_known_ending(path_of(answer.url))
    return answer.media_type in _READ
