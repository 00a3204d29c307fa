"""Which requests are meant: what must hold of their fields. Faults and the journal ask the same questions.

Law: it compares, and knows neither faults nor journals.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

Wanted = str | int | re.Pattern[str]
FIELDS = ("service", "verb", "method", "path", "key", "owner", "status")
_MAX_SHOWN_KEYS = 5  # of an mget


class Asked(Protocol):
    """What has the fields."""

    @property
    def keys(self) -> tuple[str, ...]: ...


class Matcher:
    """The values that fields must have: an exact one, or a compiled pattern, of which a part must be found in it.

    ``key`` holds of an ``mget`` where it holds of one of its keys, ``path`` also without the query; ``method`` is compared without
    regard to case.
    Raises ``TypeError`` for a name that is no field, ``ValueError`` for a value that no field can have.
    """

    __slots__ = ("wanted",)

    def __init__(self, **wanted: Wanted | None) -> None:
        for name in wanted:
            if name not in FIELDS:
                raise TypeError(f"{name!r} is no field of an exchange; there are: {', '.join(FIELDS)}")
        self.wanted: dict[str, Wanted] = {name: checked(name, value) for name, value in wanted.items() if value is not None}

    def meets(self, asked: Asked) -> bool:
        return all(_holds(name, wanted, asked) for name, wanted in self.wanted.items())

    def mismatches(self, asked: Asked) -> list[str]:
        """Where it differs, a sentence each."""
        return [
            f"{name} is {_actual(name, asked)}, not {shown(wanted)}"
            for name, wanted in self.wanted.items()
            if not _holds(name, wanted, asked)
        ]

    def __str__(self) -> str:
        return ", ".join(f"{name}={shown(value)}" for name, value in self.wanted.items())


def _holds(name: str, wanted: Wanted, asked: Asked) -> bool:
    return any(_is(wanted, value) for value in _values(name, asked))


def _values(name: str, asked: Asked) -> tuple[Any, ...]:
    """What the field may be called."""
    if name == "key":
        return asked.keys
    value = getattr(asked, name)
    if name == "path":
        return value, value.partition("?")[0]
    return (value, value.upper()) if name == "method" else (value,)


def _actual(name: str, asked: Asked) -> str:
    if name != "key":
        return repr(getattr(asked, name))
    keys = asked.keys
    more = f" and {len(keys) - _MAX_SHOWN_KEYS} more" if len(keys) > _MAX_SHOWN_KEYS else ""
    return ", ".join(map(repr, keys[:_MAX_SHOWN_KEYS] or [None])) + more


def _is(wanted: Wanted, actual: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return actual is not None and wanted.search(str(actual)) is not None
    return bool(wanted == actual)


def checked(name: str, value: Wanted) -> Wanted:
    """The value, if the field of that name can have it."""
    if name == "status":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError(f"status: expected a number such as 200, got {value!r}")
    if isinstance(value, str):
        return value.upper() if name == "method" else value
    if not isinstance(value, re.Pattern) or not isinstance(value.pattern, str):
        raise ValueError(f"{name}: expected a text or a compiled pattern of text, got {value!r}")
    return value


def shown(value: object) -> str:
    """As it would be written in Python."""
    return f"re.compile({value.pattern!r})" if isinstance(value, re.Pattern) else repr(value)


def from_json(name: str, value: object) -> Any:
    """A value as JSON has it: a text, or ``{"matches": "<regular expression>"}``. Raises ``ValueError``."""
    if not isinstance(value, dict):
        return value
    if list(value) != ["matches"] or not isinstance(value["matches"], str):
        raise ValueError(f'{name}: expected a text or {{"matches": "<regular expression>"}}, got {value!r}')
    try:
        return re.compile(value["matches"])
    except (re.error, RecursionError, OverflowError) as wrong:
        raise ValueError(f"{name}: {value['matches']!r} is no regular expression: {wrong}") from None


def to_json(value: Wanted) -> Any:
    return {"matches": value.pattern} if isinstance(value, re.Pattern) else value
