"""Packs: read as dulwich reads them, and hostile ones in bounded time and memory."""

import hashlib
import io
import random
import tracemalloc
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import Blob
from dulwich.pack import create_delta, write_pack_objects
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.ingest.sources.git_pack import Pack, PackBroken, PackTooLarge, apply_delta

MEGABYTE = 1024 * 1024
COMMIT, TREE, BLOB, OFFSET_DELTA, NAMED_DELTA = 1, 2, 3, 6, 7


def make_head(kind: int, size: int) -> bytes:
    head, size = [kind << 4 | size & 15], size >> 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)


def make_pack(*objects: bytes, count: int | None = None) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + (len(objects) if count is None else count).to_bytes(4, "big")
    body += b"".join(objects)
    return body + hashlib.sha1(body).digest()


def whole(kind: int, content: bytes, *, size: int | None = None) -> bytes:
    return make_head(kind, len(content) if size is None else size) + zlib.compress(content)


def named_delta(base: bytes, delta: bytes) -> bytes:
    return make_head(NAMED_DELTA, len(delta)) + base + zlib.compress(delta)


def offset_delta(distance: int, delta: bytes) -> bytes:
    offset, distance = [distance & 0x7F], distance >> 7
    while distance:
        distance -= 1
        offset.insert(0, 0x80 | distance & 0x7F)
        distance >>= 7
    return make_head(OFFSET_DELTA, len(delta)) + bytes(offset) + zlib.compress(delta)


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*out, value])


def blob_id(content: bytes) -> bytes:
    return hashlib.sha1(b"blob %d\x00" % len(content) + content).digest()


def open_pack(folder: Path, content: bytes, *, most: int = MEGABYTE) -> Pack:
    path = folder / "pack"
    path.write_bytes(content)
    return Pack(path, most_object_bytes=most)


def delta_between(base: bytes, content: bytes) -> bytes:
    return b"".join(create_delta(base, content))


def test_objects_are_found_by_what_they_hold(tmp_path: Path) -> None:
    base = bytes(random.Random(1).randbytes(5000))
    first, second = base + b"one", b"two" + base
    third = second + b"three"
    objects = [whole(BLOB, base)]
    objects.append(offset_delta(len(objects[0]), delta_between(base, first)))
    objects.append(named_delta(blob_id(second), delta_between(second, third)))
    objects.append(named_delta(blob_id(base), delta_between(base, second)))
    objects.append(whole(TREE, b""))
    pack = open_pack(tmp_path, make_pack(*objects))
    for content in (base, first, second, third):
        assert pack.read(blob_id(content)) == (b"blob", content)
    assert not pack.has(blob_id(b"none"))
    with pytest.raises(KeyError):
        pack.read(blob_id(b"none"))
    pack.close()


@pytest.mark.parametrize("deltify", [True, False])
def test_packs_of_dulwich_are_read(tmp_path: Path, deltify: bool) -> None:
    chance = random.Random(2)
    lines = [chance.randbytes(20).hex() for _ in range(60)]
    contents = ["\n".join(chance.sample(lines, 50)).encode() for _ in range(12)] + [b"", b"x"]
    out = io.BytesIO()
    write_pack_objects(out, [Blob.from_string(one) for one in contents], DEFAULT_OBJECT_FORMAT, deltify=deltify)
    pack = open_pack(tmp_path, out.getvalue())
    assert all(pack.read(blob_id(one)) == (b"blob", one) for one in contents)
    pack.close()


@given(
    st.binary(max_size=3000), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 200)), max_size=20), st.binary()
)
def test_differences_are_understood(base: bytes, parts: Sequence[tuple[int, int]], more: bytes) -> None:
    content = b"".join(base[start : start + length] for start, length in parts) + more
    assert apply_delta(base, delta_between(base, content), most_bytes=10_000_000) == content


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bytes_that_are_no_difference_are_refused(base: bytes, delta: bytes) -> None:
    with suppress(PackBroken, PackTooLarge):
        assert len(apply_delta(base, delta, most_bytes=1000)) <= 1000


