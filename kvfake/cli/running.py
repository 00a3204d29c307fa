"""Running a command beside a server, as a shell would run it.

Law: processes, signals and the terminal; nothing of what is served. POSIX.

The command gets a process group of its own, and the terminal where this process had it. So Ctrl-C reaches the command alone,
and what is sent to this process is passed on once, also when it was sent to this process's whole group.

Signals wait for ``sigwait``. A handler would miss some: Python runs handlers between its own steps, so after a signal just before a
system call it waits until that call returns, perhaps for ever.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from kvfake.signals import SIGNAL_EXIT_CODE, drop_pending, hold_signals

if TYPE_CHECKING:
    import subprocess


NOT_EXECUTABLE, NOT_FOUND = 126, 127

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_TERMINAL = 0  # the file descriptor of stdin


def run(command: list[str], env: Mapping[str, str], serve: Callable[[], None], complain: Callable[[str], None]) -> int:
    """Run the command to its end; its exit code, or 128 and the signal that ended it.

    ``serve`` is called once the command is started: before it there is one thread, and a child can be made safely.
    """
    import subprocess

    passed_on = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    has_terminal = _has_terminal(os.getpgrp())
    mask = hold_signals([*passed_on, signal.SIGCHLD])

    def begin() -> None:  # pragma: no cover - in the forked child, of which exec leaves no record
        os.setpgid(0, 0)
        if has_terminal:
            _give_terminal(os.getpid())
        drop_pending(passed_on)  # sent to the group while this was in it: they will be passed on
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:  # what was handed to this process, such as a shell's <(...), is the command's too; Python's own files are not
        child = subprocess.Popen(command, env=env, preexec_fn=begin, close_fds=False)
    except OSError as failed:
        if has_terminal:
            _give_terminal(os.getpgrp())
        complain(f"cannot run {command[0]}: {failed.strerror}")
        return NOT_FOUND if isinstance(failed, FileNotFoundError) else NOT_EXECUTABLE
    serve()
    code = _wait_for(child, passed_on, has_terminal)
    _pass_terminal(child.pid, os.getpgrp())
    return code


def _wait_for(child: subprocess.Popen[bytes], passed_on: Collection[int], has_terminal: bool) -> int:
    while True:
        number = signal.sigwait([*passed_on, signal.SIGCHLD])
        if number != signal.SIGCHLD:
            os.kill(child.pid, number)  # it may have ended, and is there until it was waited for
            continue
        for which, status in _changed_children():
            if which == child.pid and not os.WIFSTOPPED(status):
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode if child.returncode >= 0 else SIGNAL_EXIT_CODE - child.returncode
            if which == child.pid and has_terminal:
                _stop_and_go_on(child.pid)


def _changed_children() -> Iterator[tuple[int, int]]:
    """Process and status of each child that has ended or stopped. Besides the command these are orphans, which the first process of
    a container inherits; whoever has waited for one has removed it.
    """
    while True:
        which, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        if not which:
            return
        yield which, status


def _stop_and_go_on(child: int) -> None:
    """Ctrl-Z: stop too, as the terminal would have stopped this group, so that the shell gets the terminal back; go on
    together. Where there is no shell, the system ignores the stop.
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
