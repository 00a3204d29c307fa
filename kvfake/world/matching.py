"""Which requests a fault, a route or a question to the journal is about: the values that their fields must have.

Law: it compares; it knows neither faults nor journals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from kvfake.errors import is_refusal

if TYPE_CHECKING:
    from kvfake.world.patterns import LinearPattern

__tracebackhide__ = is_refusal

Wanted = str | int | re.Pattern[str]
FIELDS = ("service", "verb", "method", "path", "key", "owner", "status")
MAX_CHARACTERS = 65_536  # of a field, all keys of an mget together, that a pattern is looked for in; what follows is not looked at
MAX_PATTERN_CHARACTERS = 65_536  # of a pattern in JSON: compiling it takes in proportion
MAX_STEPS_IN_LOOP = 50_000  # of all that a request is compared with (`Matcher.size`): 5 to 10 ms; what takes more leaves the loop
_MAX_SHOWN_KEYS = 5  # of an mget


class HasFields(Protocol):
    """A request or an exchange: it has the `FIELDS` as attributes, and all its keys."""

    @property
    def keys(self) -> tuple[str, ...]: ...


class Matcher:
    """The values that fields must have. A value is exact, or a compiled pattern that must be found somewhere in the field, in its
    first `MAX_CHARACTERS`.

    ``key`` matches an ``mget`` that has such a key, ``path`` is compared with the query and without it, ``method`` without regard
    to case.

    Raises ``TypeError`` for a name that is not a field, ``ValueError`` for a value that no field can have.
    """

    __slots__ = ("_patterns", "size", "wanted")

    def __init__(self, **wanted: Wanted | None) -> None:
        for name in wanted:
            if name not in FIELDS:
                raise TypeError(f"{name!r} is no field of an exchange; there are: {', '.join(FIELDS)}")
        self.wanted: dict[str, Wanted] = {name: checked_value(name, value) for name, value in wanted.items() if value is not None}
        self._patterns = {name: linear(name, value) for name, value in self.wanted.items() if isinstance(value, re.Pattern)}
        self.size = sum(self._patterns[name].size if name in self._patterns else 1 for name in self.wanted)
        """How many steps a character of a field costs at most. A step takes up to 0.2 microseconds."""

    def matches(self, request: HasFields) -> bool:
        return all(self._field_matches(name, request) for name in self.wanted)

    def mismatches(self, request: HasFields) -> list[str]:
        """The fields that differ, a sentence each."""
        return [
            f"{name} is {_actual(name, request)}, not {in_python(wanted)}"
            for name, wanted in self.wanted.items()
            if not self._field_matches(name, request)
        ]

    def _field_matches(self, name: str, request: HasFields) -> bool:
        values = _values(name, request)
        if name not in self._patterns:
            return self.wanted[name] in values
        left = MAX_CHARACTERS
        for value in values:
            if value is not None and left > 0:
                if self._patterns[name].search(value[:left]):
                    return True
                left -= len(value)
        return False

    def __str__(self) -> str:
        return ", ".join(f"{name}={in_python(value)}" for name, value in self.wanted.items())


def _values(name: str, request: HasFields) -> tuple[Any, ...]:
    """The values of the field of which one must match."""
    if name == "key":
        return request.keys
    value = getattr(request, name)
    if name == "path":
        return value, value.partition("?")[0]
    return (value, value.upper()) if name == "method" else (value,)


def _actual(name: str, request: HasFields) -> str:
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


def linear(name: str, pattern: re.Pattern[str]) -> LinearPattern:
    """The pattern, to be matched in linear time. ``ValueError`` where that cannot be; ``name`` is the field's."""
    from kvfake.world.patterns import LinearPattern

    try:
        return LinearPattern(pattern)
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None


def in_python(value: object) -> str:
    """The value as it would be written in Python."""
    return f"re.compile({value.pattern!r})" if isinstance(value, re.Pattern) else repr(value)


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
