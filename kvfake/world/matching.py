"""The fields of a request; which requests a fault, a route or a question to the journal is about: those whose fields match; and
which of these requests it is: their turns.

Law: it compares and counts; it knows neither faults nor journals. What a path names a token or a secret is hidden.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kvfake.errors import is_refusal
from kvfake.services.messages import Operation, Request
from kvfake.settings import MATTERMOST, PERSIST, PROJECT_MARK
from kvfake.world.clock import Moment, microseconds, moment_from
from kvfake.world.redaction import BY_NAME

if TYPE_CHECKING:
    from random import Random

    from kvfake.world.patterns import LinearPattern

__tracebackhide__ = is_refusal

Text = str | re.Pattern[str]
"""The value that a field of text must have, or a pattern that must be found in it."""
Wanted = Text | int
FIELDS = ("service", "verb", "method", "path", "key", "owner", "status")
MAX_CHARACTERS = 65_536  # of a field, all keys of an mget together, that a pattern is looked for in; what follows is not looked at
MAX_PATTERN_CHARACTERS = 65_536  # of a pattern in JSON: compiling it takes in proportion
MAX_STEPS_IN_LOOP = 50_000  # of all that a request is compared with (`Matcher.size`): 5 to 10 ms; what takes more leaves the loop
MAX_LIMIT = 10_000  # requests of a quota: the moment of each is kept, also by checkpoints
MAX_PER_SECONDS = 31_536_000.0  # of a quota: a year
_MATTERMOST_OWNER = re.compile(r"(?:[^/]*/)?[^/]+")
_MAX_SHOWN_KEYS = 5  # of an mget


class Message(NamedTuple):
    """The headers, names in lower case, and the body of a request or a response."""

    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Without what may be secret."""
        return f"<{len(self.headers)} headers, a body of {len(self.body)} bytes>"

    def json(self) -> Any:
        return json.loads(self.body)


