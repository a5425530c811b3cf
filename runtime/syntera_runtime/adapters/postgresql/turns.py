"""Turns, with the messages that they bring.

Whoever changes a turn and its conversation locks the conversation first; the other order would deadlock a turn that ends
against the next one that begins, which has to know the conversation's newest event before it is stored.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
from asyncpg import Record

from ...errors import ConversationBusy, ConversationNotFound, RequestRepeated, TurnAbandoned, TurnLost
from ...ids import new_id, next_id
from ...models.conversations import Message, MessageState, Role
from ...models.files import build_parts, build_reply_parts
from ...models.ids import ContactId, ConversationId, FileId, MessageId, RequestKey, TenantId, TurnId
from ...models.live_events import TurnRecord
from ...models.tokens import estimate_read, estimate_tokens
from ...models.turns import (
    EVENTS_OF_A_TURN,
    AbandonedTurn,
    BegunCompletion,
    BegunTurn,
    EndedTurn,
    Ending,
    ExpiredTurn,
    Said,
    Turn,
    TurnOutcome,
    TurnStart,
)
from .files import attach_files
from .pool import Connection, Pool
from .rows import (
    MESSAGE_COLUMNS,
    REPLY_COLUMNS,
    TURN_COLUMNS,
    USER_MESSAGE_COLUMNS,
    outcome_values,
    read_message,
    read_turn,
    read_turn_record,
    usage_values,
    write_parts,
)
from .usage import SPENT_BY_ALL, read_spent, spent_by_person, spent_in_conversation

_FIND_EXPIRED = """
SELECT t.id, t.conversation_id, t.first_event, (
  SELECT m.id FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.turn_id = t.id
) AS user_message_id
FROM syntera.turns AS t
WHERE t.tenant_id = $1 AND t.state = 'running' AND t.lease_expires_at < now()
ORDER BY t.id
"""

_ABANDON = f"""
WITH locked AS (
  SELECT id AS locked_id FROM syntera.conversations WHERE tenant_id = $1 AND id = $10 FOR NO KEY UPDATE
), turn AS (
  UPDATE syntera.turns
  SET state = 'failed', error_code = $3, error_detail = $4, lease_expires_at = NULL, ended_at = now(), last_event = $5,
      completion_tokens = $9, is_estimated = true
  WHERE tenant_id = $1 AND id = $2 AND state = 'running' AND lease_expires_at < now()
    AND first_event IS NOT DISTINCT FROM $6 AND conversation_id IS NOT DISTINCT FROM (SELECT locked_id FROM locked)
  RETURNING {TURN_COLUMNS}
), reply AS (
  INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, parts, created_at)
  SELECT $1, $7, turn.conversation_id, turn.id, 'assistant', 'failed', $8, $11::jsonb, turn.ended_at
  FROM turn WHERE turn.conversation_id IS NOT NULL
)
SELECT * FROM turn
"""  # noqa: S608  # the columns are a constant

_BEGIN = f"""
WITH numbered AS (
  UPDATE syntera.conversations
  SET last_event = last_event + $7, updated_at = now(), title = coalesce(title, $8)
  WHERE tenant_id = $1 AND id = $3 AND ($10::uuid IS NULL OR contact_id = $10)
  RETURNING id, last_event - $7 AS last_event
), turn AS (
  INSERT INTO syntera.turns
    (tenant_id, id, conversation_id, agent, agent_revision, state, lease_expires_at, created_at, first_event, request_key,
     person)
  SELECT $1, $2, numbered.id, $4, $5, 'running', now() + $6, now(), numbered.last_event + 1, $9, $11 FROM numbered
  RETURNING {TURN_COLUMNS}
)
SELECT turn.*, numbered.last_event, {SPENT_BY_ALL}, {spent_by_person("$11")}, {spent_in_conversation("$3")}
FROM turn, numbered
"""  # noqa: S608

_NEWEST = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m
LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.conversation_id = $2
ORDER BY m.id DESC
LIMIT $3
"""  # noqa: S608

_INSERT_USER_MESSAGE = """
WITH noted AS (
  UPDATE syntera.turns SET prompt_tokens = $6, is_estimated = true WHERE tenant_id = $1 AND id = $4
)
INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, parts, created_at)
VALUES ($1, $2, $3, $4, 'user', 'complete', $5, $7, now())
"""

