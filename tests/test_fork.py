"""Processes that are forked beside a server: they share nothing with it, hang nowhere, and keep nothing of it alive."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

import kvfake
from kvfake import fork
from kvfake.double import Double
from tests.support.process import PATIENCE_SECONDS, environment
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # from Python 3.12 on, beside other threads


def port_of(double: Double) -> int:
    return server_of(double).port


def ask(double: Double, wire: Wire) -> int:
    return wire.ask(request_bytes("GET", "/persist/kv", double.persist.headers)).status


@contextmanager
def child(story: Callable[[], object]) -> Iterator[int]:
    """A forked process that runs the story, and then waits for its end. Gives a file descriptor from which its result comes."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        text = "it raised nothing"
        try:
            text = repr(story())
        except BaseException:
            text = traceback.format_exc()
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.stop()
            measured.save()
        os.write(writer, text.encode())
        os.close(writer)
        signal.pause()
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def result(reader: int) -> str:
    ready, _, _ = select.select([reader], [], [], PATIENCE_SECONDS)
    assert ready, "the child hangs"
    return os.read(reader, 65_536).decode()


# ------------------------------------------------------------------------------------------------------------------- locks


def test_a_child_is_not_stopped_by_what_another_thread_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds the world for longer than a fork waits, as while it loads a large file."""
    monkeypatch.setattr(fork, "MAX_FORK_SECONDS", 0.05)
    double = kvfake.Double()
    begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with double._world.lock:
            begun.set()
            assert may_end.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(PATIENCE_SECONDS)

    def story() -> object:
        double.persist["k"] = "v"
        double.faults.add(status=503)
        double.reset()
        return dict(double.persist)

    with child(story) as reader:
        assert result(reader) == "{}"
        may_end.set()
        thread.join()
    double.persist["k"] = "v"  # here the lock is free again, too


def test_a_child_finds_everything_whole_beside_threads_that_write() -> None:
    """The fork waits until none of them is in the middle of a change."""
    double = kvfake.Double()
    has_ended = False

    def write() -> None:
        while not has_ended:
            for number in range(20):
                double.persist[str(number)] = "v"
            double.persist.clear()

    def roll_back() -> None:
        while not has_ended:
            double.rollback(double.checkpoint())

    def story() -> object:
        double.persist["of the child"] = "v"
        listed = list(double.persist)
        return len(listed) == len(double.persist) and all(double.persist[key] == "v" for key in listed)

    threads = [threading.Thread(target=work) for work in (write, write, roll_back)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            with child(story) as reader:
                assert result(reader) == "True"
    finally:
        has_ended = True
        for thread in threads:
            thread.join()


def test_a_thread_may_fork_while_it_holds_a_world() -> None:
    """It still holds it, on both sides."""
    double = kvfake.Double()

    def story() -> object:
        double.persist["k"] = "v"
        return double.persist["k"]

    with double._world.lock, child(story) as reader:
        assert result(reader) == "'v'"
    assert double._world.lock.acquire(blocking=False)
    double._world.lock.release()


def test_several_threads_may_fork_at_a_time() -> None:
    """None waits for another for ever."""
    double = kvfake.Double()
    results: list[str] = []

    def work() -> None:
        for _ in range(5):
            with child(lambda: len(double.persist)) as reader:
                results.append(result(reader))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["0"] * 15


def test_what_has_ended_is_not_kept_for_a_fork() -> None:
    """Worlds, servers: as many as before."""
    gc.collect()
    before = len(fork._forks.locks), len(fork._forks.not_for_children)
    for _ in range(20):
        with kvfake.start():
            kvfake.Double()
    gc.collect()
    assert (len(fork._forks.locks), len(fork._forks.not_for_children)) == before


# ----------------------------------------------------------------------------------------------------------------- sockets


def test_closing_in_a_child_does_nothing_to_the_parent() -> None:
    """Nor does it hang, nor does a child that ends."""
    with kvfake.start() as double, Wire(port_of(double)) as wire:
        assert ask(double, wire) == 200
        with child(double.close) as reader:
            assert result(reader) == "None"
            assert ask(double, wire) == 200
        assert ask(double, wire) == 200
        with Wire(port_of(double)) as later:
            assert ask(double, later) == 200


def test_a_child_may_use_its_parents_server_and_one_of_its_own() -> None:
    """As any client; what it sets is there for the parent."""
    with kvfake.start() as double:
        put = request_bytes("PUT", "/persist/kv/k", double.persist.headers, b'{"value":"of the child"}')

        def story() -> object:
            with Wire(port_of(double)) as wire, kvfake.start() as own, Wire(port_of(own)) as own_wire:
                return wire.ask(put).status, ask(own, own_wire), port_of(own) != port_of(double)

        with child(story) as reader:
            assert result(reader) == "(200, 200, True)"
        assert double.persist["k"] == "of the child"


def sleeping_child() -> subprocess.Popen[bytes]:
    """One that was made without Python's fork, by a library say, and inherits what is inheritable."""
    return subprocess.Popen(["sleep", "60"], close_fds=False)


