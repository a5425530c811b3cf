"""The record of administrative acts."""

from collections.abc import AsyncGenerator
from datetime import datetime
from uuid import UUID

from .calls import Caller
from .models import Answer, Page
from .pages import read_pages


class Act(Answer):
    """One administrative act."""

    id: UUID
    at: datetime
    operation: str
    """The `operationId` of what was asked for."""
    subject: str
    """Who asked: `key:<id>` or `user:<issuer>|<subject>`."""
    targets: dict[str, str] = {}
    """What it was done to, by the names that stand in paths."""
    request_id: str = ""
    address: str | None = None
    status: int | None = None
    """Of the answer; None: the process ended before there was one, and the act may have been done or not."""


class AuditLog:
    """Reads the record; the credentials need the scope `admin`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(
        self,
        *,
        operation: str | None = None,
        subject: str | None = None,
        at_from: datetime | None = None,
        at_before: datetime | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[Act, None]:
        """Acts, newest first, page by page as they are read.

        Args:
            operation: Those of one operation, by its `operationId`.
            subject: Those of one key or person.
        """
        query = {
            "operation": operation,
            "subject": subject,
            "atFrom": None if at_from is None else at_from.isoformat(),
            "atBefore": None if at_before is None else at_before.isoformat(),
            "limit": page_size,
        }
        return read_pages(self._caller, Page[Act], "/v1/audit-log", query)
