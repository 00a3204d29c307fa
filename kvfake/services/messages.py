"""The values that pass from server to service and back: request, operation, response, and what a fault does to a response.

Law: plain values. No rule of either service, no socket, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from kvfake.stores import Namespace, Record

if TYPE_CHECKING:
    from typing import Final

Headers = tuple[tuple[str, str], ...]
JSON: Headers = (("Content-Type", "application/json"),)
NOSNIFF = ("X-Content-Type-Options", "nosniff")

FIDELITY_HEADER = "Kvfake-Rows"
"""Names the rows of `kvfake.services.facts` in which an answer was kinder than the service."""


class RedactedHeaders(dict[bytes, bytes]):
    """The headers of a request without credentials. ``size`` is what they take in memory, about, in bytes."""

    __slots__ = ("size",)
    size: int


class Request(Record):
    """What a client sent. Names of headers are in lower case; ``target`` is raw, as it stood in the request line.

    ``body_error`` says why the body could not be read to its end, in the words of Go's reader; ``body`` is what came before.
    ``redacted_headers`` are the headers without tokens, where they are known already.

    The router sets the location once it has found it, all three raw: ``base``, the path of the world on its host; ``path``, below
    the base; ``query``, without its ``?``.
    """

    __slots__ = ("base", "body", "body_error", "headers", "method", "path", "query", "redacted_headers", "target")
    may_be_secret = ("body", "headers", "path", "query", "redacted_headers", "target")
    method: Final[str]
    target: Final[bytes]
    headers: Final[dict[bytes, bytes]]
    body: Final[bytes]
    body_error: Final[str]
    redacted_headers: Final[RedactedHeaders | None]

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        body_error: str = "",
        redacted_headers: RedactedHeaders | None = None,
        base: bytes = b"",
        path: bytes = b"",
        query: bytes = b"",
    ) -> None:
        self.method, self.target, self.headers = method, target, headers
        self.body, self.body_error, self.redacted_headers = body, body_error, redacted_headers
        self.base, self.path, self.query = base, path, query


class Operation(Record):
    """What a request asks a service to do, once it is known to be valid. ``key`` is that of a get, set or delete, and what the keys
    of a list begin with; ``value`` is that of a set; ``keys`` are those of an mget.
    """

    __slots__ = ("key", "keys", "namespace", "owner", "value", "verb")
    verb: Final[str]
    owner: Final[str]
    namespace: Final[Namespace]
    key: Final[bytes]
    value: Final[bytes]
    keys: Final[tuple[bytes, ...]]

    def __init__(
        self, verb: str, owner: str, namespace: Namespace, key: bytes = b"", value: bytes = b"", keys: tuple[bytes, ...] = ()
    ) -> None:
        self.verb, self.owner, self.namespace = verb, owner, namespace
        self.key, self.value, self.keys = key, value, keys


class Wire(Enum):
    """What a client gets on the wire in place of a response."""

    CLOSE = "the connection is closed"
    RESET = "the connection is reset"
    HANG = "nothing, until the client gives up"
    GARBAGE = "bytes that are not HTTP"
    TRUNCATE = "the beginning of the response"


class Sever(Enum):
    """How a fault cuts a response off. The value is the word of ``faults.add(sever=...)``; ``is_done`` says whether the operation
    was done; ``wire`` is what the client gets; ``meaning`` says both in words.
    """

    BEFORE = "before", False, Wire.CLOSE, "the connection is closed without an answer, and nothing was done"
    AFTER = "after", True, Wire.CLOSE, "it was done, and the connection is closed without an answer: a lost acknowledgement"
    RESET = "reset", False, Wire.RESET, "the connection is reset, and nothing was done"
    RESET_AFTER = "reset-after", True, Wire.RESET, "it was done, and the connection is reset"
    SILENCE = "silence", False, Wire.HANG, "nothing is answered until the client gives up, and nothing was done"
    SILENCE_AFTER = "silence-after", True, Wire.HANG, "it was done, and nothing is answered until the client gives up"
    GARBAGE = "garbage", False, Wire.GARBAGE, "what comes back is not HTTP, and nothing was done"
    TRUNCATE = "truncate", True, Wire.TRUNCATE, "the answer promises its whole length and ends before"

    def __new__(cls, word: str, is_done: bool, wire: Wire, meaning: str) -> Sever:
        sever = object.__new__(cls)
        sever._value_ = word
        return sever

    def __init__(self, word: str, is_done: bool, wire: Wire, meaning: str) -> None:
        self.is_done, self.wire, self.meaning = is_done, wire, meaning


class WireFault(NamedTuple):
    """What a fault does to a response on its way. ``delay``: seconds before its first byte; ``over``: seconds from its first byte
    to its last; ``sever``: how it is cut off, if it is.
    """

    delay: float = 0.0
    over: float = 0.0
    sever: Sever | None = None

    @property
    def is_unanswered(self) -> bool:
        """Whether the client gets no answer, nor the beginning of one."""
        return self.sever is not None and self.sever.wire is not Wire.TRUNCATE


class Response(Record):
    """What a client gets. ``close`` ends the connection after it; ``rows`` are the facts in which it was kinder than the service;
    ``wire_fault`` is what a fault does to it on its way.
    """

    __slots__ = ("body", "close", "headers", "rows", "status", "wire_fault")
    may_be_secret = ("body", "headers")
    status: Final[int]
    headers: Final[Headers]
    body: Final[bytes]
    close: Final[bool]
    rows: Final[tuple[str, ...]]
    wire_fault: Final[WireFault | None]

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


class Lane(Enum):
    """The worker threads that run a job. A job never waits for one of another lane."""

    HEALTH = "health"  # /_kvfake/health
    CONTROL = "control"  # the rest of /_kvfake/
    SERVICE = "service"  # large operations of a service
    WAITING = "waiting"  # for a request that a test expects (/_kvfake/journal?wait=)
    OTHER = "other"  # what may wait for somebody else: a user's function, a mounted application, another server


class Job(Record):
    """Makes a response when it is called. It may block or take long, so the server calls it on a worker thread of its lane.
    ``call`` may return another job, such as one that waits where the first one computes: that is for its own lane.
    """

    __slots__ = ("call", "lane")
    call: Final[Callable[[], Response | Job]]
    lane: Final[Lane]

    def __init__(self, call: Callable[[], Response | Job], lane: Lane) -> None:
        self.call, self.lane = call, lane

    def __call__(self) -> Response:
        """The response, on this thread."""
        return finished(self)


def finished(answer: Response | Job) -> Response:
    """The response, on this thread."""
    while isinstance(answer, Job):
        answer = answer.call()
    return answer


Pause = Callable[[], None]
"""Called again and again by work that takes long, between pieces that are short: it lets other threads go first."""

Write = Callable[[Pause], Response]
"""Writes a large response, out of values that were read before. It holds no lock, and calls the pause between its pieces."""


def no_pause() -> None:
    """The `Pause` of work for which nobody has to wait."""


class Refusal(Exception):
    """Raised by a service that refuses a request; carries the response. Nothing was changed."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response


def error_response(status: int, text: str) -> Response:
    """What kvfake itself answers where no service does: a JSON object with ``error``, which no browser takes for anything else."""
    return Response(status, (*JSON, NOSNIFF), json.dumps({"error": text}, ensure_ascii=False).encode())


UNEXPECTED = error_response(500, "unexpected error in kvfake: its traceback is on stderr")
