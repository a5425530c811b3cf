"""What was used: counts by day, for limits and by conversation, kept by PostgreSQL itself with each turn's end."""

from alembic import op

from syntera_operator.stores.migrations.walls import grant_columns, isolate, let_own_functions_reach

revision = "0007"
down_revision = "0006"

_AMOUNTS = ("turns", "limited_turns", "prompt_tokens", "completion_tokens", "estimated_tokens")
_COUNTED = ", ".join((*_AMOUNTS, "cost"))
_COUNTS = ", ".join((*(f"{name} bigint NOT NULL" for name in _AMOUNTS), "cost numeric(38) NOT NULL"))
_ADDED = ", ".join(f"{name} = u.{name} + excluded.{name}" for name in (*_AMOUNTS, "cost"))


def upgrade() -> None:
    """All in one transaction: of the tables that are there it locks one alone, so that no statement and it wait for one
    another.

    Turns that ended before are not counted: pods write while this runs, and a turn could be counted twice.
    """
    _create_usage_days()
    _create_usage_totals()
    _create_usage_conversations()
    _create_function()
    _widen_turns()
    _create_trigger()


def _create_usage_days() -> None:
    op.execute(f"""
        CREATE TABLE syntera.usage_days (
          tenant_id uuid NOT NULL,
          day date NOT NULL,
          agent text NOT NULL,
          endpoint text NOT NULL,
          model text NOT NULL,
          currency text NOT NULL,
          slot smallint NOT NULL,
          {_COUNTS},
          PRIMARY KEY (tenant_id, day, agent, endpoint, model, currency, slot)
        ) WITH (fillfactor = 70)
    """)
    op.execute("COMMENT ON TABLE syntera.usage_days IS 'What was used on each day (UTC), whatever became of the turns'")
    op.execute("COMMENT ON COLUMN syntera.usage_days.endpoint IS 'Empty: no model was asked, or nobody knows which'")
    op.execute("COMMENT ON COLUMN syntera.usage_days.currency IS 'Empty: the cost is not known, and 0 stands there'")
    op.execute("COMMENT ON COLUMN syntera.usage_days.cost IS 'In billionths of the currency''s unit'")
    _comment_on_slot("usage_days")
    _isolate("usage_days")


def _create_usage_totals() -> None:
    op.execute("""
        CREATE TABLE syntera.usage_totals (
          tenant_id uuid NOT NULL,
          subject text NOT NULL,
          since date NOT NULL,
          slot smallint NOT NULL,
          tokens bigint NOT NULL,
          PRIMARY KEY (tenant_id, subject, since, slot)
        ) WITH (fillfactor = 70)
    """)
    op.execute(
        "COMMENT ON TABLE syntera.usage_totals IS 'Tokens used of the limits: of everybody in a month, of one person in a day'"
    )
    op.execute("COMMENT ON COLUMN syntera.usage_totals.subject IS 'The person; empty: everybody'")
    op.execute("COMMENT ON COLUMN syntera.usage_totals.since IS 'First day of the month, or the day (UTC)'")
    _comment_on_slot("usage_totals")
    _isolate("usage_totals")


def _create_usage_conversations() -> None:
    # No foreign key: what a conversation used stays when it is deleted.
    op.execute(f"""
        CREATE TABLE syntera.usage_conversations (
          tenant_id uuid NOT NULL,
          conversation_id uuid NOT NULL,
          currency text NOT NULL,
          {_COUNTS},
          PRIMARY KEY (tenant_id, conversation_id, currency)
        ) WITH (fillfactor = 70)
    """)
    op.execute("COMMENT ON TABLE syntera.usage_conversations IS 'What each conversation used, be it deleted or not'")
    _isolate("usage_conversations")


def _comment_on_slot(table: str) -> None:
    op.execute(
        f"COMMENT ON COLUMN syntera.{table}.slot IS"
        " 'Turns that end at the same time write different rows, so that none waits for another'"
    )


def _isolate(table: str) -> None:
    """Tenants read; what they used is written by the trigger, with the owner's rights, and by nobody else."""
    isolate(table)
    let_own_functions_reach(table)


