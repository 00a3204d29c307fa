"""Who else may be at an address: nobody, somebody silent, something else. And what the command says of it: one line."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.support.process import PATIENCE_SECONDS


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which somebody listens, and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def dead_port() -> Iterator[int]:
    """A port on which nobody listens and nobody can."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def url_of(port: AbstractContextManager[int]) -> Iterator[str]:
    with port as number:
        yield f"http://127.0.0.1:{number}"


@contextmanager
def stranger(*answers: bytes) -> Iterator[str]:
    """Something else at an address: it answers each connection with the next of these, the last again and again."""
    left = list(answers)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(PATIENCE_SECONDS)
            self.request.recv(65_536)
            self.request.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(PATIENCE_SECONDS)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)


def the_line(err: str) -> str:
    """All that was said on stderr, which is one line of kvfake's."""
    assert err.startswith("kvfake: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    return err[len("kvfake: ") : -1]
