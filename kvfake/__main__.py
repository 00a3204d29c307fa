"""Where the command ``kvfake`` begins, which is also ``python -m kvfake``.

Law: it puts signals and standard files in order before anything slow is imported. Ctrl-C may come at once, and what is opened first
would be stdout where the shell has closed that.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would take a millisecond to load, in which Ctrl-C is a traceback
import os
import sys

_SIGNAL_EXIT_CODE = 128  # and the signal's number, as in a shell
_LAST_STANDARD_FILE = 2


def main() -> int:
    """Run the command of ``sys.argv``; the exit code."""
    try:
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # nobody asked for it to be ignored
            _signal.signal(_signal.SIGINT, _end)
    except KeyboardInterrupt:  # it came before
        _end(_signal.SIGINT)
    for number in (_signal.SIGTERM, getattr(_signal, "SIGHUP", None)):  # Windows has no SIGHUP
        if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, _end)
    _open_standard_files()
    from kvfake.cli import main as run

    return run()


def _end(number: int, *_: object) -> None:
    """End the process at once, wherever it is. A handler, because the first process of a container has to have one: the system
    drops the signals that have none.
    """
    os._exit(_SIGNAL_EXIT_CODE + number)


def _open_standard_files() -> None:
    """Open the null device in place of what is closed of stdin, stdout and stderr."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_FILE:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
