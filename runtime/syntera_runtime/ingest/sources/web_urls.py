"""Names of pages: one spelling for each, and which of them belong to the sites that a source reads."""

from collections.abc import Iterable

from yarl import URL

from ...egress.targets import MAX_LENGTH, TargetRefused, parse_target

_WWW = "www."
_PLAIN = "http://"


def normalize(url: str, *, base: str | None = None) -> str | None:
    """The URL's usual spelling, without its fragment: host and percent-encodings alike, no default port, no dot segments.

    None: it is no page's. Parameters stay, those of trackers too: what they mean is the site's to say, by its canonical URLs.
    """
    try:
        found = URL(url.strip()) if base is None else URL(base).join(URL(url.strip()))
        spelled = str(found.with_fragment(None))
        if spelled.count("/") == 2:  # a host alone
            spelled += "/"
        parse_target(spelled)
    except (TargetRefused, ValueError, TypeError):
        return None
    return spelled if len(spelled) <= MAX_LENGTH else None


def path_of(url: str) -> str:
    """The path of a URL, decoded, without its parameters: what globs are held against."""
    return URL(url, encoded=True).path


def name_of(url: str) -> str:
    """The last segment of its path, else the host."""
    parts = URL(url, encoded=True)
    return parts.path.rstrip("/").rpartition("/")[2] or (parts.host or "")


def authority_of(url: str) -> str:
    """Host and port; http and https at their own ports are one."""
    parts = URL(url, encoded=True)
    host = parts.raw_host or ""
    return host if parts.is_default_port() else f"{host}:{parts.port}"


def origin_of(url: str) -> str:
    """What a robots.txt is for."""
    return str(URL(url, encoded=True).origin())


class Sites:
    """The sites whose pages are read."""

    def __init__(self, urls: Iterable[str]) -> None:
        """Those of these URLs."""
        self._authorities: set[str] = set()
        self._secure: set[str] = set()
        for url in urls:
            self._add(url)

    def has(self, url: str) -> bool:
        """Whether the page is of one of them."""
        return authority_of(url) in self._authorities

    def secure(self, url: str) -> str:
        """The URL by https, where the site is read by it: old links to the same pages need no way of their own."""
        if url.startswith(_PLAIN) and authority_of(url) in self._secure:
            return f"https://{url.removeprefix(_PLAIN)}"
        return url

    def takes_redirect(self, url: str) -> bool:
        """Whether a redirect may lead there: a site may send its readers to its name with `www.`, or without; that one belongs to it
        from then on."""
        authority = authority_of(url)
        other = authority.removeprefix(_WWW) if authority.startswith(_WWW) else _WWW + authority
        if authority not in self._authorities and other not in self._authorities:
            return False
        self._add(url)
        return True

    def _add(self, url: str) -> None:
        self._authorities.add(authority_of(url))
        if not url.startswith(_PLAIN):
            self._secure.add(authority_of(url))
