"""Files that nobody needs go, with their bytes; the others stay."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_files import MemoryBlobs
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.files import sweeper
from syntera_runtime.files.service import Files
from syntera_runtime.files.sweeper import FileSweeper
from syntera_runtime.models.files import Storage
from syntera_runtime.models.ids import FileId, TenantId
from tests.runtime.builders import ASKER, TENANT
from tests.runtime.fakes import FakeCatalogue

from .samples import make_png


class FakeAwayBlobs(MemoryBlobs):
    """A store of bytes that is away."""

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:
        """See `BlobStore`."""
        raise StoreUnavailable(store="S3")


class FakeStubbornBlobs(MemoryBlobs):
    """A store that does not delete some of its bytes, such as a bucket with a lock on an object."""

    def __init__(self) -> None:
        super().__init__()
        self.stubborn: set[FileId] = set()

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:
        """See `BlobStore`."""
        if file_id in self.stubborn:
            raise StoreUnavailable(store="S3")
        await super().delete(tenant_id, file_id)


async def picture() -> AsyncIterator[bytes]:
    yield make_png()


class Site:
    """Files in memory and whoever sweeps them."""

    def __init__(self, *, postgresql: MemoryBlobs | None = None, s3: MemoryBlobs | None = None) -> None:
        self.store = MemoryStore().files
        self.blobs = postgresql or MemoryBlobs()
        stores = {Storage.POSTGRESQL: self.blobs, Storage.S3: s3 or MemoryBlobs()}
        self.files = Files(self.store, stores, FakeCatalogue())
        self.sweeper = FileSweeper(self.files, self.store)


async def test_file_that_no_message_got_within_a_day_goes_with_its_bytes() -> None:
    site = Site()
    await site.files.add(ASKER, picture(), name="a.png")
    site.store.age(TENANT, timedelta(hours=23))
    assert await site.sweeper.sweep(TENANT) == 0
    assert site.blobs.kept
    site.store.age(TENANT, timedelta(hours=2))
    assert await site.sweeper.sweep(TENANT) == 1
    assert not site.blobs.kept
    assert await site.sweeper.sweep(TENANT) == 0


async def test_file_whose_pod_died_between_bytes_and_row_goes_the_next_time() -> None:
    site = Site()
    file = await site.files.add(ASKER, picture(), name="a.png")
    await site.store.doom_file(TENANT, file.id, owner=None)
    await site.blobs.delete(TENANT, file.id)
    assert await site.sweeper.sweep(TENANT) == 1
    assert not await site.store.list_doomed(TENANT, Storage.POSTGRESQL, limit=9)


async def test_file_that_cannot_be_removed_keeps_no_other_from_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "_AT_ONCE", 1)
    site = Site(postgresql=FakeStubbornBlobs())
    files = [await site.files.add(ASKER, picture(), name="a.png") for _ in range(3)]
    for file in files:
        await site.store.doom_file(TENANT, file.id, owner=None)
    assert isinstance(site.blobs, FakeStubbornBlobs)
    site.blobs.stubborn = {files[0].id}
    with pytest.raises(StoreUnavailable):
        await site.sweeper.sweep(TENANT)
    left = await site.store.list_doomed(TENANT, Storage.POSTGRESQL, limit=9)
    assert [blob.file_id for blob in left] == [files[0].id]
    assert [file_id for _, file_id in site.blobs.kept] == [files[0].id]


async def test_bucket_that_is_away_keeps_no_other_file_from_going() -> None:
    site = Site(s3=FakeAwayBlobs())
    file = await site.files.add(ASKER, picture(), name="a.png")
    away = await site.files.add(ASKER, picture(), name="b.png")
    row = site.store._rows(TENANT)[away.id]
    row.new = type(row.new)(away.id, "b.png", Storage.S3)
    for one in (file, away):
        await site.store.doom_file(TENANT, one.id, owner=None)
    with pytest.raises(StoreUnavailable):
        await site.sweeper.sweep(TENANT)
    assert not await site.store.list_doomed(TENANT, Storage.POSTGRESQL, limit=9)
    assert len(await site.store.list_doomed(TENANT, Storage.S3, limit=9)) == 1
