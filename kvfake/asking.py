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
_VARIABLE = re.compile("[A-Z][A-Z0-9_]*")

_NO_URL = "that is no URL; expected http://host:port"
_ELSE = "something else answers there"


class NoAnswer(Exception):
    """No kvfake server answers there; the text says what happened instead."""


def ask(url: str, path: str, timeout: float = _PATIENCE_SECONDS) -> Any:
    """The JSON that control answers at that path. Raises `NoAnswer`."""
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        if not parts.hostname:
            raise ValueError
        connection = kind(parts.hostname, parts.port, timeout=timeout)
    except (KeyError, ValueError, HTTPException):
        raise NoAnswer(_NO_URL) from None
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER_BYTES)
        answer = json.loads(body)
    except OSError as failed:
        raise NoAnswer(failed.strerror or str(failed)) from None
    except (InvalidURL, UnicodeEncodeError):
        raise NoAnswer(_NO_URL) from None
    except (HTTPException, ValueError, RecursionError):
        raise NoAnswer(_ELSE) from None
    finally:
        connection.close()
    if response.status != 200 or not isinstance(answer, dict):
        shown = " ".join(body.decode("utf-8", "replace").split())
        raise NoAnswer(f"status {response.status}: {shown[:_MAX_SHOWN_CHARACTERS]}")
    return answer


def environment(url: str) -> dict[str, str]:
    """The variables with which an app finds the server; what a shell can take as it stands. Raises `NoAnswer`."""
    answer = ask(url, "/_kvfake/env")
    if "KVFAKE_URL" not in answer or not all(_VARIABLE.fullmatch(name) and isinstance(answer[name], str) for name in answer):
        raise NoAnswer(_ELSE)
    return dict(answer)


def wait(url: str, timeout: float) -> None:
    """Until a server answers. Raises `NoAnswer` after so many seconds."""
    end = time.monotonic() + timeout
    while True:
        try:
            answer = ask(url, "/_kvfake/health", max(0.1, min(_PATIENCE_SECONDS, end - time.monotonic())))
            if answer.get("status") == "ok":
                return
            why = NoAnswer(_ELSE)
        except NoAnswer as refused:
            why = refused
        if time.monotonic() + _PAUSE_SECONDS >= end:
            raise why
        time.sleep(_PAUSE_SECONDS)
