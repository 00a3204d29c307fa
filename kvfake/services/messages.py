"""What travels: a request, the operation that it asks for, and the response.

Law: frozen values and nothing else; no rule of either service, no socket, no clock.

=====

What kvfake itself answers, where neither a service nor a neighbour does.

Law: values; JSON with what was expected.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from kvfake.stores import Namespace, Record

Headers = tuple[tuple[str, str], ...]
JSON: Headers = (("Content-Type", "application/json"),)

ROWS = "Kvfake-Rows"
"""The header that names the facts in which an answer was kinder than the service."""


class Request(Record):
    """What came in. Names of headers are lower-case; the target is raw, as it stood in the request line.

    ``broken`` says why the body could not be read to its end, in the words of Go's reader; ``body`` is what came before. ``shown``
    are the headers without tokens, where whoever made the request knows them already.
    """

    __slots__ = ("body", "broken", "headers", "method", "shown", "target")

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        broken: str = "",
        shown: dict[bytes, bytes] | None = None,
    ) -> None:
        self.method, self.target, self.headers = method, target, headers
        self.body, self.broken, self.shown = body, broken, shown


class Operation(Record):
    """What a request asks of a service, once it is known that it may: who, which verb, where, and with what."""

    __slots__ = ("key", "keys", "namespace", "owner", "value", "verb")

    def __init__(
        self, verb: str, owner: str, namespace: Namespace, key: bytes = b"", value: bytes = b"", keys: tuple[bytes, ...] = ()
    ) -> None:
        self.verb, self.owner, self.namespace = verb, owner, namespace
        self.key, self.value, self.keys = key, value, keys


TRUNCATE, GARBAGE, RESET, SILENCE = "truncate", "garbage", "reset", "silence"
SEVERS = {
    "before": "the connection is closed without an answer, and nothing was done",
    "after": "it was done, and the connection is closed without an answer: a lost acknowledgement",
    RESET: "the connection is reset, and nothing was done",
    "reset-after": "it was done, and the connection is reset",
    SILENCE: "nothing is answered until the client gives up, and nothing was done",
    "silence-after": "it was done, and nothing is answered until the client gives up",
    GARBAGE: "what comes back is not HTTP, and nothing was done",
    TRUNCATE: "the answer promises its whole length and ends before",
}
"""How an answer may be cut, and what was done by then."""


class WireFault(NamedTuple):
    """What befalls an answer on its way. ``delay``: seconds before its first byte; ``over``: seconds from its first byte to its
    last; ``sever``: how it is cut (one of `SEVERS`), or nothing.
    """

    delay: float = 0.0
    over: float = 0.0
    sever: str = ""

    @property
    def is_unanswered(self) -> bool:
        """Whether no answer gets out."""
        return self.sever not in ("", TRUNCATE)


class Response(Record):
    """What goes out. ``close`` ends the connection after it; ``rows`` are the facts in which it was kinder than the service;
    ``mishap`` is what befalls it on its way.
    """

    __slots__ = ("body", "close", "headers", "rows", "status", "wire_fault")

    def __init__(
        self,
        status: int,
        headers: Headers = (),
        body: bytes = b"",
        close: bool = False,
        rows: tuple[str, ...] = (),
        wire_fault: WireFault | None = None,
    ) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.close, self.rows, self.wire_fault = close, rows, wire_fault


class Refusal(Exception):
    """Raised by a service that will not do what was asked; carries the answer, and nothing was changed."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response


def error_response(status: int, text: str) -> Response:
    """An answer of JSON with an ``error``."""
    return Response(status, JSON, json.dumps({"error": text}, ensure_ascii=False).encode())


UNEXPECTED = error_response(500, "unexpected error in kvfake: its traceback is on stderr")
