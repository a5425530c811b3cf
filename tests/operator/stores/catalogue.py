"""What the catalogue has to say of every table of ours, so that no migration can forget a wall.

Each check is a query whose rows are faults: a table, and what it lacks.
"""

import asyncpg

PLATFORM_TABLES = frozenset({"tenants", "erasure_receipts", "alembic_version"})
"""Not of one tenant; tenants must have no right to them at all."""

_TABLES = """
    WITH tables AS (
      SELECT c.oid, c.relname, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
        c.relname = ANY ($1::text[]) AS is_platform,
        (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS tenant_id
      FROM pg_class c WHERE c.relnamespace = 'syntera'::regnamespace AND c.relkind IN ('r', 'p')
    ), tenant_tables AS (SELECT * FROM tables WHERE NOT is_platform)
"""

_FAULTS = {
    "is not owned by syntera_owner": "SELECT relname FROM tables t WHERE relowner <> 'syntera_owner'::regrole",
    "is a platform table that tenants may use": """
        SELECT relname FROM tables t
        WHERE is_platform AND has_any_column_privilege('syntera_tenant', t.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    """,
    "lets somebody else than its owner, the maintenance role and tenants in": """
        SELECT DISTINCT relname FROM tables t,
          aclexplode((SELECT c.relacl FROM pg_class c WHERE c.oid = t.oid)) AS granted
        WHERE granted.grantee NOT IN ('syntera_owner'::regrole, 'syntera_maintenance'::regrole, 'syntera_tenant'::regrole)
    """,
    "lets tenants delete, truncate, trigger, refer or update whole rows": """
        SELECT relname FROM tables t
        WHERE has_table_privilege('syntera_tenant', t.oid, 'DELETE, TRUNCATE, TRIGGER, REFERENCES, UPDATE')
    """,
    "lets tenants change tenant_id": """
        SELECT relname FROM tenant_tables t WHERE has_column_privilege('syntera_tenant', t.oid, tenant_id, 'UPDATE')
    """,
    "has no tenant_id of type uuid that is NOT NULL": """
        SELECT relname FROM tenant_tables t LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = tenant_id
        WHERE NOT coalesce(a.attnotnull AND a.atttypid = 'uuid'::regtype, false)
    """,
    "does not force row-level security": """
        SELECT relname FROM tenant_tables t WHERE NOT (relrowsecurity AND relforcerowsecurity)
    """,
    "lacks the policy for tenants": """
        SELECT relname FROM tenant_tables t WHERE NOT EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polroles = ARRAY['syntera_tenant'::regrole::oid]
            AND p.polcmd = '*' AND p.polpermissive
            AND pg_get_expr(p.polqual, t.oid) ~ '^\\(tenant_id = \\( SELECT syntera\\.current_tenant\\(\\) AS current_tenant\\)\\)$'
            AND pg_get_expr(p.polwithcheck, t.oid) = pg_get_expr(p.polqual, t.oid)
        )
    """,
    "lacks the policy for maintenance": """
        SELECT relname FROM tenant_tables t WHERE NOT EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polroles = ARRAY['syntera_maintenance'::regrole::oid]
            AND p.polcmd = '*' AND pg_get_expr(p.polqual, t.oid) = 'true' AND pg_get_expr(p.polwithcheck, t.oid) = 'true'
        )
    """,
    "has a policy beside those two and those of our own functions": """
        SELECT relname FROM tenant_tables t WHERE EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname NOT IN ('tenant', 'maintenance')
            AND p.polpermissive -- a restrictive one only narrows
            AND NOT (p.polroles = ARRAY['syntera_owner'::regrole::oid] AND (
              p.polname = 'own_functions'
                AND pg_get_expr(p.polqual, t.oid) = '(tenant_id = ( SELECT syntera.current_tenant() AS current_tenant))'
                AND pg_get_expr(p.polwithcheck, t.oid) = pg_get_expr(p.polqual, t.oid)
              OR p.polname = 'search' AND p.polcmd = 'r'
            ))
        )
    """,
    "keeps rows that the maintenance role cannot delete": """
        SELECT relname FROM tenant_tables t WHERE NOT has_table_privilege('syntera_maintenance', t.oid, 'DELETE')
    """,
    "has no primary key that tenant_id leads": """
        SELECT relname FROM tenant_tables t WHERE NOT EXISTS (
          SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary AND i.indkey[0] = tenant_id
        )
    """,
    "has a unique constraint or index that tenant_id does not lead": """
        SELECT relname FROM tenant_tables t WHERE EXISTS (
          SELECT FROM pg_index i
          WHERE i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion) AND i.indkey[0] IS DISTINCT FROM tenant_id
        )
    """,
    "has an index that tenant_id does not lead": """
        SELECT relname FROM tenant_tables t WHERE EXISTS (
          SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indkey[0] IS DISTINCT FROM tenant_id
            AND coalesce(pg_get_expr(i.indexprs, t.oid), '') !~ '^syntera\\.search_terms\\(tenant_id, [^,]*(, [^,]*)?\\)$'
            -- Words that are made by a function of ours, which puts a term of the tenant's own among them.
            AND NOT EXISTS (
              SELECT FROM pg_attrdef d WHERE d.adrelid = t.oid AND d.adnum = i.indkey[0]
                AND pg_get_expr(d.adbin, t.oid) ~ '^syntera\\.knowledge_terms\\(tenant_id, '
            )
            -- A table of one tenant's rows alone.
            AND NOT EXISTS (
              SELECT FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'c'
                AND pg_get_constraintdef(k.oid) ~ '^CHECK \\(\\(\\(tenant_id = ''[0-9a-f-]{36}''::uuid\\) AND '
            )
        )
    """,
    "has a foreign key that leaves tenant_id out": """
        SELECT relname FROM tenant_tables t WHERE EXISTS (
          SELECT FROM pg_constraint k
          WHERE k.conrelid = t.oid AND k.contype = 'f' AND NOT EXISTS (
            SELECT FROM unnest(k.conkey, k.confkey) AS pair (own, other)
            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = pair.other
            WHERE pair.own = t.tenant_id
              AND a.attname = CASE k.confrelid WHEN 'syntera.tenants'::regclass THEN 'id' ELSE 'tenant_id' END
          )
        )
    """,
    "has no comment": "SELECT relname FROM tables t WHERE relname <> 'alembic_version' AND obj_description(t.oid) IS NULL",
}

