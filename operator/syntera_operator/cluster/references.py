"""Which of our objects refer to which Secrets, ConfigMaps and KnowledgeBases. Pure bookkeeping."""

from collections.abc import Iterable, Iterator

from syntera_kube import Change

from ..causes import Wakeup
from ..manifest import name_of, namespace_of
from ..queue import Key
from .model import Reference, ReferenceKind


class References:
    """References of our objects, in both directions."""

    def __init__(self) -> None:
        self._by_key: dict[Key, frozenset[Reference]] = {}
        self._keys: dict[Reference, set[Key]] = {}

    def set(self, key: Key, references: Iterable[Reference]) -> None:
        """Remember all that `key` refers to; nothing forgets it."""
        wanted = frozenset(references)
        known = self._by_key.pop(key, frozenset())
        for reference in known - wanted:
            keys = self._keys[reference]
            keys.discard(key)
            if not keys:
                del self._keys[reference]
        for reference in wanted - known:
            self._keys.setdefault(reference, set()).add(key)
        if wanted:
            self._by_key[key] = wanted

    def wakeups(self, kind: ReferenceKind, change: Change) -> Iterator[Wakeup]:
        """Whoever refers to the object that changed."""
        namespace = namespace_of(change.object) or ""
        for key in self._keys.get(Reference(kind, namespace, name_of(change.object)), ()):
            yield Wakeup(key)
