"""What is in memory of a source's documents while it is read: little of each, because it is there for all of them at once."""

from dataclasses import dataclass
from datetime import datetime

from ..models.ids import DocumentId
from ..models.knowledge import DocumentState, KnownDocument
from .facts import SourceSettings, has_same_settings, without_ours
from .items import Known
from .work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline(Known):
    """Of one document, as the reading began."""

    id: DocumentId
    updated_at: datetime
    """When it was changed last."""
    is_settled: bool
    """The index holds it, by the configuration of now: while its source calls it unchanged, nothing is to be done."""


def build_outline(document: KnownDocument, work: Work, settings: SourceSettings) -> Outline:
    """The outline of a document. Of some the bytes are wanted: the source may not say that these are as they were."""
    return Outline(
        content_hash=document.content_hash if is_current(document, work) else None,
        validators=without_ours(document.validators),
        is_excluded=document.state is DocumentState.EXCLUDED,
        id=document.id,
        updated_at=document.updated_at,
        is_settled=_is_settled(document, work, settings),
    )


def is_current(document: KnownDocument, work: Work) -> bool:
    """Whether its stored text is what would be read out of the same content now."""
    return (
        document.state is DocumentState.INDEXED and document.reader == work.reader and document.content_hash is not None
    )


def _is_settled(document: KnownDocument, work: Work, settings: SourceSettings) -> bool:
    return (
        document.state is DocumentState.INDEXED
        and has_same_settings(document.validators, settings)
        and work.holds(document)
    )
