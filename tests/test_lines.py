"""Lines for a reader who may be slow, or gone: adding never waits, what is dropped is counted and told, and closing has an end."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kvfake import lines
from kvfake.lines import LineWriter, descriptor_of, open_to_write, printable, tell, write_all, write_some
from tests.support.process import PATIENCE_SECONDS

FULL_PIPE_BYTES = 1 << 20  # more than any pipe holds


class Pipe:
    """A pipe. Nothing is read from it until a test does so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.is_open = True

    def read(self, until: bytes) -> bytes:
        """What comes up to these bytes."""
        heard = b""
        while until not in heard:
            data = os.read(self.reading, 65_536)
            assert data, f"{until!r} did not come; there was {heard[-200:]!r}"
            heard += data
        return heard

    def close_reading(self) -> None:
        os.close(self.reading)
        self.is_open = False

    def close(self) -> None:
        os.close(self.writing)
        if self.is_open:
            self.close_reading()


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def writer_to(fd: int, **how: Callable[[Any], Any]) -> LineWriter:
    """It writes numbers, each on a line."""
    return LineWriter(number_on_a_line, partial(write_some, fd), **how)


def number_on_a_line(number: int) -> bytes:
    return b"%d\n" % number


def note(count: int) -> bytes:
    return b"%d were dropped\n" % count


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


# ------------------------------------------------------------------------------------------------------------------- a queue


def test_lines_come_in_order(pipe: Pipe) -> None:
    """And none is missing."""
    writer = writer_to(pipe.writing)
    for number in range(5000):
        writer.add(number, 10)
    assert pipe.read(b"4999\n") == b"".join(map(number_on_a_line, range(5000)))
    assert writer.close()
    assert writer.missing == 0


def test_adding_never_waits_for_a_reader(pipe: Pipe) -> None:
    """Of lines that nobody reads a bounded number is kept; once somebody reads, it is told how many are gone."""
    writer = writer_to(pipe.writing, note=note)
    count = 2 * lines.MAX_QUEUED_LINES
    for number in range(count):
        writer.add(number, 10)
    assert writer.missing > 0
    closed = threading.Thread(target=lambda: writer.close(PATIENCE_SECONDS) and os.write(pipe.writing, b"end\n"))
    closed.start()
    heard = pipe.read(b"end\n").splitlines()[:-1]
    closed.join()
    written = [int(line) for line in heard if line.isdigit()]
    dropped = [int(line.split()[0]) for line in heard if not line.isdigit()]
    assert written == sorted(written)
    assert sum(dropped) == writer.missing == count - len(written)
    assert writer.untold == 0


def test_the_queue_is_bounded_in_bytes(pipe: Pipe) -> None:
    """What is too large for all of it is dropped alone."""
    writer = writer_to(pipe.writing)
    writer.add(1, lines.MAX_QUEUED_BYTES + 1)
    writer.add(2, 10)
    assert pipe.read(b"\n") == b"2\n"
    writer.close()
    assert writer.missing == 1


def test_a_reader_that_has_gone_is_told_once(pipe: Pipe) -> None:
    """Whoever adds lines goes on, and hears nothing of it."""
    heard: list[Exception] = []
    writer = writer_to(pipe.writing, note=note, failed=heard.append)
    pipe.close_reading()
    for number in range(3):
        writer.add(number, 10)
    until(lambda: bool(heard))
    writer.add(3, 10)
    assert writer.close()
    assert [type(failed) for failed in heard] == [BrokenPipeError]
    assert writer.missing == writer.untold == 4


def test_a_note_that_was_not_written_counts_no_line(pipe: Pipe) -> None:
    """It has told nothing."""
    writer = writer_to(pipe.writing, note=note)
    writer.add(0, lines.MAX_QUEUED_BYTES + 1)
    pipe.close_reading()
    writer.add(1, 10)
    assert writer.close()
    assert writer.missing == writer.untold == 2


