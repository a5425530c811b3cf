"""What is kept with a page's document from one sync to the next: validators, and the links of the page.

Validators are in memory for all pages at once; links, which may be many, are read from the store when they are needed. A page that is as it was (304) has no body, and one that cannot be had this time none either; without its links everything
behind it would look as if it were gone. A page with more links than are kept is asked for without conditions, so it always
shows them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import WebSource

from ..items import Known, SourceDocuments
from .web_http import Answer

_MOST_LINKS = 32 * 1024
"""Characters of links that are kept with a document."""
_MOST_TAG = 512


@dataclass(frozen=True, slots=True)
class Remembered:
    """A document from before, found by the URL at which its page was read."""

    path: str
    validators: Mapping[str, str]
    is_content_known: bool
    is_excluded: bool

    def conditions(self) -> dict[str, str]:
        """Headers of a request that need not be answered with what is known."""
        if not self.is_content_known:
            return {}
        named = {
            "If-None-Match": self.validators.get("etag"),
            "If-Modified-Since": self.validators.get("last-modified"),
        }
        return {name: value for name, value in named.items() if value is not None}

    @property
    def has_links(self) -> bool:
        """Whether the links of its page were kept."""
        return "rules" in self.validators


class Memory:
    """What is known from before, as far as it still counts."""

    def __init__(self, known: Mapping[str, Known], web: WebSource, documents: SourceDocuments) -> None:
        self._documents = documents
        self._rules = hashlib.sha256(web.model_dump_json().encode()).hexdigest()[:16]
        self._pages: dict[str, Remembered] = {}
        for path, one in known.items():
            # Links were chosen by the source's rules of that time; under others a page shows its links anew.
            validators = one.validators if one.validators.get("rules") == self._rules else {}
            url = one.validators.get("url", path)
            self._pages[url] = Remembered(path, validators, one.content_hash is not None, one.is_excluded)

    def pages(self) -> Iterable[tuple[str, Remembered]]:
        """All documents, with the URLs at which they were read."""
        return self._pages.items()

    def of(self, url: str) -> Remembered | None:
        """The document that was read at a URL."""
        return self._pages.get(url)

    def conditions(self, url: str) -> dict[str, str]:
        """Headers of a conditional request for a URL; none where nothing is known."""
        remembered = self.of(url)
        return {} if remembered is None else remembered.conditions()

    async def find_links(self, remembered: Remembered) -> Sequence[str] | None:
        """Links of a page; None: they are not known.

        Raises:
            StoreUnavailable: They cannot be read.
        """
        return await self._documents.find_links(remembered.path) if remembered.has_links else None

    def make_validators(self, answer: Answer, path: str, links: Sequence[str]) -> dict[str, str]:
        """What is kept with a document beside its links for the next time. Empty: these are too many to be kept."""
        if sum(len(link) + 1 for link in links) > _MOST_LINKS:
            return {}
        validators = {"rules": self._rules, "url": "" if answer.url == path else answer.url}
        for name, value in (("etag", answer.etag), ("last-modified", answer.last_modified)):
            if value is not None and value.isprintable() and len(value) <= _MOST_TAG:
                validators[name] = value
        return {name: value for name, value in validators.items() if value}
