"""Asking a running server, for the commands that do.

Law: a small client of ``/_kvfake/``, and nothing else. It uses no proxy and follows nothing.
"""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_MAX_ANSWER_BYTES = 1 << 20


class NoAnswer(Exception):
    """No kvfake server answers there; the text says what happened instead."""


def ask(url: str, path: str, timeout: float = _PATIENCE_SECONDS) -> Any:
    """The JSON that control answers at that path. Raises `NoAnswer`."""
    parts = urlsplit(url)
    try:
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    except (KeyError, ValueError, HTTPException):
        raise NoAnswer("that is no URL; expected http://host:port") from None
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER_BYTES)
        answer = json.loads(body)
    except OSError as failed:
        raise NoAnswer(failed.strerror or str(failed)) from None
    except (HTTPException, ValueError):
        raise NoAnswer("something else answers there") from None
    finally:
        connection.close()
    if response.status != 200 or not isinstance(answer, dict):
        raise NoAnswer(f"status {response.status}: {body.decode('utf-8', 'replace')[:200].strip()}")
    return answer


def wait(url: str, timeout: float) -> None:
    """Until a server answers. Raises `NoAnswer` after so many seconds."""
    end = time.monotonic() + timeout
    while True:
        try:
            answer = ask(url, "/_kvfake/health", max(0.1, min(_PATIENCE_SECONDS, end - time.monotonic())))
            if answer.get("status") == "ok":
                return
            why = NoAnswer("something else answers there")
        except NoAnswer as refused:
            why = refused
        if time.monotonic() + _PAUSE_SECONDS >= end:
            raise why
        time.sleep(_PAUSE_SECONDS)
