"""The schema's history, forward only: `versions/` holds one Alembic revision per file, run by `syntera_operator.stores.migrate`.

A revision that a release has shipped is never edited; the next one expands or contracts what it left. It has to be safe
beside a runtime of the release before it.
"""
