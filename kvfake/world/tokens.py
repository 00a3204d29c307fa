"""Tokens, and who they are.

Law: the one place where a token is kept. It knows no service's rules: a token is bytes, an owner is a text.

A token is of one service. It is *named* (a user said whose it is), *issued* (made here, for an owner of one world), or, where
the world is not strict, *welcome*: an owner of its own, called by the token's digest.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable

from kvfake.settings import MATTERMOST, PERSIST, PROJECT_MARK, named_token, owner_of

_RANDOM_BYTES, _SERIAL_BYTES, _CHECK_BYTES = 8, 4, 4


class TokenIssuer:
    """Makes tokens from which the server that made them can tell the world, also when that world is long forgotten.

    A token is 16 bytes (random, the world's serial number, a keyed check), in the form of its service: Mattermost's are 26
    of a-z and 2-7 (``model.NewId``), Persist's 32 hexadecimal digits.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(16)

    def _check(self, body: bytes) -> bytes:
        import hashlib

        return hashlib.blake2b(body, key=self._secret, digest_size=_CHECK_BYTES).digest()

    def make(self, service: str, serial: int) -> bytes:
        body = os.urandom(_RANDOM_BYTES) + serial.to_bytes(_SERIAL_BYTES, "big")
        token = body + self._check(body)
        return _in_base_32(token) if service == MATTERMOST else token.hex().encode()

    def serial_of(self, token: bytes) -> int | None:
        """The serial number of the world that the token was made for, or ``None`` for a token that was not made here."""
        try:
            raw = bytes.fromhex(token.decode()) if len(token) == 32 else base64.b32decode(token.upper() + b"======")
        except ValueError:
            return None
        if token not in (raw.hex().encode(), _in_base_32(raw)):
            return None
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        return int.from_bytes(body[_RANDOM_BYTES:], "big") if check == self._check(body) else None


def _in_base_32(token: bytes) -> bytes:
    return base64.b32encode(token)[:26].lower()


class TokenTable:
    """Who is known to one world."""

    __slots__ = ("_issued", "_issuer", "_owners", "_serial", "strict")

    def __init__(self, issuer: TokenIssuer, serial: int, named: Iterable[str], strict: bool) -> None:
        self._issuer, self._serial, self.strict = issuer, serial, strict
        self._owners: dict[bytes, dict[str, str]] = {}  # token: service: owner
        self._issued: dict[tuple[str, str], bytes] = {}  # the same table read the other way, for tokens that were made here
        for text in named:
            self.name(*named_token(text))

    def name(self, token: str, owner: str) -> None:
        """Make a token known: ``app/user``, ``/user`` or ``project:NAME``. Raises ``ValueError`` for another owner."""
        service, whose = owner_of(owner)
        self._owners.setdefault(token.encode(), {})[service] = whose

    def named(self) -> dict[str, list[str]]:
        """The tokens that a user named, each with its owners in the form that `name` takes."""
        named = {
            token.decode(): sorted(
                PROJECT_MARK + owner if service == PERSIST else owner
                for service, owner in known.items()
                if self._issued.get((service, owner)) != token
            )
            for token, known in list(self._owners.items())
        }
        return {token: owners for token, owners in named.items() if owners}

    def issue(self, service: str, owner: str) -> bytes:
        """The token of that owner; made at the first call."""
        token = self._issued.get((service, owner))
        if token is None:
            token = self._issued[service, owner] = self._issuer.make(service, self._serial)
            self._owners[token] = {service: owner}
        return token

    def who(self, service: str, token: bytes) -> str | None:
        """The owner, or ``None`` for a token that is missing or not known to the service."""
        known = self._owners.get(token)
        if known is not None:
            return known.get(service)
        if self.strict or not token:
            return None
        import hashlib  # it loads OpenSSL: a server may never need it

        return "anonymous-" + hashlib.sha256(token).hexdigest()[:12]

    def knows(self, token: bytes) -> bool:
        """Whether it was named or issued here, for either service."""
        return token in self._owners

    def without_tokens(self, text: str) -> str:
        """The text, with every token of the table cut short."""
        for token in sorted(self._owners, key=len, reverse=True):
            text = text.replace(token.decode(), shortened(token).decode())
        return text


SHOWN_BYTES, LEAST_BYTES_TO_SHOW = 4, 12  # of a token


def shortened(token: bytes) -> bytes:
    """What may be shown of a token: its beginning, where it is long enough not to be known by that."""
    return (token[:SHOWN_BYTES] if len(token) >= LEAST_BYTES_TO_SHOW else b"") + b"..."
