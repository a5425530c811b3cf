"""What Alembic runs for each command: revisions over the connection that `migrate` hands in, each in its own transaction."""

from alembic import context

from syntera_operator.stores.migrations.walls import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema=SCHEMA,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
