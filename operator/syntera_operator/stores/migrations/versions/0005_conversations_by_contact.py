"""The index by which a contact's conversations are found, and that each of them has its contact."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Beside everybody's writes, hence in no transaction; what a run that was cut off left behind goes first."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS syntera.conversations_contact")
        op.execute("""
            CREATE INDEX CONCURRENTLY conversations_contact ON syntera.conversations (tenant_id, contact_id, id)
            WHERE contact_id IS NOT NULL
        """)
        # Reads all rows, under a lock that lets everybody read and write.
        op.execute("ALTER TABLE syntera.conversations VALIDATE CONSTRAINT conversations_contact_fkey")
