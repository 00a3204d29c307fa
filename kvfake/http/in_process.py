"""Exchanges without a socket of this package: a `Request` of what a client sends, and the bytes that it would get from a socket.

Law: it knows no client library, and waits for nothing but jobs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread

from kvfake.http.connection import (
    Action,
    Hang,
    Reset,
    Wait,
    apply_wire_fault,
    date,
    final_headers,
    message_of,
    reason_phrase,
    sent_body,
    sent_length,
)
from kvfake.http.workers import run_job
from kvfake.machine import machine_time
from kvfake.services.messages import Headers, Job, RedactedHeaders, Request, Response, WireFault
from kvfake.world.redaction import BY_NAME

HeaderLines = Sequence[tuple[str | bytes, str | bytes]]


class RequestBuilder:
    """Makes requests of what a client sends, with headers as `kvfake.http.parser` reads them. The last headers are kept, because
    most clients repeat theirs.
    """

    def __init__(self) -> None:
        self._last: tuple[HeaderLines, dict[bytes, bytes], RedactedHeaders] = ([], {}, RedactedHeaders())

    def request(self, method: str, target: bytes, lines: HeaderLines, body: bytes) -> Request:
        last, headers, redacted = self._last
        if lines != last:
            headers = _merged(lines)
            redacted = BY_NAME.headers(headers)
            self._last = lines, headers, redacted
        return Request(method, target, headers, body, "", redacted)


def _merged(lines: HeaderLines) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    cookies: list[bytes] = []
    for name, value in [(_bytes(name).lower(), _bytes(value).strip(b" \t")) for name, value in lines]:
        if name == b"cookie":
            cookies.append(value)
        headers.setdefault(name, value)
    if len(cookies) > 1:
        headers[b"cookie"] = b"; ".join(cookies)
    return headers


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def wait_for_job(job: Job, timeout: float | None) -> Response:
    """The response of the job, which runs on its own thread. Raises ``TimeoutError`` after so many seconds; the job goes on."""
    responses: SimpleQueue[Response] = SimpleQueue()

    def run() -> None:
        answer: Response | Job = job
        while isinstance(answer, Job):
            answer = run_job(answer)
        responses.put(answer)

    Thread(target=run, name="kvfake", daemon=True).start()
    try:
        return responses.get(timeout=timeout)
    except Empty:
        raise TimeoutError("timed out") from None


def reason_and_headers(request: Request, response: Response) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The text after the status, and the headers as they are sent."""
    reason, headers = _without_length(response.status, response.headers, response.rows, int(machine_time()))
    length = sent_length(request.method, response)
    return reason, headers if length is None else [*headers, (b"Content-Length", b"%d" % length)]


@lru_cache(maxsize=512)
def _without_length(status: int, headers: Headers, rows: tuple[str, ...], second: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    headers = final_headers(headers, rows, date(second))
    return reason_phrase(status).encode(), [(name.encode(), value.encode("latin-1")) for name, value in headers]


def wire_actions(request: Request, response: Response, keep_alive: bool) -> tuple[Action, ...]:
    """The actions with which a server sends the response, or carries out its wire fault."""
    body = sent_body(request.method, response)
    message = message_of(response, body, keep_alive, method=request.method)
    return apply_wire_fault(response.wire_fault or WireFault(), message, body, response.body)


def next_bytes(actions: Iterator[Action], timeout: float | None) -> tuple[float, bytes | OSError]:
    """The seconds until the next bytes reach a client, and the bytes: none at the end of the stream, or the error that the client
    gets. ``timeout`` is how many seconds the client waits.
    """
    seconds = 0.0
    for action in actions:
        if isinstance(action, bytes):
            return seconds, action
        if isinstance(action, Reset):
            return seconds, ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if isinstance(action, Wait | Hang):
            seconds += action.seconds
            if timeout is not None and seconds > timeout:
                return timeout, TimeoutError("timed out")
    return seconds, b""
