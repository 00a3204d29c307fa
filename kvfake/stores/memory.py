"""The default store: dicts in memory.

Law: as every store. What is not used costs nothing: the order of keys is made at the first listing, or once there are so many keys
that making it later would take long, and kept up after it; old values are kept only from the first checkpoint on, at the first
change of a key after it.

No single call into the interpreter's C code takes long, however much is stored, but copying a whole namespace (about 30 ms for a
million keys): other threads would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvfake.stores import Dropped, Entry, Namespace

if TYPE_CHECKING:
    from sortedcontainers import SortedList

MAX_CHECKPOINTS = 1000  # beyond it the oldest is dropped
MAX_UNORDERED_KEYS = 4096  # of a namespace; sorting so many takes about a millisecond, and a million of them a second


class _Space:
    """The values of one namespace and their moments, by key. Two dicts, not one of entries: the garbage collector would visit every
    entry, 0.2 s for a million. ``order`` is kept up once it is there.
    """

    __slots__ = ("moments", "order", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.moments: dict[bytes, int] = {}
        self.order: SortedList[bytes] | None = None

    def set(self, key: bytes, entry: Entry) -> None:
        if key not in self.values:
            if self.order is not None:
                self.order.add(key)
            elif len(self.values) == MAX_UNORDERED_KEYS:
                self.ordered().add(key)
        self.values[key] = entry.value
        self.moments[key] = entry.updated

    def ordered(self) -> SortedList[bytes]:
        """The keys in order, which is kept up from now on."""
        if self.order is None:
            from sortedcontainers import SortedList

            self.order = SortedList(self.values)
        return self.order

    def steps(self) -> Iterator[None]:
        """Empty it, one key at each step."""
        while self.values:
            self.moments.pop(self.values.popitem()[0])
            if self.order:
                self.order.pop()
            yield


class _Before:
    """What one namespace was at a checkpoint, as far as it differs from now. If ``is_whole``, ``space`` is what it held when all of
    it was dropped or when it began, ``None`` for nothing; ``keys`` are the old entries of those keys that were changed before.
    """

    __slots__ = ("is_whole", "keys", "space")

    def __init__(self, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.space: _Space | None = None
        self.keys: dict[bytes, Entry | None] = {}


_Changes = dict[Namespace, _Before]


class MemoryStore:
    """A `Store` in memory. A single call is atomic under the interpreter's lock; see the guarantees in `kvfake.stores`."""

    __slots__ = ("_changes", "_checkpoints", "_last_number", "_spaces")

    def __init__(self) -> None:
        self._spaces: dict[Namespace, _Space] = {}
        self._checkpoints: dict[int, _Changes] = {}  # number, oldest first: what was changed from it to the next
        self._changes: _Changes | None = None  # since the newest checkpoint
        self._last_number = 0

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        space = self._spaces.get(namespace)
        value = space.values.get(key) if space is not None else None
        return None if space is None or value is None else Entry(value, space.moments[key])

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        if self._changes is not None:
            self._note(self._changes, namespace, key)
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = _Space()
        space.set(key, entry)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        space = self._spaces.get(namespace)
        if space is None or key not in space.values:
            return False
        if self._changes is not None:
            self._note(self._changes, namespace, key)
        del space.values[key], space.moments[key]
        if space.order is not None:
            space.order.remove(key)
        if not space.values:
            del self._spaces[namespace]
        return True

    def _note(self, changes: _Changes, namespace: Namespace, key: bytes) -> None:
        """Keep what the key is before it is changed."""
        before = changes.get(namespace)
        if before is None:
            before = changes[namespace] = _Before(is_whole=namespace not in self._spaces)
        if not before.is_whole and key not in before.keys:
            before.keys[key] = self.get(namespace, key)

    def drop(self, namespace: Namespace) -> Dropped:
        space = self._spaces.pop(namespace, None)
        if space is None:
            return Dropped(0)
        count = len(space.values)
        if self._changes is not None:
            before = self._changes.setdefault(namespace, _Before(is_whole=False))
            if not before.is_whole:
                before.is_whole, before.space = True, space
                return Dropped(count)
        return Dropped(count, space.steps())

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        space = self._spaces.get(namespace)
        if space is None:
            return []
        order = space.ordered()
        if not prefix:
            return list(order)
        return list(order.irange(prefix, _first_after(prefix), inclusive=(True, False)))

    def snapshot(self, namespace: Namespace) -> Iterator[tuple[bytes, Entry]]:
        space = self._spaces.get(namespace)
        if space is None:
            return iter(())
        keys, values, moments = list(space.ordered()), space.values.copy(), space.moments.copy()
        return ((key, Entry(values[key], moments[key])) for key in keys)

    def count(self, namespace: Namespace) -> int:
        space = self._spaces.get(namespace)
        return len(space.values) if space is not None else 0

    def namespaces(self) -> list[Namespace]:
        return list(self._spaces)

    def clear(self) -> Dropped:
        spaces, checkpoints = self._spaces, self._checkpoints
        self._spaces, self._checkpoints, self._changes = {}, {}, None
        return Dropped(sum(len(space.values) for space in spaces.values()), _steps(spaces, checkpoints))

    def checkpoint(self) -> int:
        self._last_number += 1
        self._changes = self._checkpoints[self._last_number] = {}
        if len(self._checkpoints) > MAX_CHECKPOINTS:
            del self._checkpoints[next(iter(self._checkpoints))]
        return self._last_number

    def rollback(self, number: int) -> Dropped:
        if number not in self._checkpoints:
            raise KeyError(number)
        self._changes = None
        undone: dict[int, _Changes] = {}
        spaces: list[_Space] = []
        while number in self._checkpoints:
            last, changes = self._checkpoints.popitem()
            undone[last] = changes
            for namespace, before in changes.items():
                if before.is_whole:
                    space = self._spaces.pop(namespace, None)
                    if space is not None:
                        spaces.append(space)
                    if before.space is not None:
                        self._spaces[namespace], before.space = before.space, None
                for key, entry in before.keys.items():
                    if entry is None:
                        self.delete(namespace, key)
                    else:
                        self.set(namespace, key, entry)
        self._changes = self._checkpoints[number] = {}
        return Dropped(sum(len(space.values) for space in spaces), _steps(dict(enumerate(spaces)), undone))


def _steps(spaces: dict[Any, _Space], checkpoints: dict[int, _Changes]) -> Iterator[None]:
    """Empty all of them, one key at each step."""
    while spaces:
        yield from spaces.popitem()[1].steps()
    while checkpoints:
        changes = checkpoints.popitem()[1]
        while changes:
            before = changes.popitem()[1]
            if before.space is not None:
                yield from before.space.steps()
            while before.keys:
                before.keys.popitem()
                yield


def _first_after(prefix: bytes) -> bytes | None:
    """The first key after every key with this prefix; ``None`` where there is none (``FF FF``)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
