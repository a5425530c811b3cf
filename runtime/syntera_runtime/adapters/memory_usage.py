"""What was used, in memory: counted as PostgreSQL's trigger does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from ..models.ids import ConversationId
from ..models.turns import Turn
from ..models.usage import LimitLevel, Spent, UsageCount, UsageGroup, UsageLine

_Key = tuple[date, str, str, str]
_NOTHING = UsageCount()


class MemoryUsage:
    """The counts of one tenant."""

    def __init__(self) -> None:
        self._days: dict[_Key, UsageCount] = {}
        self._totals: Counter[tuple[str | None, date]] = Counter()
        self._conversations: dict[ConversationId, UsageCount] = {}

    def count(self, turn: Turn, *, asked_model: str | None, person: str | None) -> None:
        """Count a turn that has just ended."""
        assert turn.ended_at is not None
        today = turn.ended_at.astimezone(UTC).date()
        count = _count_of(turn)
        key = (today, turn.agent, turn.endpoint or "", asked_model or turn.model or "")
        self._days[key] = self._days.get(key, _NOTHING) + count
        self._totals[None, today.replace(day=1)] += count.total_tokens
        if person is not None:
            self._totals[person, today] += count.total_tokens
        if turn.conversation_id is not None:
            before = self._conversations.get(turn.conversation_id, _NOTHING)
            self._conversations[turn.conversation_id] = before + count

    def spent(self, *, person: str | None, conversation_id: ConversationId | None) -> Spent:
        """What counts for the limits of a turn that begins now."""
        today = datetime.now(UTC).date()
        conversation = None if conversation_id is None else self._conversations.get(conversation_id)
        return Spent(
            month_tokens=self._totals[None, today.replace(day=1)],
            person_tokens=0 if person is None else self._totals[person, today],
            conversation_tokens=conversation.total_tokens if conversation else 0,
            conversation_turns=conversation.turns if conversation else 0,
        )

    def conversation(self, conversation_id: ConversationId) -> UsageCount | None:
        """What a conversation used."""
        return self._conversations.get(conversation_id)

    def list(self, *, since: date, until: date, group: UsageGroup) -> Sequence[UsageLine]:
        """What was used from one day to another, by group."""
        lines: dict[UsageLine, UsageCount] = {}
        for (day, agent, endpoint, model), count in self._days.items():
            if since <= day <= until:
                line = _line(group, day=day, agent=agent, endpoint=endpoint, model=model)
                lines[line] = lines.get(line, _NOTHING) + count
        ordered = sorted(
            lines, key=lambda line: (line.day or since, line.agent or "", line.endpoint or "", line.model or "")
        )
        return [replace(line, count=lines[line]) for line in ordered]


def _count_of(turn: Turn) -> UsageCount:
    usage, cost = turn.usage, turn.cost
    is_limited = turn.limit is not None and turn.limit.level is LimitLevel.HARD
    tokens = usage.total_tokens if usage else 0
    return UsageCount(
        turns=0 if is_limited else 1,
        limited_turns=1 if is_limited else 0,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        estimated_tokens=tokens if usage and usage.is_estimated else 0,
        unpriced_tokens=tokens if cost is None else 0,
        costs=() if cost is None else (cost,),
    )


def _line(group: UsageGroup, *, day: date, agent: str, endpoint: str, model: str) -> UsageLine:
    """The group that a count belongs to, as yet without a count."""
    match group:
        case UsageGroup.DAY:
            return UsageLine(_NOTHING, day=day)
        case UsageGroup.AGENT:
            return UsageLine(_NOTHING, agent=agent)
        case UsageGroup.MODEL:
            return UsageLine(_NOTHING, endpoint=endpoint or None, model=model or None)
