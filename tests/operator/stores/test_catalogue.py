"""The catalogue of a migrated database has no fault, and each fault would be found."""

import pytest

from tests.support.postgresql import Database

from .catalogue import find_faults
from .conftest import connected

GOOD = """
    CREATE TABLE syntera.notes (
      tenant_id uuid NOT NULL, id uuid NOT NULL, conversation_id uuid, text text, PRIMARY KEY (tenant_id, id),
      FOREIGN KEY (tenant_id, conversation_id) REFERENCES syntera.conversations (tenant_id, id)
    );
    COMMENT ON TABLE syntera.notes IS 'Notes';
    ALTER TABLE syntera.notes OWNER TO syntera_owner;
    ALTER TABLE syntera.notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE syntera.notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON syntera.notes TO syntera_tenant
      USING (tenant_id = (SELECT syntera.current_tenant())) WITH CHECK (tenant_id = (SELECT syntera.current_tenant()));
    CREATE POLICY maintenance ON syntera.notes TO syntera_maintenance USING (true) WITH CHECK (true);
    GRANT SELECT, INSERT, UPDATE, DELETE ON syntera.notes TO syntera_maintenance;
    GRANT SELECT, INSERT, UPDATE (text) ON syntera.notes TO syntera_tenant;
"""

SPOILED = {
    "ALTER TABLE syntera.notes OWNER TO postgres": "is not owned by syntera_owner",
    "GRANT SELECT (name) ON syntera.tenants TO syntera_tenant": "is a platform table that tenants may use",
    "GRANT SELECT ON syntera.notes TO syntera_operator": (
        "lets somebody else than its owner, the maintenance role and tenants in"
    ),
    "GRANT SELECT ON syntera.notes TO PUBLIC": "lets somebody else than its owner, the maintenance role and tenants in",
    "GRANT DELETE ON syntera.notes TO syntera_tenant": (
        "lets tenants delete, truncate, trigger, refer or update whole rows"
    ),
    "GRANT UPDATE ON syntera.notes TO syntera_tenant": (
        "lets tenants delete, truncate, trigger, refer or update whole rows"
    ),
    "GRANT UPDATE (tenant_id) ON syntera.notes TO syntera_tenant": "lets tenants change tenant_id",
    "ALTER TABLE syntera.notes DROP CONSTRAINT notes_pkey, ALTER tenant_id DROP NOT NULL": (
        "has no tenant_id of type uuid that is NOT NULL"
    ),
    "ALTER TABLE syntera.notes DROP tenant_id CASCADE": "has no tenant_id of type uuid that is NOT NULL",
    "ALTER TABLE syntera.notes NO FORCE ROW LEVEL SECURITY": "does not force row-level security",
    "ALTER TABLE syntera.notes DISABLE ROW LEVEL SECURITY": "does not force row-level security",
    "DROP POLICY tenant ON syntera.notes": "lacks the policy for tenants",
    "ALTER POLICY tenant ON syntera.notes WITH CHECK (true)": "lacks the policy for tenants",
    "ALTER POLICY tenant ON syntera.notes USING (tenant_id = (SELECT syntera.current_tenant()) OR id IS NULL)": (
        "lacks the policy for tenants"
    ),
    "ALTER POLICY tenant ON syntera.notes TO PUBLIC": "lacks the policy for tenants",
    "DROP POLICY maintenance ON syntera.notes": "lacks the policy for maintenance",
    "CREATE POLICY more ON syntera.notes TO syntera_tenant USING (true)": "has a policy beside those two and those of our own functions",
    "CREATE POLICY own_functions ON syntera.notes TO syntera_owner USING (true)": (
        "has a policy beside those two and those of our own functions"
    ),
    "CREATE POLICY search ON syntera.notes FOR SELECT TO syntera_tenant USING (true)": (
        "has a policy beside those two and those of our own functions"
    ),
    "CREATE POLICY search ON syntera.notes TO syntera_owner USING (true)": (
        "has a policy beside those two and those of our own functions"
    ),
    "CREATE INDEX ON syntera.notes USING gin (to_tsvector('simple', text))": "has an index that tenant_id does not lead",
    "REVOKE DELETE ON syntera.notes FROM syntera_maintenance": "keeps rows that the maintenance role cannot delete",
    "ALTER TABLE syntera.notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (id, tenant_id)": (
        "has no primary key that tenant_id leads"
    ),
    "ALTER TABLE syntera.notes ADD UNIQUE (text)": "has a unique constraint or index that tenant_id does not lead",
    "CREATE UNIQUE INDEX ON syntera.notes (lower(text))": "has a unique constraint or index that tenant_id does not lead",
    "CREATE INDEX ON syntera.notes (conversation_id, tenant_id)": "has an index that tenant_id does not lead",
    """
    ALTER TABLE syntera.conversations ADD UNIQUE (id);
    ALTER TABLE syntera.notes ADD FOREIGN KEY (conversation_id) REFERENCES syntera.conversations (id)
    """: "has a foreign key that leaves tenant_id out",
    """
    ALTER TABLE syntera.conversations ADD UNIQUE (id, tenant_id);
    ALTER TABLE syntera.notes ADD FOREIGN KEY (tenant_id, id) REFERENCES syntera.conversations (id, tenant_id)
    """: "has a foreign key that leaves tenant_id out",
    "COMMENT ON TABLE syntera.notes IS NULL": "has no comment",
    "CREATE VIEW syntera.seen AS SELECT * FROM syntera.notes": (
        "is no table: a view, sequence or the like could pass the walls"
    ),
    """
    CREATE FUNCTION syntera.f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp RETURN 1;
    REVOKE EXECUTE ON FUNCTION syntera.f() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION syntera.f() TO syntera_tenant
    """: "is a function that tenants may call and that runs with somebody else's rights",
    "CREATE FUNCTION syntera.f() RETURNS int LANGUAGE sql RETURN 1": "is a function that is executable by everybody",
    """
    CREATE FUNCTION syntera.f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public RETURN 1;
    REVOKE EXECUTE ON FUNCTION syntera.f() FROM PUBLIC
    """: "is a function with its owner's rights and no pinned search_path",
}


async def test_catalogue_has_no_fault_after_all_migrations(database: Database) -> None:
    async with connected(database.superuser_dsn) as connection:
        assert await find_faults(connection) == set()


@pytest.mark.parametrize(("statement", "fault"), SPOILED.items(), ids=range(len(SPOILED)))
async def test_catalogue_shows_the_fault_when_a_table_is_spoiled(
    database: Database, statement: str, fault: str
) -> None:
    async with connected(database.superuser_dsn) as connection:
        scratch = connection.transaction()
        await scratch.start()
        await connection.execute(GOOD)
        assert await find_faults(connection) == set()

        await connection.execute(statement)

        assert fault in {found.partition(" ")[2] for found in await find_faults(connection)}
        await scratch.rollback()
