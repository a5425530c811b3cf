"""Files: what is known of them, their bytes where PostgreSQL keeps them, and messages that hold more than text."""

from alembic import op

from syntera_operator.stores.migrations.walls import isolate, let_own_functions_reach

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """The new column of messages has no default: runtimes of the release before go on writing, and read the text."""
    _create_files()
    _create_chunks()
    _create_removal()
    # Last, and the only table that others use: nothing waits for it while it is locked.
    op.execute("ALTER TABLE syntera.messages ADD COLUMN parts jsonb")
    op.execute(
        "COMMENT ON COLUMN syntera.messages.parts IS 'What it consists of, in order; NULL: of its content alone, as one text'"
    )


def _create_files() -> None:
    # No foreign key to contacts: an anonymous visitor is stored with the first conversation, and may send a file before.
    # None to messages: a conversation that is deleted leaves its files behind, for whoever removes their bytes.
    op.execute("""
        CREATE TABLE syntera.files (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          contact_id uuid,
          conversation_id uuid,
          message_id uuid,
          state text NOT NULL DEFAULT 'incoming' CHECK (state IN ('incoming', 'ready', 'doomed')),
          storage text NOT NULL CHECK (storage IN ('postgresql', 's3')),
          name text NOT NULL,
          media_type text,
          bytes bigint,
          sha256 bytea CHECK (octet_length(sha256) = 32),
          width integer,
          height integer,
          request_key bytea CHECK (octet_length(request_key) = 32),
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id),
          CHECK (state = 'incoming' OR state = 'doomed' OR (media_type IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
          CHECK ((conversation_id IS NULL) = (message_id IS NULL))
        )
    """)
    op.execute("COMMENT ON TABLE syntera.files IS 'Files that people sent; their bytes are where storage says'")
    op.execute("COMMENT ON COLUMN syntera.files.contact_id IS 'The customer who sent it; NULL: the tenant''s side did'")
    op.execute("COMMENT ON COLUMN syntera.files.message_id IS 'The message that it is attached to; NULL: none yet'")
    op.execute(
        "COMMENT ON COLUMN syntera.files.state IS"
        " 'incoming: its bytes may not be there in full; doomed: nobody gets it any more, and bytes and row are to go'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.files.request_key IS"
        " 'SHA-256 of who asked and the Idempotency-Key: the same request makes nothing twice'"
    )
    isolate(
        "files",
        insert=True,
        update=[
            "contact_id",
            "conversation_id",
            "message_id",
            "state",
            "media_type",
            "bytes",
            "sha256",
            "width",
            "height",
            "request_key",
        ],
    )
    op.execute("CREATE INDEX files_conversation ON syntera.files (tenant_id, conversation_id)")
    op.execute("CREATE INDEX files_unattached ON syntera.files (tenant_id, created_at) WHERE message_id IS NULL")
    op.execute("CREATE INDEX files_doomed ON syntera.files (tenant_id, id) WHERE state = 'doomed'")
    op.execute(
        "CREATE UNIQUE INDEX files_request ON syntera.files (tenant_id, request_key) WHERE request_key IS NOT NULL"
    )


def _create_chunks() -> None:
    op.execute("""
        CREATE TABLE syntera.file_chunks (
          tenant_id uuid NOT NULL,
          file_id uuid NOT NULL,
          number integer NOT NULL,
          content bytea NOT NULL,
          PRIMARY KEY (tenant_id, file_id, number),
          FOREIGN KEY (tenant_id, file_id) REFERENCES syntera.files (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.file_chunks IS 'Bytes of the files whose storage is postgresql, in pieces'")
    # Bytes of pictures and office documents are compressed already: trying again costs time at each write.
    op.execute("ALTER TABLE syntera.file_chunks ALTER COLUMN content SET STORAGE EXTERNAL")
    isolate("file_chunks", insert=True)


def _create_removal() -> None:
    # As with conversations, a function of the owner's deletes for tenants, held to the tenant's rows by a policy.
    for table in ("files", "file_chunks"):
        let_own_functions_reach(table)
    op.execute("""
        CREATE FUNCTION syntera.delete_file_chunks(file uuid) RETURNS void
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          DELETE FROM syntera.file_chunks WHERE tenant_id = syntera.current_tenant() AND file_id = file;
        END
    """)
    op.execute("COMMENT ON FUNCTION syntera.delete_file_chunks IS 'Deletes the bytes of a file of the caller''s'")
    op.execute("""
        CREATE FUNCTION syntera.delete_file(file uuid) RETURNS void
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          DELETE FROM syntera.files WHERE tenant_id = syntera.current_tenant() AND id = file AND state = 'doomed';
        END
    """)
    op.execute(
        "COMMENT ON FUNCTION syntera.delete_file IS 'Deletes a doomed file of the caller''s, whose bytes are gone'"
    )
    for function in ("delete_file_chunks", "delete_file"):
        op.execute(f"REVOKE EXECUTE ON FUNCTION syntera.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION syntera.{function} TO syntera_tenant")
