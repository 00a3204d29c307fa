"""Whoever asks a server for a contract: with which tokens, on which keys, and how they are removed again.

Law: it asks as an app would, on keys of its own, and remembers what it set before it sets it. What an answer must be is the
checks'.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from kvfake.contract.call import Answer, Call, Line, Talk, Unseen
from kvfake.services import mattermost, persist

KEY_BITS = 128
PREFIX = "kv"  # two bytes: the one name space beside the empty prefix in which keys are made
BOT, USER, PLAIN_USER, PROJECT, OTHER_PROJECT = "bot", "user", "plain-user", "project", "other-project"
TOKENS = {
    BOT: "--bot-token",
    USER: "--user-token",
    PLAIN_USER: "--plain-user-token",
    PROJECT: "--project-token",
    OTHER_PROJECT: "--other-project-token",
}
"""Who asks, and the option that gives the token."""
UNKNOWN = "kvfake-knows-no-such-token"

_SETS = ("POST", "PUT", "PATCH")  # the last is none, but a wrong server may take it for one


class Caller:
    """One conversation with one server. ``base`` is the path of its URL; ``profile`` says which answers are right."""

    def __init__(
        self, line: Line, tokens: Mapping[str, str], *, base: str = "", profile: str = "plugin-1.2", may_be_malformed: bool = True
    ) -> None:
        self._line, self._tokens, self._base = line, tokens, base
        self.profile, self.may_be_malformed = profile, may_be_malformed
        self.trail: list[Answer] = []  # since whoever reads it emptied it
        self._made: dict[tuple[str, tuple[tuple[str, str], ...]], bool] = {}  # how each is removed; whether it is surely there

    @property
    def is_documented(self) -> bool:
        return self.profile == "documented"

    @property
    def kv_path(self) -> str:
        """Where Mattermost's store lies, for what is written out byte by byte."""
        return self._base + mattermost.KV

    @property
    def persist_path(self) -> str:
        return self._base + persist.API + "/persist"

    def key(self) -> str:
        """A key that nobody else has."""
        return secrets.token_hex(KEY_BITS // 8)

    def token(self, who: str) -> str:
        """Their token. Raises `Unseen` where it was not given."""
        if who not in self._tokens:
            raise Unseen(TOKENS[who])
        return self._tokens[who]

    def headers(self, who: str | None) -> dict[str, str]:
        return {} if who is None else {"Authorization": f"Bearer {self.token(who)}"}

    # ------------------------------------------------------------------------------------------------------------- asking

    def kv(
        self,
        method: str,
        rest: str,
        body: bytes | str = b"",
        who: str | None = BOT,
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
    ) -> Answer:
        """Ask Mattermost's store; ``rest`` is the end of the target, as it stands, ``who`` one of `TOKENS`."""
        data = body.encode() if isinstance(body, str) else body
        return self.send(Call(method, f"{self.kv_path}/{rest}", {**self.headers(who), **(headers or {})}, data, chunked))

    def persist(self, method: str, rest: str, payload: Any = None, who: str | None = PROJECT, api: str = persist.API) -> Answer:
        """Ask Persist; ``rest`` is the end of the target below ``/persist``. A payload of bytes is sent as it is."""
        body = payload if isinstance(payload, bytes) else b"" if payload is None else json.dumps(payload).encode()
        headers = {**self.headers(who), "Content-Type": "application/json"}
        return self.send(Call(method, f"{self._base}{api}/persist{rest}", headers, body))

    def send(self, call: Call) -> Answer:
        if call.method.upper() in _SETS:
            self._remember(call, is_there=False)
        answer = self._line.send(call)
        if call.method.upper() in _SETS and answer.status < 300:
            self._remember(call, is_there=True)
        self.trail.append(answer)
        return answer

    def talk(self) -> AbstractContextManager[Talk]:
        """A connection for what no HTTP client would send; keys that are set on it must be told to `will_set`."""
        return self._line.talk()

    # ------------------------------------------------------------------------------------------------------------ removing

    def will_set(self, rest: str, who: str = BOT) -> None:
        """Say that a key of Mattermost's will be set beside `kv`."""
        self._remember(Call("PUT", f"{self.kv_path}/{rest}", self.headers(who)), is_there=True)

    def will_persist(self, rest: str, who: str = PROJECT) -> None:
        """The same of Persist; ``rest`` is what lies below ``/persist``."""
        self._remember(Call("PUT", f"{self.persist_path}{rest}", self.headers(who)), is_there=True)

    def _remember(self, call: Call, is_there: bool) -> None:
        if call.target.endswith("/mget"):
            return
        headers = {name: value for name, value in call.headers.items() if name != "Content-Type"}
        how = (call.target, tuple(headers.items()))
        self._made[how] = is_there or self._made.get(how, False)

    def clean(self) -> list[str]:
        """Remove every key that was made here; the targets of those that could not be removed. Nothing else is ever deleted."""
        left = []
        for (target, headers), is_there in list(self._made.items()):
            answer = self._line.send(Call("DELETE", target, dict(headers)))
            del self._made[target, headers]
            if is_there and answer.status >= 300:
                left.append(target)
        return left
