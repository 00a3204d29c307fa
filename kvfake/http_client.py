"""The HTTP client: for the fallback, for real servers, and for ``/_kvfake/`` of a running kvfake.

Law: requests out, responses in, bounded in bytes and in time. It follows no redirect, uses no proxy, and knows no rule of either
service. No other module connects to a server. It loads ``http.client`` and ``ssl``, so import it only where a request is sent.
"""

from __future__ import annotations

import io
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from threading import Thread
from typing import Any, NamedTuple, cast
from urllib.parse import quote_from_bytes, urlsplit

from kvfake import __version__
from kvfake.errors import CONTROL_OFF, UNREACHABLE, CommandError
from kvfake.lines import printable
from kvfake.machine import machine_seconds
from kvfake.services.messages import Request, Response, error_response
from kvfake.services.persist import API
from kvfake.world.pauses import Pauses, SharedReading
from kvfake.world.redaction import shown_url
from kvfake.world.routes import forwarded_response

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_INCOMING_BYTES = 256 * 1024 * 1024  # of all the responses that the fallbacks of one server are sending, as MAX_UNSENT_BYTES
MAX_HEAD_BYTES = 1024 * 1024  # of a response's head, with all that is not final before it; http.client takes 100 lines a head
MAX_SILENCE_SECONDS = 30.0  # of a fallback, between two pieces of its response
MAX_FORWARD_SECONDS = 300.0  # of a whole forwarded exchange: Mattermost's ServiceSettings.WriteTimeout
MAX_CONTROL_BYTES = 1 << 20
CONTROL_SECONDS = 5.0  # of a whole exchange with /_kvfake/

NOT_KVFAKE = "something else answers there"
_NOT_A_URL = "that is no URL; expected http://host:port"
_PAUSE_SECONDS = 0.05  # between two attempts of `wait`
_READ_BYTES = 65_536
_BUFFER_BYTES = 2048  # of the shortest chunks, what is read in a millisecond; larger pieces do without the buffer
_CHUNK_BYTES = 4096
_MAX_SHOWN_CHARACTERS = 200
_MAX_STATUS_LINE_CHARACTERS = 60
_MAX_ERROR_CHARACTERS = 1000

_PORTS = {"http": 80, "https": 443}
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}  # RFC 9110, 7.6.1
_SET_BY_FORWARD = {"host", "content-length", "expect", "via"}
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_VARIABLES = (  # those of a world's `env`
    "KVFAKE_URL", "MATTERMOST_SITE_URL", "MATTERMOST_BOT_TOKEN", "BEEPBOOP_PERSIST_URL", "BEEPBOOP_API_URL", "BEEPBOOP_TOKEN",
)  # fmt: skip


class NoAnswer(CommandError):
    """No server answers, or it answers something else than expected. The text says what happened."""

    def __init__(self, text: str) -> None:
        super().__init__(text, UNREACHABLE)


class Refused(NoAnswer):
    """The server answered with an error; the text is the server's own."""


class NotSendable(NoAnswer):
    """Nothing was sent: the URL or the token is wrong."""


class _TooLong(HTTPException): ...


class _CutShort(HTTPException): ...


def failure_text(failed: Exception, seconds: float) -> str:
    """What happened instead of a response. The text continues a sentence that begins with the server."""
    match failed:
        case TimeoutError():
            return f"did not answer within {seconds:g} seconds"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {failed.verify_message} (--ca-file adds one, --insecure looks at none)"
        case ssl.SSLError():
            return f"does not speak TLS as it should: {(failed.reason or str(failed)).lower().replace('_', ' ')}"
        case RemoteDisconnected():
            return "ended the connection without an answer"
        case ConnectionResetError() | BrokenPipeError():
            return "cut the connection"
        case OSError():
            return f"cannot be reached: {failed.strerror or failed}"
        case _TooLong():
            return f"answers {failed}"
        case BadStatusLine():
            return f"does not speak HTTP: it began with {str(failed)[:_MAX_STATUS_LINE_CHARACTERS]!r}"
        case _CutShort() | IncompleteRead():
            return "ended the connection in the middle of an answer"
        case _:
            return f"does not speak HTTP as it should: {type(failed).__name__}"


