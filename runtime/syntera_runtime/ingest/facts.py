"""What is known of a document, put together of what its source, its content and the configuration say. Pure.

Beside a source's own validators a document carries two of ours: what the source's configuration said of all its documents, and a
hash of what the source said of this one. So an unchanged document needs no look into its text to see that nothing is to be written.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from syntera_crds.contract.knowledge_config import EmbeddingModel, Source

from ..models.knowledge import Chunk, DocumentFacts, Extracted

MOST_TITLE = 500
"""Characters of a title."""
_OURS = "syntera."
_SOURCE = _OURS + "source"
_FACTS = _OURS + "facts"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What the configuration of a source says of all its documents."""

    audience: frozenset[str]
    tags: frozenset[str]
    language: str | None
    title_wins: bool
    """Whether the title of the source counts, whatever the content calls itself."""

    @classmethod
    def of(cls, source: Source) -> "SourceSettings":
        """Those of a source."""
        return cls(
            frozenset(source.audience), frozenset(source.tags), source.language, title_wins=source.inline is not None
        )

    def to_text(self) -> str:
        """As it stands among the validators."""
        return json.dumps([sorted(self.audience), sorted(self.tags), self.language], separators=(",", ":"))


def merge_facts(
    said: DocumentFacts, settings: SourceSettings, extracted: Extracted, *, media_type: str, size: int
) -> DocumentFacts:
    """What is known of a document that was read.

    The configuration alone says for whom it is, unless whoever uploaded it did; its language is the configuration's, else the content's, else the source's.
    """
    title = said.title if settings.title_wins else (extracted.title or said.title)
    return replace(
        said,
        title=clean_title(title),
        media_type=media_type,
        language=settings.language or extracted.language or said.language,
        audience=said.audience if said.keeps_audience else settings.audience,
        tags=settings.tags | said.tags | frozenset(extracted.tags),
        modified_at=extracted.modified_at or said.modified_at,
        size=size,
    )


def renew_facts(
    facts: DocumentFacts, settings: SourceSettings, extracted: Extracted, *, validators: Mapping[str, str]
) -> DocumentFacts:
    """The same of a document that is as it was, by the configuration of now."""
    _, tags_before, language_before = json.loads(validators.get(_SOURCE, "[[],[],null]"))
    own_language = extracted.language if language_before else facts.language
    return replace(
        facts,
        language=settings.language or own_language,
        audience=facts.audience if facts.keeps_audience else settings.audience,
        tags=(facts.tags - frozenset(tags_before)) | settings.tags | frozenset(extracted.tags),
    )


def mark(validators: Mapping[str, str], settings: SourceSettings, said: DocumentFacts | None) -> dict[str, str]:
    """Validators with ours beside them. Without what the source said now, its mark of before stays."""
    marked = {**validators, _SOURCE: settings.to_text()}
    return marked if said is None else {**marked, _FACTS: _hash_facts(said)}


def has_same_settings(validators: Mapping[str, str], settings: SourceSettings) -> bool:
    """Whether a document was taken in with these settings of its source."""
    return validators.get(_SOURCE) == settings.to_text()


def has_same_facts(validators: Mapping[str, str], said: DocumentFacts) -> bool:
    """Whether the source says of a document what it said before."""
    return validators.get(_FACTS) == _hash_facts(said)


def without_ours(validators: Mapping[str, str]) -> dict[str, str]:
    """Those that a source gave."""
    return {name: value for name, value in validators.items() if not name.startswith(_OURS)}


def replace_validators(before: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    """What the source gives now, with ours of before. None: as before."""
    if given is None:
        return dict(before)
    return {**given, **{name: value for name, value in before.items() if name.startswith(_OURS)}}


def build_embedded_text(model: EmbeddingModel, *, title: str, chunk: Chunk) -> str:
    """What is embedded of a chunk: where it stands, then what it says, because a chunk alone often does not name its subject."""
    path = chunk.headings[1:] if chunk.headings[:1] == (title,) else chunk.headings
    place = " > ".join(filter(None, (title, *path)))
    return f"{model.document_prefix}{place}\n\n{chunk.content}"


def hash_embedded_text(text: str) -> bytes:
    """By which its vector is found."""
    return hashlib.sha256(text.encode()).digest()[:16]


def clean_title(title: str) -> str:
    """One line without control characters, of bounded length."""
    words = "".join(
        " " if unicodedata.category(character) in ("Cc", "Cs") else character for character in title
    ).split()
    return " ".join(words)[:MOST_TITLE] or "Untitled"


def _hash_facts(said: DocumentFacts) -> str:
    modified_at = said.modified_at and said.modified_at.isoformat()
    content = json.dumps([said.title, said.url, said.language, sorted(said.tags), modified_at])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
