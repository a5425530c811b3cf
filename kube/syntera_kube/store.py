"""Objects of one kind in memory, which only ever go forward in time.

What is known of an object comes from several sources that do not wait for one another: a list, a watch, the answer to a
write of our own. The rules that keep them in order:

* An object is replaced only by a newer one: a resourceVersion that is not greater changes nothing. So the echo of our own
  write is dropped, and an older event that arrives after it does no harm.
* A list removes only what it could have seen: an object newer than the list stays.
* What was deleted, or left the selection, comes back only in a version that is newer than that: a list or an answer that
  was on its way meanwhile cannot revive it.

ResourceVersions are compared as numbers, which Kubernetes guarantees within one kind.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from .model import Manifest

_REMEMBER_DELETED_SECONDS = 300.0
"""Longer than any request may take."""


class Change(NamedTuple):
    """What became of one object."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    old: Manifest | None
    new: Manifest | None

    @property
    def object(self) -> Manifest:
        """The newest that is known of it."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


class ObjectStore:
    """Objects by namespace, name and owner. `transform` slims each object before it is kept."""

    def __init__(
        self,
        *,
        transform: Callable[[Manifest], Manifest] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transform = transform
        self._clock = clock
        self._objects: dict[str | None, dict[str, Manifest]] = {}
        self._owned: dict[str, dict[tuple[str | None, str], None]] = {}
        self._deleted: dict[str, tuple[int, float]] = {}

    def get(self, namespace: str | None, name: str) -> Manifest | None:
        """The object of that name, None if none is known."""
        return self._objects.get(namespace, {}).get(name)

    def in_namespace(self, namespace: str | None) -> list[Manifest]:
        """All objects of a namespace."""
        return list(self._objects.get(namespace, {}).values())

    def owned_by(self, uid: str) -> list[Manifest]:
        """All objects that name `uid` among their owners."""
        return [self._objects[namespace][name] for namespace, name in self._owned.get(uid, {})]

    def __iter__(self) -> Iterator[Manifest]:
        """All objects, as they are now."""
        return iter([item for objects in self._objects.values() for item in objects.values()])

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._objects.values())

    def put(self, item: Manifest) -> Change | None:
        """Take over `item` if it is news."""
        namespace, name, uid = _identity(item)
        old = self.get(namespace, name)
        if self._was_deleted(uid, _version(item)) or (old is not None and _version(item) <= _version(old)):
            return None
        new = self._transform(item) if self._transform else item
        if old is not None:
            self._unindex(old)
        self._objects.setdefault(namespace, {})[name] = new
        for owner in _owners(new):
            self._owned.setdefault(owner, {})[namespace, name] = None
        return Change("MODIFIED" if old is not None else "ADDED", old, new)

    def discard(self, item: Manifest) -> Change | None:
        """Forget an object that was seen to be deleted, or to have left the selection, at the version of `item`."""
        namespace, name, uid = _identity(item)
        self._remember_deleted(uid, _version(item))
        old = self.get(namespace, name)
        if old is None or (_identity(old)[2] != uid and _version(item) < _version(old)):
            return None
        return self._remove(old)

    def has(self, item: Manifest) -> bool:
        """Whether `item`, of which metadata is enough, is known in that or a newer version, or as deleted."""
        namespace, name, uid = _identity(item)
        known = self.get(namespace, name)
        return self._was_deleted(uid, _version(item)) or (known is not None and _version(item) <= _version(known))

    def replace(self, items: Iterable[Manifest], resource_version: str) -> list[Change]:
        """Take over a complete list that was read at `resource_version`."""
        listed = list(items)
        changes = [change for item in listed if (change := self.put(item))]
        return changes + self.retain(listed, resource_version)

    def retain(self, items: Iterable[Manifest], resource_version: str) -> list[Change]:
        """Forget what is not in a complete list, of which metadata is enough, that was read at `resource_version`."""
        gone = self.find_gone(items, resource_version)
        for known in gone:
            self._remember_deleted(_identity(known)[2], int(resource_version))
        return [self._remove(known) for known in gone]

    def find_gone(self, items: Iterable[Manifest], resource_version: str) -> list[Manifest]:
        """What is known but not in a complete list, of which metadata is enough, that was read at `resource_version`."""
        listed = {_identity(item)[:2] for item in items}
        moment = int(resource_version)
        return [known for known in self if _identity(known)[:2] not in listed and _version(known) <= moment]

    def clear(self) -> list[Change]:
        """Forget everything, as if all were deleted; nothing that comes back is refused."""
        return [self._remove(known) for known in self]

    def _remove(self, old: Manifest) -> Change:
        namespace, name, _ = _identity(old)
        self._unindex(old)
        objects = self._objects[namespace]
        del objects[name]
        if not objects:
            del self._objects[namespace]
        return Change("DELETED", old, None)

    def _unindex(self, old: Manifest) -> None:
        namespace, name, _ = _identity(old)
        for owner in _owners(old):
            owned = self._owned.get(owner, {})
            owned.pop((namespace, name), None)
            if not owned:
                self._owned.pop(owner, None)

    def _was_deleted(self, uid: str, version: int) -> bool:
        return uid in self._deleted and version <= self._deleted[uid][0]

    def _remember_deleted(self, uid: str, version: int) -> None:
        now = self._clock()
        known, _ = self._deleted.pop(uid, (0, now))
        self._deleted[uid] = (max(known, version), now)
        for oldest, (_, since) in list(self._deleted.items()):
            if now - since < _REMEMBER_DELETED_SECONDS:
                break
            del self._deleted[oldest]


def _identity(item: Manifest) -> tuple[str | None, str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace"), metadata["name"], metadata["uid"]


def _version(item: Manifest) -> int:
    return int(item["metadata"]["resourceVersion"])


def _owners(item: Manifest) -> list[str]:
    return [owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()]
