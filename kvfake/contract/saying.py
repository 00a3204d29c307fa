"""What the commands of a contract say on stdout.

Law: texts in, bytes out, at once. What stdout's encoding does not have is an escape there.
"""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write the text, which ends its own lines."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
    sys.stdout.flush()
