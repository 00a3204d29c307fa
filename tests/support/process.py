"""Real processes: ``kvfake`` as a user runs it, from a script or at a terminal. Every wait has an end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.wire import Reply

PATIENCE_SECONDS = 20  # what should happen at once takes so long only where it never would

ROOT = Path(__file__).parents[2]

KVFAKE = (sys.executable, "-m", "kvfake")
PYTHON = (sys.executable, "-S", "-c")  # -S: quick, and not measured

# What runs in the background of a script has SIGINT ignored: a user's kvfake has not.
_UNTOUCHED = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""

_OF_KVFAKE = ("KVFAKE_", "MATTERMOST_", "BEEPBOOP_")
_OF_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def steers_kvfake(variable: str) -> bool:
    return variable.startswith(_OF_KVFAKE) or variable.lower() in _OF_PROXIES


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This environment, without what was set for another kvfake, and with these."""
    return {**{name: value for name, value in os.environ.items() if not steers_kvfake(name)}, **more}


@contextmanager
def gunicorn(app: str, *flags: str, **environ: str) -> Iterator[tuple[int, list[str]]]:
    """Serve a WSGI application with one worker; the port, and a list that holds the lines of its stderr once it has ended."""
    command = [sys.executable, "-m", "gunicorn", app, "--bind", "127.0.0.1:0", "--workers", "1", *flags]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        errors: list[str] = []
        try:
            line = next(line for line in process.stderr if "Listening at" in line)
            yield int(line.rpartition(":")[2].split()[0].rstrip("/)").split("(")[0]), errors
        finally:
            process.send_signal(signal.SIGTERM)
            errors += process.stderr


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def kvfake(*words: str, **environ: str) -> Ended:
    """Run it to its end."""
    done = subprocess.run(
        [*KVFAKE, *words],
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class _Reader:
    """Reads what comes from a file descriptor, and does not wait for ever."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._heard = b""

    def until(self, mark: str) -> str:
        """Everything up to the mark, which must come."""
        end = time.monotonic() + PATIENCE_SECONDS
        wanted = mark.encode()
        while wanted not in self._heard:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
            data = b""
            with suppress(OSError):  # a terminal that nobody has open any more
                data = os.read(self._descriptor, 65_536) if ready else b""
            assert data, f"{mark!r} did not come; there was {self._heard!r}"
            self._heard += data
        before, _, self._heard = self._heard.partition(wanted)
        return (before + wanted).decode()

    def line(self) -> str:
        return self.until("\n").rstrip("\r\n")


class Running:
    """A process in a session of its own: signals can be sent to it alone, or to its group as a whole."""

    def __init__(self, *words: str, program: tuple[str, ...] = KVFAKE, environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*PYTHON, _UNTOUCHED, *program, *words],
            env=environment(environ or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = _Reader(self.process.stdout.fileno())
        self.line = self._reader.line

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    def signal(self, number: int) -> None:
        """To this process alone."""
        os.kill(self.process.pid, number)

    def signal_group(self, number: int) -> None:
        """As a terminal, a shell or a CI system does it that ends a job."""
        os.killpg(self.process.pid, number)

    def end(self) -> Ended:
        """Wait for its end; what it printed and nobody has read."""
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return Ended(self.process.returncode, out.decode(), err.decode())


@contextmanager
def served(*flags: str, **environ: str) -> Iterator[tuple[Running, str]]:
    """``kvfake serve`` on a free port, and the URL that its first line says."""
    with Running("serve", "--port", "0", *flags, environ=environ) as process:
        mark, _, url = process.line().rpartition(" ")
        assert mark == "kvfake is listening on"
        yield process, url


# A shell with job control, as far as a test needs one: it runs a command in the foreground of its terminal, says when it has
# stopped or ended, and takes the words "fg" and "bg". "leader" runs the command with no shell behind it, as a container does.
_SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "leader":
    os.execvp(sys.argv[2], sys.argv[2:])
signal.alarm(40)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    whose = {job: "job", os.getpgrp(): "shell"}.get(os.tcgetpgrp(0), "other")
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        print(f"shell: ended with {os.waitstatus_to_exitcode(status)}, terminal of the {whose}", flush=True)
        break
    print(f"shell: stopped, terminal of the {whose}", flush=True)
    if input() == "fg":
        os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
"""


class Terminal:
    """A terminal at which ``kvfake`` was started. What is typed is not echoed."""

    def __init__(self, *words: str, shell: bool = True) -> None:
        self._master, slave = os.openpty()
        modes = termios.tcgetattr(slave)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        self.process = subprocess.Popen(
            [*PYTHON, _UNTOUCHED, *PYTHON, _SHELL, "shell" if shell else "leader", *KVFAKE, *words],
            env=environment({}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = _Reader(self._master)
        self.line, self.until = self._reader.line, self._reader.until

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._master)  # hangs up
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


CTRL_C, CTRL_Z = "\x03", "\x1a"


def asked(url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """The answer to one request; a body that is not bytes is sent as JSON."""
    parts = urlsplit(url)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), data, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read(), response.reason)
    finally:
        connection.close()
