"""What lay in the real stores before a recording began, as far as its answers show it.

Law: exchanges and their owners in, values out. A key of which the recording says something first by reading it was there before, or
was not; what somebody else set meanwhile cannot be told from that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kvfake.contract.replay.asked import Value, bytes_of, is_done, json_of, listed, place_of, shown_values
from kvfake.contract.replay.tape import Taped
from kvfake.services import persist
from kvfake.services.messages import Operation
from kvfake.stores import Namespace

Place = tuple[Namespace, bytes]
_SOMETHING = Value(b"")  # of a key that was listed, and never read

Asked = tuple[Taped, str]
"""An exchange, and whose it is."""


def held_before(asked: Iterable[Asked]) -> dict[Place, Value]:
    before = _Before()
    for taped, owner in asked:
        operation = place_of(taped.request, owner)
        if operation is not None:
            _LOOKS[operation.verb](before, taped, operation)
    return before.values


class _Before:
    def __init__(self) -> None:
        self.values: dict[Place, Value] = {}
        self._known: set[Place] = set()  # what is there, or is not, is known from here on
        self._shown: defaultdict[Namespace, set[str]] = defaultdict(set)  # the keys of those, as a list shows them

    def read(self, taped: Taped, operation: Operation) -> None:
        for key, value in shown_values(taped.response, operation).items():
            self._learn((operation.namespace, key), value)

    def set(self, taped: Taped, operation: Operation) -> None:
        if is_done(taped.response):
            said = json_of(taped.response.body)
            is_unchanged = isinstance(said, dict) and said.get("changed") is False  # M17, where a server takes it at its word
            self._learn((operation.namespace, operation.key), Value(taped.request.body) if is_unchanged else None)

    def delete(self, taped: Taped, operation: Operation) -> None:
        if is_done(taped.response):
            self._learn((operation.namespace, operation.key), None)

    def list(self, taped: Taped, operation: Operation) -> None:
        for key in listed(taped.response):
            if key not in self._shown[operation.namespace]:
                self.values.setdefault((operation.namespace, bytes_of(key)), _SOMETHING)

    def _learn(self, place: Place, value: Value | None) -> None:
        """What is known of a place for the first time."""
        if place not in self._known:
            self._known.add(place)
            self._shown[place[0]].add(persist.shown(place[1]))
            if value is not None:
                self.values[place] = value


_LOOKS = {"get": _Before.read, "mget": _Before.read, "set": _Before.set, "delete": _Before.delete, "list": _Before.list}
