"""What travels: a request, the operation that it asks for, and the response.

Law: frozen values and nothing else; no rule of either service, no socket, no clock.
"""

from __future__ import annotations

from typing import NamedTuple

from kvfake.stores import Namespace

Headers = tuple[tuple[str, str], ...]

ROWS = "Kvfake-Rows"
"""The header that names the facts in which an answer was kinder than the service."""


class Request(NamedTuple):
    """What came in. Names of headers are lower-case; the target is raw, as it stood in the request line.

    Once it is answered its headers belong to the journal, which cuts the tokens out. ``broken`` says why the body could not be
    read to its end, in the words of Go's reader; ``body`` is what came before.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes = b""
    broken: str = ""


class Operation(NamedTuple):
    """What a request asks of a service, once it is known that it may: who, which verb, where, and with what."""

    verb: str
    owner: str
    namespace: Namespace
    key: bytes = b""
    value: bytes = b""
    keys: tuple[bytes, ...] = ()


class Response(NamedTuple):
    """What goes out. ``close`` ends the connection after it; ``rows`` are the facts in which it was kinder than the service."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    close: bool = False
    rows: tuple[str, ...] = ()


class Refusal(Exception):
    """Raised by a service that will not do what was asked; carries the answer, and nothing was changed."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response