class RequestFields:
    """The fields of a request that faults, journals and users look at."""

    __slots__ = ("_body", "_headers", "_key", "_keys", "_path", "_query", "method", "owner", "service", "verb")

    def __init__(
        self, service: str | None, verb: str | None, key: bytes | None, keys: tuple[bytes, ...], owner: str | None,
        method: str, headers: Mapping[bytes, bytes], body: bytes, path: bytes, query: bytes,
    ) -> None:  # fmt: skip
        self.service, self.verb, self._key, self._keys, self.owner = service, verb, key, keys, owner
        self.method, self._headers, self._body, self._path, self._query = method, headers, body, path, query

    @property
    def path(self) -> str:
        """Below the world's address, with its query, as it was sent. What the query names a token or a secret is hidden."""
        target = self._path + b"?" + BY_NAME.redact_message(self._query) if self._query else self._path
        return target.decode("utf-8", "backslashreplace")

    def has_path(self, path: str) -> bool:
        """Whether that is the path, with the query or without it. Hiding the secrets of a query takes long, so it comes last."""
        without_query, mark, _ = path.partition("?")
        return self._path.decode("utf-8", "backslashreplace") == without_query and (not mark or self.path == path)

    @property
    def key(self) -> str | None:
        """The key of a get, set or delete; of a list, what the keys begin with; ``None`` for an mget."""
        return None if self._key is None or self.verb == "mget" else _text(self._key)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key: those of an mget, else the one of `key`."""
        return () if self._key is None else tuple(map(_text, self._keys if self.verb == "mget" else (self._key,)))

    @property
    def request(self) -> Message:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}
        return Message(headers, self._body)

    def __repr__(self) -> str:
        return BY_NAME.redact(f"<{self.method} {self.path} by {self.owner}>")


class IncomingRequest(RequestFields):
    """One request to a world, as a fault's ``when`` sees it. ``service`` is what answers it (``mattermost``, ``persist``,
    ``respond``, ``mount``, ``fallback``), or ``None``; ``verb`` is ``get``, ``set``, ``delete``, ``list`` or ``mget``. ``verb``,
    ``key`` and ``owner`` are ``None`` where the request was refused before they were known.
    """

    __slots__ = ("_decoded_keys", "message", "operation")

    def __init__(self, service: str | None, operation: Operation | None, owner: str | None, request: Request) -> None:
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        super().__init__(
            service, verb, key, keys, owner, request.method, request.headers, request.body, request.path, request.query
        )
        self.operation, self.message = operation, request
        self._decoded_keys: tuple[str, ...] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Decoded once: every fault looks at them, and an mget may have many."""
        if self._decoded_keys is None:
            self._decoded_keys = super().keys
        return self._decoded_keys

    @property
    def characters(self) -> int:
        """How many characters a field that a fault looks at has at most."""
        keys = len(self._body) if self.verb == "mget" else len(self._key or b"")
        return max(keys, len(self.method), len(self.owner or ""))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class Matcher:
    """The values that fields must have. A value is exact, or a compiled pattern that must be found somewhere in the field, in its
    first `MAX_CHARACTERS`.

    ``key`` matches an ``mget`` that has such a key, ``path`` is compared with the query and without it, ``method`` without regard
    to case. An exact ``owner`` may be written in full (``app/user``, ``/user``, ``project:NAME``), or as the name of a user of any
    Mattermost app, or of a project, alone.

    The names are those of `FIELDS`. Raises ``ValueError`` for a value that no field can have.
    """

    __slots__ = ("_patterns", "size", "wanted")

    def __init__(self, **wanted: Wanted | None) -> None:
        self.wanted: dict[str, Wanted] = {name: checked_value(name, value) for name, value in wanted.items() if value is not None}
        self._patterns = {name: linear(name, value) for name, value in self.wanted.items() if isinstance(value, re.Pattern)}
        self.size = sum(self._patterns[name].size if name in self._patterns else 1 for name in self.wanted)
        """How many steps a character of a field costs at most. A step takes up to 0.2 microseconds."""

    def matches(self, request: RequestFields) -> bool:
        return all(self._field_matches(name, request) for name in self.wanted)

    def differing(self, request: RequestFields) -> list[str]:
        """The names of the fields that differ."""
        return [name for name in self.wanted if not self._field_matches(name, request)]

    def mismatches(self, request: RequestFields) -> list[str]:
        """The fields that differ, a sentence each."""
        return [f"{name} is {_actual(name, request)}, not {in_python(self.wanted[name])}" for name in self.differing(request)]

    def _field_matches(self, name: str, request: RequestFields) -> bool:
        wanted = self.wanted[name]
        if name == "path" and isinstance(wanted, str):
            return request.has_path(wanted)
        if name not in self._patterns:
            return wanted in (_owner_names(request) if name == "owner" else _values(name, request))
        values = _values(name, request)
        left = MAX_CHARACTERS
        for value in values:
            if value is not None and left > 0:
                if self._patterns[name].search(value[:left]):
                    return True
                left -= len(value)
        return False

    def __str__(self) -> str:
        return ", ".join(f"{name}={in_python(value)}" for name, value in self.wanted.items())


def _values(name: str, request: RequestFields) -> tuple[Any, ...]:
    """The values of the field of which one must match."""
    if name == "key":
        return request.keys
    value = getattr(request, name)
    if name == "path":
        return value, value.partition("?")[0]
    return (value, value.upper()) if name == "method" else (value,)


def _owner_names(request: RequestFields) -> tuple[str | None, ...]:
    """The owner, and the other ways to write it."""
    service, owner = _values("service", request)[0], _values("owner", request)[0]
    if owner is None:
        return (None,)
    return owner, PROJECT_MARK + owner if service == PERSIST else owner.rpartition("/")[2]


