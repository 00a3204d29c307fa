"""Standing before a real server, and keeping what an app and it say to each other.

Law: everything is passed on as it came, and every answer as it is; what is kept of that is what `redacting` gives
out. It answers nothing itself but whether it is there, and what cannot be passed on.
"""

from __future__ import annotations

import json
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

from kvfake import __version__
from kvfake.contract import UNREACHABLE
from kvfake.contract.checks.client import ContractClient
from kvfake.contract.redaction import Redactor as Redaction
from kvfake.contract.replay import tape
from kvfake.contract.replay.redacting import Redactor, is_beside
from kvfake.contract.verify import no_store_reason
from kvfake.double import address_of
from kvfake.errors import BIND_ERRORS, CommandError, UsageError, cannot_listen
from kvfake.files import LineFile
from kvfake.http.connection import Connection
from kvfake.http.parser import split_absolute
from kvfake.http.router import incomplete_body
from kvfake.http.server import Server
from kvfake.http_client import HttpClient, site_client
from kvfake.services import mattermost, persist
from kvfake.services.messages import JSON, Request, Response, error_response
from kvfake.settings import PORT_OF_SERVE_ONLY, REAL, SERVER, command_settings
from kvfake.signals import END_SIGNALS, held_signals

FAILED = 1
HEALTH = b"/_kvfake/health"
VIA = "1.1 kvfake-record"

_HINT = "is that the site URL of Mattermost, or the URL of Persist?"
_STORES = (f"{mattermost.KV}/", f"{persist.API}/persist/kv/", "/persist/kv/")


class Tape:
    """The file of a recording. Raises ``OSError`` where it cannot be opened."""

    def __init__(self, path: str, against: str, complain: Callable[[str], None]) -> None:
        self._lines = LineFile(path, complain, private=True, first=tape.header(against))
        self._redactor = Redactor()
        self._lock = Lock()
        self._count = 0

    def write(self, request: Request, response: Response) -> None:
        """One exchange. A token that it is the first to show is hidden in those before it too."""
        with self._lock:
            self._count += 1
            taped = self._redactor.taped(self._count, request, response)
            if self._redactor.has_seen_more:
                self._lines.change(self._again)
            self._lines.add(tape.line_of(taped))

    def _again(self, line: bytes) -> str:
        if not line.startswith(b'{"number"') or not self._redactor.may_be_in(line):
            return line.decode()
        return tape.line_of(self._redactor.again(tape.exchange_of(line)))

    @property
    def is_whole(self) -> bool:
        """Whether it has every exchange."""
        return self._lines.is_whole

    def close(self) -> None:
        self._lines.close()


class PassThrough:
    """What answers in the real server's place: the real server."""

    def __init__(self, upstream: HttpClient, tape: Tape) -> None:
        self._upstream, self._tape = upstream, tape

    def answer(self, request: Request) -> Response | Callable[[], Response]:
        target = request.target if request.target.startswith(b"/") else split_absolute(request.target)[1]
        if request.method == "GET" and target.partition(b"?")[0] == HEALTH:
            health = {"status": "ok", "kvfake": __version__, "url": self._upstream.url}
            return Response(200, JSON, json.dumps(health).encode())
        if not target.startswith(b"/"):
            return error_response(400, f"cannot pass that on to {self._upstream.url}: expected a path")
        return incomplete_body(request) or partial(self._pass_on, request.replace(target=target))

    def _pass_on(self, request: Request) -> Response:
        asked = request
        if not is_beside(request.target):  # what is kept is to be read and compared
            asked = request.replace(headers={**request.headers, b"accept-encoding": b"identity"})
        response = self._upstream.forward(asked, request.target, VIA)
        self._tape.write(request, response)
        return response


# --------------------------------------------------------------------------------------------------------------- the command


def command(options: Namespace) -> int:
    """``kvfake record``, until Ctrl-C."""
    settings = _settings(options)
    upstream = site_client(settings["against"], options.timeout, settings["ca_file"], settings["insecure"])
    check(upstream)
    try:
        server = Server(lambda: Connection(pass_through.answer), settings["host"], settings["port"])
    except BIND_ERRORS as failed:
        raise CommandError(f"{cannot_listen(settings, failed)} (--port takes another)", FAILED) from None
    try:
        kept = Tape(options.output, upstream.url, _complain)
    except OSError as failed:
        server.stop()
        raise CommandError(f"cannot write {options.output}: {failed.strerror}", FAILED) from None
    pass_through = PassThrough(upstream, kept)
    with held_signals(END_SIGNALS):
        server.start()
        sys.stdout.write(f"kvfake is listening on {address_of(settings['host'], server.port)}\n")
        sys.stdout.flush()
        signal.sigwait(END_SIGNALS)
        server.stop()
        kept.close()
        return 0 if kept.is_whole else FAILED


def _settings(options: Namespace) -> dict[str, Any]:
    settings = command_settings(vars(options), scopes=(SERVER, REAL), overrides={"port": 0}, unread=PORT_OF_SERVE_ONLY)
    if settings["against"] is None:
        raise UsageError("record: expected --against URL, the site URL of a real server")
    return settings


def check(upstream: HttpClient) -> None:
    """Raises `Failed` where there is no server that could be recorded: none that answers, or none of the services'."""
    client, base, reasons = ContractClient(upstream, {}), upstream.endpoint.base, []
    with upstream:
        for path in _STORES:
            response = client.request("GET", base + path + client.key(), who=None)  # it may refuse
            reasons.append(no_store_reason(upstream, response, _HINT, Redaction(())))
            if not reasons[-1]:
                return
    raise CommandError(f"{upstream.url} {reasons[0]}", UNREACHABLE)


def _complain(text: str) -> None:
    sys.stderr.write(f"kvfake: {text}\n")
    sys.stderr.flush()
