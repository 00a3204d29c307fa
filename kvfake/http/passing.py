"""A real server, asked in place of the double.

Law: a request in, what that server answers out, as `kvfake.http.fallback` carries it; certificates are checked unless whoever
asks said otherwise. It holds no token and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvfake.http.fallback import fetch
from kvfake.services.messages import Request, Response
from kvfake.world.clock import machine_seconds

if TYPE_CHECKING:
    from ssl import SSLContext


def tls_context(ca_file: str | None, insecure: bool) -> SSLContext:
    """How a server's certificate is checked: as the system does, with ``ca_file`` beside; or not at all. Raises ``OSError`` for a
    file that cannot be read, or holds no certificate.
    """
    import ssl

    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Upstream:
    """The real server at a URL. Raises ``OSError`` for a ``ca_file`` that is none."""

    seconds: Callable[[], float] = staticmethod(machine_seconds)

    def __init__(self, url: str, timeout: float, ca_file: str | None = None, insecure: bool = False) -> None:
        """The site URL, with no slash at its end; ``timeout`` is in seconds, of a silence."""
        self.url, self._timeout = url, timeout
        self._context = tls_context(ca_file, insecure) if self.url.startswith("https:") else None

    def ask(self, request: Request, target: bytes, via: str = "") -> Response:
        """What it answers to the request, for the target below its URL; 502 where it does not."""
        return fetch(self.url, request, target, via, self.seconds, self._timeout, self._context, "the real server")
