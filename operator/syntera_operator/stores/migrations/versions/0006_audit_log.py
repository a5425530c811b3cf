"""Who has done what with a tenant's administration."""

from alembic import op

from syntera_operator.stores.migrations.walls import isolate

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """A tenant's runtime adds acts and their ends, and deletes none."""
    op.execute("""
        CREATE TABLE syntera.audit_log (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          at timestamptz NOT NULL,
          operation text NOT NULL,
          subject text NOT NULL,
          targets jsonb NOT NULL,
          request_id text NOT NULL,
          address text,
          status smallint,
          PRIMARY KEY (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.audit_log IS 'Administrative acts, each written before it was done'")
    op.execute("COMMENT ON COLUMN syntera.audit_log.id IS 'UUID version 7: the order of the acts'")
    op.execute("COMMENT ON COLUMN syntera.audit_log.status IS 'Status of the answer; NULL: nobody knows how it ended'")
    isolate("audit_log", insert=True, update=["status", "targets"])
    # What has an end stays as it is: a pod that was taken over cannot write over what others, or it, have done.
    op.execute(
        "CREATE POLICY ended ON syntera.audit_log AS RESTRICTIVE FOR UPDATE TO syntera_tenant"
        " USING (status IS NULL) WITH CHECK (true)"
    )
    op.execute("CREATE INDEX audit_log_subject ON syntera.audit_log (tenant_id, subject, id)")
    op.execute("CREATE INDEX audit_log_operation ON syntera.audit_log (tenant_id, operation, id)")