_END = f"""
WITH locked AS (
  SELECT id AS locked_id FROM syntera.conversations WHERE tenant_id = $1 AND id = $14 FOR NO KEY UPDATE
), turn AS (
  UPDATE syntera.turns
  SET state = $3, endpoint = $4, model = $5, prompt_tokens = $6, completion_tokens = $7, error_code = $8,
      error_detail = $9, lease_expires_at = NULL, ended_at = now(), last_event = $12,
      asked_model = $15, is_estimated = $16, cost = $17, currency = $18, limited_by = $19, limit_level = $20
  FROM locked
  WHERE tenant_id = $1 AND id = $2 AND conversation_id = locked_id AND state = 'running' AND first_event = $13
  RETURNING {TURN_COLUMNS}
), reply AS (
  INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, parts, created_at)
  SELECT $1, $10, turn.conversation_id, turn.id, 'assistant', turn.state, $11, $21::jsonb, turn.ended_at FROM turn
), numbered AS (
  UPDATE syntera.conversations AS c
  SET last_event = $12, updated_at = now()
  FROM turn
  WHERE c.tenant_id = $1 AND c.id = turn.conversation_id
)
SELECT * FROM turn
"""  # noqa: S608

_BEGIN_COMPLETION = f"""
WITH turn AS (
  INSERT INTO syntera.turns
    (tenant_id, id, agent, agent_revision, state, lease_expires_at, created_at, person, prompt_tokens, is_estimated)
  VALUES ($1, $2, $3, $4, 'running', now() + $5, now(), $6, $7, true)
  RETURNING {TURN_COLUMNS}
)
SELECT turn.*, {SPENT_BY_ALL}, {spent_by_person("$6")}, 0 AS conversation_tokens, 0 AS conversation_turns FROM turn
"""  # noqa: S608

_END_COMPLETION = f"""
UPDATE syntera.turns
SET state = $3, endpoint = $4, model = $5, prompt_tokens = $6, completion_tokens = $7, error_code = $8,
    error_detail = $9, lease_expires_at = NULL, ended_at = now(),
    asked_model = $10, is_estimated = $11, cost = $12, currency = $13, limited_by = $14, limit_level = $15
WHERE tenant_id = $1 AND id = $2 AND state = 'running'
RETURNING {TURN_COLUMNS}
"""  # noqa: S608