@pytest.mark.parametrize("forked_by", ["Python", "a library"])
def test_a_child_that_sleeps_keeps_nothing_alive(forked_by: str) -> None:
    """After the parent has closed its server, clients hear the end, new ones are refused, and the port is free."""
    double = kvfake.start()
    port = port_of(double)
    with Wire(port) as wire:
        assert ask(double, wire) == 200
        if forked_by == "Python":
            with child(lambda: None) as reader:
                result(reader)
                check_end(double, wire)
        else:
            server = server_of(double)
            for sock in (server._listener, *(peer.socket for peer in server._peers)):
                sock.set_inheritable(True)
            sleeping = sleeping_child()
            try:
                check_end(double, wire)
            finally:
                sleeping.kill()
                sleeping.wait()


def check_end(double: Double, wire: Wire) -> None:
    double.close()
    assert wire.is_closed()
    with pytest.raises(ConnectionRefusedError):
        Wire(port_of(double))
    with kvfake.start(port=port_of(double)) as again, Wire(port_of(double)) as other:
        assert ask(again, other) == 200


SCRIPT = """
import multiprocessing, urllib.request
import kvfake

def visit(url, headers, answers):
    request = urllib.request.Request(url, headers=headers)
    answers.put(urllib.request.urlopen(request, timeout=20).status)

if __name__ == "__main__":
    with kvfake.start() as double:
        double.persist["k"] = "v"
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            answers = context.Queue()
            process = context.Process(target=visit, args=(double.persist.url_for("k"), double.persist.headers, answers))
            process.start()
            print(method, answers.get(timeout=20))
            process.join(20)
            assert process.exitcode == 0, process.exitcode
            assert double.persist["k"] == "v"
"""


def test_every_way_of_multiprocessing(tmp_path: Path) -> None:
    """fork, spawn and forkserver: the child asks its parent's server."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script], env=environment({}), capture_output=True, text=True, timeout=PATIENCE_SECONDS * 2, check=False
    )
    assert (done.stdout, done.returncode) == ("fork 200\nspawn 200\nforkserver 200\n", 0), done.stderr


# -------------------------------------------------------------------------------------------------------------------- ends


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def starts_and_stops(times: int) -> tuple[int, int]:
    """How many file descriptors and threads are left of so many servers, each with a client and a job."""
    files, threads = open_files(), set(threading.enumerate())  # of these, some may end meanwhile
    for _ in range(times):
        with kvfake.start() as double, Wire(port_of(double)) as wire:
            assert ask(double, wire) == 200
            assert wire.ask(b"GET /_kvfake/health HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
    end = time.monotonic() + PATIENCE_SECONDS
    while set(threading.enumerate()) - threads and time.monotonic() < end:
        time.sleep(0.01)
    return open_files() - files, len(set(threading.enumerate()) - threads)


def test_starts_and_stops_leave_nothing() -> None:
    """Neither a file descriptor nor a thread."""
    assert starts_and_stops(50) == (0, 0)


@pytest.mark.once
def test_a_thousand_starts_and_stops_leave_nothing() -> None:
    """Nor do more of them."""
    assert starts_and_stops(1000) == (0, 0)
