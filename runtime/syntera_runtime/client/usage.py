"""What was used, and what it cost."""

from datetime import date
from uuid import UUID

from ..models.usage import UsageGroup
from .calls import Caller, Request, segment
from .usage_models import ConversationUsage, UsageReport


class UsageReports:
    """Asks what was used; the credentials need the scope `usage:read`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def report(
        self, *, since: date | None = None, until: date | None = None, group_by: str = UsageGroup.DAY
    ) -> UsageReport:
        """What was used from one day (UTC) to another, and how much of the Tenant's budgets is used now.

        Args:
            since: The first day. None: the first of the last one's month.
            until: The last day. None: today.
            group_by: What each item is about, a `UsageGroup`.
        """
        query = {
            "from": None if since is None else since.isoformat(),
            "to": None if until is None else until.isoformat(),
            "groupBy": str(group_by),
        }
        return await self._caller.get(UsageReport, Request("GET", "/v1/usage", query=query))

    async def conversation(self, conversation_id: UUID | str) -> ConversationUsage:
        """What one conversation used, be it deleted or not.

        Raises:
            ConversationNotFound: There is none with that id, and nothing was used in one.
        """
        path = f"/v1/conversations/{segment(conversation_id)}/usage"
        return await self._caller.get(ConversationUsage, Request("GET", path))
