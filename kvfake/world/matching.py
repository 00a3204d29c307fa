"""The fields of a request, and which requests a fault, a route or a question to the journal is about: those whose fields match.

Law: it compares, and checks what it is asked to compare with; it knows neither faults nor journals. What a path names a token or a
secret is hidden.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kvfake.errors import is_refusal
from kvfake.services.messages import Operation, Request
from kvfake.settings import MATTERMOST, PERSIST, PROJECT_MARK
from kvfake.world.redaction import BY_NAME

if TYPE_CHECKING:
    from kvfake.world.patterns import LinearPattern

__tracebackhide__ = is_refusal

Text = str | re.Pattern[str]
"""The value that a field of text must have, or a pattern that must be found in it."""
Wanted = Text | int
RESPOND, MOUNT, FALLBACK = "respond", "mount", "fallback"  # in place of a service: what answered a request beside the stores
CHOICES: Mapping[str, tuple[str, ...]] = {
    "service": (MATTERMOST, PERSIST, RESPOND, MOUNT, FALLBACK),
    "verb": ("get", "set", "delete", "list", "mget"),
}
"""The texts that a field can have, where these are few."""
FIELDS = ("service", "verb", "method", "path", "key", "owner", "status")
MAX_CHARACTERS = 65_536  # of a field, all keys of an mget together, that a pattern is looked for in; what follows is not looked at
MAX_PATTERN_CHARACTERS = 65_536  # of a pattern in JSON: compiling it takes in proportion
MAX_STEPS_IN_LOOP = 50_000  # of all that a request is compared with (`Matcher.size`): 5 to 10 ms; what takes more leaves the loop
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
        if value not in CHOICES.get(name, (value,)):
            raise ValueError(f"{name}: expected one of {', '.join(CHOICES[name])}, got {value!r}")
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


# --------------------------------------------------------------------------------------------- checks of a user's arguments


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
