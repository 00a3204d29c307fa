"""A suite of tests against a real server: worlds whose values, clock and tokens are the real service's.

Law: the double still reads each request, for its journal and its faults; the response is the real server's. Values are read and
written with an app's requests, with the real token of the owner. A world deletes at its end every key that it set. What the real
service cannot do raises `Unsupported`; nothing is imitated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from threading import Lock
from types import ModuleType
from typing import Any, NoReturn
from urllib.parse import quote_from_bytes

from kvfake.contract.checks import client as checks_client
from kvfake.contract.checks.client import ContractClient
from kvfake.contract.verify import check_store
from kvfake.http_client import HttpClient, site_client
from kvfake.lines import printable
from kvfake.services import mattermost, persist
from kvfake.services.messages import Request, Response
from kvfake.settings import TOKEN_OPTIONS
from kvfake.stores import Dropped, Entry, Namespace
from kvfake.world.clock import Clock, microseconds
from kvfake.world.matching import IncomingRequest
from kvfake.world.redaction import Redactor, shortened
from kvfake.world.tokens import TokenIssuer, TokenTable
from kvfake.world.world import APP, BOT, PROJECT, World

TIMEOUT_SECONDS = 30.0  # without a byte from the server
PROFILE = "plugin-1.2"

BOT_TOKEN, USER_TOKEN, PROJECT_TOKEN = (TOKEN_OPTIONS[flag][0] for flag in ("--bot-token", "--user-token", "--project-token"))
"""The variables that hold a session's tokens."""

_CALLERS = {
    BOT_TOKEN: (mattermost.NAME, checks_client.BOT),
    USER_TOKEN: (mattermost.NAME, checks_client.USER),
    PROJECT_TOKEN: (persist.NAME, checks_client.PROJECT),
}
_HOLDER = {BOT_TOKEN: "bot", USER_TOKEN: "user", PROJECT_TOKEN: "project"}
_CREDENTIALS = (b"authorization", b"cookie", b"x-csrf-token", b"x-requested-with")  # M10, M26
_SETTING_METHODS = ("PUT", "POST")
_MAX_SHOWN_CHARACTERS = 200  # of an answer
_NO_ANSWER = 502  # with this status or a higher one the server may have done what the request says
_UNSUPPORTED_SETTINGS = {
    "token": "the real service knows its own tokens alone",
    "seed": "the real service begins with what it holds",
    "mattermost_missing": "the real service answers a missing key in its own way",
}
_CLOCK = "the real service's clock cannot be set"
_CHECKPOINTS = "the real service has no checkpoints"
_SNAPSHOTS = "the real service does not show all values of one moment"


class Unsupported(Exception):
    """The real service cannot do this, or a token that it needs is missing. The text says what."""


class LiveServerError(RuntimeError):
    """A request that a mapping makes, or that deletes a key at the end, failed. The text has the response."""


class LiveBackend:
    """The real server of a session, and the tokens for it. ``unsupported`` says what the current test used that it cannot do."""

    error: type[Exception] = Unsupported

    def __init__(self, upstream: HttpClient, tokens: Mapping[str, str]) -> None:
        self.upstream, self.tokens = upstream, tokens
        self.unsupported: list[str] = []

    def refuse(self, reason: str) -> NoReturn:
        """Keep the reason in ``unsupported``, and raise `Unsupported`."""
        self.unsupported.append(reason)
        raise Unsupported(reason)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises `Unsupported` for settings that a real server does not take from a test."""
        for name, reason in _UNSUPPORTED_SETTINGS.items():
            if settings.get(name):
                self.refuse(reason)
        if settings.get("profile") not in (None, PROFILE):
            self.refuse("the real service answers as it does, not as its documentation says")

    def make_world(self, id: str, serial: int, url: str, settings: Mapping[str, Any], issuer: TokenIssuer) -> World:
        """A test's view of the real server."""
        fallback = settings["fallback"] or self.upstream.url
        settings = {**settings, "token": (), "seed": None, "fallback": fallback, "profile": PROFILE}
        tokens = LiveTokens(self, issuer, serial)
        executor = LiveExecutor(self, tokens)
        store = LiveStore(self, executor, tokens)
        return World(id, serial, url, settings, tokens, store=store, clock=LiveClock(self), executor=executor)


