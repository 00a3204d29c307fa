"""The default store: dicts in memory.

Law: as every store. What is not used costs nothing: the order of keys is made at the first listing, or once there are so many keys
that making it later would take long, and kept up after it; old values are kept only from the first checkpoint on, at the first
change of a key after it.

No single call into the interpreter's C code takes long, however much is stored, but copying a dict or the order of a whole
namespace (about 30 ms for a million keys): other threads would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from kvfake.stores import Dropped, Entry, Namespace

if TYPE_CHECKING:
    from sortedcontainers import SortedList

MAX_CHECKPOINTS = 1000  # beyond it the oldest is dropped
MAX_KEYS_UNDONE_IN_PLACE = 4096  # of a namespace: about 10 ms; with more, the old namespace is made beside the present one
MAX_UNORDERED_KEYS = 4096  # of a namespace; sorting so many takes about a millisecond, and a million of them a second

_KEYS_OF_A_STEP = 500  # in a millisecond or two


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

    def delete(self, key: bytes) -> None:
        del self.values[key], self.moments[key]
        if self.order is not None:
            self.order.remove(key)

    def copy_to(self, other: _Space) -> Iterator[None]:
        """Make the other, which is empty, the same; a dict at each step."""
        other.values = self.values.copy()
        yield
        other.moments = self.moments.copy()
        yield
        if self.order is not None:
            other.order = self.order.copy()

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


class _Past:
    """What some namespaces were at a checkpoint, made beside the present. ``seen`` is how many keys of each `_Before`, by
    checkpoint and namespace, are dealt with; more may have been changed since.

    A key that was not changed since the checkpoint is the same in every copy of the namespace, whenever that was made; every other
    one is in a `_Before`. So nothing that is changed meanwhile makes it wrong, but a rollback or `clear`, which end it.
    """

    __slots__ = ("number", "seen", "spaces")

    def __init__(self, number: int) -> None:
        self.number = number
        self.spaces: dict[Namespace, _Space] = {}
        self.seen: dict[tuple[int, Namespace], int] = {}


class MemoryStore:
    """A `Store` in memory. A single call is atomic under the interpreter's lock; see the guarantees in `kvfake.stores`."""

    __slots__ = ("_changes", "_checkpoints", "_fresh", "_last_number", "_past", "_seed", "_spaces")

    def __init__(self) -> None:
        self._spaces: dict[Namespace, _Space] = {}
        self._checkpoints: dict[int, _Changes] = {}  # number, oldest first: what was changed from it to the next
        self._changes: _Changes | None = None  # since the newest checkpoint
        self._last_number = 0
        self._past: _Past | None = None
        self._seed: dict[Namespace, _Space] = {}
        self._fresh: dict[Namespace, _Space] | None = None  # a copy of the seed

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
        space.delete(key)
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

    def keep_seed(self) -> None:
        self._seed = _copies(self._spaces)

    def clear(self) -> Dropped:
        spaces, checkpoints, fresh = self._spaces, self._checkpoints, self._fresh
        self._spaces = _copies(self._seed) if fresh is None else fresh
        self._checkpoints, self._changes, self._past, self._fresh = {}, None, None, None
        return Dropped(sum(len(space.values) for space in spaces.values()), _steps(spaces, checkpoints))

    def prepare_clear(self) -> Iterator[None]:
        fresh: dict[Namespace, _Space] = {}
        for namespace, space in self._seed.items():
            fresh[namespace] = _Space()
            yield from space.copy_to(fresh[namespace])
        self._fresh = fresh

    def checkpoint(self) -> int:
        self._last_number += 1
        self._changes = self._checkpoints[self._last_number] = {}
        if len(self._checkpoints) > MAX_CHECKPOINTS:
            del self._checkpoints[next(iter(self._checkpoints))]
        return self._last_number

    def prepare_rollback(self, number: int) -> Iterator[None]:
        if number not in self._checkpoints:
            return
        counts: dict[Namespace, int] = {}
        for changes in self._since(number).values():
            for namespace, before in changes.items():
                counts[namespace] = counts.get(namespace, 0) + len(before.keys)
        past = self._past = _Past(number)
        for namespace, count in counts.items():
            if count > MAX_KEYS_UNDONE_IN_PLACE:
                for _ in self._make(past, namespace):
                    yield
                    if self._past is not past or number not in self._checkpoints:
                        return

    def _since(self, number: int) -> dict[int, _Changes]:
        """The changes since the checkpoint, oldest first."""
        return {other: changes for other, changes in self._checkpoints.items() if other >= number}

    def _befores(self, past: _Past, namespace: Namespace) -> dict[int, _Before]:
        """What it was, by checkpoint: oldest first, as far as it matters for the oldest."""
        befores = {}
        for number, changes in self._since(past.number).items():
            before = changes.get(namespace)
            if before is not None:
                befores[number] = before
                if before.is_whole:
                    break
        return befores

    def _make(self, past: _Past, namespace: Namespace) -> Iterator[None]:
        """Make the namespace as it was, a few keys at each step."""
        from sortedcontainers import SortedList

        *_, last = self._befores(past, namespace).values()
        base = (last.space if last.is_whole else self._spaces.get(namespace)) or _Space()
        space, names, added = _Space(), list(base.ordered()), list[bytes]()
        space.values = base.values.copy()
        yield
        space.moments = base.moments.copy()
        yield
        for keys in _slices(self._unseen(past, namespace)):
            for key, entry in self._old_entries(past, namespace, keys):
                if entry is None:
                    space.values.pop(key, None)
                    space.moments.pop(key, None)
                else:
                    if key not in space.values:
                        added.append(key)
                    space.values[key], space.moments[key] = entry.value, entry.updated
            yield
        ordered: list[bytes] = []
        for keys in _slices(names):
            ordered.extend(filter(space.values.__contains__, keys))
            yield
        space.order = SortedList(ordered)
        yield
        for keys in _slices(added):
            for key in keys:
                space.order.add(key)
            yield
        while len(rest := self._unseen(past, namespace)) > _KEYS_OF_A_STEP:
            for keys in _slices(rest):
                self._restore(past, namespace, space, keys)
                yield
        self._restore(past, namespace, space, rest)
        past.spaces[namespace] = space

    def _unseen(self, past: _Past, namespace: Namespace) -> list[bytes]:
        """The keys that were changed since the checkpoint, and since this was asked before."""
        keys: list[bytes] = []
        for number, before in self._befores(past, namespace).items():
            count = len(before.keys)
            keys.extend(islice(reversed(before.keys), count - past.seen.get((number, namespace), 0)))
            past.seen[number, namespace] = count
        return keys

    def _old_entries(self, past: _Past, namespace: Namespace, keys: list[bytes]) -> Iterator[tuple[bytes, Entry | None]]:
        """What these keys were at the checkpoint: the oldest that is known of each."""
        olds = [before.keys for before in self._befores(past, namespace).values()]
        for key in keys:
            yield key, next(old[key] for old in olds if key in old)

    def _restore(self, past: _Past, namespace: Namespace, space: _Space, keys: list[bytes]) -> None:
        for key, entry in self._old_entries(past, namespace, keys):
            if entry is not None:
                space.set(key, entry)  # what was new then has been taken away, and what came later was not copied

    def rollback(self, number: int) -> Dropped:
        if number not in self._checkpoints:
            raise KeyError(number)
        past = self._past if self._past is not None and self._past.number == number else _Past(number)
        for namespace, space in past.spaces.items():
            self._restore(past, namespace, space, self._unseen(past, namespace))
        self._changes = self._past = None
        undone: dict[int, _Changes] = {}
        spaces: list[_Space] = []
        while number in self._checkpoints:
            last, changes = self._checkpoints.popitem()
            undone[last] = changes
            for namespace, before in changes.items():
                if namespace not in past.spaces:
                    spaces += self._undo(namespace, before)
        for namespace, space in past.spaces.items():
            spaces += self._replace(namespace, space)
        self._changes = self._checkpoints[number] = {}
        return Dropped(sum(len(space.values) for space in spaces), _steps(dict(enumerate(spaces)), undone))

    def _undo(self, namespace: Namespace, before: _Before) -> list[_Space]:
        """Put back what was changed; what was there instead of a whole namespace."""
        replaced: list[_Space] = []
        if before.is_whole:
            replaced, before.space = self._replace(namespace, before.space), None
        for key, entry in before.keys.items():
            if entry is None:
                self.delete(namespace, key)
            else:
                self.set(namespace, key, entry)
        return replaced

    def _replace(self, namespace: Namespace, space: _Space | None) -> list[_Space]:
        """Put it there; what was there instead."""
        old = self._spaces.pop(namespace, None)
        if space is not None and space.values:
            self._spaces[namespace] = space
        return [] if old is None else [old]


def _slices(keys: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), _KEYS_OF_A_STEP):
        yield keys[start : start + _KEYS_OF_A_STEP]


def _copies(spaces: dict[Namespace, _Space]) -> dict[Namespace, _Space]:
    copies = {namespace: _Space() for namespace in spaces}
    for namespace, copy in copies.items():
        for _ in spaces[namespace].copy_to(copy):
            pass
    return copies


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
