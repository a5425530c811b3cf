"""The search finds what is planted, however it is written; else a test that finds nothing would prove nothing."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest

from .secret_search import Haystack, list_forms

SECRET = 'sk-pl/nt+d "key" é=1'


def encode_manifest(secret: str) -> str:
    """As a Secret's data stand in `kubectl get -o yaml`."""
    return f"data:\n  api-key: {base64.b64encode(secret.encode()).decode()}\n"


def encode_url(secret: str) -> str:
    """As a password stands in a store's URL, the whole of which is encoded."""
    url = f"postgresql://t_1:{quote(secret, safe='')}@db/syntera"
    return base64.b64encode(url.encode()).decode()


WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: f"level=info key={secret} end",
    "JSON": lambda secret: json.dumps({"authorization": f"Bearer {secret}"}),
    "repr": lambda secret: repr({"key": secret}),
    "URL": lambda secret: f"GET /x?key={quote(secret, safe='')}&y=1",
    "form": lambda secret: urlencode({"key": secret}),
    "form by hand": lambda secret: f"key={quote_plus(secret)}",
    "Secret": encode_manifest,
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "basic authentication": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "two bytes in": lambda secret: base64.b64encode(f"ab{secret}cd".encode()).decode(),
    "one byte in": lambda secret: base64.b64encode(f"a{secret}bcd".encode()).decode(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_planted_secret_is_found(written: str) -> None:
    haystack = Haystack()
    haystack.add("log of a pod", "nothing here")
    haystack.add("events", WRITTEN[written](SECRET))
    leaks = haystack.search({"model key": SECRET})
    assert {(leak.secret, leak.place) for leak in leaks} == {("model key", "events")}


def test_password_in_an_encoded_url_is_found() -> None:
    password = "URL-safe_as-ours_are"
    haystack = Haystack()
    haystack.add("config map", encode_url(password))
    assert haystack.search({"password": password})


def test_every_secret_is_looked_for_everywhere() -> None:
    haystack = Haystack()
    haystack.add("first", "the-first-secret and the-second-secret")
    haystack.add("second", "the-second-secret")
    leaks = haystack.search({"a": "the-first-secret", "b": "the-second-secret", "c": "the-third-secret"})
    assert [(leak.secret, leak.place) for leak in leaks] == [("a", "first"), ("b", "first"), ("b", "second")]


def test_leak_is_told_without_the_secret() -> None:
    haystack = Haystack()
    haystack.add("log", f"before {SECRET} after")
    (leak,) = haystack.search({"model key": SECRET})
    assert leak.context == "before <model key> after"
    assert SECRET not in repr(leak)


def test_other_texts_are_no_leak() -> None:
    haystack = Haystack()
    haystack.add("log", f"{SECRET[:-2]} and {base64.b64encode(b'something else entirely').decode()}")
    assert haystack.search({"model key": SECRET}) == []


@pytest.mark.parametrize("text", ["", " \n"])
def test_empty_text_is_refused_where_there_has_to_be_one(text: str) -> None:
    haystack = Haystack()
    with pytest.raises(ValueError, match="nothing in log"):
        haystack.add("log", text)
    haystack.add_if_any("log", text)


def test_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        list_forms("short")