def _create_function() -> None:
    op.execute(f"""
        CREATE FUNCTION syntera.count_turn() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
          today CONSTANT date := (NEW.ended_at AT TIME ZONE 'UTC')::date;
          own_slot CONSTANT smallint := pg_backend_pid() % 8;
          refused CONSTANT integer := CASE WHEN NEW.limit_level = 'hard' THEN 1 ELSE 0 END;
          prompt CONSTANT bigint := coalesce(NEW.prompt_tokens, 0);
          completion CONSTANT bigint := coalesce(NEW.completion_tokens, 0);
          used CONSTANT bigint := prompt + completion;
          estimated CONSTANT bigint := CASE WHEN NEW.is_estimated THEN used ELSE 0 END;
        BEGIN
          INSERT INTO syntera.usage_days AS u
            (tenant_id, day, agent, endpoint, model, currency, slot, {_COUNTED})
          VALUES (
            NEW.tenant_id, today, NEW.agent, coalesce(NEW.endpoint, ''), left(coalesce(NEW.asked_model, NEW.model, ''), 256),
            coalesce(NEW.currency, ''), own_slot, 1 - refused, refused, prompt, completion, estimated, coalesce(NEW.cost, 0)
          )
          ON CONFLICT (tenant_id, day, agent, endpoint, model, currency, slot) DO UPDATE SET {_ADDED};
          IF used > 0 THEN
            INSERT INTO syntera.usage_totals AS u (tenant_id, subject, since, slot, tokens)
            VALUES (NEW.tenant_id, '', date_trunc('month', today::timestamp)::date, own_slot, used)
            ON CONFLICT (tenant_id, subject, since, slot) DO UPDATE SET tokens = u.tokens + excluded.tokens;
            IF NEW.person IS NOT NULL THEN
              INSERT INTO syntera.usage_totals AS u (tenant_id, subject, since, slot, tokens)
              VALUES (NEW.tenant_id, NEW.person, today, own_slot, used)
              ON CONFLICT (tenant_id, subject, since, slot) DO UPDATE SET tokens = u.tokens + excluded.tokens;
            END IF;
          END IF;
          IF NEW.conversation_id IS NOT NULL THEN
            INSERT INTO syntera.usage_conversations AS u (tenant_id, conversation_id, currency, {_COUNTED})
            VALUES (
              NEW.tenant_id, NEW.conversation_id, coalesce(NEW.currency, ''),
              1 - refused, refused, prompt, completion, estimated, coalesce(NEW.cost, 0)
            )
            ON CONFLICT (tenant_id, conversation_id, currency) DO UPDATE SET {_ADDED};
          END IF;
          RETURN NULL;
        END
        $$
    """)  # noqa: S608  # the columns are a constant
    op.execute("COMMENT ON FUNCTION syntera.count_turn IS 'Counts what a turn used when it ends'")
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.count_turn FROM PUBLIC")


def _widen_turns() -> None:
    """All columns have defaults, so that runtimes of the release before go on writing."""
    op.execute("""
        ALTER TABLE syntera.turns
          ADD COLUMN person text,
          ADD COLUMN asked_model text,
          ADD COLUMN is_estimated boolean NOT NULL DEFAULT false,
          ADD COLUMN cost bigint,
          ADD COLUMN currency text,
          ADD COLUMN limited_by text,
          ADD COLUMN limit_level text
    """)
    # Rows that are there have none of it: reading them all under a lock would tell nothing new.
    for name, rule in (
        ("cost", "cost >= 0 AND (cost IS NULL) = (currency IS NULL)"),
        ("limit", "limit_level IN ('soft', 'hard') AND (limit_level IS NULL) = (limited_by IS NULL)"),
        ("person", "octet_length(person) BETWEEN 1 AND 256"),
    ):
        op.execute(f"ALTER TABLE syntera.turns ADD CONSTRAINT turns_{name}_check CHECK ({rule}) NOT VALID")
    for column, text in (
        ("person", "Whose tokens it used, by whatever credentials; NULL: no person''s, a program''s with a secret key"),
        ("asked_model", "The model''s name in the configuration; `model` is what its endpoint calls it"),
        ("is_estimated", "The endpoint did not say what it used, so its tokens are estimated. While it runs: so far"),
        ("cost", "In billionths of the currency''s unit; NULL: nobody has said what the model costs"),
        ("limited_by", "The limit on tokens or turns that was met when it began; NULL: none"),
        ("limit_level", "soft: the limit was near; hard: it was reached, and no model was asked"),
    ):
        op.execute(f"COMMENT ON COLUMN syntera.turns.{column} IS '{text}'")
    grant_columns("turns", update=["asked_model", "is_estimated", "cost", "currency", "limited_by", "limit_level"])


def _create_trigger() -> None:
    # On the table and not in the runtimes' statements: pods of the release before end turns, too.
    op.execute("""
        CREATE TRIGGER count_turn AFTER UPDATE OF state ON syntera.turns
        FOR EACH ROW WHEN (OLD.state = 'running' AND NEW.state <> 'running')
        EXECUTE FUNCTION syntera.count_turn()
    """)
