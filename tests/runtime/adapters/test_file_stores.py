"""What every store of files promises: memory, PostgreSQL, and for bytes a real server of the S3 protocol."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.tenant_config import FilesConfig, S3Config, TenantConfig
from syntera_runtime.adapters import s3_blobs
from syntera_runtime.adapters.memory_files import MemoryBlobs
from syntera_runtime.adapters.postgresql.blobs import PIECE_BYTES
from syntera_runtime.adapters.s3_blobs import S3Blobs
from syntera_runtime.errors import (
    FileAttached,
    FileNotFound,
    RequestRepeated,
    StoreUnavailable,
    TooManyFiles,
)
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import ConversationStart
from syntera_runtime.models.files import (
    MOST_UNATTACHED,
    Attachment,
    File,
    FileContent,
    FilePart,
    ImagePart,
    NewFile,
    Storage,
    StoredBlob,
    TextPart,
)
from syntera_runtime.models.ids import ContactId, ConversationId, FileId, RequestKey, TenantId
from syntera_runtime.models.turns import BegunTurn, Ending, TurnOutcome, TurnStart
from syntera_runtime.ports.files import BlobStore
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.conftest import PostgresqlStores, Stores, make_postgresql_stores
from tests.runtime.fakes import FakeCatalogue
from tests.support.s3_server import REGION, S3Server

ANNA, BERT = ContactId(new_id()), ContactId(new_id())
PICTURE = FileContent("image/png", 68, b"\1" * 32, width=3, height=4)
TEXT = FileContent("text/plain", 5, b"\2" * 32)
DAY = timedelta(hours=24)


async def add(
    stores: Stores, owner: ContactId | None = None, content: FileContent = PICTURE, key: RequestKey | None = None
) -> File:
    new = NewFile(FileId(new_id()), "beach.png", Storage.POSTGRESQL, key)
    await stores.files.add_file(stores.tenant_id, new, owner=owner)
    return await stores.files.complete_file(stores.tenant_id, new.id, content)


async def start(stores: Stores, owner: ContactId | None = None) -> ConversationId:
    made = await stores.conversations.add_conversation(stores.tenant_id, ConversationStart(agent="travel"), owner=owner)
    return made.conversation.id


async def begin(
    stores: Stores,
    conversation_id: ConversationId,
    *file_ids: FileId,
    owner: ContactId | None = None,
    text: str = "See",
) -> BegunTurn:
    turn = TurnStart(agent="travel", agent_revision=1, lease=timedelta(seconds=30))
    return await stores.turns.begin_turn(
        stores.tenant_id, conversation_id, owner=owner, start=turn, content=text, history=9, file_ids=file_ids
    )


async def sees(stores: Stores, file_id: FileId, owner: ContactId | None) -> bool:
    return await stores.files.find_file(stores.tenant_id, file_id, owner=owner) is not None


async def doomed(stores: Stores) -> set[FileId]:
    found = await stores.files.list_doomed(stores.tenant_id, Storage.POSTGRESQL, limit=100)
    return {blob.file_id for blob in found}


async def test_file_is_there_once_it_is_complete(stores: Stores) -> None:
    new = NewFile(FileId(new_id()), "beach.png", Storage.S3)
    await stores.files.add_file(stores.tenant_id, new, owner=ANNA)
    assert not await sees(stores, new.id, None)
    made = await stores.files.complete_file(stores.tenant_id, new.id, PICTURE)
    assert (made.id, made.name, made.content, made.storage, made.contact_id) == (
        new.id,
        "beach.png",
        PICTURE,
        Storage.S3,
        ANNA,
    )
    assert await stores.files.find_file(stores.tenant_id, new.id, owner=ANNA) == made
    assert list(await stores.files.find_files(stores.tenant_id, [new.id, FileId(new_id())])) == [made]


async def test_file_is_there_for_its_sender_and_the_tenants_side_alone(stores: Stores) -> None:
    file = await add(stores, ANNA)
    assert [await sees(stores, file.id, who) for who in (ANNA, BERT, None)] == [True, False, True]
    with pytest.raises(FileNotFound):
        await stores.files.doom_file(stores.tenant_id, file.id, owner=BERT)


async def test_file_of_a_conversation_is_there_for_whose_the_conversation_is(stores: Stores) -> None:
    conversation_id = await start(stores, ANNA)
    file = await add(stores, ANNA)
    await begin(stores, conversation_id, file.id, owner=ANNA)
    known = await stores.contacts.identify_contact(stores.tenant_id, "anna")
    await stores.contacts.move_conversations(stores.tenant_id, source=ANNA, target=known.id)
    assert not await sees(stores, file.id, ANNA)
    assert await sees(stores, file.id, known.id)


async def test_message_gets_its_files_in_order(stores: Stores) -> None:
    conversation_id = await start(stores)
    text, picture = await add(stores, content=TEXT), await add(stores)
    begun = await begin(stores, conversation_id, picture.id, text.id)
    shown = Attachment(picture.id, "beach.png", "image/png", 68, 3, 4)
    written = Attachment(text.id, "beach.png", "text/plain", 5)
    assert begun.user_message.parts == (TextPart("See"), ImagePart(shown), FilePart(written))
    found = await stores.files.find_file(stores.tenant_id, picture.id, owner=None)
    assert found is not None
    assert (found.conversation_id, found.message_id) == (conversation_id, begun.user_message.id)
    (read,) = await stores.conversations.list_messages(
        stores.tenant_id, conversation_id, owner=None, after=None, limit=9
    )
    assert read == begun.user_message


async def test_message_of_files_alone_has_no_part_of_text(stores: Stores) -> None:
    file = await add(stores)
    begun = await begin(stores, await start(stores), file.id, text="")
    assert [part.type for part in begun.user_message.parts] == ["image"]


async def test_message_of_text_alone_has_no_parts_of_its_own(stores: Stores) -> None:
    begun = await begin(stores, await start(stores))
    assert begun.user_message.parts == ()
    assert begun.user_message.all_parts == (TextPart("See"),)


async def test_file_belongs_to_one_message(stores: Stores) -> None:
    file = await add(stores)
    await begin(stores, await start(stores), file.id)
    other = await start(stores)
    with pytest.raises(FileAttached):
        await begin(stores, other, file.id)
    with pytest.raises(FileAttached):
        await stores.files.doom_file(stores.tenant_id, file.id, owner=None)
    await begin(stores, other)  # nothing of the refused message was stored


@pytest.mark.parametrize(("sender", "speaker"), [(ANNA, BERT), (ANNA, None), (None, ANNA)])
async def test_file_of_somebody_else_is_attached_to_nothing(
    stores: Stores, sender: ContactId | None, speaker: ContactId | None
) -> None:
    conversation_id = await start(stores, speaker)
    own, foreign = await add(stores, speaker), await add(stores, sender)
    with pytest.raises(FileNotFound):
        await begin(stores, conversation_id, own.id, foreign.id, owner=speaker)
    await begin(stores, conversation_id, own.id, owner=speaker)


async def test_file_that_has_not_come_is_attached_to_nothing(stores: Stores) -> None:
    new = NewFile(FileId(new_id()), "beach.png", Storage.POSTGRESQL)
    await stores.files.add_file(stores.tenant_id, new, owner=None)
    with pytest.raises(FileNotFound):
        await begin(stores, await start(stores), new.id)


async def test_request_that_is_repeated_sends_nothing_twice(stores: Stores) -> None:
    key = RequestKey(b"k" * 32)
    file = await add(stores, key=key)
    with pytest.raises(RequestRepeated):
        await add(stores, key=key)
    assert await stores.files.find_repeated_file(stores.tenant_id, key) == file
    assert await stores.files.find_repeated_file(stores.tenant_id, RequestKey(b"x" * 32)) is None


async def test_request_whose_file_did_not_come_may_send_it_again(stores: Stores) -> None:
    key = RequestKey(b"k" * 32)
    lost = NewFile(FileId(new_id()), "beach.png", Storage.POSTGRESQL, key)
    await stores.files.add_file(stores.tenant_id, lost, owner=None)
    file = await add(stores, key=key)
    assert await stores.files.find_repeated_file(stores.tenant_id, key) == file
    assert await doomed(stores) == {lost.id}
    with pytest.raises(FileNotFound):
        await stores.files.complete_file(stores.tenant_id, lost.id, PICTURE)


async def test_customer_with_too_many_files_that_no_message_has_sends_none(stores: Stores) -> None:
    files = [await add(stores, ANNA) for _ in range(MOST_UNATTACHED)]
    with pytest.raises(TooManyFiles):
        await add(stores, ANNA)
    await add(stores, BERT)
    await stores.files.doom_file(stores.tenant_id, files[0].id, owner=ANNA)
    await add(stores, ANNA)


async def test_doomed_file_is_there_for_nobody_until_it_is_removed(stores: Stores) -> None:
    file = await add(stores, ANNA)
    blob = await stores.files.doom_file(stores.tenant_id, file.id, owner=ANNA)
    assert blob == StoredBlob(file.id, Storage.POSTGRESQL)
    assert not await sees(stores, file.id, None)
    assert not await stores.files.find_files(stores.tenant_id, [file.id])
    assert await doomed(stores) == {file.id}
    for _ in range(2):
        await stores.files.remove_file(stores.tenant_id, file.id)
        assert await doomed(stores) == set()


async def test_file_that_is_there_is_not_removed(stores: Stores) -> None:
    file = await add(stores)
    await stores.files.remove_file(stores.tenant_id, file.id)
    assert not await stores.files.give_up_file(stores.tenant_id, file.id)
    assert await sees(stores, file.id, None)


async def test_file_that_does_not_come_is_doomed_and_says_so(stores: Stores) -> None:
    coming = NewFile(FileId(new_id()), "beach.png", Storage.POSTGRESQL)
    assert not await stores.files.give_up_file(stores.tenant_id, coming.id)
    await stores.files.add_file(stores.tenant_id, coming, owner=None)
    for _ in range(2):
        assert await stores.files.give_up_file(stores.tenant_id, coming.id)
    assert await doomed(stores) == {coming.id}


async def test_left_files_are_doomed_and_those_of_messages_stay(stores: Stores) -> None:
    attached, left = await add(stores), await add(stores)
    coming = NewFile(FileId(new_id()), "beach.png", Storage.POSTGRESQL)
    await stores.files.add_file(stores.tenant_id, coming, owner=None)
    await begin(stores, await start(stores), attached.id)
    await stores.files.doom_left_files(stores.tenant_id, unattached=DAY)
    assert await doomed(stores) == set()
    await stores.age_files(timedelta(hours=2))
    await stores.files.doom_left_files(stores.tenant_id, unattached=DAY)
    assert await doomed(stores) == {coming.id}
    await stores.age_files(DAY)
    await stores.files.doom_left_files(stores.tenant_id, unattached=DAY)
    assert await doomed(stores) == {coming.id, left.id}
    assert await sees(stores, attached.id, None)


async def test_doomed_files_are_listed_in_pages(stores: Stores) -> None:
    made = sorted([(await add(stores)).id for _ in range(3)])
    for file_id in made:
        await stores.files.doom_file(stores.tenant_id, file_id, owner=None)
    first = await stores.files.list_doomed(stores.tenant_id, Storage.POSTGRESQL, limit=2)
    rest = await stores.files.list_doomed(stores.tenant_id, Storage.POSTGRESQL, limit=2, after=first[-1].file_id)
    assert [blob.file_id for blob in (*first, *rest)] == made


async def test_looking_for_files_to_remove_is_no_use_of_the_pool(postgresql_stores: PostgresqlStores) -> None:
    stores, pool = postgresql_stores.stores, postgresql_stores.pool
    file = await add(stores)
    blob = await stores.files.doom_file(stores.tenant_id, file.id, owner=None)
    used_at = pool._used_at
    await stores.files.doom_left_files(stores.tenant_id, unattached=DAY)
    await stores.files.doom_orphaned_files(stores.tenant_id)
    assert await stores.files.list_doomed(stores.tenant_id, Storage.POSTGRESQL, limit=9) == [blob]
    await stores.blobs.delete(stores.tenant_id, file.id)
    await stores.files.remove_file(stores.tenant_id, file.id)
    assert pool._used_at == used_at


async def test_file_that_a_visitor_sent_before_signing_in_is_the_customers_then(stores: Stores) -> None:
    file = await add(stores, ANNA)
    known = await stores.contacts.identify_contact(stores.tenant_id, "anna")
    await stores.contacts.move_conversations(stores.tenant_id, source=ANNA, target=known.id)
    assert [await sees(stores, file.id, who) for who in (ANNA, known.id)] == [False, True]
    await begin(stores, await start(stores, known.id), file.id, owner=known.id)


async def test_file_of_somebody_who_is_known_does_not_move(stores: Stores) -> None:
    anna, bert = [await stores.contacts.identify_contact(stores.tenant_id, name) for name in ("anna", "bert")]
    file = await add(stores, anna.id)
    await stores.contacts.move_conversations(stores.tenant_id, source=anna.id, target=bert.id)
    assert [await sees(stores, file.id, who) for who in (anna.id, bert.id)] == [True, False]


async def test_deleted_conversation_takes_its_files_with_it(stores: Stores) -> None:
    conversation_id = await start(stores)
    file, other = await add(stores), await add(stores)
    begun = await begin(stores, conversation_id, file.id)
    outcome = TurnOutcome(is_stopped=True)
    ending = Ending(text="", last_event=begun.last_event + 1)
    await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    await stores.editor.delete_conversation(stores.tenant_id, conversation_id)
    assert not await sees(stores, file.id, None)
    assert await doomed(stores) == {file.id}
    assert await sees(stores, other.id, None)


async def test_files_of_a_conversation_that_is_gone_in_another_way_are_doomed(
    postgresql_stores: PostgresqlStores,
) -> None:
    """As a pod of the release before deletes it, which knows no files."""
    stores = postgresql_stores.stores
    conversation_id, file = await start(stores), await add(stores)
    begun = await begin(stores, conversation_id, file.id)
    ending = Ending(text="", last_event=begun.last_event + 1)
    await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(is_stopped=True), ending=ending)
    async with postgresql_stores.pool.connection("test") as connection:
        await connection.execute("SELECT syntera.delete_conversation($1)", conversation_id)
    assert not await sees(stores, file.id, None)
    kept = await add(stores)
    await begin(stores, await start(stores), kept.id)
    await stores.files.doom_left_files(stores.tenant_id, unattached=DAY)
    assert await doomed(stores) == set()
    await stores.files.doom_orphaned_files(stores.tenant_id)
    assert await doomed(stores) == {file.id}


# ---- bytes ----

BUCKET_KEYS = {"access_key_id": SecretKey(name="s3", key="a"), "secret_access_key": SecretKey(name="s3", key="b")}


def make_s3(server: S3Server, bucket: str, *, secret: str | None = None, url: str | None = None) -> S3Blobs:
    """The adapter of a tenant whose bucket that is."""
    config = S3Config(endpoint=url or server.url, region=REGION, bucket=bucket, prefix="syntera/acme", **BUCKET_KEYS)
    tenant = TenantConfig(name="acme", display_name="Acme", files=FilesConfig(s3=config))
    secrets = FixedSecrets(
        {
            BUCKET_KEYS["access_key_id"]: server.access_key_id,
            BUCKET_KEYS["secret_access_key"]: secret or server.secret_access_key,
        }
    )
    return S3Blobs(FakeCatalogue(tenant=tenant), secrets)


@pytest.fixture
def bucket(s3_server: S3Server) -> Path:
    """A new bucket."""
    return s3_server.make_bucket(f"files-{new_id()}")


@pytest.fixture(params=["memory", "postgresql", "s3"])
def kept(request: pytest.FixtureRequest) -> tuple[BlobStore, TenantId]:
    """Each store of bytes, and a tenant that may use it."""
    if request.param == "memory":
        return MemoryBlobs(), TenantId(new_id())
    if request.param == "s3":
        server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
        return make_s3(server, bucket.name), TenantId(new_id())
    made: PostgresqlStores = request.getfixturevalue("postgresql_stores")
    return made.stores.blobs, made.stores.tenant_id


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start_ in range(0, len(content), size):
        yield content[start_ : start_ + size]


async def make_id(kept: tuple[BlobStore, TenantId], request: pytest.FixtureRequest) -> FileId:
    """A file whose bytes may come."""
    file_id = FileId(new_id())
    if "postgresql" in request.node.callspec.id:
        files = request.getfixturevalue("postgresql_stores").stores.files
        await files.add_file(kept[1], NewFile(file_id, "x", Storage.POSTGRESQL), owner=None)
    return file_id


@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 11 * 1024 * 1024])
async def test_bytes_are_read_as_they_were_written(
    kept: tuple[BlobStore, TenantId], request: pytest.FixtureRequest, size: int
) -> None:
    blobs, tenant_id = kept
    file_id = await make_id(kept, request)
    content = bytes(range(251)) * (size // 251 + 1)
    await blobs.write(tenant_id, file_id, in_pieces(content[:size], 100_000))
    read = [piece async for piece in blobs.read(tenant_id, file_id)]
    assert b"".join(read) == content[:size]
    if not isinstance(blobs, MemoryBlobs):
        assert max(map(len, read)) < 1024 * 1024  # never the whole file


async def test_bytes_that_are_deleted_are_gone_and_nobody_minds_twice(
    kept: tuple[BlobStore, TenantId], request: pytest.FixtureRequest
) -> None:
    blobs, tenant_id = kept
    file_id, other = await make_id(kept, request), await make_id(kept, request)
    for one in (file_id, other):
        await blobs.write(tenant_id, one, in_pieces(b"some bytes", 4))
    for _ in range(2):
        await blobs.delete(tenant_id, file_id)
    with pytest.raises(FileNotFound):
        await anext(blobs.read(tenant_id, file_id))
    assert [piece async for piece in blobs.read(tenant_id, other)] == [b"some bytes"]


async def test_what_breaks_off_the_bytes_passes(
    kept: tuple[BlobStore, TenantId], request: pytest.FixtureRequest
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"x" * 6 * 1024 * 1024
        raise TooManyFiles

    blobs, tenant_id = kept
    with pytest.raises(TooManyFiles):
        await blobs.write(tenant_id, await make_id(kept, request), breaking())


async def test_bytes_of_another_tenant_are_out_of_reach_in_postgresql(
    postgresql_stores: PostgresqlStores, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    mine = postgresql_stores.stores
    file = await add(mine)
    await mine.blobs.write(mine.tenant_id, file.id, in_pieces(b"mine", 4))
    other = await make_postgresql_stores(postgresql_stores.database, tmp_path)
    try:
        theirs = other.stores.blobs
        await theirs.delete(mine.tenant_id, file.id)
        await other.stores.files.remove_file(mine.tenant_id, file.id)
        with pytest.raises(FileNotFound):
            await anext(theirs.read(mine.tenant_id, file.id))
        assert await other.stores.files.find_file(mine.tenant_id, file.id, owner=None) is None
    finally:
        await other.pool.aclose()
    assert [piece async for piece in mine.blobs.read(mine.tenant_id, file.id)] == [b"mine"]


async def test_slow_reader_gets_a_large_object_in_full(
    s3_server: S3Server, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the whole takes: the client's deadline is one for each request, its body included."""
    monkeypatch.setattr(s3_blobs, "_REQUEST_SECONDS", 4.0)
    monkeypatch.setattr(s3_blobs, "_RETRY_SECONDS", 0.1)
    size = 40 * 1024 * 1024  # more than the buffers of two sockets hold
    tenant_id, file_id = TenantId(new_id()), FileId(new_id())
    path = bucket / "syntera" / "acme" / str(tenant_id) / str(file_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * size)
    read = 0
    async for piece in make_s3(s3_server, bucket.name).read(tenant_id, file_id):
        if read == 0:
            await asyncio.sleep(4.5)  # longer than the deadline
        read += len(piece)
    assert read == size