class ClientRequest(NamedTuple):
    """A request to a server. ``target`` is sent as it is; a surrogate in it is a byte that is not UTF-8."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    chunked: bool = False

    def encoded(self) -> bytes:
        """The bytes of the request. Raises ``ValueError`` for a line break inside a line."""
        lines, body = [f"{name}: {value}" for name, value in self.headers.items()], self.body
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[start : start + _CHUNK_BYTES] for start in range(0, len(body), _CHUNK_BYTES)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        elif body or self.method in _METHODS_WITH_BODY:
            lines.append(f"Content-Length: {len(body)}")
        first = f"{self.method} {self.target} HTTP/1.1"
        if any("\r" in line or "\n" in line for line in (first, *lines)):
            raise ValueError("a line of the request holds a line break")
        return b"\r\n".join([first.encode("utf-8", "surrogateescape"), *(line.encode("latin-1") for line in lines), b"", body])


# ----------------------------------------------------------------------------------------------------------------- connection


class _Deadline:
    """The end of an exchange: ``seconds`` from now. No single step of it may take longer than ``silence`` seconds."""

    _now: Callable[[], float] = staticmethod(machine_seconds)

    def __init__(self, seconds: float, silence: float = float("inf")) -> None:
        self._seconds, self._silence = seconds, silence
        self._end = self._now() + seconds

    def left(self) -> float:
        """The seconds that the next step may take. Raises ``TimeoutError`` once the end has passed."""
        left = self._end - self._now()
        if left <= 0:
            raise TimeoutError(f"not whole after {self._seconds:g} seconds")
        return min(left, self._silence)


class _Incoming(io.RawIOBase):
    """The bytes from a socket, until a deadline, and at most ``room`` of them. Whoever reads has the turn."""

    def __init__(self, sock: socket.socket, reading: SharedReading) -> None:
        self._socket, self._reading = sock, reading
        self.pause = Pauses()
        self.deadline = _Deadline(0)
        self.room = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.pause()  # with the turn: otherwise another thread would go on at once
        self._socket.settimeout(self.deadline.left())
        try:
            with self._reading.without_turn():
                count = self._socket.recv_into(buffer)
        except TimeoutError:
            self.deadline.left()  # where the whole exchange took too long, that is what is said
            raise
        self.room -= count
        if self.room < 0:
            raise _TooLong("more bytes than it can need")
        return count


class _ResponseFile(io.BufferedReader):
    """The buffer of a connection, which lasts for all its responses. ``HTTPResponse`` uses it as the socket and as its file."""

    def makefile(self, *_: object) -> _ResponseFile:
        return self

    def close(self) -> None: ...


class RawConnection:
    """One connection, on which any bytes may be sent. Sending, receiving and closing may take ``seconds`` each.
    ``reading`` is what it shares with other connections, if it does.
    """

    def __init__(self, sock: socket.socket, seconds: float, reading: SharedReading | None = None) -> None:
        self._socket, self._seconds, self._reading = sock, seconds, reading or SharedReading()
        self._incoming = _Incoming(sock, self._reading)
        self._file = _ResponseFile(self._incoming, _BUFFER_BYTES)
        self.is_reusable = False  # whether the last response came whole, and the server keeps the connection

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes, deadline: _Deadline | None = None) -> None:
        """Send the bytes. Raises no error, since a response may have come before it: `receive` raises where there is none."""
        self.is_reusable = False
        with suppress(OSError):
            self._socket.settimeout((deadline or _Deadline(self._seconds)).left())
            self._socket.sendall(data)

    def receive(self, method: str = "GET", deadline: _Deadline | None = None, limit: int | None = None) -> Response:
        """The next final response, to a request with that method, with at most ``limit`` bytes of body. Raises ``OSError`` and
        ``HTTPException``.
        """
        self._incoming.deadline = deadline or _Deadline(self._seconds)
        with self._reading:
            return self._receive(method, MAX_RESPONSE_BYTES if limit is None else limit)

    def _receive(self, method: str, limit: int) -> Response:
        self._incoming.pause, self._incoming.room = Pauses(), MAX_HEAD_BYTES
        while True:
            with HTTPResponse(cast(socket.socket, self._file), method=method) as response:
                response.begin()
                if response.status < 200:  # it is not final
                    continue
                self._incoming.room += 2 * limit  # what surrounds chunks may be as long as what they hold
                body = self._receive_body(response, limit)
                if response.length:
                    raise _CutShort(f"it ended {response.length} bytes early")
                self.is_reusable = not response.will_close
                return Response(response.status, tuple(response.getheaders()), body)

    def _receive_body(self, response: HTTPResponse, limit: int) -> bytes:
        body = io.BytesIO()  # `getvalue` copies nothing, which would take long
        try:
            while piece := response.read(_READ_BYTES):
                self._reading.held_bytes += body.write(piece)
                if body.tell() > limit:
                    raise _TooLong(f"more than {limit} bytes")
                if self._reading.held_bytes > MAX_INCOMING_BYTES:
                    raise _TooLong(f"more than {MAX_INCOMING_BYTES} bytes in all the answers that are being read here; try again")
            return body.getvalue()
        finally:
            self._reading.held_bytes -= body.tell()

    def is_closed(self) -> bool:
        """Whether the server closes the connection without sending more."""
        self._incoming.deadline, self._incoming.room = _Deadline(self._seconds), MAX_HEAD_BYTES
        try:
            with self._reading:
                return self._file.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers without the hop-by-hop ones (RFC 9110, 7.6.1), each value on one line."""
    headers = list(headers)
    named = {word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")}
    one_line = (" ".join(part.strip(" \t\r") for part in value.split("\n")) for _, value in headers)
    return [(name, value) for (name, _), value in zip(headers, one_line, strict=True) if name.lower() not in _HOP_BY_HOP | named]


# --------------------------------------------------------------------------------------------------------------------- client


class HttpClient:
    """A client of the server at a URL. `send` keeps its connection for the next request, and belongs to one thread; `forward` may
    be called from several at once.

    ``base`` is the path of the URL, without a slash at its end. ``seconds`` bounds a whole exchange of `send` (twice as long where
    a body is sent), and each silence of `forward`. ``reading`` is what it shares with other clients, if it does. Raises
    ``ValueError`` for what is no URL, and ``OSError`` for a ``ca_file`` that cannot be taken.
    """

    def __init__(
        self, url: str, seconds: float, ca_file: str | None = None, insecure: bool = False, reading: SharedReading | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.port == 0:
            raise ValueError(_NOT_A_URL)
        self._reading, self.url, self.seconds, self.base = reading, url, seconds, parts.path.rstrip("/")
        self.scheme, self._address = parts.scheme, (parts.hostname, parts.port or _PORTS[parts.scheme])
        self._kept: RawConnection | None = None
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            if ca_file is not None:
                self._tls.load_verify_locations(ca_file)  # beside those of the system
            if insecure:
                self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        """Host and port, as the header ``Host`` has them. Raises ``UnicodeError`` for a host that cannot be a name."""
        name, port = self._address
        host = f"[{name}]" if ":" in name else name.encode("idna").decode()
        return host if port == _PORTS[self.scheme] else f"{host}:{port}"

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def send(self, request: ClientRequest) -> Response:
        """The response to the request. Raises `NoAnswer`."""
        try:
            return self.exchange(request)
        except (OSError, HTTPException) as failed:
            raise NoAnswer(f"{self.url} {failure_text(failed, self.seconds)}{self._proxy_note(failed)}") from None

    def _proxy_note(self, failed: Exception) -> str:
        """Where a proxy may be what is missing."""
        variable = f"{self.scheme}_proxy"
        named = next((name for name in (variable, variable.upper()) if os.environ.get(name)), None)
        return f" ({named} is set, but kvfake uses no proxy)" if named and isinstance(failed, OSError) else ""

    def exchange(self, request: ClientRequest, limit: int | None = None) -> Response:
        """As `send`, with at most ``limit`` bytes of body; raises ``OSError``, ``HTTPException`` and ``ValueError``."""
        headers = {"Host": self.host, "User-Agent": f"kvfake/{__version__}", **request.headers}
        request, deadline = request._replace(headers=headers), _Deadline(self.seconds)
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(ConnectionError):  # the server has closed it: a new connection follows
                return self._exchange_on(kept, request, deadline, limit)
        return self._exchange_on(self._connect(deadline), request, deadline, limit)

    def _exchange_on(self, connection: RawConnection, request: ClientRequest, deadline: _Deadline, limit: int | None) -> Response:
        """The response. The connection is kept only where a whole response came."""
        self._kept = connection
        try:
            connection.send(request.encoded(), deadline)
            if request.body:  # a server that does not read the body may have used up the time while it was sent
                deadline = _Deadline(self.seconds)
            return connection.receive(request.method, deadline, limit)
        finally:
            if not connection.is_reusable:
                self.close()

    def connection(self) -> RawConnection:
        """A new connection for any bytes. Raises `NoAnswer`."""
        try:
            return self._connect(_Deadline(self.seconds))
        except OSError as failed:
            raise NoAnswer(f"{self.url} {failure_text(failed, self.seconds)}") from None

    def forward(self, request: Request, target: bytes, via: str = "", name: str = "the real server") -> Response:
        """Forward a client's request. Returns the response for that client; 502 where none comes. ``target`` is below the URL,
        ``via`` is the value of the header, ``name`` is the name of the server in the text of the 502.
        """
        try:
            given = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.items())
            headers = {"Host": self.host, **{name: value for name, value in _end_to_end(given) if name not in _SET_BY_FORWARD}}
            path = quote_from_bytes(self.base.encode() + target, _VISIBLE)
            sent = ClientRequest(request.method, path, headers | ({"via": via} if via else {}), request.body)
            deadline = _Deadline(MAX_FORWARD_SECONDS, silence=self.seconds)
            with self._connect(deadline) as connection:
                connection.send(sent.encoded(), deadline)
                response = connection.receive(request.method, deadline)
            return forwarded_response(request.method, response.status, _end_to_end(response.headers), response.body)
        except (OSError, HTTPException, ValueError) as failed:
            return error_response(502, f"{name} {shown_url(self.url)} did not answer: {str(failed) or type(failed).__name__}")

    def _connect(self, deadline: _Deadline) -> RawConnection:
        sock = _connected(self._address, deadline)
        try:
            sock.settimeout(deadline.left())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._address[0])
        except BaseException:
            sock.close()
            raise
        return RawConnection(sock, self.seconds, self._reading)


