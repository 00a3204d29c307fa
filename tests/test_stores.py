"""Every store keeps what it promises."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from copy import deepcopy
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from kvfake.stores import Dropped, Entry, Namespace, Store, memory
from kvfake.stores.memory import MAX_CHECKPOINTS, MAX_KEYS_UNDONE_IN_PLACE, MAX_UNORDERED_KEYS, MemoryStore

STORES: list[Callable[[], Store]] = [MemoryStore]
HERE: Namespace = ("service", "owner", b"")
THERE: Namespace = ("service", "owner", b"p ")
SPACES = st.sampled_from([HERE, THERE])
KEYS = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"a\xff", b"a\xff\xff", b"b"])
STEPS = st.lists(st.tuples(st.sampled_from(["set", "delete", "list", "clear"]), SPACES, KEYS, st.binary(max_size=2)))


@pytest.mark.parametrize("make", STORES)
@given(steps=STEPS)
def test_a_store_does_what_two_dicts_do(make: Callable[[], Store], steps: list[tuple[str, Namespace, bytes, bytes]]) -> None:
    """Whatever is done to it, in whatever order, also with lists in between."""
    store, model = make(), {HERE: dict[bytes, Entry](), THERE: dict[bytes, Entry]()}
    for moment, (step, space, key, value) in enumerate(steps):
        if step == "set":
            model[space][key] = Entry(value, moment)
            store.set(space, key, Entry(value, moment))
        elif step == "delete":
            assert store.delete(space, key) == (model[space].pop(key, None) is not None)
        elif step == "list":
            assert store.keys(space, key) == sorted(name for name in model[space] if name.startswith(key))
        elif key == b"":
            store.clear()
            model = {HERE: {}, THERE: {}}
        assert store.get(space, key) == model[space].get(key)
    for space, entries in model.items():
        assert store.keys(space) == sorted(entries)
        assert store.count(space) == len(entries)
    assert sorted(store.namespaces()) == sorted(space for space, entries in model.items() if entries)


@pytest.mark.parametrize("make", STORES)
def test_a_list_is_of_its_moment(make: Callable[[], Store]) -> None:
    """What is set later is not in it."""
    store = make()
    store.set(HERE, b"a", Entry(b"1", 1))
    listed = store.keys(HERE)
    store.set(HERE, b"b", Entry(b"2", 2))
    assert listed == [b"a"]
    assert store.keys(HERE) == [b"a", b"b"]


Model = dict[Namespace, dict[bytes, Entry]]
FEW_KEYS = st.sampled_from([b"", b"a", b"ab", b"b", b"\xff"])


class Checkpoints(RuleBasedStateMachine):
    """A store beside a model that copies everything."""

    make: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make()
        self.model: Model = {HERE: {}, THERE: {}}
        self.copies: dict[int, Model] = {}
        self.gone: set[int] = set()
        self.seed: Model = deepcopy(self.model)
        self.steps: list[Iterator[None]] = []

    @initialize(keys=st.sets(FEW_KEYS))
    def begin(self, keys: AbstractSet[bytes]) -> None:
        for key in keys:
            self.set(HERE, key, b"s", 0)
        self.store.keep_seed()
        self.seed = deepcopy(self.model)

    @rule(space=SPACES, key=FEW_KEYS, value=st.binary(max_size=1), moment=st.integers(0, 3))
    def set(self, space: Namespace, key: bytes, value: bytes, moment: int) -> None:
        self.store.set(space, key, Entry(value, moment))
        self.model[space][key] = Entry(value, moment)

    @rule(space=SPACES, key=FEW_KEYS)
    def delete(self, space: Namespace, key: bytes) -> None:
        assert self.store.delete(space, key) == (self.model[space].pop(key, None) is not None)

    @rule(space=SPACES, begins=FEW_KEYS)
    def list(self, space: Namespace, begins: bytes) -> None:
        assert self.store.keys(space, begins) == sorted(key for key in self.model[space] if key.startswith(begins))

    @rule(space=SPACES, is_freed=st.booleans())
    def drop(self, space: Namespace, is_freed: bool) -> None:
        dropped = self.store.drop(space)
        assert dropped.count == len(self.model[space])
        self.model[space] = {}
        self.free(dropped, is_freed)

    @rule(space=SPACES)
    def snapshot(self, space: Namespace) -> None:
        assert list(self.store.snapshot(space)) == sorted(self.model[space].items())

    @rule()
    def checkpoint(self) -> None:
        number = self.store.checkpoint()
        assert number not in self.copies.keys() | self.gone
        self.copies[number] = deepcopy(self.model)

    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([None, *sorted(self.copies)]))
        self.steps.append(self.store.prepare_clear() if number is None else self.store.prepare_rollback(number))

    @precondition(lambda self: self.steps)
    @rule(data=st.data(), count=st.integers(1, 30))
    def go_on_preparing(self, data: st.DataObject, count: int) -> None:
        steps = data.draw(st.sampled_from(self.steps))
        if sum(1 for _ in islice(steps, count)) < count:
            self.steps.remove(steps)

    @precondition(lambda self: self.copies)
    @rule(data=st.data(), is_freed=st.booleans())
    def roll_back(self, data: st.DataObject, is_freed: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.copies)))
        self.free(self.store.rollback(number), is_freed)
        self.model = deepcopy(self.copies[number])
        self.forget({later for later in self.copies if later > number})

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def roll_back_to_what_is_gone(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.gone)))
        assert list(self.store.prepare_rollback(number)) == []
        with pytest.raises(KeyError):
            self.store.rollback(number)

    @rule(is_freed=st.booleans())
    def clear(self, is_freed: bool) -> None:
        dropped = self.store.clear()
        assert dropped.count == sum(map(len, self.model.values()))
        self.free(dropped, is_freed)
        self.model = deepcopy(self.seed)
        self.forget(self.copies.keys())

    def free(self, dropped: Dropped, is_freed: bool) -> None:
        """Give its memory back step by step, or not: nothing that lives may be among it."""
        if is_freed:
            for _ in dropped:
                pass

    def forget(self, numbers: AbstractSet[int]) -> None:
        self.gone |= numbers
        self.copies = {number: copy for number, copy in self.copies.items() if number not in self.gone}

    @invariant()
    def both_hold_the_same(self) -> None:
        for space, entries in self.model.items():
            assert self.store.count(space) == len(entries)
            assert all(self.store.get(space, key) == entries.get(key) for key in (b"", b"a", b"ab", b"b", b"\xff"))
        assert sorted(self.store.namespaces()) == sorted(space for space, entries in self.model.items() if entries)


@pytest.mark.parametrize("make", STORES)
def test_a_rollback_equals_a_copy(make: Callable[[], Store]) -> None:
    """Whatever was set, deleted, listed, marked, rolled back and cleared, in whatever order."""
    compare_with_copies(make)


@pytest.mark.parametrize("make", STORES)
def test_a_rollback_that_was_prepared_equals_a_copy(make: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was prepared in part, for another checkpoint, or before much was changed; every change counts as many."""
    monkeypatch.setattr(memory, "MAX_KEYS_UNDONE_IN_PLACE", 0)
    monkeypatch.setattr(memory, "_KEYS_OF_A_STEP", 1)
    compare_with_copies(make)


