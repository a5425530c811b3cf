"""The search for words with other constants than those of its migration."""

import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace
from unittest.mock import patch

from tests.support.postgresql import Database

_MIGRATION = "syntera_operator.stores.migrations.versions.0011_knowledge_functions"


@asynccontextmanager
async def search_function(database: Database, constants: Mapping[str, float]) -> AsyncIterator[None]:
    """In the block the database searches by these; afterwards as before."""
    administrator = await database.connect()
    try:
        before = await administrator.fetchval("SELECT pg_get_functiondef('syntera.search_knowledge'::regproc)")
        await administrator.execute(build_search_function(constants))
        try:
            yield
        finally:
            await administrator.execute(before)
    finally:
        await administrator.close()


def build_search_function(constants: Mapping[str, float]) -> str:
    """The statements that replace the function by the migration's, with the values of constants that are named as there.

    Raises:
        AttributeError: the migration has no such constant.
    """
    migration = importlib.import_module(_MIGRATION)
    statements: list[str] = []
    with ExitStack() as stack:
        for name, value in constants.items():
            stack.enter_context(patch.object(migration, name, value))
        stack.enter_context(patch.object(migration, "op", SimpleNamespace(execute=statements.append)))
        stack.enter_context(patch.object(migration, "offer_function"))
        migration._create_search()
    return ";".join(statements).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
