"""Whether what many clients saw of one key can be what one dict did, one operation after the other (linearizability).

Law: histories in, a verdict out; nothing of kvfake, sockets or clocks.

An operation takes effect at one moment between its call and its return. The checker follows the history in time and keeps every
state in which the key can be: its value, and which of the running operations have taken effect ("just-in-time linearization":
Wing and Gong 1993, with the memo of Lowe 2017). An operation without an answer may take effect at any time, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from math import inf
from typing import Any, NamedTuple

GET, SET, DELETE = "get", "set", "delete"
ABSENT = None
"""The value of a key that is not there."""


class Operation(NamedTuple):
    """``value`` is what was set, or what was answered to a get; ``returned`` is `inf` where no answer came."""

    called: float
    returned: float
    kind: str
    value: Any = ABSENT


class _Impossible(Exception):
    """A get cannot have answered that."""


def _after(operation: Operation, value: Any) -> Any:
    """The value once the operation has taken effect on that value."""
    if operation.kind == GET:
        if operation.value != value:
            raise _Impossible
        return value
    return operation.value if operation.kind == SET else ABSENT


def is_linearizable(history: Iterable[Operation], value: Any = ABSENT) -> bool:
    """Whether one register, with that value at first, can have answered so."""
    operations = list(history)
    calls = [(operation.called, False, place) for place, operation in enumerate(operations)]
    returns = [(operation.returned, True, place) for place, operation in enumerate(operations) if operation.returned != inf]
    states = {(value, frozenset[int]())}
    running: set[int] = set()
    for _, is_return, place in sorted(calls + returns):
        if not is_return:
            running.add(place)
            continue
        states = _states_with(place, states, running, operations)
        running.remove(place)
        if not states:
            return False
    return True


def _states_with(
    place: int, states: set[tuple[Any, frozenset[int]]], running: set[int], operations: list[Operation]
) -> set[tuple[Any, frozenset[int]]]:
    """The states that can follow in which the operation has taken effect, which it must have by its return."""
    found, seen, waiting = set(), set(states), list(states)
    while waiting:
        value, done = waiting.pop()
        if place in done:
            found.add((value, done - {place}))
            continue
        for other in running - done:
            try:
                state = _after(operations[other], value), done | {other}
            except _Impossible:
                continue
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return found


def is_linearizable_by_force(history: Iterable[Operation], value: Any = ABSENT) -> bool:
    """The same by trying every order: for a handful of operations. Those without an answer may be left out."""
    operations = list(history)
    answered = [operation for operation in operations if operation.returned != inf]
    for count in range(len(answered), len(operations) + 1):
        for order in permutations(operations, count):
            if all(operation in order for operation in answered) and _is_possible(order, value):
                return True
    return False


def _is_possible(order: tuple[Operation, ...], value: Any) -> bool:
    latest_call = -inf
    for operation in order:
        if operation.returned < latest_call:  # it had returned before one that stands earlier was called
            return False
        latest_call = max(latest_call, operation.called)
        try:
            value = _after(operation, value)
        except _Impossible:
            return False
    return True
