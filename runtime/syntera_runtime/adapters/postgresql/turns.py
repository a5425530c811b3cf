"""Turns, with the messages that they bring.

Whoever locks a turn and its conversation locks the turn first; the other order would deadlock a turn that ends against
the next one that begins.
"""

from datetime import timedelta

import asyncpg
from asyncpg import Record

from ...errors import ConversationBusy, ConversationNotFound, TurnAbandoned, TurnLost
from ...ids import new_id
from ...models import (
    EVENTS_OF_A_TURN,
    BegunTurn,
    ConversationId,
    EndedTurn,
    Ending,
    Message,
    MessageId,
    MessageState,
    Role,
    TenantId,
    Turn,
    TurnId,
    TurnOutcome,
    TurnStart,
)
from .pool import Connection, Pool
from .rows import MESSAGE_COLUMNS, TURN_COLUMNS, outcome_values, read_message, read_turn

_HAS_EXPIRED = """
SELECT EXISTS (
  SELECT FROM syntera.turns WHERE tenant_id = $1 AND state = 'running' AND lease_expires_at < now()
)
"""

_END_EXPIRED = """
UPDATE syntera.turns AS t
SET state = 'failed', error_code = $2, error_detail = $3, lease_expires_at = NULL, ended_at = now()
WHERE t.tenant_id = $1 AND t.id IN (
  SELECT id FROM syntera.turns
  WHERE tenant_id = $1 AND state = 'running' AND lease_expires_at < now()
  FOR UPDATE SKIP LOCKED
)
RETURNING t.id, t.conversation_id, (
  SELECT m.id FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.turn_id = t.id
) AS user_message_id
"""

_INSERT_LOST_REPLY = """
INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, created_at)
VALUES ($1, $2, $3, $4, 'assistant', 'failed', '', now())
"""

_BEGIN = f"""
WITH turn AS (
  INSERT INTO syntera.turns
    (tenant_id, id, conversation_id, agent, agent_revision, state, lease_expires_at, created_at)
  VALUES ($1, $2, $3, $4, $5, 'running', now() + $6, now())
  RETURNING {TURN_COLUMNS}
), numbered AS (
  UPDATE syntera.conversations AS c
  SET last_event = c.last_event + $7, updated_at = now()
  FROM turn
  WHERE c.tenant_id = $1 AND c.id = turn.conversation_id
  RETURNING c.last_event - $7 AS last_event
)
SELECT turn.*, numbered.last_event FROM turn, numbered
"""  # noqa: S608  # the columns are a constant

_NEWEST = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m
LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.conversation_id = $2
ORDER BY m.id DESC
LIMIT $3
"""  # noqa: S608

_INSERT_USER_MESSAGE = """
INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, created_at)
VALUES ($1, $2, $3, $4, 'user', 'complete', $5, now())
"""

_END = f"""
WITH turn AS (
  UPDATE syntera.turns
  SET state = $3, endpoint = $4, model = $5, prompt_tokens = $6, completion_tokens = $7, error_code = $8,
      error_detail = $9, lease_expires_at = NULL, ended_at = now()
  WHERE tenant_id = $1 AND id = $2 AND state = 'running'
  RETURNING {TURN_COLUMNS}
), reply AS (
  INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content, created_at)
  SELECT $1, $10, turn.conversation_id, turn.id, 'assistant', turn.state, $11, turn.ended_at FROM turn
), numbered AS (
  UPDATE syntera.conversations AS c
  SET last_event = $12, updated_at = now()
  FROM turn
  WHERE c.tenant_id = $1 AND c.id = turn.conversation_id
)
SELECT * FROM turn
"""  # noqa: S608

_FIND_ENDED = f"""
SELECT {TURN_COLUMNS} FROM syntera.turns
WHERE tenant_id = $1 AND id = $2
  AND EXISTS (SELECT FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.id = $3)
"""  # noqa: S608

_BEGIN_COMPLETION = f"""
INSERT INTO syntera.turns (tenant_id, id, agent, agent_revision, state, lease_expires_at, created_at)
VALUES ($1, $2, $3, $4, 'running', now() + $5, now())
RETURNING {TURN_COLUMNS}
"""  # noqa: S608

_END_COMPLETION = f"""
UPDATE syntera.turns
SET state = $3, endpoint = $4, model = $5, prompt_tokens = $6, completion_tokens = $7, error_code = $8,
    error_detail = $9, lease_expires_at = NULL, ended_at = now()
