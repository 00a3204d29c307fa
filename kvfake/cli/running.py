"""Running a command beside a server, as a shell would run it, and the summary of what its requests met.

Law: processes, signals and the terminal; of what is served the summary alone knows, which hears of each exchange. POSIX.

The command gets a process group of its own, and the terminal where this process had it. So Ctrl-C reaches the command alone,
and what is sent to this process is passed on once, also when it was sent to this process's whole group.

Signals wait for ``sigwait``. A handler would miss some: Python runs handlers between its own steps, so after a signal just before a
system call it waits until that call returns, perhaps for ever.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from kvfake.lines import counted
from kvfake.settings import MATTERMOST, PERSIST
from kvfake.signals import SIGNAL_EXIT_CODE, drop_pending, hold_signals

if TYPE_CHECKING:
    import subprocess

    from kvfake.world.backend import Backend
    from kvfake.world.faults import Faults
    from kvfake.world.journal import Exchange
    from kvfake.world.tokens import TokenTable
    from kvfake.world.world import World

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


# ---------------------------------------------------------------------------------------------------------------- the summary

_MAX_EXAMPLES = 3
_MAX_CHARACTERS = 120  # of an example
_MAX_WORLDS = 1000  # that have ended, and whose faults are remembered
_REFUSED = (401, 403)


class Summary:
    """What a user should know of the requests of a command: what was refused, unmatched, or kinder than the service, and which
    fault never struck. It counts every exchange of every world as it comes.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._rows: Counter[str] = Counter()
        self._faults: dict[str, tuple[Faults, TokenTable]] = {}  # by the ids of their worlds
        backend.listen(self._hear)

    def _hear(self, world: World, exchange: Exchange) -> None:
        if world.id not in self._faults and len(self._faults) < _MAX_WORLDS:
            self._faults[world.id] = world.faults, world.tokens
        if exchange.unmatched:
            self._add("unmatched", world, exchange)
        elif exchange.owner is None and exchange.status in _REFUSED and exchange.service in (MATTERMOST, PERSIST):
            self._add("refused", world, exchange)
        if exchange.rows:
            with self._lock:
                self._rows.update(exchange.rows)

    def _add(self, kind: str, world: World, exchange: Exchange) -> None:
        text = f"{exchange.method} {world.tokens.redactor().redact(exchange.path)[:_MAX_CHARACTERS]}"
        with self._lock:
            self._counts[kind] += 1
            examples = self._examples.setdefault(kind, [])
            if len(examples) < _MAX_EXAMPLES and text not in examples:
                examples.append(text)

    def lines(self) -> Iterator[str]:
        """The lines, none where there is nothing to say."""
        for kind, hint in (
            ("refused", "without a known token; use that of the environment, or name the app's own: --token TOKEN=OWNER"),
            ("unmatched", "which nobody answers; --fallback URL passes them on, kvfake respond answers one"),
        ):
            count = self._counts[kind]
            if count:
                yield f"{counted(count, 'request')} {kind}, {hint}: {_shown(self._examples[kind], count)}"
        if self._rows:
            rows = sorted(self._rows)
            kinder = ", ".join(f"{row} ({self._rows[row]})" for row in rows)
            yield f"answers kinder than the service: {kinder}; kvfake explain {' '.join(rows)} says how"
        worlds = [self._backend.own_world, *self._backend.worlds.values()]
        faults = {**self._faults, **{world.id: (world.faults, world.tokens) for world in worlds}}
        unused = [tokens.redactor().redact(str(fault)) for known, tokens in faults.values() for fault in known.unused]
        if unused:
            yield f"{counted(len(unused), 'fault')} never struck: {_shown(unused, len(unused))}"


def _shown(examples: list[str], count: int) -> str:
    """The first of them, and dots where there are more."""
    shown = [example[:_MAX_CHARACTERS] for example in examples[:_MAX_EXAMPLES]]
    return "; ".join(shown) + ("; ..." if count > len(shown) else "")
