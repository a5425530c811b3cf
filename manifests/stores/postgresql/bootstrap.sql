-- What Syntera needs in a PostgreSQL database before its operator can work in it.
--
-- Run once by a database administrator, connected to the database that Syntera shall use (development: `syntera`),
-- as a superuser or as a role that owns the database and has CREATEROLE. Plain SQL, no psql commands; running it again
-- changes nothing. It sets no password: afterwards
--
--     ALTER ROLE syntera_operator PASSWORD '...';      -- or \password syntera_operator in psql
--
-- The roles it makes, none of them a superuser:
--   syntera_owner        owns the schema and its tables; nobody logs in as it. A table's owner can lift row-level security,
--                        so only migrations become it, by SET ROLE, and the operator to make and drop tables of large indexes.
--   syntera_maintenance  sees every tenant's rows by a policy of its own; nobody logs in as it. Erasure, retention and
--                        migrations with data become it; no function that a tenant may call belongs to it.
--   syntera_tenant       the group of all tenants' logins; whatever tenants may do is granted to it.
--   syntera_operator     the operator's login. It makes tenants' logins, so it can become any tenant: guard its password.
--
-- Only a superuser can take functions of pg_catalog from PUBLIC (part 5); anybody else's run leaves them, with a warning,
-- and docs/stores.md says what tenants then see.

DO $$
BEGIN
  IF current_setting('server_version_num')::int < 160000 THEN
    RAISE EXCEPTION 'Syntera needs PostgreSQL 16 or later: before, CREATEROLE reached every role of the server';
  END IF;
END
$$;

-- Lets an administrator who is no superuser hand objects to the roles made below.
SET createrole_self_grant = 'set, inherit';

-- 1. Roles

DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['syntera_owner', 'syntera_maintenance', 'syntera_tenant', 'syntera_operator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I', wanted);
    END IF;
    -- Either attribute would pass every policy.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted AND (rolsuper OR rolbypassrls)) THEN
      RAISE EXCEPTION 'role % must be neither SUPERUSER nor BYPASSRLS: row-level security would not bind it', wanted;
    END IF;
  END LOOP;
END
$$;

ALTER ROLE syntera_owner NOLOGIN NOINHERIT NOCREATEROLE;
ALTER ROLE syntera_maintenance NOLOGIN NOINHERIT NOCREATEROLE;
ALTER ROLE syntera_tenant NOLOGIN NOINHERIT NOCREATEROLE;
ALTER ROLE syntera_operator LOGIN NOINHERIT CREATEROLE;

-- SET: may become it, on purpose and visibly. No INHERIT: holds none of its rights by accident.
GRANT syntera_owner TO syntera_operator WITH ADMIN FALSE, INHERIT FALSE, SET TRUE;
GRANT syntera_maintenance TO syntera_operator WITH ADMIN FALSE, INHERIT FALSE, SET TRUE;
-- ADMIN: may put the logins that it makes into the group.
GRANT syntera_tenant TO syntera_operator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- 2. The database: no temporary tables (they would shadow names and fill disks), no connection but ours

DO $$
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO syntera_operator, syntera_tenant', current_database());
END
$$;

-- 3. Schemas: tenants can create nothing anywhere

REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS syntera AUTHORIZATION syntera_owner;
REVOKE ALL ON SCHEMA syntera FROM PUBLIC;
GRANT USAGE ON SCHEMA syntera TO syntera_operator, syntera_maintenance, syntera_tenant;

-- Functions are executable by everybody unless told otherwise.
ALTER DEFAULT PRIVILEGES FOR ROLE syntera_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- 4. pgvector. Its control file is not trusted, so an owner cannot create it: an administrator has to.
-- Where it is already installed in another schema: ALTER EXTENSION vector SET SCHEMA extensions;

CREATE SCHEMA IF NOT EXISTS extensions;
REVOKE ALL ON SCHEMA extensions FROM PUBLIC;
GRANT USAGE ON SCHEMA extensions TO syntera_owner, syntera_maintenance, syntera_tenant;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions;

DO $$
BEGIN
  IF (SELECT string_to_array(extversion, '.')::int[] < ARRAY[0, 8] FROM pg_extension WHERE extname = 'vector') THEN
    RAISE EXCEPTION 'Syntera needs pgvector 0.8 or later: where it is installed on the server, ALTER EXTENSION vector UPDATE';
  END IF;
END
$$;

-- 5. What PUBLIC may do everywhere and a tenant must not

DO $$
DECLARE
  routine record;
BEGIN
  FOR routine IN
    SELECT p.oid::regprocedure AS signature, p.proname AS name
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace
      AND p.prokind = 'f'
      AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
      AND (
        -- Statistics of sessions and tables: other tenants' sessions, addresses and amounts of rows.
        p.proname LIKE 'pg\_stat\_get\_%'
        OR p.proname IN ('pg_lock_status', 'pg_blocking_pids', 'pg_prepared_xact')
        OR p.proname IN ('pg_database_size', 'pg_relation_size', 'pg_table_size', 'pg_indexes_size', 'pg_total_relation_size')
        -- Advisory locks are shared by the whole database: a tenant could hold the lock of the migrations. Unlocking is
        -- left: it reaches only one's own, and connection pools do it.
        OR p.proname LIKE 'pg\_advisory\_%lock%' AND p.proname NOT LIKE 'pg\_advisory\_unlock%'
        OR p.proname LIKE 'pg\_try\_advisory\_%'
        -- Large objects and WAL messages: disk space outside every table.
        OR p.proname LIKE 'lo\_%'
        OR p.proname IN ('loread', 'lowrite', 'pg_logical_emit_message')
      )
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine.signature);
    IF routine.name LIKE 'pg\_advisory\_%' OR routine.name LIKE 'pg\_try\_advisory\_%' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO syntera_operator, syntera_owner', routine.signature);
    ELSIF routine.name LIKE 'pg\_stat\_get\_%' THEN
      -- Monitoring goes on; the operator looks for sessions that it has to end.
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO syntera_operator, pg_monitor', routine.signature);
    ELSIF routine.name NOT LIKE 'lo%' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pg_monitor', routine.signature);
    END IF;
  END LOOP;
  IF NOT FOUND THEN
    RAISE WARNING 'functions of pg_catalog were left to PUBLIC: only a superuser can take them away';
  END IF;
END
$$;

-- DO blocks: programs of a tenant's own inside the server. Last, because this script needs them itself.
GRANT USAGE ON LANGUAGE plpgsql TO CURRENT_USER, syntera_owner;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;

RESET createrole_self_grant;
