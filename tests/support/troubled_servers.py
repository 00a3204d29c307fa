"""Servers that are no store, or one behind TLS. Each answers on threads of its own, on a free port."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SELF_SIGNED = Path(__file__).with_name("self_signed.pem")  # for localhost and 127.0.0.1, with its key

Converse = Callable[[socket.socket], None]


@contextmanager
def listening(converse: Converse, host: str = "127.0.0.1") -> Iterator[int]:
    """The port on which every connection is talked with so, and then closed."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        connections: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connections.append(connection)
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                converse(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    """Hears everything, and says nothing."""
    while connection.recv(65_536):
        ...


def saying(answer: bytes, times: int = 1) -> Converse:
    """The same bytes to every request, and then the end of the connection."""

    def converse(connection: socket.socket) -> None:
        for _ in range(times):
            if connection.recv(65_536):
                connection.sendall(answer)

    return converse


def answer(status: str, body: bytes = b"", *lines: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


@contextmanager
def behind_tls(port: int) -> Iterator[int]:
    """Whatever answers at that port, behind TLS with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)

    def converse(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secret, socket.create_connection(("127.0.0.1", port)) as plain:
            back = threading.Thread(target=pump, args=(plain, secret), daemon=True)
            back.start()
            pump(secret, plain)
            back.join()

    with listening(converse) as tls_port:
        yield tls_port


def pump(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes goes on, up to the end."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
