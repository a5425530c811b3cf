-- For a PostgreSQL server that serves Syntera alone: run once, after bootstrap.sql, by a superuser.
--
-- A login belongs to the whole server, and a new database lets everybody connect. In another database than Syntera's a
-- tenant would find none of Syntera's rows, but temporary tables, large objects and the sessions of others. On a server
-- that is shared with something else, say the same in pg_hba.conf instead, above every wider line:
--
--     hostssl  syntera  +syntera_tenant  all  scram-sha-256
--     host     all      +syntera_tenant  all  reject

DO $$
DECLARE
  other name;
BEGIN
  FOR other IN SELECT datname FROM pg_catalog.pg_database WHERE datname <> current_database() LOOP
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', other);
  END LOOP;
END
$$;