class LiveTokens(TokenTable):
    """The real tokens. There is one user's token: the first user that a test names has it."""

    __slots__ = ("_backend", "_unused")

    def __init__(self, backend: LiveBackend, issuer: TokenIssuer, serial: int) -> None:
        super().__init__(issuer, serial)
        self._backend, self._unused = backend, dict(backend.tokens)
        self._redactor.learn(token.encode() for token in backend.tokens.values())
        self._assign(mattermost.NAME, BOT, BOT_TOKEN)
        self._assign(persist.NAME, PROJECT, PROJECT_TOKEN)

    def _assign(self, service: str, owner: str, variable: str) -> None:
        token = self._unused.pop(variable, "").encode()
        if token:
            self._set_issued(service, owner, token)

    def issue(self, service: str, owner: str) -> bytes:
        """The real token of that owner. Where there is none, a token of our own, which `check` refuses."""
        if service == mattermost.NAME and owner.startswith(f"{APP}/") and owner != BOT and (service, owner) not in self._issued:
            self._assign(service, owner, USER_TOKEN)
        return super().issue(service, owner)

    def check(self, service: str, owner: str, token: bytes) -> None:
        """Raises `Unsupported` for a token that was made here."""
        if self._issuer.serial_of(token) is not None:
            variable = PROJECT_TOKEN if service == persist.NAME else BOT_TOKEN if owner == BOT else USER_TOKEN
            self._backend.refuse(f"no real token of {owner} was given: {variable} is for one {_HOLDER[variable]}")

    def add(self, token: str, owner: str) -> None:
        self._backend.refuse(_UNSUPPORTED_SETTINGS["token"])


class LiveExecutor:
    """Sends the operations of one world to the real server, and remembers the keys that they set, to delete them at its end."""

    def __init__(self, backend: LiveBackend, tokens: LiveTokens) -> None:
        self._upstream, self._tokens = backend.upstream, tokens
        self._lock = Lock()
        # Target of the key and the credentials that set it: whether the key may be there.
        self._created: dict[tuple[bytes, tuple[tuple[bytes, bytes], ...]], bool] = {}

    def execute(self, service: ModuleType, request: IncomingRequest) -> Response:
        """The real server's response; 501 where the request's token was made here, so that the real server cannot know it."""
        message = request.message
        try:
            if request.operation is not None:
                self._tokens.check(service.NAME, request.owner or "", service.token(message))
        except Unsupported as unsupported:
            return Response(501, body=f"kvfake: {unsupported}\n".encode())
        return self.send(message, message.path + b"?" + message.query if message.query else message.path)

    def send(self, request: Request, target: bytes) -> Response:
        """The server's response. A key that the request sets is remembered before it is sent."""
        if request.method not in _SETTING_METHODS or target.partition(b"?")[0].endswith(b"/mget"):
            return self._upstream.forward(request, target)
        created = (target, tuple((name, value) for name, value in request.headers.items() if name in _CREDENTIALS))
        with self._lock:
            was_there = self._created.get(created, False)
            self._created[created] = True
        response = self._upstream.forward(request, target)
        if 400 <= response.status < _NO_ANSWER:
            self._created[created] = was_there
        return response

    def close(self) -> None:
        """Delete every key that was set. Raises `LiveServerError` where the server does not delete one, or does not answer."""
        while self._created:
            (target, credentials), may_be_there = next(iter(self._created.items()))
            response = self._upstream.forward(Request("DELETE", target, dict(credentials)), target)
            if response.status >= 300 and may_be_there:
                left = f"{len(self._created)} keys may be left"
                raise LiveServerError(f"{left}: {_answered('DELETE', target, response, self._tokens)}")
            with self._lock:
                self._created.pop((target, credentials), None)


class LiveStore:
    """The values that the real server holds, read and written with requests of their owners."""

    def __init__(self, backend: LiveBackend, executor: LiveExecutor, tokens: LiveTokens) -> None:
        self._backend, self._executor, self._tokens = backend, executor, tokens

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        response = self._send("GET", namespace, _target(namespace, key), expected=(200, 404))
        is_mattermost = namespace[0] == mattermost.NAME
        if response.status == 404 or (is_mattermost and response.body in mattermost.MISSING_BODIES):
            return None
        return Entry(response.body, 0) if is_mattermost else _entry(response, self._tokens)

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        is_mattermost = namespace[0] == mattermost.NAME
        body = entry.value if is_mattermost else json.dumps({"value": entry.value.decode()}).encode()
        self._send("PUT", namespace, _target(namespace, key), body)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        was_there = self.get(namespace, key) is not None  # the response to a DELETE does not say
        self._send("DELETE", namespace, _target(namespace, key))
        return was_there

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        if namespace[0] == mattermost.NAME:
            self._backend.refuse("no request lists Mattermost's keys")
        query = b"?begins=" + quote_from_bytes(prefix, "").encode() if prefix else b""
        response = self._send("GET", namespace, persist.API.encode() + b"/persist/kv" + query)
        keys = _json(response)
        if not isinstance(keys, list):
            raise LiveServerError(f"expected a list of keys, got {_shown(response, self._tokens)}")
        return sorted(str(key).encode("utf-8", "surrogateescape") for key in keys)

    def count(self, namespace: Namespace) -> int:
        return len(self.keys(namespace))

    def namespaces(self) -> Iterable[Namespace]:
        self._backend.refuse("no request lists whose values there are")

    def snapshot(self, namespace: Namespace) -> Iterator[tuple[bytes, Entry]]:
        self._backend.refuse(_SNAPSHOTS)

    def drop(self, namespace: Namespace) -> Dropped:
        return Dropped(sum(self.delete(namespace, key) for key in self.keys(namespace)))

    def keep_seed(self) -> None:
        self._backend.refuse(_SNAPSHOTS)

    def prepare_clear(self) -> Iterator[None]:
        return iter(())

    def clear(self) -> Dropped:
        """Delete what was set through this world. Other values there are not this test's."""
        self._executor.close()
        return Dropped(0)

    def checkpoint(self) -> int:
        self._backend.refuse(_CHECKPOINTS)

    def prepare_rollback(self, number: int) -> Iterator[None]:
        return iter(())

    def rollback(self, number: int) -> Dropped:
        self._backend.refuse(_CHECKPOINTS)

    def _send(
        self, method: str, namespace: Namespace, target: bytes, body: bytes = b"", expected: tuple[int, ...] = (200,)
    ) -> Response:
        service, owner, _ = namespace
        token = self._tokens.issue(service, owner)
        self._tokens.check(service, owner, token)
        headers = {b"authorization": b"Bearer " + token, b"content-type": b"application/json"}
        response = self._executor.send(Request(method, target, headers, body), target)
        if response.status not in expected:
            raise LiveServerError(_answered(method, target, response, self._tokens))
        return response


