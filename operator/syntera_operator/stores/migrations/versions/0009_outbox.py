"""The outbox, which tells what has changed, and the webhooks that tell it to others."""

from alembic import op

from syntera_operator.stores.migrations.walls import isolate, let_own_functions_reach

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """The tables in one transaction; then each change of a table that is there in one of its own, because a statement of a
    runtime locks several of them in another order than any that could be kept here. A run that was cut off between can be
    done again."""
    if op.get_bind().exec_driver_sql("SELECT to_regclass('syntera.outbox')").scalar() is None:
        _create_outbox()
        _create_webhooks()
    with op.get_context().autocommit_block():
        _create_append_event()
        _create_prunes()
        _create_triggers()


def _create_outbox() -> None:
    op.execute("""
        CREATE TABLE syntera.outbox (
          tenant_id uuid NOT NULL,
          transaction bigint NOT NULL,
          position integer NOT NULL,
          id uuid NOT NULL,
          type text NOT NULL,
          conversation_id uuid,
          turn_id uuid,
          message_id uuid,
          contact_id uuid,
          payload jsonb NOT NULL DEFAULT '{}',
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, transaction, position)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.outbox IS 'What has changed, told by the transaction that changed it'")
    op.execute(
        "COMMENT ON COLUMN syntera.outbox.transaction IS"
        " 'Its transaction. Readers stop before the oldest that runs, so that none that commits late is skipped'"
    )
    op.execute("COMMENT ON COLUMN syntera.outbox.position IS 'Among the events of its transaction, from 1'")
    op.execute("COMMENT ON COLUMN syntera.outbox.payload IS 'States and names of fields, never what people wrote'")
    isolate("outbox", insert=True)
    # delete_conversation runs as the owner, and so does the trigger that it fires.
    let_own_functions_reach("outbox")
    op.execute("""
        CREATE TABLE syntera.outbox_readers (
          tenant_id uuid NOT NULL,
          name text NOT NULL,
          transaction bigint NOT NULL DEFAULT 0,
          position integer NOT NULL DEFAULT 0,
          holder uuid,
          lease_expires_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, name)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.outbox_readers IS 'How far each reader of the outbox has come'")
    op.execute("COMMENT ON COLUMN syntera.outbox_readers.holder IS 'The process that reads, until the lease ends'")
    isolate("outbox_readers", insert=True, update=["transaction", "position", "holder", "lease_expires_at"])
    let_own_functions_reach("outbox_readers")


def _create_webhooks() -> None:
    op.execute("""
        CREATE TABLE syntera.webhooks (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          url text NOT NULL,
          events text[] NOT NULL DEFAULT '{}',
          description text NOT NULL DEFAULT '',
          is_thin boolean NOT NULL DEFAULT false,
          is_enabled boolean NOT NULL DEFAULT true,
          disabled_reason text CHECK (disabled_reason IN ('asked', 'gone', 'failing')),
          secret_version integer NOT NULL DEFAULT 1,
          secret_rotated_at timestamptz,
          failing_since timestamptz,
          created_by text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          deleted_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          CHECK (is_enabled = (disabled_reason IS NULL))
        )
    """)
    op.execute("COMMENT ON TABLE syntera.webhooks IS 'Endpoints of others that are told what has changed'")
    op.execute("COMMENT ON COLUMN syntera.webhooks.events IS 'Types of events that are told; empty: all'")
    op.execute(
        "COMMENT ON COLUMN syntera.webhooks.secret_version IS"
        " 'The secret is derived from the tenant''s signing key, the id and this; the one before holds for a day'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.webhooks.failing_since IS 'First failure after the last success; NULL: none since'"
    )
    changed = ["url", "events", "description", "is_thin", "is_enabled", "disabled_reason", "secret_version"]
    isolate("webhooks", insert=True, update=[*changed, "secret_rotated_at", "failing_since", "deleted_at"])
    let_own_functions_reach("webhooks")
    op.execute("""
        CREATE TABLE syntera.webhook_deliveries (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          webhook_id uuid NOT NULL,
          event_id uuid NOT NULL,
          type text NOT NULL,
          conversation_id uuid,
          turn_id uuid,
          message_id uuid,
          contact_id uuid,
          payload jsonb NOT NULL DEFAULT '{}',
          occurred_at timestamptz NOT NULL,
          state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
          attempts integer NOT NULL DEFAULT 0,
          claims integer NOT NULL DEFAULT 0,
          next_attempt_at timestamptz NOT NULL DEFAULT now(),
          response_status integer,
          failure text,
          request_key bytea CHECK (octet_length(request_key) = 32),
          created_at timestamptz NOT NULL DEFAULT now(),
          pending_since timestamptz NOT NULL DEFAULT now(),
          ended_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, webhook_id, event_id),
          FOREIGN KEY (tenant_id, webhook_id) REFERENCES syntera.webhooks (tenant_id, id),
          CHECK ((state = 'pending') = (ended_at IS NULL))
        )
    """)
    op.execute("COMMENT ON TABLE syntera.webhook_deliveries IS 'One event for one endpoint each, and how it went'")
    op.execute(
        "COMMENT ON COLUMN syntera.webhook_deliveries.claims IS"
        " 'How often a process has taken it up; whoever comes back late finds another number and writes nothing'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.webhook_deliveries.next_attempt_at IS"
        " 'When it is due; while it is tried, when it is due for others if the process that tries it dies'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.webhook_deliveries.request_key IS"
        " 'SHA-256 of who asked for it last and the Idempotency-Key: the same request sends nothing twice'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.webhook_deliveries.pending_since IS 'When it was made, or asked for again last'"
    )
    op.execute("""
        CREATE INDEX webhook_deliveries_due ON syntera.webhook_deliveries (tenant_id, webhook_id, next_attempt_at)
        WHERE state = 'pending'
    """)
    op.execute("""
        CREATE INDEX webhook_deliveries_ended ON syntera.webhook_deliveries (tenant_id, ended_at)
        WHERE ended_at IS NOT NULL
    """)
    op.execute("CREATE INDEX webhook_deliveries_list ON syntera.webhook_deliveries (tenant_id, webhook_id, id)")
    isolate(
        "webhook_deliveries",
        insert=True,
        update=[
            "state",
            "attempts",
            "claims",
            "next_attempt_at",
            "response_status",
            "failure",
            "request_key",
            "pending_since",
            "ended_at",
        ],
    )
    let_own_functions_reach("webhook_deliveries")


def _create_append_event() -> None:
    # With the rights of whoever makes the change: a tenant's session can tell of itself alone, and the policy sees to it.
    # In PL/pgSQL, which keeps its plans: before PostgreSQL 18, functions in SQL are planned anew for each event.
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.append_event(
          tenant uuid, type text, conversation uuid, turn uuid, message uuid, contact uuid, payload jsonb
        ) RETURNS void
        LANGUAGE plpgsql VOLATILE
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          -- Counted in a setting of the transaction: looking for the highest one would ask the policy once more each time.
          place integer := coalesce(nullif(current_setting('syntera.outbox_position', true), '')::integer, 0) + 1;
        BEGIN
          PERFORM set_config('syntera.outbox_position', place::text, true);
          INSERT INTO syntera.outbox (
            tenant_id, transaction, position, id, type, conversation_id, turn_id, message_id, contact_id, payload
          ) VALUES (
            tenant, pg_current_xact_id()::text::bigint, place, gen_random_uuid(), append_event.type, conversation, turn,
            message, contact, jsonb_strip_nulls(append_event.payload)
          );
        END $body$
    """)
    op.execute("COMMENT ON FUNCTION syntera.append_event IS 'Appends to the outbox what this transaction changes'")
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.append_event FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.append_event TO syntera_tenant, syntera_maintenance")


def _create_prunes() -> None:
    # Tenants have no DELETE; policies hold these functions to the rows of the tenant in whose session they run.
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.prune_outbox(passed interval, unread interval, most integer) RETURNS bigint
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          WITH oldest AS (
            SELECT o.transaction, o.position, o.created_at FROM syntera.outbox AS o
            WHERE o.tenant_id = syntera.current_tenant()
            ORDER BY o.transaction, o.position
            LIMIT most
          ), deleted AS (
            DELETE FROM syntera.outbox AS o USING oldest
            WHERE o.tenant_id = syntera.current_tenant()
              AND (o.transaction, o.position) = (oldest.transaction, oldest.position)
              AND (oldest.created_at < now() - unread OR oldest.created_at < now() - passed AND NOT EXISTS (
                SELECT FROM syntera.outbox_readers AS r
                WHERE r.tenant_id = syntera.current_tenant()
                  AND (r.transaction, r.position) < (oldest.transaction, oldest.position)
              ))
            RETURNING 1
          ) SELECT count(*) FROM deleted;
        END
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.prune_outbox IS"
        " 'Deletes old events of the caller''s: after `passed` those that all readers have, after `unread` all'"
    )
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.prune_webhook_deliveries(keep interval, most integer) RETURNS bigint
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          WITH old AS (
            SELECT d.id FROM syntera.webhook_deliveries AS d
            WHERE d.tenant_id = syntera.current_tenant() AND d.ended_at < now() - keep
            ORDER BY d.ended_at
            LIMIT most
            FOR UPDATE SKIP LOCKED
          ), deleted AS (
            DELETE FROM syntera.webhook_deliveries AS d USING old
            WHERE d.tenant_id = syntera.current_tenant() AND d.id = old.id
            RETURNING 1
          ) SELECT count(*) FROM deleted;
        END
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.prune_webhook_deliveries IS 'Deletes deliveries of the caller''s that ended long ago'"
    )
    for signature in ("prune_outbox(interval, interval, integer)", "prune_webhook_deliveries(interval, integer)"):
        op.execute(f"REVOKE EXECUTE ON FUNCTION syntera.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION syntera.{signature} TO syntera_tenant")


def _create_triggers() -> None:
    _tell(
        "conversations",
        """
        IF TG_OP = 'DELETE' THEN
          -- What the operator erases of a tenant that is gone is told to nobody; what retention deletes is.
          IF current_user <> 'syntera_maintenance' OR current_setting('syntera.erases_tenant', true) IS DISTINCT FROM 'on' THEN
            PERFORM syntera.append_event(OLD.tenant_id, 'conversation.deleted', OLD.id, NULL, NULL, OLD.contact_id,
              jsonb_build_object('agent', OLD.agent));
          END IF;
        ELSIF TG_OP = 'INSERT' THEN
          PERFORM syntera.append_event(NEW.tenant_id, 'conversation.created', NEW.id, NULL, NULL, NEW.contact_id,
            jsonb_build_object('agent', NEW.agent, 'state', NEW.state));
        ELSE
          PERFORM syntera.append_event(NEW.tenant_id,
            CASE WHEN NEW.state = OLD.state OR NEW.state = 'active' THEN 'conversation.updated'
              ELSE 'conversation.' || NEW.state END,
            NEW.id, NULL, NULL, NEW.contact_id,
            jsonb_build_object('agent', NEW.agent, 'state', NEW.state, 'changed', to_jsonb(array_remove(ARRAY[
              CASE WHEN NEW.title IS DISTINCT FROM OLD.title THEN 'title' END,
              CASE WHEN NEW.metadata <> OLD.metadata THEN 'metadata' END,
              CASE WHEN NEW.state <> OLD.state THEN 'state' END,
              CASE WHEN NEW.contact_id IS DISTINCT FROM OLD.contact_id THEN 'contactId' END], NULL))));
        END IF;
        """,
        insert=True,
        delete=True,
        update="""UPDATE OF title, metadata, state, contact_id ON syntera.conversations FOR EACH ROW
          WHEN (ROW(OLD.title, OLD.metadata, OLD.state, OLD.contact_id)
            IS DISTINCT FROM ROW(NEW.title, NEW.metadata, NEW.state, NEW.contact_id))""",
    )
    _tell(
        "turns",
        """
        PERFORM syntera.append_event(NEW.tenant_id,
          CASE NEW.state WHEN 'running' THEN 'turn.started' ELSE 'turn.' || replace(NEW.state, 'complete', 'completed') END,
          NEW.conversation_id, NEW.id, NULL, NULL,
          jsonb_build_object('agent', NEW.agent, 'state', NEW.state, 'errorCode', NEW.error_code));
        """,
        insert=True,
        update="UPDATE OF state ON syntera.turns FOR EACH ROW WHEN (OLD.state <> NEW.state)",
    )
    _tell(
        "messages",
        """
        PERFORM syntera.append_event(NEW.tenant_id,
          CASE WHEN NEW.role = 'user' OR NEW.turn_id IS NULL THEN 'message.created'
            ELSE 'message.' || replace(NEW.state, 'complete', 'completed') END,
          NEW.conversation_id, NEW.turn_id, NEW.id, NULL, jsonb_build_object('role', NEW.role, 'state', NEW.state));
        """,
        insert=True,
    )
    _tell(
        "contacts",
        """
        PERFORM syntera.append_event(NEW.tenant_id,
          CASE TG_OP WHEN 'INSERT' THEN 'contact.created' ELSE 'contact.updated' END, NULL, NULL, NULL, NEW.id, '{}');
        """,
        insert=True,
        update="""UPDATE OF name, email ON syntera.contacts FOR EACH ROW
          WHEN (ROW(OLD.name, OLD.email) IS DISTINCT FROM ROW(NEW.name, NEW.email))""",
    )
    _tell(
        "feedback",
        """
        PERFORM syntera.append_event(NEW.tenant_id,
          CASE WHEN NEW.rating IS NULL THEN 'feedback.deleted' WHEN TG_OP = 'INSERT' THEN 'feedback.created'
            WHEN OLD.rating IS NULL THEN 'feedback.created' ELSE 'feedback.updated' END,
          (SELECT m.conversation_id FROM syntera.messages AS m WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.message_id),
          NULL, NEW.message_id, NULL, jsonb_build_object('author', NEW.author, 'rating', NEW.rating));
        """,
        insert=True,
        update="""UPDATE OF rating, comment ON syntera.feedback FOR EACH ROW
          WHEN (ROW(OLD.rating, OLD.comment) IS DISTINCT FROM ROW(NEW.rating, NEW.comment))""",
    )


def _tell(table: str, body: str, *, insert: bool = False, delete: bool = False, update: str | None = None) -> None:
    """Tell the outbox of every change of a table, whoever makes it."""
    function = f"syntera.tell_of_{table}"
    op.execute(f"""
        CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
        LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp
        AS $body$ BEGIN {body} RETURN NULL; END $body$
    """)
    op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    after = []
    if insert:
        after.append(("insert", f"INSERT ON syntera.{table} FOR EACH ROW"))
    if delete:
        after.append(("delete", f"DELETE ON syntera.{table} FOR EACH ROW"))
    if update is not None:
        after.append(("update", update))
    for name, when in after:
        op.execute(f"CREATE OR REPLACE TRIGGER tell_of_{name} AFTER {when} EXECUTE FUNCTION {function}()")
