"""What only some systems have is not needed: epoll, kqueue, poll, signals beside two, limits, forks."""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake import lines
from kvfake.http.poller import READ, WRITE, Poller, Selector
from tests.support.process import PATIENCE_SECONDS, ROOT, Running, environment
from tests.support.wire import Wire, request_bytes
from tests.test_server import LIST, port_of

KINDS: dict[str, Callable[[], Any]] = {"the best selector": Selector, "select": partial(Selector, selectors.SelectSelector)}
for _name in ("EpollSelector", "KqueueSelector", "DevpollSelector", "PollSelector"):
    if hasattr(selectors, _name):
        KINDS[_name] = partial(Selector, getattr(selectors, _name))
if hasattr(select, "epoll"):
    KINDS["epoll"] = select.epoll


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every server that is made waits so."""
    name: str = request.param
    monkeypatch.setattr(Poller, "kind", staticmethod(KINDS[name]))
    return name


def test_a_server_waits_with_whatever_is_there(kind: str) -> None:
    """Many connections at once, one that goes, an answer that is late, many that are large, a job."""
    with kvfake.start(token={"t": "project:p"}) as double, ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(port_of(double))) for _ in range(5)]
        assert [wire.ask(LIST).status for wire in wires] == [200] * 5
        wires[0].close()
        double.faults.add(delay=0.05)
        assert [wire.ask(LIST).status for wire in wires[1:]] == [200] * 4
        double.persist["large"] = "x" * 200_000
        url = double.persist.url_for("large").removeprefix(double.url)
        wires[1].send(request_bytes("GET", url, double.persist.headers) * 40)  # more than a socket takes at once
        assert all(len(wires[1].reply("GET").body) > 200_000 for _ in range(40))
        assert wires[1].ask(b"GET /_kvfake/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").json()["status"] == "ok"


def test_select_has_a_bound(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A connection that it cannot wait for is closed, and the others are served."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(Poller, "kind", staticmethod(KINDS["select"]))
    with ExitStack() as after:
        after.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        double = after.enter_context(kvfake.start(token={"t": "project:p"}))
        first = after.enter_context(Wire(port_of(double)))
        assert first.ask(LIST).status == 200
        for _ in range(1100):
            after.callback(os.close, os.dup(0))
        late = after.enter_context(socket.create_connection(("127.0.0.1", port_of(double))))
        assert late.recv(1) == b""
        assert first.ask(LIST).status == 200
    assert "filedescriptor out of range in select()" in capfd.readouterr().err


# As on Windows, more or less. Names are removed before anything of kvfake is imported.
BARE = """
import _signal, os, select, signal, socket, sys
for module, names in {
    select: "epoll poll kqueue kevent devpoll PIPE_BUF",
    signal: "SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGTSTP SIGCONT SIGTTOU SIGALRM pthread_sigmask sigwait sigpending setitimer",
    _signal: "SIGHUP pthread_sigmask sigwait",
    os: "register_at_fork fork fchmod fchown set_blocking O_NONBLOCK O_NOFOLLOW getuid getpgrp setpgid killpg tcgetpgrp mkfifo",
    socket: "SO_REUSEPORT",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("resource", "termios", "fcntl", "tty", "pty", "pwd", "grp"):
    sys.modules[name] = None
"""

SERVE_A_GET = """
import urllib.request, kvfake
with kvfake.start() as double:
    double.mattermost["k"] = 1
    asked = urllib.request.Request(double.mattermost.url_for("k"), headers=double.mattermost.headers)
    print(urllib.request.urlopen(asked).read())
"""


def test_a_system_that_lacks_what_linux_has() -> None:
    """kvfake is imported there, and serves."""
    done = subprocess.run(
        [sys.executable, "-c", BARE + SERVE_A_GET],
        env=environment({}), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'1'\n", "")


def test_the_command_on_such_a_system(tmp_path: Path) -> None:
    """It says where it listens, keeps its files, and ends as anywhere."""
    export, journal = tmp_path / "values.json", tmp_path / "journal"
    export.write_text('{"kvfake": 1}')
    script = f"{BARE}\nsys.argv[0] = 'kvfake'\nfrom kvfake.__main__ import main\nsys.exit(main())"
    words = ("serve", "--port", "0", "--seed", str(export), "--export", str(export), "--journal", str(journal), "--log")
    with Running(*words, program=(sys.executable, "-c", script)) as running:
        port = int(running.line().rpartition(":")[2])
        with Wire(port) as wire:
            put = request_bytes("PUT", "/plugins/com.mattermost.apps/api/v1/kv/k", {"Authorization": "Bearer t"}, b"1")
            assert wire.ask(put).status == 200
        running.signal(signal.SIGTERM)
        code, _, err = running.end()
    assert code == 0, err
    assert "PUT " in err
    assert list(json.loads(export.read_text())["mattermost"].values()) == [{"": {"k": 1}}]
    assert journal.read_text().count("\n") == 1


def test_lines_are_written_where_there_is_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe that is read, and into one that is not; also where select knows nothing of the descriptor."""
    monkeypatch.delattr(select, "poll", raising=False)
    reading, writing = os.pipe()
    try:
        lines.write_all(writing, b"a line\n", 1)
        assert os.read(reading, 100) == b"a line\n"
        with pytest.raises(TimeoutError, match="nobody reads it"):
            lines.write_all(writing, b"x" * 1_000_000, 0.05)
        os.read(reading, 100_000)
        monkeypatch.setattr(select, "select", lambda *_: int("not a socket"))
        lines.write_all(writing, b"another\n", 1)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_poller_waits_for_one_thing_after_the_other(kind: str) -> None:
    """Of one socket: for bytes that come, then for room to send, then for nothing."""
    one, other = socket.socketpair()
    poller = Poller()
    with one, other:
        poller.watch(one.fileno(), READ, call)
        assert poller.wait(0) == []
        poller.watch(one.fileno(), WRITE, call)
        assert poller.wait(0) == [call]
        poller.watch(one.fileno(), 0, call)
        assert poller.wait(0) == []
        poller.close()


def call() -> None:
    """What a poller calls for the socket."""