def compare_with_copies(make: Callable[[], Store]) -> None:
    run: Callable[..., None] = run_state_machine_as_test  # older versions of Hypothesis have no types for it
    run(type("Machine", (Checkpoints,), {"make": staticmethod(make)}))


MANY = [b"%d" % number for number in range(MAX_KEYS_UNDONE_IN_PLACE + 10)]


class Counted(MemoryStore):
    """A store that counts the values that are set and deleted one by one."""

    changes = 0

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        self.changes += 1
        super().set(namespace, key, entry)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        self.changes += 1
        return super().delete(namespace, key)

    def fill(self, keys: Iterable[bytes], value: bytes) -> None:
        for key in keys:
            self.set(HERE, key, Entry(value, 0))


def replace_them(store: Counted) -> None:
    store.fill(MANY, b"new")


def delete_them(store: Counted) -> None:
    for key in MANY:
        store.delete(HERE, key)


def add_others(store: Counted) -> None:
    store.fill((b"new %d" % number for number in range(len(MANY))), b"new")


def drop_them_when_changed(store: Counted) -> None:
    replace_them(store)
    store.checkpoint()
    delete_them(store)
    add_others(store)
    store.drop(HERE)


WORKS: list[Callable[[Counted], None]] = [replace_them, delete_them, add_others, drop_them_when_changed]