WHERE tenant_id = $1 AND id = $2 AND state = 'running'
RETURNING {TURN_COLUMNS}
"""  # noqa: S608

_FIND = f"SELECT {TURN_COLUMNS} FROM syntera.turns WHERE tenant_id = $1 AND id = $2"  # noqa: S608

_RENEW = """
UPDATE syntera.turns SET lease_expires_at = now() + $3 WHERE tenant_id = $1 AND id = $2 AND state = 'running'
"""


class PostgresqlTurns:
    """`TurnStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin_turn(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, start: TurnStart, content: str, history: int
    ) -> BegunTurn:
        """See `TurnStore`."""
        async with self._pool.connection() as connection:
            await _end_expired(connection, tenant_id)
            async with connection.transaction():
                row = await _insert_turn(connection, tenant_id, conversation_id, start)
                turn = read_turn(row)
                # At least one, because the new ids must follow the newest message's.
                newest = await connection.fetch(_NEWEST, tenant_id, conversation_id, max(history, 1))
                message_id = MessageId(new_id(after=newest[0]["id"] if newest else None))
                await connection.execute(_INSERT_USER_MESSAGE, tenant_id, message_id, conversation_id, turn.id, content)
        return BegunTurn(
            turn=turn,
            user_message=Message(
                id=message_id,
                conversation_id=conversation_id,
                role=Role.USER,
                content=content,
                created_at=turn.created_at,
                turn_id=turn.id,
            ),
            reply_id=MessageId(new_id(after=message_id)),
            history=tuple(read_message(row) for row in reversed(newest[:history])),
            last_event=row["last_event"],
        )

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """See `TurnStore`."""
        turn_id, reply_id = begun.turn.id, begun.reply_id
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                _END, tenant_id, turn_id, *outcome_values(outcome), reply_id, ending.text, ending.last_event
            )
            if row is None:  # perhaps ended by this very call, whose answer was lost
                row = await connection.fetchrow(_FIND_ENDED, tenant_id, turn_id, reply_id)
        if row is None:
            raise TurnLost
        turn = read_turn(row)
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
        )
        return EndedTurn(turn=turn, user_message=begun.user_message, reply=reply)

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> Turn:
        """See `TurnStore`."""
        async with self._pool.connection() as connection:
            await _end_expired(connection, tenant_id)
            row = await connection.fetchrow(
                _BEGIN_COMPLETION, tenant_id, new_id(), start.agent, start.agent_revision, start.lease
            )
        assert row is not None
        return read_turn(row)

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """See `TurnStore`."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_END_COMPLETION, tenant_id, turn_id, *outcome_values(outcome))
            if row is None:  # perhaps ended by this very call, whose answer was lost
                row = await connection.fetchrow(_FIND, tenant_id, turn_id)
        turn = None if row is None else read_turn(row)
        if turn is None or turn.state != outcome.state or turn.failure != outcome.failure:
            raise TurnLost
        return turn

    async def renew_lease(self, tenant_id: TenantId, turn_id: TurnId, *, lease: timedelta) -> None:
        """See `TurnStore`."""
        async with self._pool.connection() as connection:
            tag = await connection.execute(_RENEW, tenant_id, turn_id, lease)
        if tag == "UPDATE 0":
            raise TurnLost

    async def end_expired(self, tenant_id: TenantId) -> bool:
        """See `TurnStore`."""
        async with self._pool.connection() as connection:
            return await _end_expired(connection, tenant_id)


async def _end_expired(connection: Connection, tenant_id: TenantId) -> bool:
    """In a transaction of its own: two that each wait for a conversation which the other has freed would deadlock."""
    if not await connection.fetchval(_HAS_EXPIRED, tenant_id):
        return False
    abandoned = TurnAbandoned()
    async with connection.transaction():
        ended = await connection.fetch(_END_EXPIRED, tenant_id, abandoned.code, abandoned.message)
        replies = [
            (tenant_id, new_id(after=turn["user_message_id"]), turn["conversation_id"], turn["id"])
            for turn in ended
            if turn["conversation_id"] is not None
        ]
        await connection.executemany(_INSERT_LOST_REPLY, replies)
    return bool(ended)


async def _insert_turn(
    connection: Connection, tenant_id: TenantId, conversation_id: ConversationId, start: TurnStart
) -> Record:
    try:
        row = await connection.fetchrow(
            _BEGIN,
            tenant_id,
            new_id(),
            conversation_id,
            start.agent,
            start.agent_revision,
            start.lease,
            EVENTS_OF_A_TURN,
        )
    except asyncpg.UniqueViolationError:
        raise ConversationBusy from None
    except asyncpg.ForeignKeyViolationError:
        raise ConversationNotFound from None
    assert row is not None
    return row
