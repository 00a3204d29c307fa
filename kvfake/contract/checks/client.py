"""The client of the checks: it asks both services as an app would, and removes what it has set.

Law: it sets keys of its own alone, and remembers each before it is set. It knows where the services lie and who has which token;
what a response must be is not its business.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, RawConnection, failure_text
from kvfake.services import mattermost, persist
from kvfake.services.messages import Response

KEY_BYTES = 16  # of a random key
PREFIX = "kv"  # two bytes: the one name space beside the empty prefix in which keys are set
BOT, USER, PLAIN_USER, PROJECT, OTHER_PROJECT = "bot", "user", "plain-user", "project", "other-project"
UNKNOWN = "kvfake-knows-no-such-token"
CLEANING_SECONDS = 20.0  # after them no further key is removed

_MAX_SHOWN_BYTES = 200
_METHODS_THAT_SET = ("POST", "PUT", "PATCH")  # PATCH sets nothing, unless the server is wrong


def token_option(who: str) -> str:
    """The option of the command line that gives somebody's token."""
    return f"--{who}-token"


class Mismatch(Exception):
    """Something else came than the row says. The parts, texts and whole bodies, are a sentence: what was expected, what came."""

    def __init__(self, *parts: str | bytes) -> None:
        super().__init__(*parts)
        self.parts = parts

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else shown(part) for part in self.parts)


class NotVerifiable(Exception):
    """A row cannot be looked at for want of an option, which the text names."""


def shown(data: bytes) -> str:
    """Bytes, as a line of a report can show them: cut, and with escapes."""
    text = repr(data[:_MAX_SHOWN_BYTES])[1:]
    return text if len(data) <= _MAX_SHOWN_BYTES else f"{text}... ({len(data)} bytes)"


class CheckResponse(NamedTuple):
    """The response to a request. Names of headers are in lower case; the values of one that came more than once are joined."""

    request: ClientRequest
    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, request: ClientRequest, response: Response) -> CheckResponse:
        headers: dict[str, str] = {}
        for name, value in response.headers:
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(request, response.status, headers, response.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "backslashreplace")

    def json(self) -> Any:
        """The JSON of the body. Raises `Mismatch` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Mismatch("expected a body of JSON, got ", self.body) from None


class ContractClient:
    """A client of one server, with the tokens of those who may ask it. ``profile`` says which responses are right; ``trail`` has
    every response, until somebody empties it.
    """

    def __init__(
        self, http: HttpClient, tokens: Mapping[str, str], *, profile: str = "plugin-1.2", may_be_malformed: bool = True
    ) -> None:
        self.http, self.profile, self.may_be_malformed = http, profile, may_be_malformed
        self.kv_path = http.base + mattermost.KV
        self.persist_path = f"{http.base}{persist.API}/persist"
        self.trail: list[CheckResponse] = []
        self._tokens = {**tokens, UNKNOWN: UNKNOWN}
        self._made: dict[tuple[str, tuple[tuple[str, str], ...]], bool | None] = {}  # target, headers: whether a key is there

    @property
    def is_documented(self) -> bool:
        return self.profile == "documented"

    def key(self) -> str:
        """A key that nobody else has."""
        return secrets.token_hex(KEY_BYTES)

    def new_target(self, service: str) -> str:
        """The target of a key that nobody else has."""
        return f"{self.kv_path if service == mattermost.NAME else f'{self.persist_path}/kv'}/{self.key()}"

    def token(self, who: str) -> str:
        """Somebody's token. Raises `NotVerifiable` where it was not given."""
        if who not in self._tokens:
            raise NotVerifiable(token_option(who))
        return self._tokens[who]

    def headers(self, who: str | None) -> dict[str, str]:
        return {} if who is None else {"Authorization": f"Bearer {self.token(who)}"}

    # -------------------------------------------------------------------------------------------------------------- requests

    def request(
        self,
        method: str,
        target: str,
        body: bytes | str = b"",
        who: str | None = BOT,
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
    ) -> CheckResponse:
        """Ask with somebody's token, that of `UNKNOWN`, or none. Raises `NoAnswer`, and `NotVerifiable` where there is no token."""
        data = body.encode() if isinstance(body, str) else body
        request = ClientRequest(method, target, {**self.headers(who), **(headers or {})}, data, chunked)
        is_set = method.upper() in _METHODS_THAT_SET
        if is_set:
            self._remember(target, request.headers)
        response = CheckResponse.of(request, self.http.send(request))
        if is_set:
            self._remember(target, request.headers, is_there=response.status < 300)
        self.trail.append(response)
        return response

    def receive(self, connection: RawConnection, sent: bytes) -> CheckResponse:
        """The next response on a connection, after these bytes were sent on it. Raises `Mismatch` where none comes. A key that they
        set must be declared with `will_set` first.
        """
        request = ClientRequest("PUT" if sent.startswith(b"PUT ") else "GET", "", {}, sent)
        try:
            response = connection.receive(request.method)
        except (OSError, HTTPException) as failed:
            raise Mismatch(f"expected an answer, but the server {failure_text(failed, self.http.seconds)}") from None
        self.trail.append(CheckResponse.of(request, response))
        return self.trail[-1]

    # -------------------------------------------------------------------------------------------------------------- cleaning

    def will_set(self, target: str, who: str) -> None:
        """Declare a key that will be set on a connection of its own, where this client does not see it."""
        self._remember(target, self.headers(who), is_there=True)

    def _remember(self, target: str, headers: Mapping[str, str], is_there: bool | None = None) -> None:
        if target.endswith("/mget"):
            return
        made = (target, tuple((name, value) for name, value in headers.items() if name != "Content-Type"))
        self._made[made] = self._made.get(made) or is_there

    def clean(self, seconds: float = CLEANING_SECONDS) -> list[str]:
        """Remove every key that was set here, and no other, as far as that can be begun in so many seconds. The targets of those
        that could not be removed, which stay remembered.
        """
        left, end = [], time.monotonic() + seconds
        for made, is_there in list(self._made.items()):
            target, headers = made
            if (time.monotonic() < end and self._delete(target, dict(headers))) or is_there is False:
                del self._made[made]
            else:
                left.append(target)
        return left

    def _delete(self, target: str, headers: Mapping[str, str]) -> bool:
        """Whether the key is gone. A wrong Persist may answer 404 where there was none."""
        try:
            status = self.http.send(ClientRequest("DELETE", target, headers)).status
            return status < 300 or (status == 404 and self.http.send(ClientRequest("GET", target, headers)).status == 404)
        except NoAnswer:
            return False
