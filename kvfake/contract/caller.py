"""Whoever asks a server for a contract: with which tokens, on which keys, and how they are removed again.

Law: it asks as an app would, on keys of its own, and remembers what it set before it sets it. What an answer must be is the
checks'.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kvfake.contract.call import Answer, Call, Line, Talk, Unreachable, Unseen
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

CLEANING_SECONDS = 20.0  # then nothing more is begun
_SETS = ("POST", "PUT", "PATCH")  # the last is none, but a wrong server may take it for one


class Caller:
    """One conversation with one server. ``base`` is the path of its URL; ``profile`` says which answers are right."""

    def __init__(
        self, line: Line, tokens: Mapping[str, str], *, base: str = "", profile: str = "plugin-1.2", may_be_malformed: bool = True
    ) -> None:
        self._line, self._tokens, self._base = line, tokens, base
        self.profile, self.may_be_malformed = profile, may_be_malformed
        self.trail: list[Answer] = []  # since whoever reads it emptied it
        self.calls = 0  # how often something was asked
        self._made: dict[tuple[str, tuple[tuple[str, str], ...]], bool | None] = {}  # how each is removed; whether it is there

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

    @property
    def host(self) -> str:
        """What a message that is written out says in ``Host``."""
        return self._line.host

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
            self._remember(call)
        self.calls += 1
        answer = self._line.send(call)
        if call.method.upper() in _SETS:
            self._remember(call, is_there=answer.status < 300)
        self.trail.append(answer)
        return answer

    @contextmanager
    def talk(self) -> Iterator[Talk]:
        """A connection for what no HTTP client would send; keys that are set on it must be told to `will_set`."""
        self.calls += 1
        with self._line.talk() as talk:
            yield _Kept(talk, self.trail)

    # ------------------------------------------------------------------------------------------------------------ removing

    def will_set(self, rest: str, who: str = BOT) -> None:
        """Say that a key of Mattermost's will be set beside `kv`."""
        self._remember(Call("PUT", f"{self.kv_path}/{rest}", self.headers(who)), is_there=True)

    def will_persist(self, rest: str, who: str = PROJECT) -> None:
        """The same of Persist; ``rest`` is what lies below ``/persist``."""
        self._remember(Call("PUT", f"{self.persist_path}{rest}", self.headers(who)), is_there=True)

    def _remember(self, call: Call, is_there: bool | None = None) -> None:
        if call.target.endswith("/mget"):
            return
        headers = {name: value for name, value in call.headers.items() if name != "Content-Type"}
        how = (call.target, tuple(headers.items()))
        self._made[how] = self._made.get(how) or is_there

    def clean(self, seconds: float = CLEANING_SECONDS) -> list[str]:
        """Remove every key that was made here, as far as that can be begun in so many seconds; the targets of those that could
        not be removed, which stay remembered. Nothing else is ever deleted.
        """
        left, end = [], time.monotonic() + seconds
        for how, is_there in list(self._made.items()):
            target, headers = how
            if (time.monotonic() < end and self._delete(target, dict(headers))) or is_there is False:
                del self._made[how]
            else:
                left.append(target)
        return left

    def _delete(self, target: str, headers: Mapping[str, str]) -> bool:
        """Whether it is not there any more; one that was not there may be a 404 where Persist is wrong."""
        try:
            status = self._line.send(Call("DELETE", target, headers)).status
            return status < 300 or (status == 404 and self._line.send(Call("GET", target, headers)).status == 404)
        except Unreachable:
            return False


class _Kept:
    """A talk whose answers are kept too."""

    def __init__(self, talk: Talk, trail: list[Answer]) -> None:
        self._talk, self._trail = talk, trail
        self.send, self.is_closed = talk.send, talk.is_closed

    def answer(self, method: str = "GET") -> Answer:
        answer = self._talk.answer(method)
        self._trail.append(answer)
        return answer
