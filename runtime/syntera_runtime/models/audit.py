"""Who has done what with the tenant's administration."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .ids import ActId


@dataclass(frozen=True, slots=True)
class Act:
    """One request for an operation of which a record is kept. It is written before the operation is done."""

    id: ActId
    """Acts are ordered and found by it."""
    at: datetime
    """When the id was made, to the millisecond."""
    operation: str
    """Id of the operation in the API's description."""
    subject: str
    """The `subject` of the principal."""
    targets: Mapping[str, str]
    """Ids of what it was done to, by the names that they have in the API."""
    request_id: str
    address: str | None = None
    """Where the request came from; None: not known."""
    status: int | None = None
    """Status of the answer; None: the process died before there was one, or could not write it."""


@dataclass(frozen=True, slots=True)
class ActFilter:
    """Which acts are wanted. None: any."""

    operation: str | None = None
    subject: str | None = None
    at_from: datetime | None = None
    at_before: datetime | None = None
