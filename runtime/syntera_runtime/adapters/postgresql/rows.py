"""Rows of messages and turns as the models' classes, and the outcome of a turn as columns."""

from collections.abc import Sequence

import orjson
from asyncpg import Record
from pydantic import TypeAdapter

from ...ids import next_id
from ...models.conversations import Failure, Message, MessageState, Role
from ...models.files import Part, Parts
from ...models.ids import ConversationId, MessageId, TurnId
from ...models.live_events import TurnRecord
from ...models.turns import Turn, TurnOutcome, TurnState, Usage
from ...models.usage import Budget, Cost, LimitLevel, LimitMet

MESSAGE_COLUMNS = (
    "m.id, m.conversation_id, m.turn_id, m.role, m.state, m.content, m.created_at, m.parts, t.error_code, t.error_detail, "
    "t.limited_by, t.limit_level"
)
"""Of messages `m`, left-joined with their turns `t`."""

_OF_MESSAGES = ("id", "conversation_id", "turn_id", "role", "state", "content", "created_at", "parts")
USER_MESSAGE_COLUMNS = ", ".join(f"u.{name} AS user_{name}" for name in _OF_MESSAGES)
"""Of the messages `u` that users said in their turns."""
REPLY_COLUMNS = ", ".join(f"r.{name} AS reply_{name}" for name in _OF_MESSAGES)
"""Of the replies `r` of turns."""

TURN_COLUMNS = (
    "id, conversation_id, agent, agent_revision, state, endpoint, model, prompt_tokens, completion_tokens, "
    "error_code, error_detail, created_at, ended_at, is_estimated, cost, currency, limited_by, limit_level"
)


_PARTS: TypeAdapter[tuple[Part, ...]] = TypeAdapter(Parts)


def read_parts(stored: str | None) -> tuple[Part, ...]:
    """A message's parts."""
    return () if stored is None else _PARTS.validate_python(orjson.loads(stored))


def write_parts(parts: Sequence[Part]) -> str | None:
    """A message's parts as they are stored."""
    # `default`, because PostgreSQL's driver gives ids of its own class.
    return orjson.dumps(list(parts), default=str).decode() if parts else None


def read_message(row: Record) -> Message:
    """A row with `MESSAGE_COLUMNS`."""
    state, turn_id = MessageState(row["state"]), row["turn_id"]
    return Message(
        id=MessageId(row["id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        role=Role(row["role"]),
        content=row["content"],
        created_at=row["created_at"],
        state=state,
        turn_id=None if turn_id is None else TurnId(turn_id),
        failure=_read_failure(row) if state is MessageState.FAILED else None,
        limited_by=_limited_by(Role(row["role"]), _read_limit(row)),
        parts=read_parts(row["parts"]),
    )


def read_turn(row: Record) -> Turn:
    """A row with `TURN_COLUMNS`."""
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    conversation_id = row["conversation_id"]
    return Turn(
        id=TurnId(row["id"]),
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        agent=row["agent"],
        agent_revision=row["agent_revision"],
        state=TurnState(row["state"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        endpoint=row["endpoint"],
        model=row["model"],
        usage=None if prompt is None or completion is None else Usage(prompt, completion, row["is_estimated"]),
        failure=_read_failure(row),
        cost=None if row["cost"] is None else Cost(row["cost"], row["currency"]),
        limit=_read_limit(row),
    )


def read_turn_record(row: Record) -> TurnRecord:
    """A row with `TURN_COLUMNS`, `USER_MESSAGE_COLUMNS`, `REPLY_COLUMNS`, and the turn's first and last event."""
    turn = read_turn(row)
    question = _read_told(row, "user_", None, None)
    return TurnRecord(
        turn=turn,
        user_message=question,
        reply_id=MessageId(next_id(question.id)),
        first_event=row["first_event"],
        last_event=row["last_event"],
        reply=None if row["reply_id"] is None else _read_told(row, "reply_", turn.failure, turn.limit),
    )


def outcome_values(outcome: TurnOutcome) -> tuple[str | int | None, ...]:
    """State, endpoint, model, prompt tokens, completion tokens, error code, error detail: in this order."""
    usage, failure = outcome.usage, outcome.failure
    return (
        outcome.state.value,
        outcome.endpoint,
        outcome.model,
        usage.prompt_tokens if usage else None,
        usage.completion_tokens if usage else None,
        failure.code if failure else None,
        failure.detail if failure else None,
    )


def usage_values(outcome: TurnOutcome) -> tuple[str | int | bool | None, ...]:
    """Asked model, whether the tokens are estimated, cost, currency, limit, its level: in this order."""
    usage, cost, limit = outcome.usage, outcome.cost, outcome.limit
    return (
        outcome.asked_model,
        usage is not None and usage.is_estimated,
        cost.billionths if cost else None,
        cost.currency if cost else None,
        limit.budget.value if limit else None,
        limit.level.value if limit else None,
    )


def _read_failure(row: Record) -> Failure | None:
    return None if row["error_code"] is None else Failure(code=row["error_code"], detail=row["error_detail"] or "")


def _read_limit(row: Record) -> LimitMet | None:
    named, level = row["limited_by"], row["limit_level"]
    # A later release may know limits that this one does not.
    return LimitMet(Budget(named), LimitLevel(level)) if named in set(Budget) else None


def _limited_by(role: Role, limit: LimitMet | None) -> Budget | None:
    """The limit that is the reason for a reply."""
    is_reason = role is Role.ASSISTANT and limit is not None and limit.level is LimitLevel.HARD
    return limit.budget if is_reason and limit is not None else None


def _read_told(row: Record, prefix: str, failure: Failure | None, limit: LimitMet | None) -> Message:
    return Message(
        id=MessageId(row[f"{prefix}id"]),
        conversation_id=ConversationId(row[f"{prefix}conversation_id"]),
        role=Role(row[f"{prefix}role"]),
        content=row[f"{prefix}content"],
        created_at=row[f"{prefix}created_at"],
        state=MessageState(row[f"{prefix}state"]),
        turn_id=TurnId(row[f"{prefix}turn_id"]),
        failure=failure,
        limited_by=_limited_by(Role(row[f"{prefix}role"]), limit),
        parts=read_parts(row[f"{prefix}parts"]),
    )
