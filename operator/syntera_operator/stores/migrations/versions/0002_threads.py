"""Conversations in lists: state, title, metadata, search, marks and feedback; their deletion by their tenant."""

from alembic import op

from syntera_operator.stores.migrations.walls import (
    grant_columns,
    isolate,
    let_own_functions_reach,
    let_own_functions_search,
)

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Columns have defaults, so that runtimes of the release before go on writing.

    Each change of a table that is there is a transaction of its own: a statement of a runtime locks several tables, in another
    order than any that could be kept here. So each of them can be done again, if a run was cut off.
    """
    _create_feedback()
    with op.get_context().autocommit_block():
        _widen_conversations()
        _widen_turns()
        _create_deletion()
        _create_search()
        _create_indexes()


def _widen_conversations() -> None:
    op.execute("""
        ALTER TABLE syntera.conversations
          ADD COLUMN IF NOT EXISTS channel text NOT NULL DEFAULT 'api',
          ADD COLUMN IF NOT EXISTS state text NOT NULL DEFAULT 'active',
          ADD COLUMN IF NOT EXISTS title text,
          ADD COLUMN IF NOT EXISTS metadata jsonb NOT NULL DEFAULT '{}',
          ADD COLUMN IF NOT EXISTS request_key bytea,
          ADD COLUMN IF NOT EXISTS revision integer NOT NULL DEFAULT 1,
          ADD COLUMN IF NOT EXISTS contact_read_id uuid,
          ADD COLUMN IF NOT EXISTS contact_delivered_id uuid,
          ADD COLUMN IF NOT EXISTS staff_read_id uuid,
          ADD COLUMN IF NOT EXISTS staff_delivered_id uuid
    """)
    _check("conversations", "channel", "channel IN ('chat', 'voice', 'email', 'sms', 'api')")
    _check("conversations", "state", "state IN ('active', 'ended', 'archived')")
    _check("conversations", "request_key", "octet_length(request_key) = 32")
    _comment_on_request_key("conversations")
    op.execute("COMMENT ON COLUMN syntera.conversations.revision IS 'Grows with every change that somebody makes'")
    op.execute(
        "COMMENT ON COLUMN syntera.conversations.contact_read_id IS 'The newest message that the customer has read'"
    )
    marks = ["contact_read_id", "contact_delivered_id", "staff_read_id", "staff_delivered_id"]
    grant_columns("conversations", update=["state", "title", "metadata", "revision", *marks])


def _widen_turns() -> None:
    op.execute("ALTER TABLE syntera.turns ADD COLUMN IF NOT EXISTS request_key bytea")
    _check("turns", "request_key", "octet_length(request_key) = 32")
    _comment_on_request_key("turns")


def _check(table: str, column: str, rule: str) -> None:
    """Rows that are there have the default: reading them all under a lock would tell nothing new."""
    name = f"{table}_{column}_check"
    op.execute(
        f"ALTER TABLE syntera.{table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID"
    )


def _comment_on_request_key(table: str) -> None:
    op.execute(
        f"COMMENT ON COLUMN syntera.{table}.request_key IS"
        " 'SHA-256 of who asked and the Idempotency-Key: the same request makes nothing twice'"
    )


def _create_feedback() -> None:
    # What a run that was cut off left behind; no release has written to it yet.
    op.execute("DROP FUNCTION IF EXISTS syntera.delete_conversation")
    op.execute("DROP TABLE IF EXISTS syntera.feedback")
    op.execute("""
        CREATE TABLE syntera.feedback (
          tenant_id uuid NOT NULL,
          message_id uuid NOT NULL,
          author text NOT NULL,
          rating text CHECK (rating IN ('up', 'down')),
          comment text,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, message_id, author),
          FOREIGN KEY (tenant_id, message_id) REFERENCES syntera.messages (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.feedback IS 'What people think of replies'")
    op.execute("COMMENT ON COLUMN syntera.feedback.rating IS 'NULL: taken back'")
    isolate("feedback", insert=True, update=["rating", "comment", "created_at"])


def _create_deletion() -> None:
    # Tenants have no DELETE: it would let them lock a table against everybody. A function of the owner's deletes for them,
    # and a policy holds that function to the rows of the tenant whose session it runs in.
    for table in ("conversations", "messages", "turns", "feedback"):
        let_own_functions_reach(table)
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.delete_conversation(conversation uuid) RETURNS boolean
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          DELETE FROM syntera.feedback AS f USING syntera.messages AS m
          WHERE f.tenant_id = syntera.current_tenant() AND m.tenant_id = f.tenant_id AND m.id = f.message_id
            AND m.conversation_id = conversation;
          DELETE FROM syntera.messages WHERE tenant_id = syntera.current_tenant() AND conversation_id = conversation;
          UPDATE syntera.turns SET conversation_id = NULL
          WHERE tenant_id = syntera.current_tenant() AND conversation_id = conversation;
          WITH deleted AS (
            DELETE FROM syntera.conversations WHERE tenant_id = syntera.current_tenant() AND id = conversation RETURNING id
          ) SELECT EXISTS (SELECT FROM deleted);
        END
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.delete_conversation IS"
        " 'Deletes a conversation of the caller''s; what its turns cost stays. False: there is none'"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.delete_conversation FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.delete_conversation TO syntera_tenant")


def _create_search() -> None:
    # A tenant hears no notice either: one of another tenant's text, which the function looks at again, would be among them.
    # Under row-level security the planner uses no index for @@, which is not leakproof. Inside this function the owner's
    # policy lets every row pass, the index finds the tenant's rows by a term of their own, and tenant_id is compared besides.
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.search_terms(tenant uuid, content text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        RETURN array_to_tsvector(ARRAY['tenant ' || tenant]) || to_tsvector('pg_catalog.simple', left(content, 100000))
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.search_terms IS 'The words of a text''s first 100,000 characters, and a term that says whose it is'"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.search_terms FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.search_terms TO syntera_tenant")
    for table in ("conversations", "messages"):
        let_own_functions_search(table)
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.search_conversations(words text) RETURNS SETOF uuid
        LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        SET client_min_messages = error
        BEGIN ATOMIC
          WITH asked AS (
            SELECT syntera.current_tenant() AS tenant, websearch_to_tsquery('pg_catalog.simple', words) AS query
          ), wanted AS (
            SELECT tenant, format('%L', 'tenant ' || tenant)::tsquery && query AS query FROM asked WHERE numnode(query) > 0
          )
          SELECT m.conversation_id FROM syntera.messages AS m
          WHERE m.tenant_id = (SELECT tenant FROM wanted)
            AND syntera.search_terms(m.tenant_id, m.content) @@ (SELECT query FROM wanted)
          UNION
          SELECT c.id FROM syntera.conversations AS c
          WHERE c.tenant_id = (SELECT tenant FROM wanted)
            AND syntera.search_terms(c.tenant_id, coalesce(c.title, '')) @@ (SELECT query FROM wanted);
        END
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.search_conversations IS"
        " 'The caller''s conversations that hold the words, in a message or in the title'"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.search_conversations FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.search_conversations TO syntera_tenant")


def _create_indexes() -> None:
    # Beside everybody's writes; what a run that was cut off left behind goes first.
    for kind, name, what in (
        ("INDEX", "messages_search", "messages USING gin (syntera.search_terms(tenant_id, content))"),
        (
            "INDEX",
            "conversations_search",
            "conversations USING gin (syntera.search_terms(tenant_id, coalesce(title, '')))",
        ),
        ("INDEX", "conversations_activity", "conversations (tenant_id, updated_at, id)"),
        (
            "UNIQUE INDEX",
            "conversations_request",
            "conversations (tenant_id, request_key) WHERE request_key IS NOT NULL",
        ),
        ("UNIQUE INDEX", "turns_request", "turns (tenant_id, request_key) WHERE request_key IS NOT NULL"),
    ):
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS syntera.{name}")
        op.execute(f"CREATE {kind} CONCURRENTLY {name} ON syntera.{what}")
    # Statistics of words are of all tenants' words, and any tenant's EXPLAIN would show them.
    for name in ("messages_search", "conversations_search"):
        op.execute(f"ALTER INDEX syntera.{name} ALTER COLUMN 1 SET STATISTICS 0")
