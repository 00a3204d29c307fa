"""Who may ask for control: a request whose ``Host`` names this server, and whose ``Origin``, if any, is this server's.

Law: headers in, a reason to refuse out. A page of a foreign site can make a browser send requests here; it can make it
neither lie about ``Origin`` nor, once its name was pointed at a loopback address, about ``Host``.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_WILDCARDS = ("0.0.0.0", "::")


class Hosts:
    """The names of one server: loopback, the address that it is bound to, its URL's, and those that were allowed."""

    def __init__(self, bound: str, names: Iterable[str]) -> None:
        self._is_everywhere = bound in _WILDCARDS
        self._names = {name.lower() for name in (*names, bound, "localhost")}

    def refusal(self, host: str, origin: str) -> str | None:
        """Why the request may not use control; ``None`` where it may."""
        name = _parts("//" + host).hostname or ""
        if not self._is_ours(name):
            return (
                f"Host is {host!r}: expected a name of this server ({', '.join(sorted(self._names))}, a loopback address); "
                "--allow-host NAME adds one"
            )
        if origin and _parts(origin).netloc.lower() != host.lower():
            return f"Origin is {origin!r}: expected none, or this server's own ({host})"
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._is_everywhere


def _parts(url: str) -> SplitResult:
    """Its parts; empty ones where it cannot be read."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
