"""What a conversation asks of whoever drives its socket.

Law: values and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvfake.services.message import Response

Job = Callable[[], Response]
"""Run this where it may block."""


class Wait(NamedTuple):
    """Do nothing for so long; what follows waits."""

    seconds: float


class Silence(NamedTuple):
    """Say nothing until the client gives up, or for so long; then end the connection."""

    seconds: float


class Reset(NamedTuple):
    """End the connection with RST, as if this machine were gone."""


class End(NamedTuple):
    """End the connection. Where the client may still be speaking, ``linger`` says to let it finish."""

    linger: bool


Action = bytes | Job | Wait | Silence | Reset | End
"""``bytes``: send these."""