def _actual(name: str, request: RequestFields) -> str:
    if name != "key":
        return repr(getattr(request, name))
    keys = request.keys
    more = f" and {len(keys) - _MAX_SHOWN_KEYS} more" if len(keys) > _MAX_SHOWN_KEYS else ""
    return ", ".join(map(repr, keys[:_MAX_SHOWN_KEYS] or [None])) + more


def checked_value(name: str, value: Wanted) -> Wanted:
    """The value, if that field can have it; else ``ValueError``."""
    if name == "status":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError(f"status: expected a number such as 200, got {value!r}")
    if isinstance(value, str):
        return value.upper() if name == "method" else value
    if not isinstance(value, re.Pattern) or not isinstance(value.pattern, str):
        raise ValueError(f"{name}: expected a text or a compiled pattern of text, got {value!r}")
    return value


def check_owner(service: str | None, owner: Wanted | None) -> None:
    """``ValueError`` for an exact owner that no request to the service (``None``: to any) can have."""
    if isinstance(owner, str) and (not owner or (service == MATTERMOST and not _MATTERMOST_OWNER.fullmatch(owner))):
        raise ValueError(
            "owner: expected app/user, /user or a user's name (Mattermost), or project:NAME or a project's name (Persist), "
            f"got {owner!r}" + (f" for {service}" if service else "")
        )


def linear(name: str, pattern: re.Pattern[str]) -> LinearPattern:
    """The pattern, to be matched in linear time. ``ValueError`` where that cannot be; ``name`` is the field's."""
    from kvfake.world.patterns import LinearPattern

    try:
        return LinearPattern(pattern)
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None


def in_python(value: object) -> str:
    """The value as it would be written in Python; a function by its name."""
    if isinstance(value, re.Pattern):
        return f"re.compile({value.pattern!r})"
    return getattr(value, "__name__", None) or repr(value)


def from_json(name: str, value: object) -> Any:
    """A value as JSON has it: a text, or ``{"matches": "<regular expression>"}``. Raises ``ValueError``."""
    if not isinstance(value, dict):
        return value
    if list(value) != ["matches"] or not isinstance(value["matches"], str):
        raise ValueError(f'{name}: expected a text or {{"matches": "<regular expression>"}}, got {value!r}')
    if len(value["matches"]) > MAX_PATTERN_CHARACTERS:
        raise ValueError(
            f"{name}: expected a regular expression of at most {MAX_PATTERN_CHARACTERS:,} characters, got {len(value['matches']):,}"
        )
    try:
        return re.compile(value["matches"])
    except (re.error, RecursionError, OverflowError) as wrong:
        raise ValueError(f"{name}: {value['matches']!r} is no regular expression: {wrong}") from None


def to_json(value: Wanted) -> Any:
    return {"matches": value.pattern} if isinstance(value, re.Pattern) else value


# ------------------------------------------------------------------------------------------------------------------------ turns


def checked_number(name: str, value: object, kind: type, least: float, most: float = math.inf) -> Any:
    """The number; ``ValueError`` where it is none, or too small, or too large."""
    is_number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        bounds = "" if least == -math.inf else f" of at least {least:g}" if most == math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"{name}: expected {'a whole' if kind is int else 'a'} number{bounds}, got {value!r}")
    return value


def check_function(name: str, function: object) -> None:
    """``ValueError`` for what cannot be called, or would have to be awaited."""
    if function is not None:
        import inspect

        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ValueError(f"{name}: expected a function that is not async, got {function!r}")