def test_without_a_thread_lines_are_dropped_and_told_later(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container allows no more of them. At the end it is told without one."""

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = writer_to(pipe.writing, note=note), writer_to(pipe.writing, note=note)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        first.add(1, 10)
        second.add(1, 10)
        assert first.close()
    assert pipe.read(b"\n") == b"1 were dropped\n"
    second.add(2, 10)
    assert pipe.read(b"2\n") == b"1 were dropped\n2\n"
    second.close()
    assert (first.missing, second.missing) == (1, 1)


def test_a_line_that_cannot_be_made_is_missing(pipe: Pipe) -> None:
    """The others come."""
    writer = writer_to(pipe.writing)
    for line in (1, "no number", 2):
        writer.add(line, 10)
    writer.close()
    assert pipe.read(b"2\n") == b"1\n2\n"
    assert writer.missing == 1


def test_closing_does_not_wait_for_ever(pipe: Pipe) -> None:
    """What nobody has read by then is missing; a second time there is nothing left to do."""
    writer = writer_to(pipe.writing)
    os.write(pipe.writing, bytes(select.PIPE_BUF))
    for _ in range(200):
        writer.add(10**1000, 10)
    assert writer.close(0.05)
    missing = writer.missing
    assert missing > 100
    writer.add(1, 10)
    assert writer.close(0.05)
    assert writer.missing == missing


def test_closing_does_not_wait_for_a_thread_that_hangs() -> None:
    """As in a write to a disk that is gone: its lines are missing, and the process may end."""
    hangs = threading.Event()

    def write(data: memoryview, seconds: float) -> int:
        hangs.wait(PATIENCE_SECONDS)
        return len(data)

    writer = LineWriter(number_on_a_line, write)
    writer.add(1, 10)
    assert not writer.close(0.05)
    assert writer.missing == 1
    hangs.set()


def test_a_forked_child_writes_nothing(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no thread for it, and the lock may be held for ever there: what waits is its parent's."""
    writer = writer_to(pipe.writing)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        child.setattr(writer, "_changed", None)
        writer.add(1, 10)
        assert not writer.close()
    writer.add(2, 10)
    assert pipe.read(b"\n") == b"2\n"
    assert writer.close()


# -------------------------------------------------------------------------------------------------------- file descriptors


def test_nobody_reads(pipe: Pipe) -> None:
    """That is an error after a bounded silence, and not for ever."""
    with pytest.raises(TimeoutError, match="nobody reads it"):
        write_all(pipe.writing, bytes(FULL_PIPE_BYTES), 0.05)


def test_a_slow_reader_gets_everything(pipe: Pipe) -> None:
    """However long the whole takes."""
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read(b"end")))
    reader.start()
    write_all(pipe.writing, bytes(FULL_PIPE_BYTES) + b"end", float("inf"))
    reader.join()
    assert len(heard[0]) == FULL_PIPE_BYTES + 3


def test_a_descriptor_that_says_it_is_ready_and_is_not(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again."""
    answers: list[Any] = [BlockingIOError, 3]

    def write(fd: int, data: bytes) -> int:
        answer = answers.pop(0)
        if isinstance(answer, int):
            return answer
        raise answer

    monkeypatch.setattr(os, "write", write)
    assert write_some(pipe.writing, b"abc", 1) == 3


def test_a_pipe_with_no_reader_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than a moment; one whose reader comes within it is opened."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with monkeypatch.context() as patch:
        patch.setattr(lines, "MAX_END_SECONDS", 0.03)
        with pytest.raises(OSError, match="nobody reads it") as failed:
            open_to_write(path)
    assert (failed.value.errno, failed.value.filename) == (errno.ENXIO, str(path))
    reader = threading.Thread(target=lambda: heard.append(path.read_bytes()))
    heard: list[bytes] = []
    reader.start()
    fd = open_to_write(path)
    write_all(fd, b"text", 1)
    os.close(fd)
    reader.join()
    assert heard == [b"text"]


@pytest.mark.parametrize(
    ("path", "descriptor"),
    [("/dev/stdout", 1), ("/dev/stderr", 2), ("/dev/fd/7", 7), ("/proc/self/fd/12", 12), ("/dev/null", None), ("/dev/fd/x", None)],
)
def test_paths_that_name_a_descriptor(path: str, descriptor: int | None, tmp_path: Path) -> None:
    """Also through a link, which may be relative, or lead round in a circle."""
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "relative").symlink_to("link")
    (tmp_path / "circle").symlink_to("circle")
    assert [descriptor_of(way) for way in (path, tmp_path / "link", tmp_path / "relative")] == [descriptor] * 3
    assert descriptor_of(tmp_path / "circle") is None
    assert descriptor_of(tmp_path / "fd" / "1") is None


# ------------------------------------------------------------------------------------------------------------------ stderr


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """A text from a server moves no cursor and breaks no line; other languages stay readable."""
    assert printable("\x1b[2J\r\nкотёнок \x9b \u202e \udcff") == r"\x1b[2J\r\nкотёнок \x9b \u202e \udcff"


def test_telling_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a test's capture."""
    memory = io.StringIO()
    monkeypatch.setattr(sys, "stderr", memory)
    tell("one\nline")
    assert memory.getvalue() == "kvfake: one\\nline\n"


def test_telling_nobody(monkeypatch: pytest.MonkeyPatch, pipe: Pipe) -> None:
    """Where stderr is closed, or not read, it is not told, and that is all."""
    monkeypatch.setattr(sys, "stderr", None)
    tell("nobody")
    with os.fdopen(os.dup(pipe.writing), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        tell("somebody")
        with pytest.raises(TimeoutError):
            write_all(pipe.writing, bytes(FULL_PIPE_BYTES), 0)
        tell("nobody", seconds=0)
    stream.close()
    tell("nobody")
    assert pipe.read(b"\n").startswith(b"kvfake: somebody\n")
