"""Objects of a pack file that a server of somebody else's has sent: bounded time and memory, whatever it holds.

Git's format packs objects each by zlib, some as differences from others. A few bytes can claim to be gigabytes, so nothing is
unpacked beyond the bound of an object: larger ones are passed by, and so is what is made from them. Every object is found by the
hash of what it really holds, so a pack cannot lie about its content. The file is read through the memory of the system's page
cache, never as a whole.
"""

import hashlib
import mmap
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEADER_BYTES = 12
_TYPES = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_OFFSET_DELTA, _NAMED_DELTA = 6, 7
_MOST_OBJECTS = 500_000
_MOST_HELD = 256 * 1024 * 1024
"""Bytes of objects that wait while others are made from them."""
_MOST_DEPTH = 4096
"""Of differences from differences: the most that Git itself makes."""
_PIECE_BYTES = 64 * 1024
_UNPACKED_BYTES = 1024 * 1024

Id = bytes
"""20 bytes: the SHA-1 of an object."""


class PackBroken(Exception):
    """It is no pack, or not whole."""


class PackTooLarge(Exception):
    """It holds more than is read."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an object is, packed as it is."""

    kind: int
    size: int
    """Of what is packed: of the object, or of the difference."""
    data_at: int
    base_at: int | None = None
    """What it is a difference from, if that is told by its place."""
    base_id: Id | None = None
    """What it is a difference from, if that is told by its name."""

    @property
    def is_delta(self) -> bool:
        """Whether a difference is packed."""
        return self.kind in (_OFFSET_DELTA, _NAMED_DELTA)


@dataclass(slots=True)
class _Waiting:
    """An object while others are made from it."""

    kind: int
    content: bytes
    made_from_it: Iterator[int]


@dataclass(slots=True)
class _Index:
    """What is known of a pack."""

    entries: dict[int, _Entry] = field(default_factory=dict)
    """By their places."""
    places: dict[Id, int] = field(default_factory=dict)
    kinds: dict[int, int] = field(default_factory=dict)
    """Of objects that are made from others: what they are in the end."""
    by_place: dict[int, list[int]] = field(default_factory=dict)
    """Differences from the object at a place."""
    by_id: dict[Id, list[int]] = field(default_factory=dict)