def _connected(address: tuple[str, int], deadline: _Deadline) -> socket.socket:
    """A socket that is connected to the first of the host's addresses that takes it."""
    failed = OSError("that host has no address")
    for family, kind, protocol, _, place in _addresses(address, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left())
            sock.connect(place)
        except OSError as why:
            sock.close()
            failed = why
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


def _addresses(address: tuple[str, int], deadline: _Deadline) -> list[Any]:
    """What ``getaddrinfo`` knows of the address. A name is looked up on a thread, since the system may take minutes for it."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []
    failed: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(*address, type=socket.SOCK_STREAM))
        except Exception as why:
            failed.append(why)

    thread = Thread(target=look_up, name="kvfake-lookup", daemon=True)
    try:
        thread.start()
    except RuntimeError as why:
        raise OSError(str(why)) from None
    thread.join(deadline.left())
    if failed:
        raise failed[0]
    if thread.is_alive():
        raise TimeoutError(f"the name {address[0]} was not found in time")
    return found


def site_client(url: str, seconds: float, ca_file: str | None = None, insecure: bool = False) -> HttpClient:
    """A client of a real server at its site URL. An ``/api/v1`` at its end, as clients of Persist have it, is taken off. Raises
    `NoAnswer` for a wrong URL or file.
    """
    try:
        if not url.isascii() or not url.isprintable() or set(url) & set(" ?#@\\"):
            raise ValueError(_NOT_A_URL)
        client = HttpClient(url, seconds, ca_file, insecure)
        client.base = client.base.removesuffix(API).rstrip("/")
        client.url = f"{client.scheme}://{client.host}{client.base}"
        return client
    except ValueError:
        got = "" if set(url) & set("?#@") else f", got {url!r}"  # a secret may stand behind one of these
        text = f"that is no site URL: expected http(s)://host[:port][/path], with no user, query or fragment{got}"
        raise NoAnswer(text) from None
    except OSError as failed:
        reason = "expected certificates in PEM" if isinstance(failed, ssl.SSLError) else failed.strerror
        raise NoAnswer(f"cannot take certificates from {ca_file}: {reason}") from None


# -------------------------------------------------------------------------------------------------------------------- control


def control_request(
    url: str,
    path: str,
    seconds: float = CONTROL_SECONDS,
    *,
    method: str = "GET",
    body: bytes = b"",
    token: str | None = None,
    limit: int = MAX_CONTROL_BYTES,
) -> dict[str, Any]:
    """The JSON object, of at most ``limit`` bytes, with which the kvfake at the URL answers that path. Raises `NoAnswer`."""
    if token is not None and not token.isprintable():
        raise NotSendable("the control token cannot be sent: expected printable characters")
    headers = {"Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}".encode().decode("latin-1")
    try:
        client = HttpClient(url, seconds)
        base = client.base
        if not client.host or quote_from_bytes(base.encode(), _VISIBLE) != base:
            raise ValueError(_NOT_A_URL)
    except ValueError:
        raise NotSendable(_NOT_A_URL) from None
    try:
        with client:
            response = client.exchange(ClientRequest(method, base + path, headers, body), limit)
        answer = json.loads(response.body)
    except TimeoutError:
        raise NoAnswer("timed out") from None
    except OSError as failed:
        raise NoAnswer(failed.strerror or str(failed)) from None
    except _TooLong as failed:
        raise NoAnswer(f"the answer has {failed}") from None
    except (HTTPException, ValueError, RecursionError):
        raise NoAnswer(NOT_KVFAKE) from None
    if isinstance(answer, dict) and response.status < 300:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise Refused(_on_one_line(answer["error"], _MAX_ERROR_CHARACTERS))
    shown = _on_one_line(response.body.decode("utf-8", "replace"), _MAX_SHOWN_CHARACTERS)
    raise NoAnswer(f"status {response.status}: {shown}")


def _on_one_line(text: str, characters: int) -> str:
    """Of a text from a server: what a terminal can show."""
    return printable(" ".join(text.split())[:characters])


def environment(url: str, token: str | None = None) -> dict[str, str]:
    """The variables with which an app finds the kvfake at the URL. Others that the server names are left out: a shell would take
    them, and it may be anybody's. Raises `NoAnswer`.
    """
    return environment_in(control_request(url, "/_kvfake/env", token=token))


def environment_in(answer: object) -> dict[str, str]:
    """The same, out of an answer that holds them. Raises `NoAnswer`."""
    env = {name: answer[name] for name in _VARIABLES if name in answer} if isinstance(answer, dict) else {}
    if "KVFAKE_URL" not in env or not all(isinstance(value, str) and value.isprintable() for value in env.values()):
        raise NoAnswer(NOT_KVFAKE)
    return env


def wait(url: str, seconds: float, token: str | None = None) -> None:
    """Return once a kvfake answers at the URL, also one whose control is switched off. Raises `NoAnswer` after so many seconds."""
    end = machine_seconds() + seconds
    while True:
        try:
            bound = max(0.1, min(CONTROL_SECONDS, end - machine_seconds()))
            if control_request(url, "/_kvfake/health", bound, token=token).get("status") == "ok":
                return
            raise NoAnswer(NOT_KVFAKE)
        except NotSendable:
            raise
        except NoAnswer as why:
            if isinstance(why, Refused) and str(why) == CONTROL_OFF:
                return
            if machine_seconds() + _PAUSE_SECONDS >= end:
                raise
        time.sleep(_PAUSE_SECONDS)
