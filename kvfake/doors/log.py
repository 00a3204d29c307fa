"""The line that an exchange leaves on stderr, where somebody asked for it.

Law: it shows no token, however it is written in a query.
"""

from __future__ import annotations

import sys

from kvfake.services.mattermost import without_token


def write_line(method: str, target: bytes, status: int, size: int) -> None:
    """Method, target, status, bytes of the answer's body."""
    print(f"{method} {without_token(target).decode('ascii', 'backslashreplace')} {status} {size}", file=sys.stderr, flush=True)
