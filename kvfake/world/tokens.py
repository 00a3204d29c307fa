"""The tokens of a world, and their owners.

Law: the one place where tokens are kept. It knows no service's rules: a token is bytes, an owner is a text.

A token is known to one service. It is *added* (a user named its owner), *issued* (made here, for an owner of one world), or, where
the world is not strict, *unknown*: then its owner is a `Stranger`, called ``anonymous-`` and a digest of the token.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from kvfake.errors import is_refusal
from kvfake.settings import MATTERMOST, PERSIST, PROJECT_MARK, parse_owner, parse_token
from kvfake.world.redaction import Redactor, beginning

__tracebackhide__ = is_refusal

MAX_STRANGERS = 1000  # unknown tokens whose owner is remembered, so that it is not computed for each request
MAX_STRANGER_BYTES = 256  # of a token whose owner is remembered
OWN_SERIAL = 0  # of a server's own world; the worlds that are opened later count from 1

_RANDOM_BYTES, _SERIAL_BYTES, _CHECK_BYTES = 8, 4, 4


class TokenIssuer:
    """Makes tokens that hold the serial number of their world, so that a server knows it even after that world has ended.

    A token is 16 bytes (random, the world's serial number, a keyed check), in the form of its service: Mattermost's as `in_base_32`
    writes them, Persist's as 32 hexadecimal digits.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(16)

    def _check(self, body: bytes) -> bytes:
        import hashlib

        return hashlib.blake2b(body, key=self._secret, digest_size=_CHECK_BYTES).digest()

    def make(self, service: str, serial: int) -> bytes:
        body = os.urandom(_RANDOM_BYTES) + serial.to_bytes(_SERIAL_BYTES, "big")
        token = body + self._check(body)
        return in_base_32(token) if service == MATTERMOST else token.hex().encode()

    def serial_of(self, token: bytes) -> int | None:
        """The serial number of the world that the token was made for, or ``None`` for a token that was not made here."""
        try:
            raw = bytes.fromhex(token.decode()) if len(token) == 32 else base64.b32decode(token.upper() + b"======")
        except ValueError:
            return None
        if token not in (raw.hex().encode(), in_base_32(raw)):
            return None
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        return int.from_bytes(body[_RANDOM_BYTES:], "big") if check == self._check(body) else None


def in_base_32(token: bytes) -> bytes:
    """16 bytes in Mattermost's form of an id or a token: 26 of a-z and 2-7 (``model.NewId``)."""
    return base64.b32encode(token)[:26].lower()


STRANGER_MARK = "anonymous-"


class Stranger(str):
    """The owner of an unknown token, in a world that is not strict. The real services know no such owner."""

    __slots__ = ()


_IN_A_HEADER = re.compile(rb"[!-~]+")  # what every client can send as a token


class TokenTable:
    """The tokens that one world knows."""

    __slots__ = ("_added", "_issued", "_issuer", "_owners", "_redacted", "_redactor", "_serial", "_strangers", "_strict")

    def __init__(self, issuer: TokenIssuer, serial: int, added: Iterable[str] = (), strict: bool = False) -> None:
        """``added`` are texts ``TOKEN=OWNER``; a ``strict`` world knows no other tokens than those and its own."""
        self._issuer, self._serial, self._strict = issuer, serial, strict
        self._owners: dict[bytes, dict[str, str]] = {}  # token: service: owner
        self._added: dict[tuple[str, str], bytes] = {}  # service and owner: the first token that was added for it
        self._issued: dict[tuple[str, str], bytes] = {}  # service and owner: the token that was issued
        self._redactor, self._redacted = Redactor(replacement=beginning), 0  # and how many tokens it knows
        self._strangers: dict[bytes, Stranger] = {}
        for text in added:
            self.add(*parse_token(text))

    def add(self, token: str, owner: str) -> None:
        """Make a token known. ``owner`` is ``app/user``, ``/user`` or ``project:NAME``; ``ValueError`` for anything else."""
        service, name = parse_owner(owner)
        data = token.encode()
        self._owners.setdefault(data, {})[service] = name
        if _IN_A_HEADER.fullmatch(data):
            self._added.setdefault((service, name), data)

    def added(self, with_issued: bool = False) -> dict[str, list[str]]:
        """The tokens that were added, each with its owners in the form that `add` takes; on request also those that were issued to
        an owner in that form.
        """
        found: dict[str, list[str]] = {}
        for token, owners in list(self._owners.items()):
            names = sorted(self._nameable(token, owners, with_issued))
            if names:
                found[token.decode()] = names
        return found

    def _nameable(self, token: bytes, owners: dict[str, str], with_issued: bool) -> Iterator[str]:
        for service, owner in owners.items():
            name = PROJECT_MARK + owner if service == PERSIST else owner
            if self._issued.get((service, owner)) != token:
                yield name
            elif with_issued:
                with suppress(ValueError):  # of an owner that no setting can name: a stranger
                    parse_owner(name)
                    yield name

    def issue(self, service: str, owner: str) -> bytes:
        """The token of that owner. In a server's own world a token that was added for it; else one that is made at the first
        call, and that tells its world.
        """
        added = self._added.get((service, owner)) if self._serial == OWN_SERIAL else None
        if added is not None and self.owner_of(service, added) == owner:
            return added
        token = self._issued.get((service, owner))
        if token is None:
            token = self._issuer.make(service, self._serial)
            self._set_issued(service, owner, token)
        return token

    def _set_issued(self, service: str, owner: str, token: bytes) -> None:
        self._issued[service, owner] = token
        self._owners.setdefault(token, {})[service] = str(owner)  # the owner of a known token is no `Stranger`

    def owner_of(self, service: str, token: bytes) -> str | None:
        """The owner, or ``None`` for a token that is missing or not known to the service."""
        known = self._owners.get(token)
        if known is not None:
            return known.get(service)
        if self._strict or not token:
            return None
        return self._strangers.get(token) or self._stranger(token)

    def _stranger(self, token: bytes) -> Stranger:
        import hashlib  # it loads OpenSSL: a server may never need it

        stranger = Stranger(STRANGER_MARK + hashlib.sha256(token).hexdigest()[:12])
        if len(token) <= MAX_STRANGER_BYTES:
            if len(self._strangers) >= MAX_STRANGERS:
                self._strangers.clear()
            self._strangers[token] = stranger
        return stranger

    def knows(self, token: bytes) -> bool:
        """Whether the token was added or issued here, for either service."""
        return token in self._owners

    def redactor(self) -> Redactor:
        """A redactor that knows every token of this table."""
        if self._redacted < len(self._owners):
            tokens = list(self._owners)
            self._redactor.learn(tokens[self._redacted :])
            self._redacted = len(tokens)
        return self._redactor
