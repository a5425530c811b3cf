"""The walls that every tenant table stands behind, so that no migration writes them by hand and forgets one.

What these functions emit is part of history: do not change them, add new ones beside them.
"""

from collections.abc import Sequence

from alembic import op

SCHEMA = "syntera"
OWNER = "syntera_owner"
MAINTENANCE = "syntera_maintenance"
TENANTS = "syntera_tenant"


def isolate(table: str, *, select: bool = True, insert: bool = False, update: Sequence[str] = ()) -> None:
    """Force row-level security on a tenant table and grant tenants what is named.

    `update` names columns, never the whole table: UPDATE on a table lets its holder lock the table against everybody
    (`LOCK TABLE … IN ACCESS EXCLUSIVE MODE`); on columns it does not, and identities stay immutable.
    """
    name = f"{SCHEMA}.{table}"
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    # FORCE binds the owner too: who becomes it sees nothing, and a backfill has to become the maintenance role.
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    # The sub-select makes the function run once a statement instead of once a row.
    own_rows = f"tenant_id = (SELECT {SCHEMA}.current_tenant())"
    op.execute(f"CREATE POLICY tenant ON {name} TO {TENANTS} USING ({own_rows}) WITH CHECK ({own_rows})")
    op.execute(f"CREATE POLICY maintenance ON {name} TO {MAINTENANCE} USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {MAINTENANCE}")
    if select:
        op.execute(f"GRANT SELECT ON {name} TO {TENANTS}")
    if insert:
        op.execute(f"GRANT INSERT ON {name} TO {TENANTS}")
    if update:
        op.execute(f"GRANT UPDATE ({', '.join(update)}) ON {name} TO {TENANTS}")


def let_own_functions_reach(table: str) -> None:
    """Let functions that run with the owner's rights reach the rows of the tenant in whose session they run, and no others."""
    name = f"{SCHEMA}.{table}"
    own_rows = f"tenant_id = (SELECT {SCHEMA}.current_tenant())"
    op.execute(f"DROP POLICY IF EXISTS own_functions ON {name}")
    op.execute(f"CREATE POLICY own_functions ON {name} TO {OWNER} USING ({own_rows}) WITH CHECK ({own_rows})")


def let_own_functions_search(table: str) -> None:
    """Let functions that run with the owner's rights read every row, so that they can use a full-text index.

    Such a function must compare `tenant_id` with `current_tenant()` itself. Writing stays closed to the owner.
    """
    op.execute(f"DROP POLICY IF EXISTS search ON {SCHEMA}.{table}")
    op.execute(f"CREATE POLICY search ON {SCHEMA}.{table} FOR SELECT TO {OWNER} USING (true)")


def grant_columns(table: str, *, insert: Sequence[str] = (), update: Sequence[str] = ()) -> None:
    """Grant tenants more on a table that is isolated: columns that they may set in new rows, and change in their own."""
    for right, columns in (("INSERT", insert), ("UPDATE", update)):
        if columns:
            op.execute(f"GRANT {right} ({', '.join(columns)}) ON {SCHEMA}.{table} TO {TENANTS}")


def offer_function(signature: str, comment: str) -> None:
    """Say what a function is for, and let tenants call it and nobody else."""
    op.execute(f"COMMENT ON FUNCTION {SCHEMA}.{signature} IS '{comment}'")
    op.execute(f"REVOKE EXECUTE ON FUNCTION {SCHEMA}.{signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{signature} TO {TENANTS}")
