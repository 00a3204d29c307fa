"""What fails: exceptions for commands, and the ways to say that something failed.

Law: it reports errors and handles none. What it needs is imported when something fails.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest


class CommandError(Exception):
    """A command cannot be done. The text says why, in one line; ``code`` is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class UsageError(CommandError):
    """A command line is wrong, or an environment variable that sets one of its options. It is shown below the usage."""


UNREACHABLE = 2
"""The exit code where nothing could be asked: no server answers, or a file is not what it should be."""

CONTROL_OFF = "control is switched off (--no-control)"
"""The error of a server without control; `kvfake wait` recognises by this text that the server is a kvfake."""

BIND_ERRORS = (OSError, UnicodeError)
"""What is raised where a server cannot listen; the latter for a host that cannot be a name."""


def cannot_listen(settings: Mapping[str, object], failed: Exception, other_port: str) -> str:
    """Where a server cannot listen, why, and what helps, in one line. ``other_port`` says how it gets another port."""
    reason = getattr(failed, "strerror", None) or failed
    is_of_port = getattr(failed, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
    hint = other_port if is_of_port else "host: expected an address or a name of this machine"
    return f"cannot listen on {settings['host']}:{settings['port']}: {reason} ({hint})"


def server_failed(failure: BaseException) -> CommandError:
    """For a command whose server could not go on."""
    return CommandError(f"the server ended by itself, with every connection: {type(failure).__name__}: {failure}")


def is_refusal(error: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether kvfake may have refused what a test did. This is the ``__tracebackhide__`` of each module that a refusal passes:
    pytest asks it for their frames, so that the report ends at the test's line. ``--full-trace`` shows the frames, and so does an
    exception of another type, which is a mistake of kvfake's.
    """
    return error.errisinstance((AssertionError, LookupError, OSError, TypeError, ValueError))


def log_exception() -> None:
    """Write the traceback of the exception that is being handled to stderr, as much of it as stderr takes at once. It never raises
    and never waits: what serves others goes on, also when stderr is closed, or is a pipe that nobody reads.
    """
    with suppress(BaseException):
        import traceback

        from kvfake.lines import write_to_stderr

        write_to_stderr(traceback.format_exc(), seconds=0)