class LiveClock(Clock):
    """The real service's clock, which cannot be set."""

    __slots__ = ("_backend",)

    def __init__(self, backend: LiveBackend) -> None:
        super().__init__()
        self._backend = backend

    def freeze(self, moment: object = None) -> None:
        self._backend.refuse(_CLOCK)

    def move_to(self, moment: object) -> None:
        self._backend.refuse(_CLOCK)

    def shift(self, by: object) -> None:
        self._backend.refuse(_CLOCK)


def _target(namespace: Namespace, key: bytes) -> bytes:
    service, _, prefix = namespace
    quoted = quote_from_bytes(key, "").encode()
    if service == persist.NAME:
        return persist.API.encode() + b"/persist/kv/" + quoted
    below = quote_from_bytes(prefix, "").encode() + b"/" if prefix.strip() else b""
    return mattermost.KV.encode() + b"/" + below + quoted


def _entry(response: Response, tokens: TokenTable) -> Entry:
    record = _json(response)
    try:
        updated = datetime.fromisoformat(record["updated"].replace("Z", "+00:00"))
        return Entry(record["value"].encode(), microseconds(updated))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise LiveServerError(f"expected a record of Persist's, got {_shown(response, tokens)}") from None


def _json(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except ValueError:
        return None


def _answered(method: str, target: bytes, response: Response, tokens: TokenTable) -> str:
    shown = tokens.redactor().shown_target(target).decode("utf-8", "backslashreplace")
    return f"{method} {shown} was answered {_shown(response, tokens)}"


def _shown(response: Response, tokens: TokenTable) -> str:
    text = tokens.redactor().redact_message(response.body).decode("utf-8", "backslashreplace").strip()
    return f"{response.status} {shortened(printable(text), _MAX_SHOWN_CHARACTERS)!r}"


# ------------------------------------------------------------------------------------------------------------- of a session


def tokens_from(environ: Mapping[str, str], worker: str) -> dict[str, str]:
    """The tokens of a session, by the names of their variables. ``worker`` is empty, or the name of one of several that run side by
    side and each need tokens of their own. Raises ``ValueError`` where there are none.
    """
    names = {name: f"{name}_{worker.upper()}" if worker else name for name in _CALLERS}
    given = {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
    if BOT_TOKEN not in given and PROJECT_TOKEN not in given:
        wanted = f"set {names[BOT_TOKEN]}, {names[PROJECT_TOKEN]} or both"
        if worker:
            raise ValueError(f"workers side by side would see each other's values: each needs tokens of its own; {wanted}")
        raise ValueError(f"a real server knows real tokens alone: {wanted}")
    return given


def live_backend(url: str, ca_file: str | None, insecure: bool, given: Mapping[str, str]) -> LiveBackend:
    """The real server at that site URL, for these tokens. Raises `CommandError` where no server knows them."""
    with site_client(url, TIMEOUT_SECONDS, ca_file, insecure) as http:
        tokens = {caller: given[name] for name, (_, caller) in _CALLERS.items() if name in given}
        client, redactor = ContractClient(http, tokens), Redactor(tokens.values())
        for name in given:
            service, caller = _CALLERS[name]
            check_store(client, service, [caller], redactor)
        return LiveBackend(http, given)
