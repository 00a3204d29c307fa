"""What the services and a world promise, in the plainest form to compare with: dicts and lists, copied whole.

Law: nothing of kvfake's is used here but names. Values are one dict for all worlds; faults and the journal are a list each.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

MATTERMOST, PERSIST = "mattermost", "persist"
LONGEST_PREFIX_BYTES, LONGEST_VALUE_BYTES = 2, 8192  # of Mattermost

METHODS = {
    (MATTERMOST, "get"): "GET",
    (MATTERMOST, "set"): "PUT",
    (MATTERMOST, "delete"): "DELETE",
    (PERSIST, "get"): "GET",
    (PERSIST, "set"): "PUT",
    (PERSIST, "delete"): "DELETE",
    (PERSIST, "list"): "GET",
    (PERSIST, "mget"): "POST",
}


class Address(NamedTuple):
    world: str
    service: str
    owner: str
    prefix: bytes
    key: bytes


class Asked(NamedTuple):
    """One request. ``key`` is what the keys of a list begin with; ``value`` is the stored bytes, or ``None`` for a body that the
    service refuses.
    """

    service: str
    verb: str
    key: str = ""
    prefix: str = ""
    value: bytes | None = b""
    keys: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        return METHODS[self.service, self.verb]

    @property
    def target(self) -> str:
        """Below the address of a world."""
        if self.service == MATTERMOST:
            parts = [self.prefix, self.key] if self.prefix else [self.key]
            return "/plugins/com.mattermost.apps/api/v1/kv/" + "/".join(quote(part, safe="") for part in parts)
        rest = {"list": "kv", "mget": "mget"}.get(self.verb, "kv/" + quote(self.key, safe=""))
        return f"/api/v1/persist/{rest}" + (f"?begins={quote(self.key, safe='')}" if self.verb == "list" and self.key else "")

    @property
    def body(self) -> bytes:
        if self.verb == "mget":
            return json.dumps({"keys": self.keys}).encode()
        if self.verb != "set":
            return b""
        if self.value is None:
            return b"[1"
        return self.value if self.service == MATTERMOST else json.dumps({"value": self.value.decode()}).encode()


class Answer(NamedTuple):
    """``status`` is ``None`` where no whole answer comes. A payload of bytes is compared as it is, ``None`` not at all, another as
    JSON.
    """

    status: int | None
    payload: Any = None


def owner_of(service: str, token: str, named: Mapping[str, tuple[str, str]]) -> str | None:
    """Whom a token belongs to. Named tokens are known to one service; any other token is a stranger's."""
    if token in named:
        return named[token][1] if named[token][0] == service else None
    return f"anonymous-{hashlib.sha256(token.encode()).hexdigest()[:12]}"


class Values(dict[Address, tuple[bytes, int]]):
    """The two services over one dict: address to value and moment, in microseconds since 1970."""

    def refusal(self, asked: Asked, owner: str | None) -> int | None:
        """The status with which the request is refused before the store is looked at."""
        if asked.service == MATTERMOST and len(asked.value or b"") > LONGEST_VALUE_BYTES:
            return 500
        if owner is None or (asked.service == MATTERMOST and owner.startswith("/")):
            return 401
        return 400 if asked.value is None else None

    def do(self, asked: Asked, world: str, owner: str, now: int, lenient: bool) -> Answer:
        """Do what was asked; the answer."""
        padded = asked.prefix.encode().ljust(LONGEST_PREFIX_BYTES) if asked.service == MATTERMOST else b""
        if len(padded) > LONGEST_PREFIX_BYTES and not lenient:
            return Answer(500)
        address = Address(world, asked.service, owner, padded, asked.key.encode())
        before = self.get(address)
        if asked.verb == "set" and asked.value is not None:
            self[address] = asked.value, now
        elif asked.verb == "delete":
            self.pop(address, None)
            return Answer(200, b"")
        if asked.service == MATTERMOST:
            if asked.verb == "set":
                return Answer(200, {"changed": not lenient or before is None or before[0] != asked.value})
            return Answer(200, b"{}" if before is None else before[0])
        if asked.verb == "list":
            same = (found.key for found in self if found[:4] == address[:4] and found.key.startswith(address.key))
            return Answer(200, [key.decode() for key in sorted(same)])
        if asked.verb == "mget":
            return Answer(200, [self._record(address._replace(key=key.encode())) for key in asked.keys])
        record = self._record(address)
        return Answer(200, record) if record else Answer(404)

    def _record(self, address: Address) -> dict[str, str] | None:
        if address not in self:
            return None
        value, moment = self[address]
        return {"key": address.key.decode(), "value": value.decode(), "updated": shown(moment)}

    def of(self, world: str) -> dict[Address, tuple[bytes, int]]:
        return {address: entry for address, entry in self.items() if address.world == world}

    def replace(self, world: str, values: Mapping[Address, tuple[bytes, int]]) -> None:
        """The world holds these, and nothing else."""
        for address in self.of(world):
            del self[address]
        self.update({address._replace(world=world): entry for address, entry in values.items()})


