"""The search for words with other constants."""

from uuid import UUID

import pytest

from tests.support.postgresql import Database

from .search_function import build_search_function, search_function

CALL = "SELECT count(*) FROM syntera.search_knowledge($1, 'words', '{public}', NULL, NULL, NULL, NULL, NULL, 5)"


async def read_function(database: Database) -> str:
    connection = await database.connect()
    try:
        assert await connection.fetchval(CALL, UUID(int=1)) == 0
        definition: str = await connection.fetchval("SELECT pg_get_functiondef('syntera.search_knowledge'::regproc)")
    finally:
        await connection.close()
    return definition


async def test_database_searches_by_other_constants_for_a_while(database: Database) -> None:
    before = await read_function(database)
    async with search_function(database, {"_CANDIDATES": 4321}):
        within = await read_function(database)
        async with search_function(database, {}):
            assert await read_function(database) == before
        assert await read_function(database) == within
    assert "4321" in within
    assert "4321" not in before
    assert await read_function(database) == before


def test_unknown_constant_is_refused() -> None:
    with pytest.raises(AttributeError, match="_NO_SUCH"):
        build_search_function({"_NO_SUCH": 1})
