"""Tenants, API keys, conversations, turns and messages."""

from alembic import op

from syntera_operator.stores.migrations.walls import isolate

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Platform tables first: the policies of tenant tables need `current_tenant()`, which reads them."""
    _create_platform_tables()
    _create_current_tenant()
    _create_api_keys()
    _create_conversations()
    _create_turns()
    _create_messages()


def _create_platform_tables() -> None:
    op.execute("""
        CREATE TABLE syntera.tenants (
          id uuid PRIMARY KEY,
          name text NOT NULL UNIQUE CHECK (name <> ''),
          login_role name NOT NULL UNIQUE,
          created_at timestamptz NOT NULL DEFAULT now(),
          released_at timestamptz
        )
    """)
    op.execute("COMMENT ON TABLE syntera.tenants IS 'Which login is which tenant. No tenant may read it'")
    op.execute(
        "COMMENT ON COLUMN syntera.tenants.released_at IS"
        " 'Since when the tenant is gone while its rows are kept; NULL while it is there. A released one''s login sees nothing'"
    )
    op.execute("""
        CREATE TABLE syntera.erasure_receipts (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL UNIQUE,
          tenant_name text NOT NULL,
          rows jsonb NOT NULL DEFAULT '{}',
          requested_at timestamptz NOT NULL DEFAULT now(),
          completed_at timestamptz
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.erasure_receipts IS 'What was erased of tenants that are no more. No tenant may read it'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.erasure_receipts.rows IS 'How many rows of each table, and Redis keys, are gone so far'"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON syntera.tenants TO syntera_maintenance")
    op.execute("GRANT SELECT, INSERT, UPDATE ON syntera.erasure_receipts TO syntera_maintenance")


def _create_current_tenant() -> None:
    # session_user, not current_user: SET ROLE does not change it, and inside this function current_user is the owner.
    # The body is bound when the function is created, so no search_path can slip another table under it; pinned all the same.
    # Without PARALLEL SAFE no query under a policy could use parallel workers.
    op.execute("""
        CREATE FUNCTION syntera.current_tenant() RETURNS uuid
        LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        RETURN (SELECT t.id FROM syntera.tenants t WHERE t.login_role = session_user AND t.released_at IS NULL)
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.current_tenant() IS 'The tenant whose login this session is, else NULL, which equals no tenant'"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.current_tenant() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.current_tenant() TO syntera_tenant")


def _create_api_keys() -> None:
    # The reference to tenants is for the operator, who writes here under no tenant's policy. Tables that tenants write
    # have none: their policy checks the same, and every insert would lock the tenant's one row against deletion.
    op.execute("""
        CREATE TABLE syntera.api_keys (
          tenant_id uuid NOT NULL REFERENCES syntera.tenants (id),
          id uuid NOT NULL,
          kind text NOT NULL CHECK (kind IN ('sk', 'pk')),
          lookup text NOT NULL,
          hash bytea NOT NULL CHECK (octet_length(hash) = 32),
          name text NOT NULL,
          made_by text NOT NULL CHECK (made_by IN ('operator', 'tenant')),
          scopes text[] NOT NULL,
          expires_at timestamptz,
          revoked_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, lookup)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.api_keys IS 'Keys of the public API'")
    op.execute("COMMENT ON COLUMN syntera.api_keys.lookup IS 'The part of the key that finds the row; no secret'")
    op.execute("COMMENT ON COLUMN syntera.api_keys.hash IS 'SHA-256 of the whole key, which is stored nowhere'")
    isolate("api_keys")


def _create_conversations() -> None:
    op.execute("""
        CREATE TABLE syntera.conversations (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          agent text NOT NULL,
          last_event bigint NOT NULL DEFAULT 0,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.conversations IS 'Conversations of people with agents'")
    op.execute(
        "COMMENT ON COLUMN syntera.conversations.last_event IS 'Number of the newest event; the next one is one higher'"
    )
    isolate("conversations", insert=True, update=["last_event", "updated_at"])


def _create_turns() -> None:
    op.execute("""
        CREATE TABLE syntera.turns (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          conversation_id uuid,
          agent text NOT NULL,
          agent_revision integer NOT NULL,
          state text NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
          endpoint text,
          model text,
          prompt_tokens integer,
          completion_tokens integer,
          error_code text,
          error_detail text,
          lease_expires_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          ended_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          FOREIGN KEY (tenant_id, conversation_id) REFERENCES syntera.conversations (tenant_id, id),
          CHECK ((state = 'running') = (ended_at IS NULL)),
          CHECK (state <> 'running' OR lease_expires_at IS NOT NULL)
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.turns IS 'One answer of an agent each: who answered, what it cost, how it ended'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.turns.conversation_id IS 'NULL: a chat completion, of which only this row is kept'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.turns.lease_expires_at IS"
        " 'A running turn past this time has lost its pod: whoever comes next ends it as failed'"
    )
    op.execute("CREATE INDEX turns_conversation ON syntera.turns (tenant_id, conversation_id)")
    op.execute("""
        CREATE UNIQUE INDEX turns_one_running_per_conversation ON syntera.turns (tenant_id, conversation_id)
        WHERE state = 'running'
    """)
    isolate(
        "turns",
        insert=True,
        update=[
            "state",
            "endpoint",
            "model",
            "prompt_tokens",
            "completion_tokens",
            "error_code",
            "error_detail",
            "lease_expires_at",
            "ended_at",
        ],
    )


def _create_messages() -> None:
    op.execute("""
        CREATE TABLE syntera.messages (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          conversation_id uuid NOT NULL,
          turn_id uuid,
          role text NOT NULL CHECK (role IN ('user', 'assistant')),
          state text NOT NULL CHECK (state IN ('complete', 'failed')),
          content text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id),
          FOREIGN KEY (tenant_id, conversation_id) REFERENCES syntera.conversations (tenant_id, id),
          FOREIGN KEY (tenant_id, turn_id) REFERENCES syntera.turns (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.messages IS 'What people and agents said; written once, never changed'")
    op.execute("COMMENT ON COLUMN syntera.messages.id IS 'UUID version 7: the order of the conversation'")
    op.execute("COMMENT ON COLUMN syntera.messages.turn_id IS 'NULL: a greeting, which no turn made'")
    op.execute("CREATE INDEX messages_conversation ON syntera.messages (tenant_id, conversation_id, id)")
    # Deleting a turn looks for its messages.
    op.execute("CREATE INDEX messages_turn ON syntera.messages (tenant_id, turn_id)")
    isolate("messages", insert=True)
