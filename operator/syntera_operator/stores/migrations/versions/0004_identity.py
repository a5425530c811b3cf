"""Who asks: keys that tenants make themselves, contacts, and whose a conversation is."""

from alembic import op

from syntera_operator.stores.migrations.walls import grant_columns, isolate

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Contacts before the conversations that refer to them."""
    _open_api_keys()
    _create_contacts()
    _give_conversations_owners()


def _open_api_keys() -> None:
    op.execute("""
        ALTER TABLE syntera.api_keys
          ADD agents text[],
          ADD allowed_origins text[] NOT NULL DEFAULT '{}',
          ADD created_by text,
          ADD last_used_at timestamptz,
          ADD CHECK (kind <> 'pk' OR coalesce(cardinality(agents), 0) > 0),
          ALTER made_by SET DEFAULT 'tenant'
    """)
    op.execute(
        "COMMENT ON COLUMN syntera.api_keys.agents IS 'Agents that the holders of a publishable key may talk to'"
    )
    op.execute(
        "COMMENT ON COLUMN syntera.api_keys.allowed_origins IS"
        " 'Origins that may use a publishable key, beside those that the Tenant allows'"
    )
    op.execute("COMMENT ON COLUMN syntera.api_keys.created_by IS 'Who made it through the API; NULL: the operator'")
    op.execute("COMMENT ON COLUMN syntera.api_keys.last_used_at IS 'To the minute'")
    # Not made_by: what a tenant inserts is the tenant's.
    grant_columns(
        "api_keys",
        insert=[
            "tenant_id",
            "id",
            "kind",
            "lookup",
            "hash",
            "name",
            "scopes",
            "agents",
            "allowed_origins",
            "expires_at",
            "created_by",
        ],
        update=["revoked_at", "last_used_at"],
    )


def _create_contacts() -> None:
    op.execute("""
        CREATE TABLE syntera.contacts (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          external_id text,
          name text,
          email text,
          created_at timestamptz NOT NULL DEFAULT now(),
          last_seen_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, external_id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.contacts IS 'Customers of the tenants'")
    op.execute(
        "COMMENT ON COLUMN syntera.contacts.external_id IS"
        " 'What the tenant, or an issuer of tokens as <issuer>|<subject>, knows the person by; NULL: an anonymous visitor'"
    )
    isolate("contacts", insert=True, update=["name", "email", "last_seen_at"])


def _give_conversations_owners() -> None:
    op.execute("""
        ALTER TABLE syntera.conversations
          ADD contact_id uuid,
          ADD CONSTRAINT conversations_contact_fkey
            FOREIGN KEY (tenant_id, contact_id) REFERENCES syntera.contacts (tenant_id, id) NOT VALID
    """)
    op.execute(
        "COMMENT ON COLUMN syntera.conversations.contact_id IS"
        " 'The customer whose conversation it is, who alone of all customers reaches it'"
    )
    grant_columns("conversations", update=["contact_id"])
