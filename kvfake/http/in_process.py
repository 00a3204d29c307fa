"""What a client in this process hears of an answer: what it would read from a socket.

Law: it has no sockets, knows no client, and waits for nothing but jobs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread

from kvfake.http.connection import WITHOUT_LENGTH, Action, Hang, Job, Reset, Wait, apply_wire_fault, message_of, reason
from kvfake.http.server import answer_of
from kvfake.services.messages import ROWS, Headers, Request, Response, WireFault
from kvfake.world.journal import redact_headers

Said = Sequence[tuple[str | bytes, str | bytes]]


class RequestBuilder:
    """Hears the requests of a client in this process, with their headers as `kvfake.http.parser` hears them. Most clients say the
    same headers again and again: the last are remembered.
    """

    def __init__(self) -> None:
        self._last: tuple[Said, dict[bytes, bytes], dict[bytes, bytes]] = ([], {}, {})

    def request(self, method: str, target: bytes, said: Said, body: bytes) -> Request:
        """What was asked; ``said`` are the headers in their order."""
        last, headers, shown = self._last
        if said != last:
            headers = _heard(said)
            shown = redact_headers(headers)
            self._last = said, headers, shown
        return Request(method, target, headers, body, "", shown)


def _heard(said: Said) -> dict[bytes, bytes]:
    heard: dict[bytes, bytes] = {}
    for name, value in [(_bytes(name).lower(), _bytes(value)) for name, value in said]:
        if name not in heard:
            heard[name] = value.strip(b" \t")
        elif name == b"cookie":
            heard[name] += b"; " + value
    return heard


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def done(job: Job, patience: float | None) -> Response:
    """What the job answers, on a thread of its own. Raises ``TimeoutError`` after so many seconds; the job goes on."""
    answers: SimpleQueue[Response] = SimpleQueue()
    Thread(target=lambda: answers.put(answer_of(job)), name="kvfake", daemon=True).start()
    try:
        return answers.get(timeout=patience)
    except Empty:
        raise TimeoutError("timed out") from None


def head_of(response: Response) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The words beside the status, and the headers."""
    words, headers = _start(response.status, response.headers, response.rows)
    if response.status in WITHOUT_LENGTH:
        return words, headers
    return words, [*headers, (b"Content-Length", b"%d" % len(response.body))]


@lru_cache(maxsize=512)
def _start(status: int, headers: Headers, rows: tuple[str, ...]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    if rows:
        headers = (*headers, (ROWS, ", ".join(rows)))
    return reason(status).encode(), [(name.encode(), value.encode("latin-1")) for name, value in headers]


def body_of(request: Request, response: Response) -> bytes:
    return b"" if request.method == "HEAD" or response.status in WITHOUT_LENGTH else response.body


def actions_of(request: Request, response: Response) -> tuple[Action, ...]:
    """What is done on the wire."""
    body = body_of(request, response)
    return apply_wire_fault(response.wire_fault or WireFault(), message_of(response, body, keep_alive=True), body, response.body)


def hear(actions: Iterator[Action], patience: float | None) -> tuple[float, bytes | OSError]:
    """The seconds until something comes to a client that waits so long, and what comes. No bytes are the end."""
    seconds = 0.0
    for action in actions:
        if isinstance(action, bytes):
            return seconds, action
        if isinstance(action, Reset):
            return seconds, ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if isinstance(action, Wait | Hang):
            seconds += action.seconds
            if patience is not None and seconds > patience:
                return patience, TimeoutError("timed out")
    return seconds, b""
