"""The client of the checks: it sends requests to both services as an app would, and removes the keys that it has set.

Law: it sets only keys of its own, and remembers each before it sets it. It knows the paths of the services and the tokens. It does
not know what a response must be.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, RawConnection, failure_text
from kvfake.machine import machine_seconds
from kvfake.services import mattermost, persist
from kvfake.services.messages import Response

KEY_BYTES = 16  # of a random key
PREFIX = "kv"  # two bytes: the one namespace beside the empty prefix in which keys are set
BOT, USER, PLAIN_USER, PROJECT, OTHER_PROJECT = "bot", "user", "plain-user", "project", "other-project"
UNKNOWN = "kvfake-knows-no-such-token"
CLEANING_SECONDS = 20.0  # after this time `ContractClient.clean` begins no further removal

_MAX_SHOWN_BYTES = 200
_METHODS_THAT_SET = ("POST", "PUT", "PATCH")  # PATCH sets nothing, unless the server is wrong


def token_option(who: str) -> str:
    """The option of the command line that gives somebody's token."""
    return f"--{who}-token"


class Mismatch(Exception):
    """A response is not as the row says. The parts, texts and whole bodies, make a sentence: what was expected, what came."""

    def __init__(self, *parts: str | bytes) -> None:
        super().__init__(*parts)
        self.parts = parts

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else shown(part) for part in self.parts)


class NotVerifiable(Exception):
    """A row cannot be checked because an option was not given. The text is that option."""


def shown(data: bytes) -> str:
    """Bytes for a line of a report: cut, and with escapes."""
    text = repr(data[:_MAX_SHOWN_BYTES])[1:]
    return text if len(data) <= _MAX_SHOWN_BYTES else f"{text}... ({len(data)} bytes)"


class CheckResponse(NamedTuple):
    """The response to a request. Names of headers are in lower case; the values of a header that came more than once are joined."""

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
    """A client of one server, with a token for each role (`BOT`, `USER` ...). ``profile`` says which responses are right;
    ``exchanges`` grows with every response, and `run_checks` empties it.
    """

    def __init__(
        self, http: HttpClient, tokens: Mapping[str, str], *, profile: str = "plugin-1.2", may_be_malformed: bool = True
    ) -> None:
        self.http, self.profile, self.may_be_malformed = http, profile, may_be_malformed
        self.kv_path = http.base + mattermost.KV
        self.persist_path = f"{http.base}{persist.API}/persist"
        self.exchanges: list[CheckResponse] = []
        self._tokens = {**tokens, UNKNOWN: UNKNOWN}
        self._keys_set: dict[tuple[str, tuple[tuple[str, str], ...]], bool | None] = {}
        """Target and headers of each key: whether it is there, ``None`` where no response has shown it."""

    @property
    def is_documented(self) -> bool:
        return self.profile == "documented"

    def key(self) -> str:
        """A random key, so that no other client has it."""
        return secrets.token_hex(KEY_BYTES)

    def new_target(self, service: str) -> str:
        """The target of such a key."""
        return f"{self.kv_path if service == mattermost.NAME else f'{self.persist_path}/kv'}/{self.key()}"

    def token(self, who: str) -> str:
        """The token of that role. Raises `NotVerifiable` where it was not given."""
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
        """Send a request with the token of that role; `UNKNOWN` sends one that no server knows, ``None`` sends none. Raises
        `NoAnswer`, and `NotVerifiable` where the token was not given.
        """
        data = body.encode() if isinstance(body, str) else body
        request = ClientRequest(method, target, {**self.headers(who), **(headers or {})}, data, chunked)
        is_set = method.upper() in _METHODS_THAT_SET
        if is_set:
            self._remember(target, request.headers)
        response = CheckResponse.of(request, self.http.send(request))
        if is_set:
            self._remember(target, request.headers, is_there=response.status < 300)
        self.exchanges.append(response)
        return response

    def receive(self, connection: RawConnection, sent: bytes) -> CheckResponse:
        """The next response on a connection, after these bytes were sent on it. If they set a key, declare it with `will_set`
        first. Raises `Mismatch` where no response comes.
        """
        request = ClientRequest("PUT" if sent.startswith(b"PUT ") else "GET", "", {}, sent)
        try:
            response = connection.receive(request.method)
        except (OSError, HTTPException) as failed:
            raise Mismatch(f"expected an answer, but the server {failure_text(failed, self.http.seconds)}") from None
        self.exchanges.append(CheckResponse.of(request, response))
        return self.exchanges[-1]

    # -------------------------------------------------------------------------------------------------------------- cleaning

    def will_set(self, target: str, who: str) -> None:
        """Declare a key that will be set on a connection of its own: `request` does not see it, and `clean` must remove it."""
        self._remember(target, self.headers(who), is_there=True)

    def _remember(self, target: str, headers: Mapping[str, str], is_there: bool | None = None) -> None:
        if target.endswith("/mget"):
            return
        key = (target, tuple((name, value) for name, value in headers.items() if name != "Content-Type"))
        self._keys_set[key] = self._keys_set.get(key) or is_there

    def clean(self, seconds: float = CLEANING_SECONDS) -> list[str]:
        """Remove every key that this client has set, and no other; after so many seconds no further removal begins. Returns the
        targets of the keys that could not be removed. They stay remembered.
        """
        left, end = [], machine_seconds() + seconds
        for key, is_there in list(self._keys_set.items()):
            target, headers = key
            if (machine_seconds() < end and self._delete(target, dict(headers))) or is_there is False:
                del self._keys_set[key]
            else:
                left.append(target)
        return left

    def _delete(self, target: str, headers: Mapping[str, str]) -> bool:
        """Whether the key is gone. A wrong Persist may answer 404 to the removal of a key that is not there."""
        try:
            status = self.http.send(ClientRequest("DELETE", target, headers)).status
            return status < 300 or (status == 404 and self.http.send(ClientRequest("GET", target, headers)).status == 404)
        except NoAnswer:
            return False
