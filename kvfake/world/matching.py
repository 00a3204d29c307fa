"""Which requests are meant: what must hold of their fields. Faults and the journal ask the same questions.

Law: it compares, and knows neither faults nor journals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

Wanted = str | int | re.Pattern[str]
FIELDS = ("service", "verb", "method", "path", "key", "owner", "status")


class Asked(Protocol):
    """What has the fields."""

    @property
    def keys(self) -> tuple[str, ...]: ...


class Criteria:
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
        self.wanted: dict[str, Wanted] = {name: _checked(name, value) for name, value in wanted.items() if value is not None}

    def meets(self, asked: Asked) -> bool:
        return not any(True for _ in self._differences(asked))

    def misses(self, asked: Asked) -> list[str]:
        """Where it differs, a sentence each."""
        return [f"{name} is {actual!r}, not {shown(wanted)}" for name, wanted, actual in self._differences(asked)]

    def _differences(self, asked: Asked) -> Iterable[tuple[str, Wanted, Any]]:
        for name, wanted in self.wanted.items():
            actual = getattr(asked, name)
            possible = asked.keys if name == "key" else (actual, actual.partition("?")[0]) if name == "path" else (actual,)
            if not any(_is(wanted, value) for value in possible):
                yield name, wanted, list(possible) if name == "key" and len(possible) > 1 else actual

    def __str__(self) -> str:
        return ", ".join(f"{name}={shown(value)}" for name, value in self.wanted.items())


def _is(wanted: Wanted, actual: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return actual is not None and wanted.search(str(actual)) is not None
    return bool(wanted == actual)


def _checked(name: str, value: Wanted) -> Wanted:
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