async def test_object_that_goes_while_it_is_read_is_not_found(s3_server: S3Server, bucket: Path) -> None:
    blobs, tenant_id, file_id = make_s3(s3_server, bucket.name), TenantId(new_id()), FileId(new_id())
    await blobs.write(tenant_id, file_id, in_pieces(b"x" * 9 * 1024 * 1024, 1024 * 1024))
    pieces = blobs.read(tenant_id, file_id)
    await anext(pieces)
    await blobs.delete(tenant_id, file_id)
    with pytest.raises(FileNotFound):
        _ = [piece async for piece in pieces]


async def test_object_is_named_by_prefix_tenant_and_file(s3_server: S3Server, bucket: Path) -> None:
    tenant_id, file_id = TenantId(new_id()), FileId(new_id())
    await make_s3(s3_server, bucket.name).write(tenant_id, file_id, in_pieces(b"bytes", 2))
    assert (bucket / "syntera" / "acme" / str(tenant_id) / str(file_id)).read_bytes() == b"bytes"


@pytest.mark.parametrize("how", ["wrong key", "no bucket", "nobody listens"])
async def test_bucket_that_does_not_serve_is_an_unavailable_store(s3_server: S3Server, bucket: Path, how: str) -> None:
    blobs = {
        "wrong key": make_s3(s3_server, bucket.name, secret="another"),
        "no bucket": make_s3(s3_server, "no-such-bucket"),
        "nobody listens": make_s3(s3_server, bucket.name, url="http://127.0.0.1:1"),
    }[how]
    with pytest.raises(StoreUnavailable) as caught:
        await blobs.write(TenantId(new_id()), FileId(new_id()), in_pieces(b"bytes", 2))
    assert caught.value.store == "S3"
    assert caught.value.__cause__ is None
    assert "127.0.0.1" not in caught.value.message


async def test_rotated_key_is_used_at_once(s3_server: S3Server, bucket: Path) -> None:
    blobs = make_s3(s3_server, bucket.name, secret="the one before")
    tenant_id, file_id = TenantId(new_id()), FileId(new_id())
    with pytest.raises(StoreUnavailable):
        await blobs.write(tenant_id, file_id, in_pieces(b"bytes", 2))
    assert isinstance(blobs._secrets, FixedSecrets)
    blobs._secrets.values[BUCKET_KEYS["secret_access_key"]] = s3_server.secret_access_key
    await blobs.write(tenant_id, file_id, in_pieces(b"bytes", 2))


async def test_tenant_without_a_bucket_has_an_unavailable_store(s3_server: S3Server) -> None:
    blobs = S3Blobs(FakeCatalogue(), FixedSecrets())
    with pytest.raises(StoreUnavailable):
        await blobs.delete(TenantId(new_id()), FileId(new_id()))