@pytest.mark.parametrize("meanwhile", [Counted.namespaces, *WORKS])
@pytest.mark.parametrize("work", WORKS)
def test_many_changes_are_undone_in_a_moment(work: Callable[[Counted], None], meanwhile: Callable[[Counted], object]) -> None:
    """Where that was prepared: none of them is undone by itself, also where the same keys or others are changed meanwhile."""
    store = Counted()
    store.fill(MANY, b"old")
    store.set(THERE, b"few", Entry(b"old", 0))
    mark = store.checkpoint()
    work(store)
    steps = store.prepare_rollback(mark)
    assert sum(1 for _ in islice(steps, 5)) == 5
    meanwhile(store)
    assert sum(1 for _ in steps) >= len(MANY) / 1000
    store.fill([b"late", *MANY[:5]], b"late")
    store.delete(HERE, MANY[7])
    store.changes = 0
    store.rollback(mark)
    assert store.changes == 0
    assert store.keys(HERE) == sorted(MANY)
    assert all(store.get(HERE, key) == Entry(b"old", 0) for key in MANY)
    assert store.get(THERE, b"few") == Entry(b"old", 0)


def test_a_namespace_that_was_empty_is_empty_again() -> None:
    """However much was put into it, taken out key by key, and put into it again."""
    store = Counted()
    mark = store.checkpoint()
    add_others(store)
    store.checkpoint()
    replace_them(store)
    delete_them(store)
    for _ in store.prepare_rollback(mark):
        pass
    store.changes = 0
    store.rollback(mark)
    assert (store.changes, store.namespaces()) == (0, [])


@pytest.mark.parametrize("is_evicted", [False, True])
def test_a_preparation_ends_when_its_checkpoint_is_gone(is_evicted: bool) -> None:
    """Rolled back over, or the oldest of too many."""
    store = Counted()
    store.fill(MANY, b"old")
    first, mark = store.checkpoint(), store.checkpoint()
    replace_them(store)
    store.checkpoint()
    steps = store.prepare_rollback(mark)
    next(steps)
    if is_evicted:
        for _ in range(MAX_CHECKPOINTS):
            store.checkpoint()
    else:
        store.rollback(first)
    assert list(steps) == []
    with pytest.raises(KeyError):
        store.rollback(mark)


def test_a_seed_is_there_again_in_a_moment() -> None:
    """None of its values is set by itself, whether that was prepared or not, and however often."""
    store = Counted()
    store.fill(MANY, b"seed")
    store.keep_seed()
    for is_prepared in (True, False, True):
        replace_them(store)
        store.set(THERE, b"k", Entry(b"new", 0))
        if is_prepared:
            assert sum(1 for _ in store.prepare_clear()) >= 2
        store.changes = 0
        assert store.clear().count == len(MANY) + 1
        assert store.changes == 0
        assert store.namespaces() == [HERE]
        assert store.keys(HERE) == sorted(MANY)
        assert all(store.get(HERE, key) == Entry(b"seed", 0) for key in MANY)


@pytest.mark.parametrize("make", STORES)
def test_one_checkpoint_serves_many_times(make: Callable[[], Store]) -> None:
    """It stays when it is rolled back to; those that came later are gone."""
    store = make()
    store.set(HERE, b"a", Entry(b"1", 1))
    mark = store.checkpoint()
    for turn in range(3):
        store.set(HERE, b"a", Entry(b"2", turn))
        store.set(HERE, b"a", Entry(b"2 again", turn))
        later = store.checkpoint()
        store.delete(HERE, b"a")
        store.set(THERE, b"b", Entry(b"3", turn))
        store.rollback(mark)
        assert (store.get(HERE, b"a"), store.keys(THERE)) == (Entry(b"1", 1), [])
        with pytest.raises(KeyError):
            store.rollback(later)


@pytest.mark.parametrize("make", STORES)
def test_the_order_of_keys_outlives_a_rollback(make: Callable[[], Store]) -> None:
    """Also where the last key of a namespace had gone, or the keys were listed before and after."""
    store = make()
    for key in (b"c", b"a", b"b"):
        store.set(HERE, key, Entry(b"", 0))
    assert store.keys(HERE) == [b"a", b"b", b"c"]
    mark = store.checkpoint()
    for key in (b"a", b"b", b"c"):
        store.delete(HERE, key)
    store.set(HERE, b"aa", Entry(b"", 0))
    assert store.keys(HERE) == [b"aa"]
    store.rollback(mark)
    assert store.keys(HERE) == [b"a", b"b", b"c"]
    assert store.keys(HERE, b"a") == [b"a"]


