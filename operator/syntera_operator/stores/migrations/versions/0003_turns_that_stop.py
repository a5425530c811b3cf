"""Turns that can be stopped, with the numbers of their events: they fence, and tell readers what they have missed."""

from alembic import op

from syntera_operator.stores.migrations.walls import grant_columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Runtimes of the release before go on writing turns without these columns.

    Each statement can be done again: what comes before the index stays when a run is cut off in it.
    """
    # Rows that are there passed a narrower rule: reading them all under a lock would tell nothing new.
    for table, states in (
        ("turns", "'running', 'complete', 'failed', 'stopped'"),
        ("messages", "'complete', 'failed', 'stopped'"),
    ):
        op.execute(f"ALTER TABLE syntera.{table} DROP CONSTRAINT {table}_state_check")
        op.execute(
            f"ALTER TABLE syntera.{table} ADD CONSTRAINT {table}_state_check CHECK (state IN ({states})) NOT VALID"
        )
    op.execute("""
        ALTER TABLE syntera.turns
          ADD COLUMN IF NOT EXISTS first_event bigint,
          ADD COLUMN IF NOT EXISTS last_event bigint,
          ADD COLUMN IF NOT EXISTS stop_requested_at timestamptz
    """)
    op.execute(
        "COMMENT ON COLUMN syntera.turns.first_event IS"
        " 'Number of its first event. Grows from turn to turn of a conversation: who writes its end must know it'"
    )
    op.execute("COMMENT ON COLUMN syntera.turns.last_event IS 'Number of its last event; NULL: it runs'")
    op.execute(
        "COMMENT ON COLUMN syntera.turns.stop_requested_at IS 'Since when somebody wants it stopped; its pod sees it'"
    )
    grant_columns("turns", update=["last_event", "stop_requested_at"])
    # Beside everybody's writes, hence in no transaction; what a run that was cut off left behind goes first.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS syntera.turns_events")
        op.execute("CREATE INDEX CONCURRENTLY turns_events ON syntera.turns (tenant_id, conversation_id, last_event)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS syntera.turns_conversation")
