"""What a contract asks, what it hears, and whether that is what was expected.

Law: values and comparisons; it sends nothing, and knows neither service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

_MAX_SHOWN_BYTES = 200


class Call(NamedTuple):
    """A request as a client would make it. ``target`` stands in the request line as it is."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    chunked: bool = False


class Differs(Exception):
    """Something else came than the row says; the text says what was expected, and what came."""


class Unseen(Exception):
    """A row cannot be looked at; the text says what is missing."""


class Unreachable(Exception):
    """No answer came, and none can be expected; the text says in one line which server that is, and what happened instead."""


class Answer(NamedTuple):
    """What came back. Names of headers are in lower case."""

    call: Call
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "backslashreplace")

    def json(self) -> Any:
        """What the body says in JSON. Raises `Differs` where it says nothing."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Differs(f"expected a body of JSON, got {shown(self.body)}") from None

    def expect(self, status: int, body: bytes | str | None = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        """This answer, where it is what was expected; `Differs` where it is not. A header of ``None`` is one that is not there;
        one that is not named is not looked at, for what lies between adds its own.
        """
        if self.status != status:
            raise Differs(f"expected status {status}, got {self.status} with {shown(self.body)}")
        for name, value in (headers or {}).items():
            self._expect_header(name, value)
        wanted = body.encode() if isinstance(body, str) else body
        if wanted is not None and self.body != wanted:
            raise Differs(f"expected the body {shown(wanted)}, got {shown(self.body)}")
        return self

    def _expect_header(self, name: str, value: str | None) -> None:
        got = self.headers.get(name.lower())
        if got != value:
            wanted = f"no {name}" if value is None else f"{name}: {value}"
            raise Differs(f"expected {wanted}, got {'none' if got is None else repr(got)}")


def expect(holds: bool, expected: str, got: object) -> None:
    """`Differs`, in these words, where it does not hold."""
    if not holds:
        raise Differs(f"expected {expected}, got {shown(got) if isinstance(got, bytes) else got}")


def shown(data: bytes) -> str:
    """Bytes, as a line of a report can show them."""
    text = repr(data[:_MAX_SHOWN_BYTES])[1:]
    return text if len(data) <= _MAX_SHOWN_BYTES else f"{text}... ({len(data)} bytes)"


class Talk(Protocol):
    """One connection, byte by byte, for what no HTTP client would send."""

    def send(self, data: bytes) -> None: ...

    def answer(self, method: str = "GET") -> Answer:
        """The next answer. Raises `Differs` where none comes."""

    def is_closed(self) -> bool:
        """Whether the server has ended the connection, and said nothing more."""


class Line(Protocol):
    """The way to the server that is asked. Raises `Unreachable`."""

    @property
    def host(self) -> str:
        """What its requests say in ``Host``."""

    def send(self, call: Call) -> Answer: ...

    def talk(self) -> AbstractContextManager[Talk]: ...