def shown(moment: int) -> str:
    """RFC 3339, for moments of 1970-01-01: enough for a clock that a test holds."""
    seconds, fraction = divmod(moment, 1_000_000)
    return f"1970-01-01T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}Z"


@dataclass
class Fault:
    """A fault as it was asked for over HTTP, and what it has counted."""

    fields: dict[str, Any]
    matched: int = 0
    hits: int = 0

    def matches(self, asked: Asked, owner: str | None, is_refused: bool) -> bool:
        """A refused request has no key. The owner is known before anything is refused."""
        keys = () if is_refused else asked.keys if asked.verb == "mget" else (asked.key,)
        found: dict[str, tuple[str | None, ...]] = {
            "service": (asked.service,), "method": (asked.method,), "owner": (owner,), "key": keys,
        }  # fmt: skip
        return all(_any_is(self.fields[name], values) for name, values in found.items() if name in self.fields)

    def is_due(self) -> bool:
        self.matched += 1
        after: int = self.fields.get("after", 0)
        every: int = self.fields.get("every", 1)
        return self.matched > after and (self.matched - after) % every == 0

    @property
    def is_used_up(self) -> bool:
        times: int | None = self.fields.get("times", 1)
        return self.hits == times

    def answer(self, do: Callable[[bool], Answer]) -> Answer:
        """``do(really)`` does the operation, or says what it would answer."""
        status, sever = self.fields.get("status"), self.fields.get("sever")
        if status is not None:
            return Answer(status, do(False).payload if status < 300 else None)
        usual = do(sever in (None, "after", "reset-after", "truncate"))
        if sever is not None:
            return Answer(None, usual.status if sever == "truncate" else None)  # the journal has the status of what was cut
        return usual._replace(payload=self.fields["body"].encode()) if "body" in self.fields else usual


def _any_is(wanted: Any, values: tuple[str | None, ...]) -> bool:
    if isinstance(wanted, dict):
        return any(value is not None and re.search(wanted["matches"], value) for value in values)
    return wanted in values


class Recorded(NamedTuple):
    """What is compared of an exchange of the journal."""

    number: int
    service: str
    method: str
    key: str | None
    owner: str | None
    status: int | None


@dataclass
class Journal:
    """The last exchanges of a world; ``dropped`` counts those that made room."""

    room: int
    kept: list[Recorded] = field(default_factory=list)
    seen: int = 0
    dropped: int = 0

    def record(self, asked: Asked, owner: str | None, is_refused: bool, status: int | None) -> None:
        self.seen += 1
        key = None if is_refused or asked.verb == "mget" else asked.key
        self.kept.append(Recorded(self.seen, asked.service, asked.method, key, owner, status))
        self.dropped += max(0, len(self.kept) - self.room)
        del self.kept[: -self.room]

    def clear(self) -> None:
        self.kept, self.dropped = [], 0


@dataclass
class World:
    """What one world has beside its values."""

    id: str
    tokens: dict[str, tuple[str, str]]  # the named ones, and those that this world has issued: service and owner
    journal: Journal
    now: int = 0
    faults: list[Fault] = field(default_factory=list)
    marks: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)  # marks that cannot be rolled back to any more

    def checkpoint(self, mark: int, values: Values) -> None:
        self.marks[mark] = deepcopy(
            (values.of(self.id), self.now, self.faults, self.journal.seen, len(self.journal.kept) + self.journal.dropped)
        )

    def rollback(self, mark: int, values: Values) -> None:
        """Later marks are gone. The journal forgets what came after the mark; what was dropped for it stays dropped."""
        held, self.now, self.faults, seen, count = deepcopy(self.marks[mark])
        values.replace(self.id, held)
        self.gone |= {other for other in self.marks if other > mark}
        self.marks = {other: state for other, state in self.marks.items() if other not in self.gone}
        self.journal.kept = [recorded for recorded in self.journal.kept if recorded.number <= seen]
        self.journal.dropped = min(self.journal.dropped, count - len(self.journal.kept))

    def answer(self, values: Values, asked: Asked, token: str, lenient: bool) -> Answer:
        """Find the fault that strikes, do what is done, record it; the answer."""
        owner = owner_of(asked.service, token, self.tokens)
        refusal = values.refusal(asked, owner)

        def do(really: bool) -> Answer:
            if refusal is not None:
                return Answer(refusal) if really else Answer(200, b"")
            return (values if really else deepcopy(values)).do(asked, self.id, owner or "", self.now, lenient)

        due = [fault for fault in self.faults if fault.matches(asked, owner, refusal is not None) and fault.is_due()]
        for fault in due[:1]:
            fault.hits += 1
        answer = due[0].answer(do) if due else do(True)
        self.faults = [fault for fault in self.faults if not fault.is_used_up]
        self.journal.record(asked, owner, refusal is not None, answer.payload if answer.status is None else answer.status)
        return answer