class Pack:
    """A pack file. Calls block, and none may be made at the same time."""

    def __init__(self, path: Path, *, most_object_bytes: int, check: Callable[[], None] = lambda: None) -> None:
        """Look through the whole file.

        Args:
            most_object_bytes: Larger objects are not read.
            check: Called again and again; what it raises ends the work.

        Raises:
            PackBroken: It is no pack.
            PackTooLarge: It holds more than is read.
        """
        self._most = most_object_bytes
        self._check = check
        with path.open("rb") as file:
            if path.stat().st_size < _HEADER_BYTES:
                raise PackBroken
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._index = _Index()
        try:
            self._read_entries()
            self._make_objects()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def has(self, object_id: Id) -> bool:
        """Whether the object is there, and not too large."""
        return object_id in self._index.places

    def read(self, object_id: Id) -> tuple[bytes, bytes]:
        """An object: what it is (`blob`), and what it holds.

        Raises:
            KeyError: It is not there, or too large.
        """
        place: int | None = self._index.places[object_id]
        kind = self._kind(self._index.places[object_id])
        deltas = []
        content = b""
        while place is not None:
            entry = self._index.entries[place]
            content, _ = self._unpack(entry.data_at, entry.size)
            if not entry.is_delta:
                break
            deltas.append(content)
            place = entry.base_at if entry.base_id is None else self._index.places[entry.base_id]
        for delta in reversed(deltas):
            self._check()
            content = apply_delta(content, delta, most_bytes=self._most)
        return _TYPES[kind], content

    def _kind(self, place: int) -> int:
        return self._index.kinds.get(place, self._index.entries[place].kind)

    # --- looking through ---

    def _read_entries(self) -> None:
        if self._file[:4] != b"PACK" or int.from_bytes(self._file[4:8], "big") not in (2, 3):
            raise PackBroken
        count = int.from_bytes(self._file[8:_HEADER_BYTES], "big")
        if count > _MOST_OBJECTS:
            raise PackTooLarge
        place = _HEADER_BYTES
        for _ in range(count):
            self._check()
            entry = self._read_head(place)
            self._index.entries[place] = entry
            place = self._pass_by(place, entry)

    def _read_head(self, place: int) -> _Entry:
        try:
            at, byte = place + 1, self._file[place]
            kind, size, shift = byte >> 4 & 7, byte & 15, 4
            while byte & 0x80 and shift < 64:
                byte = self._file[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                at += 1
            if kind in _TYPES:
                return _Entry(kind, size, at)
            if kind == _NAMED_DELTA:
                return _Entry(kind, size, at + 20, base_id=self._file[at : at + 20])
            if kind == _OFFSET_DELTA:
                base_at, at = self._read_base(place, at)
                return _Entry(kind, size, at, base_at=base_at)
        except IndexError:
            raise PackBroken from None
        raise PackBroken

    def _read_base(self, place: int, at: int) -> tuple[int, int]:
        byte = self._file[at]
        distance = byte & 0x7F
        while byte & 0x80:
            at += 1
            byte = self._file[at]
            distance = (distance + 1) << 7 | byte & 0x7F
            if distance > place:
                raise PackBroken
        if place - distance not in self._index.entries:  # it comes before, so nothing is made from itself
            raise PackBroken
        return place - distance, at + 1

    def _pass_by(self, place: int, entry: _Entry) -> int:
        """Where the next object begins. This one's name is found out if it is whole and small enough."""
        if not entry.is_delta:
            digest = hashlib.sha1(b"%s %d\x00" % (_TYPES[entry.kind], entry.size), usedforsecurity=False)
            end = self._inflate(entry.data_at, entry.size, digest.update)
            if entry.size <= self._most:
                self._index.places[digest.digest()] = place
            return end
        end = self._inflate(entry.data_at, entry.size, lambda _: None)
        if entry.size <= self._most:
            if entry.base_id is None:
                assert entry.base_at is not None
                self._index.by_place.setdefault(entry.base_at, []).append(place)
            else:
                self._index.by_id.setdefault(entry.base_id, []).append(place)
        return end

    # --- objects that are made from others ---

    def _make_objects(self) -> None:
        """Find out the names of all objects that are told as differences: from each whole one, all that is made from it."""
        for object_id, place in list(self._index.places.items()):
            if place in self._index.by_place or object_id in self._index.by_id:
                entry = self._index.entries[place]
                content, _ = self._unpack(entry.data_at, entry.size)
                self._make_from(_Waiting(entry.kind, content, self._made_from(place, object_id)))

    def _made_from(self, place: int, object_id: Id) -> Iterator[int]:
        return iter([*self._index.by_place.pop(place, ()), *self._index.by_id.pop(object_id, ())])

    def _make_from(self, first: _Waiting) -> None:
        waiting, held = [first], len(first.content)
        while waiting:
            self._check()
            last = waiting[-1]
            place = next(last.made_from_it, None)
            if place is None:
                held -= len(waiting.pop().content)
                continue
            entry = self._index.entries[place]
            delta, _ = self._unpack(entry.data_at, entry.size)
            try:
                content = apply_delta(last.content, delta, most_bytes=self._most)
            except PackTooLarge:
                continue
            name = b"%s %d\x00" % (_TYPES[last.kind], len(content))
            object_id = hashlib.sha1(name + content, usedforsecurity=False).digest()
            self._index.places.setdefault(object_id, place)
            self._index.kinds[place] = last.kind
            waiting.append(_Waiting(last.kind, content, self._made_from(place, object_id)))
            held += len(content)
            if held > _MOST_HELD or len(waiting) > _MOST_DEPTH:
                raise PackTooLarge

    # --- unpacking ---

    def _unpack(self, at: int, size: int) -> tuple[bytes, int]:
        pieces: list[bytes] = []
        end = self._inflate(at, size, pieces.append)
        return b"".join(pieces), end

    def _inflate(self, at: int, size: int, take: Callable[[bytes], object]) -> int:
        """Hand over what is packed at a place, piece by piece; where it ends."""
        unpack, done, rest = zlib.decompressobj(), 0, b""
        try:
            while not unpack.eof:
                self._check()
                if not rest:
                    rest = self._file[at : at + _PIECE_BYTES]
                    at += len(rest)
                    if not rest:
                        raise PackBroken
                piece = unpack.decompress(rest, _UNPACKED_BYTES)
                rest = unpack.unconsumed_tail
                done += len(piece)
                if done > size:
                    raise PackBroken
                take(piece)
        except zlib.error:
            raise PackBroken from None
        if done != size:
            raise PackBroken
        return at - len(unpack.unused_data)


def apply_delta(base: bytes, delta: bytes, *, most_bytes: int) -> bytes:
    """What a difference makes of an object.

    Raises:
        PackBroken: It is none.
        PackTooLarge: It would be more than may be.
    """
    try:
        base_size, at = _read_size(delta, 0)
        size, at = _read_size(delta, at)
        if base_size != len(base):
            raise PackBroken
        if size > most_bytes:
            raise PackTooLarge
        out = bytearray()
        while at < len(delta) and len(out) <= size:
            code = delta[at]
            at += 1
            if code & 0x80:
                start, length, at = _read_copy(delta, code, at)
                if start + length > len(base):
                    raise PackBroken
                out += base[start : start + length]
            elif code:
                out += delta[at : at + code]
                at += code
            else:
                raise PackBroken
    except IndexError:
        raise PackBroken from None
    if len(out) != size:
        raise PackBroken
    return bytes(out)


def _read_size(delta: bytes, at: int) -> tuple[int, int]:
    size, shift = 0, 0
    while shift < 64:
        byte = delta[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at
    raise PackBroken


def _read_copy(delta: bytes, code: int, at: int) -> tuple[int, int, int]:
    """From where how much is copied, and where the next instruction is."""
    start = length = 0
    for bit in range(4):
        if code & 1 << bit:
            start |= delta[at] << 8 * bit
            at += 1
    for bit in range(3):
        if code & 0x10 << bit:
            length |= delta[at] << 8 * bit
            at += 1
    return start, length or 0x10000, at