def test_hundreds_of_megabytes_in_a_few_bytes_are_passed_by(tmp_path: Path) -> None:
    packer, pieces = zlib.compressobj(9), []
    digest = hashlib.sha1(b"blob %d\x00" % 256 * MEGABYTE)
    for _ in range(256):
        pieces.append(packer.compress(bytes(MEGABYTE)))
        digest.update(bytes(MEGABYTE))
    bomb = make_head(BLOB, 256 * MEGABYTE) + b"".join(pieces) + packer.flush()
    assert len(bomb) < MEGABYTE
    tracemalloc.start()
    try:
        pack = open_pack(tmp_path, make_pack(bomb, whole(BLOB, b"good")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MEGABYTE
    assert pack.read(blob_id(b"good")) == (b"blob", b"good")
    assert not pack.has(digest.digest())
    pack.close()


def test_differences_that_multiply_are_passed_by(tmp_path: Path) -> None:
    """Each copies its base a thousand times."""
    base = b"x" * 1000
    copy = bytes([0x80 | 0x10 | 0x20]) + (1000).to_bytes(2, "little")
    honest = number(1000) + number(3000) + copy * 3
    bomb = number(1000) + number(1_000_000_000) + copy * 1_000_000
    liar = number(1000) + number(1000) + copy * 1_000_000
    good = whole(BLOB, base)
    pack = open_pack(
        tmp_path, make_pack(good, named_delta(blob_id(base), honest), named_delta(blob_id(base), bomb[:4000]))
    )
    assert pack.has(blob_id(base * 3))
    assert pack.has(blob_id(base))
    pack.close()
    with pytest.raises(PackBroken):
        apply_delta(base, liar, most_bytes=MEGABYTE)
    with pytest.raises(PackTooLarge):
        apply_delta(base, bomb, most_bytes=MEGABYTE)


def test_objects_that_wait_for_others_have_a_bound(tmp_path: Path) -> None:
    most = 16 * MEGABYTE
    content = bytes(most)
    copy = bytes([0x80 | 0x40]) + b"\xff"  # 0xff0000 bytes from the beginning
    objects, content_id = [whole(BLOB, content)], blob_id(content)
    for step in range(40):
        rest = (most - 0xFF0000 - 1).to_bytes(2, "little")
        objects.append(
            named_delta(content_id, number(most) + number(most) + copy + b"\xb0" + rest + bytes([1, step + 1]))
        )
        content = content[:0xFF0000] + content[: most - 0xFF0000 - 1] + bytes([step + 1])
        content_id = blob_id(content)
    tracemalloc.start()
    try:
        with pytest.raises(PackTooLarge):
            open_pack(tmp_path, make_pack(*objects), most=most)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 * MEGABYTE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PACK",
        b"PACK\x00\x00\x00\x02\x00\x00\x00",
        make_pack(count=1),
        make_pack(whole(BLOB, b"x"), count=2)[:-20],
        make_pack(whole(0, b"x")),
        make_pack(whole(5, b"x")),
        make_pack(whole(BLOB, b"more than it says", size=3)),
        make_pack(whole(BLOB, b"less", size=300)),
        make_pack(make_head(BLOB, 3) + b"not packed"),
        make_pack(b"\xb0" + b"\xff" * 100),
        make_pack(offset_delta(0, b"x")),
        make_pack(offset_delta(5, b"x")),
        make_pack(offset_delta(10**15, b"x")),
        make_pack(whole(BLOB, b"x"), named_delta(blob_id(b"x"), b"\x05\x01\x01x")),
        make_pack(whole(BLOB, b"x"), named_delta(blob_id(b"x"), b"\x01\x01\x00")),
        b"PACK\x00\x00\x00\x09" + bytes(40),
        b"<html>" + bytes(40),
    ],
)
def test_what_is_no_pack_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PackBroken):
        open_pack(tmp_path, content).close()


def test_pack_that_claims_billions_of_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackTooLarge):
        open_pack(tmp_path, make_pack(count=2**32 - 1))


def test_difference_from_nothing_is_passed_by(tmp_path: Path) -> None:
    pack = open_pack(tmp_path, make_pack(named_delta(bytes(20), b"\x01\x01\x01x"), whole(BLOB, b"good")))
    assert pack.has(blob_id(b"good"))
    pack.close()


def test_packs_with_broken_bytes_never_do_more_than_fail(tmp_path: Path) -> None:
    chance = random.Random(3)
    base = chance.randbytes(300)
    objects = [whole(BLOB, base)]
    objects.append(offset_delta(len(objects[0]), delta_between(base, base + b"one")))
    objects.append(named_delta(blob_id(base), delta_between(base, b"two" + base)))
    good = make_pack(*objects)
    for _ in range(500):
        broken = bytearray(good)
        for _ in range(chance.choice([1, 1, 2, 8])):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with suppress(PackBroken, PackTooLarge):
            open_pack(tmp_path, bytes(broken[: chance.choice([len(broken), chance.randrange(len(broken))])])).close()
