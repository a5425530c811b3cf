"""What a site's robots.txt allows us, by RFC 9309.

A file that is not there (4xx) allows everything; one that cannot be had forbids everything, for this time. At most 500 KiB are
read, as the RFC wants at least. The parser knows no regular expressions, so hostile patterns cost little.
"""

from dataclasses import dataclass

from protego import Protego

TOKEN = "Syntera"
"""Our name in robots.txt files."""
USER_AGENT = f"{TOKEN}/1 (reads documentation for a knowledge base)"
MOST_BYTES = 500 * 1024


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one site."""

    rules: Protego | None = None
    """None: everything is allowed."""

    @classmethod
    def read(cls, content: bytes) -> "Robots":
        """The rules of a file. A line that the bound has cut is left out."""
        if len(content) >= MOST_BYTES:
            content = content[:MOST_BYTES].rpartition(b"\n")[0]
        return cls(Protego.parse(content.decode("utf-8-sig", "replace")))

    def allows(self, url: str) -> bool:
        """Whether we may read the page."""
        return self.rules is None or self.rules.can_fetch(url, TOKEN)

    def pause_seconds(self) -> float:
        """How long we have to wait between two requests; 0: it does not say."""
        if self.rules is None:
            return 0.0
        rate = self.rules.request_rate(TOKEN)
        by_rate = 0.0 if rate is None else rate.seconds / rate.requests
        return max(self.rules.crawl_delay(TOKEN) or 0.0, by_rate)
