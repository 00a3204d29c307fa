"""What a page in a browser may do with a server: the names of the server, and the headers that tell where a request comes from.

Law: headers in, a reason to refuse out. Whoever is no browser can send any header: this protects a user whose browser shows a page
of somebody else, and nobody from the machines that reach the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address
    from urllib.parse import SplitResult

_OWN_SITES = ("", "same-origin", "none")  # Sec-Fetch-Site of no page, of this server's own, and of what the user typed


class AllowedHosts:
    """The names of one server. Requests for other hosts and from pages of other origins are refused.

    A page of a foreign site can make a browser send requests here. The browser still sends the true ``Origin`` with all that may
    change something, and to this machine the true ``Sec-Fetch-Site``. Its ``Host`` names the foreign site even where that name now
    resolves to a loopback address (DNS rebinding).
    """

    def __init__(self, bound: str, names: Iterable[str] = (), url: str = "", any_address: bool = False) -> None:
        """Allow ``bound``, the address that the server is bound to, ``names``, the host of ``url``, and every loopback address.

        A server that is bound to every address of the machine has these as names, too; with ``any_address`` every other as well,
        as behind a forwarded port. No page gets an address as its ``Host`` by DNS rebinding.
        """
        self._bound, self._given, self._url, self._any_address = bound, tuple(names), url, any_address

    @cached_property
    def _names(self) -> frozenset[str]:
        names = (*self._given, self._bound, "localhost", _split(self._url).hostname or "")
        return frozenset(name.lower() for name in names if name)

    @cached_property
    def _is_everywhere(self) -> bool:
        """Whether the server can be reached at every address of the machine."""
        address = _address(self._bound)
        return address is not None and address.is_unspecified

    def refusal(self, host: str, origin: str, site: str) -> str | None:
        """Why a request with these headers (``Host``, ``Origin``, ``Sec-Fetch-Site``) is refused; ``None`` where it is not."""
        if not self._includes(_split(f"//{host}").hostname or ""):
            known = [*sorted(self._names), "a loopback address"]
            if self._is_everywhere:
                known.append("an address of this machine")
            return f"Host is {host!r}: expected a name of this server ({', '.join(known)}); --allow-host NAME adds one"
        if origin and _split(origin).netloc.lower() != host.lower():
            return f"Origin is {origin!r}: expected none, or this server's own ({host})"
        if site.lower() not in _OWN_SITES:
            return f"Sec-Fetch-Site is {site!r}: a page of another site sent this; expected one of this server's own, or no page"
        return None

    def _includes(self, name: str) -> bool:
        if name in self._names:
            return True
        address = _address(name)
        if address is None:
            return False
        return address.is_loopback or (self._is_everywhere and (self._any_address or _is_of_this_machine(address)))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound there."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(name: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import ip_address

    try:
        return ip_address(name)
    except ValueError:
        return None


def _is_of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Whether the machine has this address: a socket can be bound to it, and to no other."""
    import socket

    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _split(url: str) -> SplitResult:
    """Split the URL; all its parts are empty where it cannot be parsed."""
    from urllib.parse import urlsplit

    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
