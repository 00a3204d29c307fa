"""Processes of the bench: on which core, when they answer, and how they end, whatever happens.

Law: it knows processes and ports, and nothing of what they serve. Each has a group of its own, which is ended as a whole.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.wire import Line, Message, Unanswered

READY_SECONDS = 60.0
PATIENCE_SECONDS = 3.0  # for a process to end once it was asked to
_NOT_FOR_CHILDREN = ("PYTHON", "KVFAKE_", "MATTERMOST_", "BEEPBOOP_", "COVERAGE", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS")


class NotHad(Exception):
    """A peer that cannot be had; the text says why."""


def cores() -> tuple[int, int] | None:
    """One core for the client and one for the servers; ``None`` where there are not two, or no way to choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    ours = sorted(os.sched_getaffinity(0))
    return (ours[0], ours[1]) if len(ours) > 1 else None


CORES = cores()


@contextmanager
def on_its_own_core() -> Iterator[None]:
    """In this block this process, and what it starts, has the client's core to itself; the servers have the other."""
    if CORES is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORES[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment() -> dict[str, str]:
    """This process's, without what would change how a child runs, and with no proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_CHILDREN)}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    return {**kept, "NO_PROXY": "*", "MINIFLARE_WORKERD_V8_FLAGS": "", "NO_UPDATE_NOTIFIER": "1"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def process(
    command: Sequence[str], folder: Path, *, as_server: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in that folder until the end of the block. What it says goes to the file ``said`` there."""
    core = CORES[1] if CORES is not None and as_server else None

    def begin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said").open("wb") as said:
        try:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=begin,
            )
        except OSError as failed:
            raise NotHad(f"{Path(command[0]).name}: {failed.strerror}") from None
    try:
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """The process and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_SECONDS)
    child.wait()


def wait_for(is_ready: Callable[[], bool], child: subprocess.Popen[bytes], folder: Path, seconds: float = READY_SECONDS) -> None:
    """Return as soon as it is so. Raises `NotHad` where the process ends before, or takes too long."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        if child.poll() is not None:
            raise NotHad(f"it ended with {child.returncode}: {_last_line(folder)}")
        if time.monotonic() > deadline:
            raise NotHad(f"it did not answer within {seconds:g} seconds: {_last_line(folder)}")
        time.sleep(0.0005)


def answers(port: int, message: Message) -> Callable[[], bool]:
    """Whether something answers 200 there by now."""

    def ask() -> bool:
        try:
            with Line(port) as line:
                line.ask(message)
        except (OSError, Unanswered):
            return False
        return True

    return ask


def _last_line(folder: Path) -> str:
    said = (folder / "said").read_text(errors="replace").strip().splitlines()
    return said[-1][:200] if said else "it said nothing"
