"""URLs of stores with somebody's credentials in them. Pure."""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_CREDENTIALS = frozenset({"user", "username", "password", "passfile"})
"""Query parameters that would overrule what stands before the host."""


def with_credentials(url: str, *, user: str, password: str) -> str:
    """`url` for another login; hosts, database and parameters stay."""
    scheme, _, rest = without_credentials(url).partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def without_credentials(url: str) -> str:
    """`url` with nobody's login in it."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in _CREDENTIALS])
    return urlunsplit((parts.scheme, hosts, parts.path, query, ""))


def password_in(url: str) -> str | None:
    """The password in front of the host, None if there is none or `url` is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
