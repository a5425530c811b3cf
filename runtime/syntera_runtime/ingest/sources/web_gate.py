"""Which pages may be asked for: those of the source's sites that their robots.txt allows."""

import asyncio

from . import robots
from .robots import Robots
from .web_http import PageClient, PageMissed, PageSkipped
from .web_urls import Sites, authority_of, normalize, origin_of


class Gate:
    """Looks at each URL before it is asked for, at each hop of a redirect too."""

    def __init__(self, sites: Sites, client: PageClient) -> None:
        self._sites = sites
        self._client = client
        self._robots: dict[str, Robots | PageMissed] = {}

    async def check(self, url: str) -> None:
        """Return if the page may be asked for.

        Raises:
            PageSkipped: It may not.
            PageMissed: There is no knowing whether it may.
        """
        if normalize(url) is None:
            raise PageSkipped("it is no URL that can be read")
        origin = origin_of(url)
        if origin not in self._robots:
            self._robots[origin] = await self._read_robots(origin)
        found = self._robots[origin]
        if isinstance(found, PageMissed):
            raise PageMissed(found.reason, found.message)
        if not await asyncio.to_thread(found.allows, url):
            raise PageSkipped(f"the site's robots.txt forbids it to {robots.TOKEN}")

    async def check_hop(self, url: str) -> None:
        """Return if a redirect may be followed there.

        Raises:
            PageSkipped: It may not.
            PageMissed: There is no knowing whether it may.
        """
        if not self._sites.takes_redirect(url):
            raise PageSkipped(f"it redirects to another site, {shorten(url)}; name that in urls if it is wanted")
        await self.check(url)

    async def _read_robots(self, origin: str) -> Robots | PageMissed:
        try:
            answer = await self._client.get(
                f"{origin}/robots.txt", most_bytes=robots.MOST_BYTES, is_cut=True, check_hop=_follow
            )
        except PageSkipped:
            return Robots()
        except PageMissed as missed:
            return PageMissed(missed.reason, f"The site's robots.txt cannot be read, so nothing is. {missed.message}")
        if answer.status != 200:
            return Robots()
        found = await asyncio.to_thread(Robots.read, answer.content)
        self._client.pace.ask_for(authority_of(origin), found.pause_seconds())
        return found


def shorten(url: str) -> str:
    """A URL as it stands in messages."""
    return repr(url if len(url) <= 200 else url[:200] + "…")


async def _follow(_: str) -> None:
    """A site may keep its rules elsewhere, as the RFC has it; the guard of all requests looks at that, too."""
