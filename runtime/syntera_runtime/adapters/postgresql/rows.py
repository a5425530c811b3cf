"""Rows of messages and turns as the models' classes, and the outcome of a turn as columns."""

from asyncpg import Record

from ...models import (
    ConversationId,
    Failure,
    Message,
    MessageId,
    MessageState,
    Role,
    Turn,
    TurnId,
    TurnOutcome,
    TurnState,
    Usage,
)

MESSAGE_COLUMNS = (
    "m.id, m.conversation_id, m.turn_id, m.role, m.state, m.content, m.created_at, t.error_code, t.error_detail"
)
"""Of messages `m`, left-joined with their turns `t`."""

TURN_COLUMNS = (
    "id, conversation_id, agent, agent_revision, state, endpoint, model, prompt_tokens, completion_tokens, "
    "error_code, error_detail, created_at, ended_at"
)


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
        usage=None if prompt is None or completion is None else Usage(prompt, completion),
        failure=_read_failure(row),
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


def _read_failure(row: Record) -> Failure | None:
    return None if row["error_code"] is None else Failure(code=row["error_code"], detail=row["error_detail"] or "")
