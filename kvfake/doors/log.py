"""The line that an exchange leaves on stderr, where somebody asked for it.

Law: it shows no token, however it is written in a query.
"""

from __future__ import annotations

import sys

from kvfake.services.gorules import BadEscape, unescape

_HIDDEN = b"..."


def write_line(method: str, target: bytes, status: int, size: int) -> None:
    """Method, target, status, bytes of the answer's body."""
    path, mark, query = target.partition(b"?")
    shown = path + mark + b"&".join(map(_without_token, query.split(b"&")))
    print(f"{method} {shown.decode('ascii', 'backslashreplace')} {status} {size}", file=sys.stderr, flush=True)


def _without_token(pair: bytes) -> bytes:
    name, mark, _ = pair.partition(b"=")
    try:
        is_token = unescape(name.replace(b"+", b" ")) == b"access_token"
    except BadEscape:
        return pair
    return name + mark + _HIDDEN if is_token else pair
