"""``kvfake record``: a proxy before a real server that writes each exchange to a recording.

Law: every request and every response is passed on as it came. It answers nothing itself but its health, and what cannot be passed
on. The recording decides what is kept.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kvfake import __version__
from kvfake.contract import UNREACHABLE
from kvfake.contract.call import Call, Unreachable
from kvfake.contract.live.line import HttpLine
from kvfake.contract.live.preflight import why_no_store
from kvfake.contract.recording import RecordingWriter, is_beside
from kvfake.contract.redaction import printable
from kvfake.doors.connection import Connection
from kvfake.doors.neighbours import not_whole
from kvfake.doors.nethttp import split_absolute
from kvfake.doors.passing import Upstream
from kvfake.doors.replies import refusal
from kvfake.doors.server import Server
from kvfake.running import ENDING, held
from kvfake.services import mattermost, persist
from kvfake.services.message import JSON, Request, Response
from kvfake.settings import PORT_OF_SERVE_ONLY, REAL, SERVER, from_environment, from_flags, resolve
from kvfake.started import address_of
from kvfake.trouble import NO_ADDRESS, Failed, cannot_listen

FAILED = 1
HEALTH = b"/_kvfake/health"
VIA = "1.1 kvfake-record"

_KEY_BYTES = 16
_HINT = "is that the site URL of Mattermost, or the URL of Persist?"
_STORES = (f"{mattermost.KV}/", f"{persist.API}/persist/kv/", "/persist/kv/")


class RecordingProxy:
    """Answers each request with the real server's response."""

    def __init__(self, upstream: Upstream, recording: RecordingWriter) -> None:
        self._upstream, self._recording = upstream, recording

    def answer(self, request: Request) -> Response | Callable[[], Response]:
        target = request.target if request.target.startswith(b"/") else split_absolute(request.target)[1]
        if request.method == "GET" and target.partition(b"?")[0] == HEALTH:
            health = {"status": "ok", "kvfake": __version__, "url": self._upstream.url}
            return Response(200, JSON, json.dumps(health).encode())
        if not target.startswith(b"/"):
            return refusal(400, f"cannot pass that on to {self._upstream.url}: expected a path")
        return not_whole(request) or partial(self._pass_on, request.replace(target=target))

    def _pass_on(self, request: Request) -> Response:
        passed = request
        if not is_beside(request.target):  # a compressed body could be neither read nor compared
            passed = request.replace(headers={**request.headers, b"accept-encoding": b"identity"})
        response = self._upstream.ask(passed, request.target, VIA)
        self._recording.write(request, response)
        return response


# --------------------------------------------------------------------------------------------------------------- the command


def command(parser: ArgumentParser, options: Namespace) -> int:
    """Serve and record until Ctrl-C; the exit code."""
    settings = _settings(parser, options)
    url = check_store(settings, options.timeout)
    upstream = Upstream(url, options.timeout, settings["ca_file"], settings["insecure"])
    try:
        server = Server(lambda: Connection(proxy.answer), settings["host"], settings["port"])
    except NO_ADDRESS as failed:
        raise Failed(f"{cannot_listen(settings, failed)} (--port takes another)", FAILED) from None
    try:
        recording = RecordingWriter(options.output, url, _complain)
    except OSError as failed:
        server.stop()
        raise Failed(f"cannot write {options.output}: {failed.strerror}", FAILED) from None
    proxy = RecordingProxy(upstream, recording)
    with held(ENDING):
        server.start()
        sys.stdout.write(f"kvfake is listening on {address_of(settings['host'], server.port)}\n")
        sys.stdout.flush()
        signal.sigwait(ENDING)
        server.stop()
        recording.close()
        return 0 if recording.is_whole else FAILED


def _settings(parser: ArgumentParser, options: Namespace) -> dict[str, Any]:
    try:
        environment = from_environment(os.environ, SERVER, REAL, without=PORT_OF_SERVE_ONLY)
        settings = resolve(from_flags(vars(options)), environment, {"port": 0}, scopes=(SERVER, REAL))
    except ValueError as wrong:
        parser.error(str(wrong))
    if settings["against"] is None:
        parser.error("record: expected --against URL, the site URL of a real server")
    return settings


def check_store(settings: Mapping[str, Any], timeout_seconds: float) -> str:
    """The URL of the site. Raises `Failed` where nothing answers, or neither service's store does."""
    key = secrets.token_hex(_KEY_BYTES)
    with HttpLine(settings["against"], timeout_seconds, settings["ca_file"], settings["insecure"]) as line:
        try:
            whys = []
            for path in _STORES:
                answer = line.send(Call("GET", line.base + path + key, {}))  # with no token: a refusal is a store's answer, too
                whys.append(why_no_store(line, answer, _HINT, printable))
                if not whys[-1]:
                    return line.url
        except Unreachable as why:
            raise Failed(str(why), UNREACHABLE) from None
    raise Failed(f"{line.url} {whys[0]}", UNREACHABLE)


def _complain(text: str) -> None:
    sys.stderr.write(f"kvfake: {text}\n")
    sys.stderr.flush()