@pytest.mark.parametrize("make", STORES)
def test_a_snapshot_is_of_its_moment(make: Callable[[], Store]) -> None:
    """What is changed while it is read does not show."""
    store = make()
    for key in (b"b", b"a", b"c"):
        store.set(HERE, key, Entry(key, 1))
    snapshot = store.snapshot(HERE)
    assert next(snapshot) == (b"a", Entry(b"a", 1))
    store.set(HERE, b"b", Entry(b"other", 2))
    store.set(HERE, b"bb", Entry(b"new", 2))
    store.delete(HERE, b"c")
    assert list(snapshot) == [(b"b", Entry(b"b", 1)), (b"c", Entry(b"c", 1))]


@pytest.mark.parametrize("make", STORES)
def test_keys_stay_in_order_however_many_they_become(make: Callable[[], Store]) -> None:
    """Also where nobody listed them while they were few."""
    store = make()
    names = [b"%d" % number for number in range(2 * MAX_UNORDERED_KEYS)]
    for key in names:
        store.set(HERE, key, Entry(b"", 0))
        store.set(HERE, key, Entry(b"again", 0))
    store.delete(HERE, names.pop())
    assert store.keys(HERE) == sorted(names)


@pytest.mark.parametrize("make", STORES)
def test_cleared_values_are_not_kept_for_a_rollback(make: Callable[[], Store]) -> None:
    """After clear() there is no checkpoint, so nothing that is deleted from then on is remembered."""
    store = make()
    store.checkpoint()
    store.clear()

    def work() -> None:
        for number in range(1000):
            store.set(HERE, b"%d" % number, Entry(bytes(1000), 0))
            store.delete(HERE, b"%d" % number)

    assert bytes_taken(work) < 500_000  # a thousand values of a thousand bytes would be twice as much


@pytest.mark.parametrize("make", STORES)
def test_what_is_dropped_again_and_again_is_kept_once(make: Callable[[], Store]) -> None:
    """A checkpoint needs what was there when it was made, not each filling since."""
    store = make()
    store.set(HERE, b"kept", Entry(b"value", 0))
    mark = store.checkpoint()

    def work() -> None:
        for _ in range(20):
            for number in range(100):
                store.set(HERE, b"%d" % number, Entry(bytes(1000), 0))
            store.drop(HERE)

    assert bytes_taken(work) < 500_000  # 20 fillings are 2 MB
    store.rollback(mark)
    assert store.keys(HERE) == [b"kept"]


@pytest.mark.parametrize("make", STORES)
def test_checkpoints_are_bounded(make: Callable[[], Store]) -> None:
    """The oldest makes room; the one after it still works, over all that came later."""
    store = make()
    marks = []
    for number in range(MAX_CHECKPOINTS + 1):
        store.set(HERE, b"a", Entry(b"%d" % number, 0))
        marks.append(store.checkpoint())
    with pytest.raises(KeyError):
        store.rollback(marks[0])
    store.set(HERE, b"a", Entry(b"last", 0))
    store.rollback(marks[1])
    assert store.get(HERE, b"a") == Entry(b"1", 0)


def bytes_taken(work: Callable[[], object]) -> int:
    """The most memory that it held at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", STORES)
def test_a_checkpoint_copies_nothing(make: Callable[[], Store]) -> None:
    """Neither making one, nor the first write after it, nor rolling that back: not even a byte a key."""
    store = make()
    for number in range(100_000):
        store.set(HERE, b"%d" % number, Entry(b"value", 0))
    store.keys(HERE, b"1")
    marks: list[int] = []
    taken = [
        bytes_taken(lambda: marks.append(store.checkpoint())),
        bytes_taken(lambda: store.set(HERE, b"1", Entry(b"other", 1))),
        bytes_taken(lambda: store.delete(HERE, b"2")),
        bytes_taken(lambda: store.rollback(marks[0])),
    ]
    assert max(taken) < 100_000  # a copy has at least 8 bytes a key; coverage itself may take some thousand