_MESSAGES_OF_TURN = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m
JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.turn_id = $2
ORDER BY m.id
"""  # noqa: S608

_FIND = f"SELECT {TURN_COLUMNS} FROM syntera.turns WHERE tenant_id = $1 AND id = $2"  # noqa: S608

_RENEW = """
UPDATE syntera.turns SET lease_expires_at = now() + $3
WHERE tenant_id = $1 AND id = ANY($2::uuid[]) AND state = 'running'
RETURNING id, stop_requested_at IS NOT NULL AS is_unwanted
"""

_FIND_RUNNING = """
SELECT id, lease_expires_at < now() AS is_expired FROM syntera.turns
WHERE tenant_id = $1 AND conversation_id = $2 AND state = 'running'
"""

_REQUEST_STOP = """
UPDATE syntera.turns SET stop_requested_at = COALESCE(stop_requested_at, now())
WHERE tenant_id = $1 AND conversation_id = $2 AND state = 'running' AND ($3::uuid IS NULL OR id = $3)
RETURNING id
"""

_NUMBERED_COLUMNS = f"{TURN_COLUMNS}, tenant_id, first_event, last_event"

_FIND_REPEATED = f"""
SELECT t.*, {USER_MESSAGE_COLUMNS}, {REPLY_COLUMNS}
FROM (
  SELECT {_NUMBERED_COLUMNS} FROM syntera.turns WHERE tenant_id = $1 AND request_key = $2
) AS t
JOIN syntera.messages AS u ON u.tenant_id = t.tenant_id AND u.turn_id = t.id AND u.role = 'user'
LEFT JOIN syntera.messages AS r ON r.tenant_id = t.tenant_id AND r.turn_id = t.id AND r.role = 'assistant'
"""  # noqa: S608

_SINCE = f"""
SELECT t.*, {USER_MESSAGE_COLUMNS}, {REPLY_COLUMNS}
FROM unnest($2::uuid[], $3::bigint[]) AS p(conversation_id, last_event), LATERAL (
  SELECT {_NUMBERED_COLUMNS} FROM syntera.turns
  WHERE tenant_id = $1 AND conversation_id = p.conversation_id AND state = 'running' AND first_event IS NOT NULL
  UNION ALL (
    SELECT {_NUMBERED_COLUMNS} FROM syntera.turns
    WHERE tenant_id = $1 AND conversation_id = p.conversation_id AND last_event > p.last_event
    ORDER BY last_event DESC
    LIMIT $4
  )
) AS t
JOIN syntera.messages AS u ON u.tenant_id = t.tenant_id AND u.turn_id = t.id AND u.role = 'user'
LEFT JOIN syntera.messages AS r ON r.tenant_id = t.tenant_id AND r.turn_id = t.id AND r.role = 'assistant'
ORDER BY t.first_event
"""  # noqa: S608

_TRIES = 3
"""How often a turn is begun anew because the one in its way had just ended."""


class PostgresqlTurns:
    """`TurnStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin_turn(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        owner: ContactId | None,
        start: TurnStart,
        content: str,
        history: int,
        file_ids: Sequence[FileId] = (),
    ) -> BegunTurn:
        """See `TurnStore`."""
        async with self._pool.connection("begin_turn") as connection:
            for _ in range(_TRIES):
                try:
                    return await _begin(
                        connection,
                        tenant_id,
                        conversation_id,
                        owner=owner,
                        start=start,
                        content=content,
                        history=history,
                        file_ids=file_ids,
                    )
                except asyncpg.UniqueViolationError as error:
                    if error.constraint_name == "turns_request":
                        raise RequestRepeated from None
                    running = await connection.fetchrow(_FIND_RUNNING, tenant_id, conversation_id)
                if running is not None:
                    raise ConversationBusy(turn_id=running["id"], is_expired=running["is_expired"])
        raise ConversationBusy

    async def find_repeated(self, tenant_id: TenantId, request_key: RequestKey) -> TurnRecord | None:
        """See `TurnStore`."""
        async with self._pool.connection("find_repeated") as connection:
            row = await connection.fetchrow(_FIND_REPEATED, tenant_id, request_key)
        return None if row is None else read_turn_record(row)

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """See `TurnStore`."""
        turn_id, reply_id = begun.turn.id, begun.reply_id
        parts = build_reply_parts(ending.text, ending.citations, refusal=ending.refusal, retrieval=ending.retrieval)
        async with self._pool.connection("end_turn") as connection:
            row = await connection.fetchrow(
                _END,
                tenant_id,
                turn_id,
                *outcome_values(outcome),
                reply_id,
                ending.text,
                ending.last_event,
                begun.first_event,
                begun.user_message.conversation_id,
                *usage_values(outcome),
                write_parts(parts),
            )
            if row is None:  # perhaps ended by this very call, whose answer was lost
                row = await connection.fetchrow(_FIND, tenant_id, turn_id)
        turn = _ended_as(row, outcome)
        assert turn.ended_at is not None
        reply = Message(
            id=reply_id,
            conversation_id=begun.user_message.conversation_id,
            role=Role.ASSISTANT,
            content=ending.text,
            created_at=turn.ended_at,
            state=MessageState(outcome.state.value),
            turn_id=turn_id,
            failure=outcome.failure,
            limited_by=outcome.limited_by,
            parts=parts,
        )
        return EndedTurn(turn=turn, user_message=begun.user_message, reply=reply)

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> BegunCompletion:
        """See `TurnStore`."""
        async with self._pool.connection("begin_completion") as connection:
            row = await connection.fetchrow(
                _BEGIN_COMPLETION,
                tenant_id,
                new_id(),
                start.agent,
                start.agent_revision,
                start.lease,
                start.person,
                start.prompt_tokens,
            )
        assert row is not None
        return BegunCompletion(read_turn(row), read_spent(row))

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """See `TurnStore`."""
        async with self._pool.connection("end_completion") as connection:
            row = await connection.fetchrow(
                _END_COMPLETION, tenant_id, turn_id, *outcome_values(outcome), *usage_values(outcome)
            )
            if row is None:  # perhaps ended by this very call, whose answer was lost
                row = await connection.fetchrow(_FIND, tenant_id, turn_id)
        return _ended_as(row, outcome)

    async def renew_leases(
        self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta
    ) -> Mapping[TurnId, bool]:
        """See `TurnStore`."""
        async with self._pool.connection("renew_leases") as connection:
            rows = await connection.fetch(_RENEW, tenant_id, turn_ids, lease)
        return {TurnId(row["id"]): row["is_unwanted"] for row in rows}

    async def request_stop(
        self, tenant_id: TenantId, conversation_id: ConversationId, turn_id: TurnId | None
    ) -> TurnId | None:
        """See `TurnStore`."""
        async with self._pool.connection("request_stop") as connection:
            stopped: UUID | None = await connection.fetchval(_REQUEST_STOP, tenant_id, conversation_id, turn_id)
        return None if stopped is None else TurnId(stopped)

    async def find_expired(self, tenant_id: TenantId) -> Sequence[ExpiredTurn]:
        """See `TurnStore`."""
        async with self._pool.connection("find_expired") as connection:
            rows = await connection.fetch(_FIND_EXPIRED, tenant_id)
        return [_read_expired(row) for row in rows]

    async def abandon_turn(self, tenant_id: TenantId, expired: ExpiredTurn, *, said: Said) -> AbandonedTurn | None:
        """See `TurnStore`."""
        failure = TurnAbandoned()
        async with self._pool.connection("abandon_turn") as connection:
            row = await connection.fetchrow(
                _ABANDON,
                tenant_id,
                expired.id,
                failure.code,
                failure.message,
                expired.last_event,
                expired.first_event,
                expired.reply_id,
                said.text,
                estimate_tokens(said.text),
                expired.conversation_id,
                write_parts(build_reply_parts(said.text, said.citations, retrieval=said.retrieval)),
            )
            if row is None:
                return None
            turn = read_turn(row)
            if turn.conversation_id is None:
                return AbandonedTurn(turn, None)
            rows = await connection.fetch(_MESSAGES_OF_TURN, tenant_id, turn.id)
        question, reply = (read_message(message) for message in rows)
        return AbandonedTurn(turn, EndedTurn(turn, question, reply))

    async def turns_since(
        self, tenant_id: TenantId, positions: Mapping[ConversationId, int], *, limit: int
    ) -> Sequence[TurnRecord]:
        """See `TurnStore`."""
        async with self._pool.connection("turns_since") as connection:
            rows = await connection.fetch(_SINCE, tenant_id, list(positions), list(positions.values()), limit)
        return [read_turn_record(row) for row in rows]


async def _begin(
    connection: Connection,
    tenant_id: TenantId,
    conversation_id: ConversationId,
    *,
    owner: ContactId | None,
    start: TurnStart,
    content: str,
    history: int,
    file_ids: Sequence[FileId],
) -> BegunTurn:
    async with connection.transaction():
        row = await connection.fetchrow(
            _BEGIN,
            tenant_id,
            new_id(),
            conversation_id,
            start.agent,
            start.agent_revision,
            start.lease,
            EVENTS_OF_A_TURN,
            start.title,
            start.request_key,
            owner,
            start.person,
        )
        if row is None:
            raise ConversationNotFound
        turn = read_turn(row)
        # At least one, because the new ids must follow the newest message's.
        newest = await connection.fetch(_NEWEST, tenant_id, conversation_id, max(history, 1))
        message_id = MessageId(new_id(after=newest[0]["id"] if newest else None))
        attached = await attach_files(
            connection, tenant_id, file_ids, conversation_id=conversation_id, message_id=message_id, owner=owner
        )
        parts = build_parts(content, attached)
        begun = BegunTurn(
            turn=turn,
            user_message=Message(
                id=message_id,
                conversation_id=conversation_id,
                role=Role.USER,
                content=content,
                created_at=turn.created_at,
                turn_id=turn.id,
                parts=parts,
            ),
            reply_id=MessageId(next_id(message_id)),
            history=tuple(read_message(row) for row in reversed(newest[:history])),
            last_event=row["last_event"],
            spent=read_spent(row),
        )
        prompt_tokens = start.prompt_tokens + estimate_read(begun, with_images=start.takes_images)
        await connection.execute(
            _INSERT_USER_MESSAGE,
            tenant_id,
            message_id,
            conversation_id,
            turn.id,
            content,
            prompt_tokens,
            write_parts(parts),
        )
    return begun


def _ended_as(row: Record | None, outcome: TurnOutcome) -> Turn:
    """The turn, if it was ended as it was to be.

    Raises:
        TurnLost: Somebody else has ended it.
    """
    turn = None if row is None else read_turn(row)
    if turn is None or turn.state != outcome.state or turn.failure != outcome.failure:
        raise TurnLost
    return turn


def _read_expired(row: Record) -> ExpiredTurn:
    conversation_id, message_id = row["conversation_id"], row["user_message_id"]
    return ExpiredTurn(
        id=TurnId(row["id"]),
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        first_event=row["first_event"],
        reply_id=None if message_id is None else MessageId(next_id(message_id)),
    )
