"""Taking a file in: whatever breaks on the way, a file is either there in full or not at all."""

from typing import Any

import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_files import MemoryBlobs, MemoryFiles
from syntera_runtime.errors import FileOvertaken, StoreUnavailable
from syntera_runtime.files.service import Files
from syntera_runtime.models.files import File, Storage
from syntera_runtime.models.ids import FileId, RequestKey
from tests.runtime.builders import ASKER, TENANT
from tests.runtime.fakes import FakeCatalogue

from .samples import make_png
from .test_sweeper import picture

KEY = RequestKey(b"k" * 32)


class FakeForgetfulFiles(MemoryFiles):
    """A store whose answer is lost after it has noted that a file is there, and whose word nobody hears before."""

    is_stored = True

    async def complete_file(self, *args: Any, **options: Any) -> File:
        """See `FileStore`."""
        if self.is_stored:
            await super().complete_file(*args, **options)
        raise StoreUnavailable(store="PostgreSQL")


def make_files(store: MemoryFiles, blobs: MemoryBlobs) -> Files:
    """The use cases on these stores."""
    return Files(store, {Storage.POSTGRESQL: blobs}, FakeCatalogue())


@pytest.mark.parametrize("is_stored", [True, False])
async def test_file_whose_last_answer_was_lost_is_there_in_full_or_not_at_all(is_stored: bool) -> None:
    store, blobs = FakeForgetfulFiles(lambda *_: None), MemoryBlobs()
    store.is_stored = is_stored
    files = make_files(store, blobs)
    with pytest.raises(StoreUnavailable):
        await files.add(ASKER, picture(), name="a.png", request_key=KEY)
    found = await files.find_repeated(TENANT, KEY, name="a.png")
    assert (found is not None) == is_stored
    if found is not None:
        assert b"".join([piece async for piece in files.read(TENANT, found)]) == make_png()
    else:
        assert not blobs.kept


async def test_file_that_the_same_request_sends_again_meanwhile_is_overtaken() -> None:
    store, blobs = MemoryStore().files, MemoryBlobs()
    files = make_files(store, blobs)
    made: list[FileId] = []

    async def slow() -> Any:
        yield make_png()
        made.append((await files.add(ASKER, picture(), name="a.png", request_key=KEY)).id)

    with pytest.raises(FileOvertaken):
        await files.add(ASKER, slow(), name="a.png", request_key=KEY)
    found = await files.find_repeated(TENANT, KEY, name="a.png")
    assert found is not None
    assert [found.id] == made
    assert [file_id for _, file_id in blobs.kept] == made