_OTHER_FAULTS = {
    "is no table: a view, sequence or the like could pass the walls": """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'syntera'::regnamespace AND relkind NOT IN ('r', 'p', 'i', 'I', 't')
    """,
    "is a function that tenants may call and that runs with somebody else's rights": """
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'syntera'::regnamespace AND prosecdef
          AND proname NOT IN (
            'analyze_knowledge', 'count_words', 'current_tenant', 'delete_conversation', 'delete_documents', 'delete_file',
            'delete_file_chunks', 'delete_texts', 'delete_vectors', 'ensure_knowledge_base', 'erase_index', 'erase_knowledge_base',
            'lock_knowledge_base', 'prune_outbox', 'prune_syncs', 'prune_webhook_deliveries', 'search_conversations',
            'search_knowledge', 'take_out_documents', 'unlock_knowledge_base'
          )
          AND has_function_privilege('syntera_tenant', oid, 'EXECUTE')
    """,
    "is a function that is executable by everybody": """
        SELECT DISTINCT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS granted
        WHERE pronamespace = 'syntera'::regnamespace AND granted.grantee = 0
    """,
    "is a function with its owner's rights and no pinned search_path": """
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'syntera'::regnamespace AND prosecdef
          AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
    """,
}


async def find_faults(connection: asyncpg.Connection) -> set[str]:
    """Every fault as `<table> <what is wrong>`; asked as a superuser, who sees everything."""
    faults = set()
    for fault, query in _FAULTS.items():
        rows = await connection.fetch(_TABLES + query, list(PLATFORM_TABLES))
        faults |= {f"{row[0]} {fault}" for row in rows}
    for fault, query in _OTHER_FAULTS.items():
        faults |= {f"{row[0]} {fault}" for row in await connection.fetch(query)}
    return faults
