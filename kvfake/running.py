"""Running a command beside a server, as a shell would run it.

Law: processes, signals and the terminal; nothing of what is served. POSIX.

The command gets a process group of its own, and the terminal where this process had it. So Ctrl-C reaches the command alone,
and what is sent to this process is passed on once, also when it was sent to this process's whole group.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType

NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 126, 127, 128

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_TERMINAL = 0  # the file descriptor of stdin


def run(command: list[str], env: Mapping[str, str], serve: Callable[[], None], complain: Callable[[str], None]) -> int:
    """Run the command to its end; its exit code, or 128 and the signal that ended it.

    ``serve`` is called once the command is started: before it there is one thread, and a child can be made safely.
    """
    signals = _Signals()
    has_terminal = _has_terminal(os.getpgrp())
    begin = _own_group_with_terminal if has_terminal else _own_group
    try:
        try:  # what was handed to this process, such as a shell's <(...), is the command's too; Python's own files are not
            child = subprocess.Popen(command, env=env, preexec_fn=begin, close_fds=False)
        except OSError as failed:
            if has_terminal:
                _give_terminal(os.getpgrp())
            complain(f"cannot run {command[0]}: {failed.strerror}")
            return NOT_FOUND if isinstance(failed, FileNotFoundError) else NOT_EXECUTABLE
        signals.pass_on_to(child.pid)
        serve()
        code = _wait_for(child, has_terminal)
        _pass_terminal(child.pid, os.getpgrp())
        return code
    finally:
        signals.restore()


class _Signals:
    """Those that come before there is a child wait for it. One that was ignored stays ignored."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._waiting: list[int] = []
        self._before = {
            number: signal.signal(number, self._come) for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN
        }

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self._child is None:
            self._waiting.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        assert self._child is not None
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def pass_on_to(self, child: int) -> None:
        self._child = child
        while self._waiting:
            self._send(self._waiting.pop(0))

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _wait_for(child: subprocess.Popen[bytes], has_terminal: bool) -> int:
    while True:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode if child.returncode >= 0 else BY_SIGNAL - child.returncode
        if has_terminal:
            _stop_and_go_on(child.pid)


def _stop_and_go_on(child: int) -> None:
    """Ctrl-Z: stop too, as the terminal would have stopped this group, so that the shell gets the terminal back; go on
    together. Where there is no shell to go on with, the system lets nobody stop.
    """
    _pass_terminal(child, os.getpgrp())
    os.kill(0, signal.SIGTSTP)
    _pass_terminal(os.getpgrp(), child)
    os.killpg(child, signal.SIGCONT)


def _has_terminal(group: int) -> bool:
    try:
        return os.tcgetpgrp(_TERMINAL) == group
    except OSError:
        return False


def _pass_terminal(giver: int, taker: int) -> None:
    """Where that group has it: a shell that runs this in the background keeps its terminal."""
    if _has_terminal(giver):
        _give_terminal(taker)


def _give_terminal(group: int) -> None:
    """Hand the terminal to a group, also from the background (which SIGTTOU would stop)."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with suppress(OSError):  # the terminal is gone
        os.tcsetpgrp(_TERMINAL, group)
    signal.signal(signal.SIGTTOU, before)


def _own_group() -> None:  # pragma: no cover - in the forked child, of which exec leaves no record
    os.setpgid(0, 0)


def _own_group_with_terminal() -> None:  # pragma: no cover - likewise
    _own_group()
    _give_terminal(os.getpid())
