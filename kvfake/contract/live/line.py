"""The way to the server that is asked: where a URL leads, sockets, TLS.

Law: calls out, answers in. It follows nothing and uses no proxy. Whatever goes wrong on the way is one line that names the server.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from kvfake.contract import UNREACHABLE
from kvfake.contract.call import Answer, Call, Unreachable
from kvfake.contract.live.talk import LEAST_SECONDS, HttpTalk, what_happened, written
from kvfake.errors import CommandError
from kvfake.http.passing import tls_context
from kvfake.services.persist import API

_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where a URL leads; ``base`` is its path, with no slash at its end."""

    scheme: str
    host: str
    port: int
    base: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.base}"


def place_of(url: str) -> Place:
    """Where a site URL leads. The ``/api/v1`` that clients of Persist have at its end is taken off. Raises `Failed`."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        host = (parts.hostname or "").encode("idna").decode()
        is_plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#@\\")
        if host and parts.port != 0 and is_plain:
            return Place(parts.scheme, host, port, parts.path.rstrip("/").removesuffix(API).rstrip("/"))
    except (ValueError, KeyError):
        ...
    got = "" if set(url) & set("?#@") else f", got {url!r}"  # a secret may lie behind one of these
    raise CommandError(
        f"that is no site URL: expected http(s)://host[:port][/path], with no user, query or fragment{got}", UNREACHABLE
    )


class HttpLine:
    """The server at a URL, each answer of which may take ``timeout`` seconds. Raises `Failed` for a wrong URL or file."""

    def __init__(self, url: str, timeout: float, ca_file: str | None = None, insecure: bool = False) -> None:
        self._place, self.seconds = place_of(url), timeout
        self._tls = _tls(ca_file, insecure) if self._place.scheme == "https" else None
        self._kept: HttpTalk | None = None

    @property
    def url(self) -> str:
        return self._place.url

    @property
    def base(self) -> str:
        return self._place.base

    @property
    def host(self) -> str:
        return self._place.authority

    def __enter__(self) -> HttpLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def send(self, call: Call) -> Answer:
        kept, self._kept = self._kept, None
        try:
            if kept is not None:
                with suppress(ConnectionError):  # the server had closed it; a new connection will do
                    return self._sent(kept, call)
            return self._sent(self._connected(), call)
        except (OSError, HTTPException) as failed:
            raise self._unreachable(failed) from None

    def _sent(self, talk: HttpTalk, call: Call) -> Answer:
        """The connection is kept only where it was heard to its end."""
        try:
            talk.send(written(call, self._place.authority))
            answer = talk.answer_to(call)
        except BaseException:
            talk.close()
            raise
        if talk.is_over:
            talk.close()
        else:
            self._kept = talk
        return answer

    @contextmanager
    def talk(self) -> Iterator[HttpTalk]:
        try:
            talk = self._connected()
        except OSError as failed:
            raise self._unreachable(failed) from None
        try:
            yield talk
        finally:
            talk.close()

    def _connected(self) -> HttpTalk:
        connection = socket.create_connection((self._place.host, self._place.port), max(LEAST_SECONDS, self.seconds))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=self._place.host)
        except BaseException:
            connection.close()
            raise
        return HttpTalk(connection, self.seconds)

    def _unreachable(self, failed: Exception) -> Unreachable:
        return Unreachable(f"{self.url} {what_happened(failed, self.seconds)}")


def _tls(ca_file: str | None, insecure: bool) -> ssl.SSLContext:
    try:
        return tls_context(ca_file, insecure)
    except OSError as failed:  # SSLError is one
        reason = "expected certificates in PEM" if isinstance(failed, ssl.SSLError) else failed.strerror
        raise CommandError(f"cannot take certificates from {ca_file}: {reason}", UNREACHABLE) from None
