"""What befalls an answer on its way, as actions of a conversation.

Law: a message in, actions out; it chooses nothing and waits for nothing. Whoever drives the sockets carries them out.
"""

from __future__ import annotations

import struct

from kvfake.doors.actions import Action, End, Reset, Silence, Wait
from kvfake.services.message import GARBAGE, RESET, SILENCE, TRUNCATE, Mishap

MAX_SILENCE_SECONDS = 300.0

_MAX_PIECES = 200
_PIECE_SECONDS = 0.01
_CLOSE = End(linger=True)  # closed at once, what the client still says would make a reset of it

RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST, and what was not sent yet is lost."""


def befall(mishap: Mishap, message: bytes, body: bytes, garbage: bytes) -> tuple[Action, ...]:
    """What is done in place of sending ``message``, which ends with ``body``; ``garbage`` is what comes where no answer does. The
    connection ends where the last of them is no bytes.
    """
    waiting: tuple[Action, ...] = (Wait(mishap.delay),) if mishap.delay else ()
    if mishap.sever.startswith(RESET):
        return (*waiting, Reset())
    if mishap.sever.startswith(SILENCE):
        return (*waiting, Silence(MAX_SILENCE_SECONDS))
    if mishap.is_unanswered:
        return (*waiting, garbage, _CLOSE) if mishap.sever == GARBAGE else (*waiting, _CLOSE)
    if mishap.sever == TRUNCATE:
        message = message[: len(message) - (len(body) + 1) // 2]
    pieces = (*waiting, *in_pieces(message, mishap.over))
    return (*pieces, _CLOSE) if mishap.sever else pieces


def in_pieces(message: bytes, over: float) -> list[bytes | Wait]:
    """The message, spread over that time."""
    count = max(1, min(_MAX_PIECES, len(message), int(over / _PIECE_SECONDS)))
    size = max(1, -(-len(message) // count))
    pieces: list[bytes | Wait] = [message[:size]]
    for start in range(size, len(message), size):
        pieces += [Wait(over * size / len(message)), message[start : start + size]]
    return pieces
