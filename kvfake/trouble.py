"""What went wrong: in one line for whoever gave a command, or on stderr where nobody else can be told of it.

Law: it says and shows, and decides nothing. What it needs is imported when something goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping


class Failed(Exception):
    """A command cannot be done; the text says why, in one line, and ``code`` is the exit code that says so."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


UNREACHABLE = 2
"""The exit code where nothing could be asked: no server answers, or what was given is of another kind."""

NO_ADDRESS = (OSError, UnicodeError)
"""Why a server cannot listen; the latter for a host that cannot be a name."""


def cannot_listen(settings: Mapping[str, object], failed: Exception) -> str:
    """Where, and why, in one line."""
    reason = getattr(failed, "strerror", None) or failed
    return f"cannot listen on {settings['host']}:{settings['port']}: {reason}"


def show_traceback() -> None:
    """Write the traceback of the exception that is being handled to stderr."""
    import traceback

    traceback.print_exc()
