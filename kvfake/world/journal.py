"""What was asked of one world and what it answered: a bounded record, and questions about it.

Law: it keeps and compares; what one exchange says is `kvfake.world.exchange`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

from kvfake.services.mattermost import without_token
from kvfake.services.message import Operation, Request, Response
from kvfake.world.exchange import Exchange, Record, shown_headers
from kvfake.world.matching import Criteria, Wanted

if TYPE_CHECKING:
    from threading import RLock

MAX_BYTES = 16 * 1024 * 1024  # of all exchanges together
_MAX_SHOWN = 5  # nearest misses


class Journal(Sequence[Exchange]):
    """The exchanges of one world, oldest first. ``dropped`` says how many older ones there were."""

    __slots__ = ("_bytes", "_forgotten", "_listener", "_lock", "_max_body_bytes", "_max_exchanges", "_records", "is_on", "seen")

    def __init__(self, max_exchanges: int, max_body_bytes: int, lock: RLock) -> None:
        """``lock`` is the world's, which whoever adds holds."""
        self._max_exchanges, self._max_body_bytes, self._lock = max_exchanges, max_body_bytes, lock
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._forgotten = 0  # those that do not count any more
        self.seen = 0  # all that there ever were
        self.is_on = max_exchanges > 0
        self._listener: Callable[[Exchange], None] | None = None

    def listen(self, listener: Callable[[Exchange], None]) -> None:
        """Be told of every exchange, also where none is kept."""
        self._listener, self.is_on = listener, True

    def record(
        self,
        service: str | None,
        operation: Operation | None,
        owner: str | None,
        request: Request,
        path: bytes,
        query: bytes,
        response: Response,
        duration: float,
        fault: object = None,
    ) -> None:
        """Keep an exchange, without tokens. Whoever records holds the world's lock."""
        body, records, number = request.body, self._records, self.seen + 1
        headers, size = request.shown or shown_headers(request.headers), len(body) + len(response.body)
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        if size > self._max_body_bytes:
            body, response = body[: self._max_body_bytes], response.replace(body=response.body[: self._max_body_bytes])
            size = len(body) + len(response.body)
        if keys:
            size += sum(map(len, keys))
        if query:
            query = without_token(b"?" + query)[1:]
        records.append(
            (number, size, service, verb, key, keys, owner, request.method, headers, body, path, query, response, duration, fault)
        )
        self.seen = number
        self._bytes += size
        if self._listener is not None:
            self._listener(Exchange(records[-1]))
        while len(records) > self._max_exchanges or self._bytes > MAX_BYTES:
            self._bytes -= records.popleft()[1]

    @overload
    def __getitem__(self, place: int) -> Exchange: ...
    @overload
    def __getitem__(self, place: slice) -> list[Exchange]: ...
    def __getitem__(self, place: int | slice) -> Exchange | list[Exchange]:
        if isinstance(place, slice):
            return [Exchange(record) for record in list(self._records)[place]]
        return Exchange(self._records[place])

    def __iter__(self) -> Iterator[Exchange]:
        return map(Exchange, list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def since(self, seen: int) -> list[Exchange]:
        """Those that came after so many, as far as they are still here."""
        return [exchange for exchange in self if exchange.number > seen]

    def mark(self) -> tuple[int, int]:
        """For `forget_since`."""
        return self.seen, self.dropped + len(self)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """As if those that came after the mark had not come; what they have crowded out is dropped."""
        seen, count = mark
        with self._lock:
            while self._records and self._records[-1][0] > seen:
                self._bytes -= self._records.pop()[1]
            self._forgotten = self.seen - len(self) - min(self.dropped, count - len(self))

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes, self._forgotten = 0, self.seen

    @property
    def dropped(self) -> int:
        """How many older ones made room."""
        return self.seen - self._forgotten - len(self._records)

    # ------------------------------------------------------------------------------------------------------- questions

    @property
    def unmatched(self) -> list[Exchange]:
        """What nobody answers."""
        return [exchange for exchange in self if exchange.unmatched]

    def filter(self, method: Wanted | None = None, **wanted: Wanted | None) -> list[Exchange]:
        """The exchanges of which all this holds: ``service``, ``verb``, ``method``, ``path``, ``key``, ``owner``, ``status``;
        exact values, or compiled patterns, of which a part must be found.
        """
        criteria = Criteria(method=method, **wanted)
        return [exchange for exchange in self if criteria.meets(exchange)]

    def assert_requested(self, method: Wanted | None = None, *, times: int | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the nearest misses, unless there was such an exchange (see `filter`), or just so many: then
        none may have been dropped.
        """
        self._check(Criteria(method=method, **wanted), times)

    def assert_not_requested(self, method: Wanted | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the exchanges, where there was such a one, or may have been: some were dropped."""
        self._check(Criteria(method=method, **wanted), 0)

    def _check(self, criteria: Criteria, times: int | None) -> None:
        exchanges = list(self)
        found = [exchange for exchange in exchanges if criteria.meets(exchange)]
        are_all = self._max_exchanges > 0 and not self.dropped
        if found if times is None else are_all and len(found) == times:
            return
        lines = [f"expected {_times(times)} with {str(criteria) or 'anything'}"]
        lines[0] += f"; there were {len(found)} of {len(exchanges)} exchanges"
        if not are_all:
            lines[0] += f" ({f'{self.dropped} older ones were dropped' if self.dropped else 'journal_exchanges=0 keeps none'})"
        lines += [f"  {exchange!r}" for exchange in found[:_MAX_SHOWN]]
        if times is None or len(found) < times:
            lines += self._nearest(criteria, exchanges)
        raise AssertionError("\n".join(lines))

    @staticmethod
    def _nearest(criteria: Criteria, exchanges: list[Exchange]) -> Iterator[str]:
        missed = [(misses, exchange) for exchange in exchanges if (misses := criteria.misses(exchange))]
        missed.sort(key=lambda pair: len(pair[0]))
        if missed:
            yield "the nearest misses:"
        for misses, exchange in missed[:_MAX_SHOWN]:
            yield f"  {exchange!r}: {'; '.join(misses)}"


def _times(times: int | None) -> str:
    return "at least one request" if times is None else "no request" if times == 0 else f"{times} request{'s'[: times > 1]}"
