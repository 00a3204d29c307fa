"""What is behind a double that `kvfake.start` made, which users do not see."""

from __future__ import annotations

from kvfake.double import Double, DoubleServer, ServedDouble
from kvfake.http.server import Server


def doubles_of(double: Double) -> DoubleServer:
    """The server with all its doubles."""
    assert isinstance(double, ServedDouble)
    return double._server


def server_of(double: Double) -> Server:
    """The server itself: its port, its connections."""
    return doubles_of(double).server
