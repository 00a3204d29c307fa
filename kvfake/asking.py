"""Asking a running server, for the commands that do.

Law: a small client of ``/_kvfake/``, and nothing else. It uses no proxy and follows nothing.
"""

from __future__ import annotations

import json
import re
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_MAX_ANSWER_BYTES = 1 << 20
_MAX_SHOWN_CHARACTERS = 200
_MAX_REASON_CHARACTERS = 1000
_VARIABLE = re.compile("[A-Z][A-Z0-9_]*")

_NO_URL = "that is no URL; expected http://host:port"
ELSE = "something else answers there"
_SWITCHED_OFF = "control is switched off"  # how the answer of a server with --no-control begins


class NoAnswer(Exception):
    """No kvfake server answers there; the text says what happened instead."""


class Refused(NoAnswer):
    """A server answers, and will not do it; the text is its own."""


def ask(
    url: str,
    path: str,
    timeout: float = _PATIENCE_SECONDS,
    *,
    method: str = "GET",
    body: bytes | None = None,
    token: str | None = None,
    limit: int = _MAX_ANSWER_BYTES,
) -> dict[str, Any]:
    """The JSON object that control answers at that path, of so many bytes at most. Raises `NoAnswer`."""
    if token is not None and not token.isprintable():
        raise NoAnswer("the control token cannot be sent: expected printable characters")
    headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
    connection, below = _connection(url, timeout)
    try:
        connection.request(method, below + path, body, headers)
        with connection.getresponse() as response:
            data = response.read(limit + 1)
        if len(data) > limit:
            raise NoAnswer(f"the answer has more than {limit} bytes")
        answer = json.loads(data)
    except OSError as failed:
        raise NoAnswer(failed.strerror or str(failed)) from None
    except (InvalidURL, UnicodeEncodeError):
        raise NoAnswer(_NO_URL) from None
    except (HTTPException, ValueError, RecursionError):
        raise NoAnswer(ELSE) from None
    finally:
        connection.close()
    if not isinstance(answer, dict) or response.status >= 300:
        reason = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(reason, str):
            raise Refused(_in_one_line(reason, _MAX_REASON_CHARACTERS))
        raise NoAnswer(f"status {response.status}: {_in_one_line(data.decode('utf-8', 'replace'), _MAX_SHOWN_CHARACTERS)}")
    return dict(answer)


def _connection(url: str, timeout: float) -> tuple[HTTPConnection, str]:
    """A connection that is made with the first request, and the path that the URL has."""
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        if not parts.hostname:
            raise ValueError
        return kind(parts.hostname, parts.port, timeout=timeout), parts.path.rstrip("/")
    except (KeyError, ValueError, HTTPException):
        raise NoAnswer(_NO_URL) from None


def _in_one_line(text: str, limit: int) -> str:
    return " ".join(text.split())[:limit]


def environment(url: str, token: str | None = None) -> dict[str, str]:
    """The variables with which an app finds the server; what a shell can take as it stands. Raises `NoAnswer`."""
    answer = ask(url, "/_kvfake/env", token=token)
    if "KVFAKE_URL" not in answer or not all(_VARIABLE.fullmatch(name) and isinstance(answer[name], str) for name in answer):
        raise NoAnswer(ELSE)
    return dict(answer)


def wait(url: str, timeout: float, token: str | None = None) -> None:
    """Until a server answers, also one whose control is switched off. Raises `NoAnswer` after so many seconds."""
    end = time.monotonic() + timeout
    while True:
        try:
            patience = max(0.1, min(_PATIENCE_SECONDS, end - time.monotonic()))
            if ask(url, "/_kvfake/health", patience, token=token).get("status") == "ok":
                return
            why = NoAnswer(ELSE)
        except NoAnswer as refused:
            if str(refused).startswith(_SWITCHED_OFF):
                return
            why = refused
        if time.monotonic() + _PAUSE_SECONDS >= end:
            raise why
        time.sleep(_PAUSE_SECONDS)
