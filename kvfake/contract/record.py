"""``kvfake record``: a proxy before a real server that writes each exchange to a recording.

Law: it forwards every request and every response as it is, but requests bodies of the stores without compression. It answers only
its health itself, and refuses what it cannot forward. The recording decides what is kept.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from functools import partial

from kvfake import __version__
from kvfake.contract.checks.client import ContractClient
from kvfake.contract.recording import RecordingWriter, is_beside
from kvfake.contract.verify import no_store_reason
from kvfake.double import address_of
from kvfake.errors import BIND_ERRORS, UNREACHABLE, CommandError, UsageError, cannot_listen, server_failed
from kvfake.http.connection import Connection
from kvfake.http.parser import split_absolute
from kvfake.http.router import incomplete_body
from kvfake.http.server import Server
from kvfake.http_client import HttpClient, site_client
from kvfake.lines import tell
from kvfake.services import mattermost, persist
from kvfake.services.messages import JSON, Job, Lane, Request, Response, error_response
from kvfake.settings import PORT_OF_SERVE_ONLY, REAL, SERVER, command_settings
from kvfake.signals import end_signals, end_this_process, hold_signals, wait_for_signal
from kvfake.world.redaction import Redactor

FAILED = 1
HEALTH = b"/_kvfake/health"
VIA = "1.1 kvfake-record"

_HINT = "is that the site URL of Mattermost, or the URL of Persist?"
_STORES = (f"{mattermost.KV}/", f"{persist.API}/persist/kv/", "/persist/kv/")


class RecordingProxy:
    """Answers each request with the real server's response, and records both."""

    def __init__(self, upstream: HttpClient, recording: RecordingWriter) -> None:
        self._upstream, self._recording = upstream, recording

    def answer(self, request: Request) -> Response | Job:
        target = request.target if request.target.startswith(b"/") else split_absolute(request.target)[1]
        if request.method == "GET" and target.partition(b"?")[0] == HEALTH:
            health = {"status": "ok", "kvfake": __version__, "url": self._upstream.url}
            return Response(200, JSON, json.dumps(health).encode())
        if not target.startswith(b"/"):
            return error_response(400, f"cannot pass that on to {self._upstream.url}: expected a path")
        return incomplete_body(request) or Job(partial(self._pass_on, request.replace(target=target)), Lane.OTHER)

    def _pass_on(self, request: Request) -> Response:
        passed = request
        if not is_beside(request.target):  # `kvfake compare` cannot read a compressed body
            passed = request.replace(headers={**request.headers, b"accept-encoding": b"identity"})
        response = self._upstream.forward(passed, request.target, VIA)
        self._recording.write(request, response)
        return response


# --------------------------------------------------------------------------------------------------------------- the command


def command(options: Namespace) -> int:
    """Serve and record until Ctrl-C. Returns the exit code."""
    settings = command_settings(vars(options), scopes=(SERVER, REAL), overrides={"port": 0}, unread=PORT_OF_SERVE_ONLY)
    if settings["against"] is None:
        raise UsageError("record: expected --against URL, the site URL of a real server")
    upstream = site_client(settings["against"], options.timeout, settings["ca_file"], settings["insecure"])
    check_store(upstream)
    try:
        server = Server(lambda: Connection(proxy.answer), settings["host"], settings["port"])
    except BIND_ERRORS as failed:
        raise CommandError(cannot_listen(settings, failed, "--port takes another")) from None
    try:
        recording = RecordingWriter(options.output, upstream.url, tell)
    except OSError as failed:
        server.stop()
        raise CommandError(f"cannot write {options.output}: {failed.strerror}") from None
    proxy = RecordingProxy(upstream, recording)
    server.on_failure = end_this_process
    numbers = end_signals()
    hold_signals(numbers)
    server.start()
    sys.stdout.write(f"kvfake is listening on {address_of(settings['host'], server.port)}\n")
    sys.stdout.flush()
    wait_for_signal(numbers)
    server.stop()
    recording.close()
    if server.failure is not None:
        raise server_failed(server.failure)
    return 0 if recording.is_whole else FAILED


def check_store(upstream: HttpClient) -> None:
    """Raises `CommandError` where no server answers, or it has the store of neither service."""
    client, base, reasons = ContractClient(upstream, {}), upstream.base, []
    with upstream:
        for path in _STORES:
            response = client.request("GET", base + path + client.key(), who=None)  # a store may refuse it
            reasons.append(no_store_reason(upstream, response, _HINT, Redactor()))
            if not reasons[-1]:
                return
    raise CommandError(f"{upstream.url} {reasons[0]}", UNREACHABLE)