class Turns:
    """Which of the requests that match have their turn: ``times`` of them, not the first ``after``, each ``every``-th, what the
    ``rate`` draws, from ``start`` on and before ``end``. With a quota, which lets ``limit`` requests pass in any ``per`` seconds,
    those of them for which it has no room.

    Raises ``ValueError`` for what is not possible.
    """

    __slots__ = ("_after", "_end", "_every", "_matched", "_quota", "_random", "_rate", "_start", "needs_time", "times")

    def __init__(
        self, times: int | None, after: int, every: int, rate: float, start: Moment | None, end: Moment | None,
        limit: int | None, per: float | None, random: Random,
    ) -> None:  # fmt: skip
        if times is not None:
            checked_number("times", times, int, 1)
        if limit is not None and times not in (None, 1):
            raise ValueError(f"times: a quota (limit=, per=) stands until it is removed, so expected none, got {times}")
        self.times = times if limit is None else None
        """How many may have their turn; ``None``: all. The caller counts them."""
        self._after: int = checked_number("after", after, int, 0)
        self._every: int = checked_number("every", every, int, 1)
        self._rate: float = checked_number("rate", rate, float, 0, 1)
        self._start, self._end = _microseconds("start", start), _microseconds("end", end)
        if self._start is not None and self._end is not None and self._start >= self._end:
            raise ValueError(f"end: expected a moment after {start}, got {end}")
        if (limit is None) != (per is None):
            raise ValueError("limit, per: expected both, such as limit=10, per=60 (10 requests in 60 seconds), or neither")
        self._quota = None if limit is None else _Quota(limit, per)
        self._random, self._matched = random, 0
        self.needs_time = (self._start, self._end, self._quota) != (None, None, None)
        """Whether `count` looks at the moment."""

    def count(self, moment: int) -> bool:
        """Count one more request that matches, at that moment; whether it has its turn."""
        if (self._start is not None and moment < self._start) or (self._end is not None and moment >= self._end):
            return False
        self._matched += 1
        position = self._matched - self._after
        if position <= 0 or position % self._every or (self._rate != 1 and self._random.random() >= self._rate):
            return False
        return self._quota is None or self._quota.is_full(moment)

    def seconds_until_room(self, now: Callable[[], int]) -> int:
        """The whole seconds until a full quota has room, at least 1, as without a quota. ``now`` is the clock's."""
        return 1 if self._quota is None else self._quota.seconds_until_room(now())

    def state(self) -> tuple[int, tuple[int, ...]]:
        """What has been counted so far, for `restore`. What is drawn is the caller's."""
        return self._matched, () if self._quota is None else self._quota.state()

    def restore(self, state: tuple[int, tuple[int, ...]]) -> None:
        self._matched, passed = state
        if self._quota is not None:
            self._quota.restore(passed)


class _Quota:
    """Lets ``limit`` requests through in any ``per`` seconds, and keeps their moments."""

    __slots__ = ("_limit", "_moments", "_per", "_room_at", "_state")

    def __init__(self, limit: object, per: object) -> None:
        self._limit: int = checked_number("limit", limit, int, 1, MAX_LIMIT)
        self._per = round(checked_number("per", per, float, 0.001, MAX_PER_SECONDS) * 1_000_000)
        self._moments: deque[int] = deque()  # of those that were let through, in microseconds, ascending
        self._state: tuple[int, ...] | None = ()  # the same, which checkpoints share; ``None`` once it is another
        self._room_at = 0

    def is_full(self, moment: int) -> bool:
        """Whether there is no room at that moment; where there is, one more is let through."""
        moments = self._moments
        while moments and moments[-1] > moment:  # the clock was moved back: what came later has not been yet
            moments.pop()
        while moments and moments[0] <= moment - self._per:
            moments.popleft()
        if len(moments) >= self._limit:
            self._room_at = moments[0] + self._per
            return True
        moments.append(moment)
        self._state = None
        return False

    def seconds_until_room(self, moment: int) -> int:
        return max(1, -((moment - self._room_at) // 1_000_000))

    def state(self) -> tuple[int, ...]:
        if self._state is None:
            self._state = tuple(self._moments)
        return self._state

    def restore(self, state: tuple[int, ...]) -> None:
        self._moments, self._state = deque(state), state


def _microseconds(name: str, moment: Moment | None) -> int | None:
    """The moment as a clock counts it; ``ValueError`` for what `Clock.move_to` does not take."""
    if moment is None:
        return None
    try:
        return microseconds(moment_from(moment))
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None
