"""Every store keeps what it promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvfake.stores import Entry, Namespace, Store
from kvfake.stores.memory import MemoryStore

STORES: list[Callable[[], Store]] = [MemoryStore]
HERE: Namespace = ("service", "owner", b"")
THERE: Namespace = ("service", "owner", b"p ")
KEYS = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"a\xff", b"a\xff\xff", b"b"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "list", "clear"]), st.sampled_from([HERE, THERE]), KEYS, st.binary(max_size=2))
)


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
