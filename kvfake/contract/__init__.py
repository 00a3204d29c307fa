"""An outside client: whether a server does what each row says, recordings of one, and what the rows are, for people and tools."""

import sys

from kvfake.errors import UNREACHABLE as UNREACHABLE

DIFFERENT = 1
"""The exit code where something differs; `UNREACHABLE` is that of nothing that could be asked."""


def write_text(text: str) -> None:
    """Write the text to stdout at once; a character that stdout's encoding does not have is written as an escape."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
    sys.stdout.flush()
