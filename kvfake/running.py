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
    has_terminal = _has_terminal()
    try:
        try:
            child = subprocess.Popen(command, env=env, preexec_fn=_own_group_with_terminal if has_terminal else _own_group)
        except OSError as failed:
            complain(f"cannot run {command[0]}: {failed.strerror}")
            return NOT_FOUND if isinstance(failed, FileNotFoundError) else NOT_EXECUTABLE
        signals.pass_on_to(child.pid)
        serve()
        return _wait_for(child, has_terminal)
    finally:
        if has_terminal:
            _take_terminal(os.getpgrp())
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
        if has_terminal:  # Ctrl-Z: stop too, so that the shell gets its terminal back; go on together
            _take_terminal(os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
            if _has_terminal():
                _take_terminal(child.pid)
            os.killpg(child.pid, signal.SIGCONT)


def _has_terminal() -> bool:
    try:
        return os.tcgetpgrp(_TERMINAL) == os.getpgrp()
    except OSError:
        return False


def _take_terminal(group: int) -> None:
    """Hand the terminal to a group, also from the background (which SIGTTOU would stop)."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(_TERMINAL, group)
    except OSError:  # the terminal is gone
        pass
    finally:
        signal.signal(signal.SIGTTOU, before)


def _own_group() -> None:
    os.setpgid(0, 0)


def _own_group_with_terminal() -> None:
    _own_group()
    _take_terminal(os.getpid())
