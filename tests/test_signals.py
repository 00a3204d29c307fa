"""Signals, from the first moment to the last: no traceback, nothing lost, the right exit code. The first process of a container."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import kvfake as library
from kvfake import __main__ as beginning
from tests.support.process import KVFAKE, PATIENCE_SECONDS, PYTHON, ROOT, Ended, Running, Terminal, asked, served
from tests.test_files import can_unshare

KV = "/plugins/com.mattermost.apps/api/v1/kv/"
HEADERS = {"Authorization": "Bearer token"}
PACKAGE = str(Path(library.__file__).parent)
BEFORE_ITS_FIRST_LINE = (f"{PACKAGE}/__init__.py", f"{PACKAGE}/__main__.py")  # Python's own way to it
ENDS_AT_ONCE = (-signal.SIGINT, 128 + signal.SIGINT, 0)  # 0: it had begun to serve

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


# ------------------------------------------------------------------------------------------------------- the first moments


SCRIPT = (sys.executable, "-c", "import sys; from kvfake.__main__ import main; sys.exit(main())")  # as an installer writes it


@pytest.mark.parametrize("program", [KVFAKE, SCRIPT], ids=["python -m kvfake", "the script"])
def test_ctrl_c_at_any_moment_of_the_start(program: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends it with no traceback of kvfake's. (Python's own, before the first line of kvfake, cannot be helped; nor that it may lose
    the signal there, so a user would press again.)
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage begins before kvfake
    for milliseconds in range(0, 300, 12):
        with Running("serve", "--port", "0", program=program) as process:
            time.sleep(milliseconds / 1000)
            for _ in range(5):
                process.signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.process.wait(PATIENCE_SECONDS / 5)
                    break
            ended = process.end()
        ours = [line for line in ended.err.splitlines() if line.lstrip().startswith(f'File "{PACKAGE}')]
        assert [line for line in ours if not any(map(line.count, BEFORE_ITS_FIRST_LINE))] == [], ended.err
        assert ended.code in ENDS_AT_ONCE or "KeyboardInterrupt" in ended.err


def test_the_script_begins_there_too() -> None:
    """In `kvfake.__main__`, which imports nothing slow."""
    assert 'kvfake = "kvfake.__main__:main"' in (ROOT / "pyproject.toml").read_text()


def test_ctrl_c_while_the_command_is_imported() -> None:
    """The moment that takes longest: nothing is said, and the exit code is 130."""
    program = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "argparse":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["kvfake", "serve", "--port", "0"]
from kvfake.__main__ import main
main()
"""
    with Running("-c", program, program=(sys.executable,)) as process:
        assert process.end() == Ended(130, "", "")


def test_ctrl_c_before_the_first_line_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python has heard of it and not yet said so."""

    class Late:
        SIGINT = signal.SIGINT

        def getsignal(self, number: int) -> None:
            raise KeyboardInterrupt

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(beginning, "_signal", Late())
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as ended:
        beginning.main()
    assert ended.value.code == 130


# -------------------------------------------------------------------------------------------------------- many, and others


def test_many_signals_end_a_server_once(tmp_path: Path) -> None:
    """With exit code 0 and a whole export, however many come, and until when."""
    chance = random.Random(13)
    for turn in range(3):
        file = tmp_path / f"{turn}.json"
        with served("--export", str(file)) as (process, url):
            assert asked(url + KV + "name", "PUT", 1, HEADERS).status == 200
            flood(process, chance)
            assert process.end() == Ended(0, "", "")
        assert json.loads(file.read_text())["kvfake"] == 1


def test_many_signals_end_a_run_once(tmp_path: Path) -> None:
    """The command has ended by one of them, and the exit code says by which."""
    chance = random.Random(14)
    for turn in range(3):
        file = tmp_path / f"{turn}.json"
        with Running("run", "--export", str(file), "--", "sh", "-c", "echo ready; exec sleep 40") as process:
            assert process.line() == "ready"
            flood(process, chance)
            ended = process.end()
        assert (ended.code - 128 in SIGNALS, ended.out, ended.err) == (True, "", "")
        assert json.loads(file.read_text())["kvfake"] == 1


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def flood(process: Running, chance: random.Random) -> None:
    """200 signals, until it has ended."""
    for _ in range(200):
        if process.process.poll() is not None:
            return
        process.signal(chance.choice(SIGNALS))
        time.sleep(chance.choice((0, 0.001)))


def test_a_terminal_that_is_closed_ends_a_server_with_its_export(tmp_path: Path) -> None:
    """As SIGTERM does; what was written to the terminal that is gone stops nothing."""
    file = tmp_path / "export.json"
    with Terminal("serve", "--port", "0", "--log", "--export", str(file), shell=False) as terminal:
        url = terminal.line().rpartition(" ")[2]
        assert asked(url + KV + "name", "PUT", 1, HEADERS).status == 200
    assert terminal.process.returncode == 0
    (values,) = json.loads(file.read_text())["mattermost"].values()
    assert values == {"": {"name": 1}}


def test_sighup_ends_a_run_with_its_export(tmp_path: Path) -> None:
    """The command gets it, and the exit code says so."""
    file = tmp_path / "export.json"
    with Running("run", "--export", str(file), "--", "sh", "-c", "echo ready; exec sleep 40") as process:
        assert process.line() == "ready"
        process.signal_group(signal.SIGHUP)
        assert process.end() == Ended(128 + signal.SIGHUP, "", "")
    assert json.loads(file.read_text())["kvfake"] == 1


def test_sighup_ends_a_recording(tmp_path: Path) -> None:
    """With a whole file."""
    file = tmp_path / "recording"
    with library.start() as real, Running("record", "--against", real.url, "-o", str(file)) as process:
        assert process.line().startswith("kvfake is listening on")
        process.signal(signal.SIGHUP)
        assert process.end() == Ended(0, "", "")
    assert len(file.read_text().splitlines()) == 1


def test_sighup_ends_verifying_with_no_key_left() -> None:
    """As the other signals do."""
    with library.start() as double:
        double.faults.add(delay=0.02, times=None)
        tokens = ("--bot-token", double.mattermost.token)
        with Running("verify", "--against", double.url, *tokens) as process:
            process.line()
            process.signal(signal.SIGHUP)
            assert process.end().code == 128 + signal.SIGHUP
        assert dict(double.mattermost) == {}


def test_under_nohup_a_server_goes_on() -> None:
    """Where SIGHUP was ignored it stays ignored."""
    script = f"trap '' HUP; exec {shlex.join(KVFAKE)} serve --port 0"
    with Running("-c", script, program=("sh",)) as process:
        url = process.line().rpartition(" ")[2]
        process.signal(signal.SIGHUP)
        assert asked(f"{url}/_kvfake/health").status == 200
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(0, "", "")


# ------------------------------------------------------------------------------------------- the first process of a container

# Leaves an orphan that ends by itself, says so, and waits for a line.
ORPHANS = 'sh -c "true & true &"; echo orphaned; read line; exit 7'


def zombies_of(parent: int) -> list[str]:
    """The names of the children that have ended, and that nobody has waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, ppid = rest.split()[:2]
        if state == "Z" and int(ppid) == parent:
            found.append(name)
    return found


def test_a_run_waits_for_orphans_that_it_inherits() -> None:
    """As the first process of a container does: none is left as a zombie, and the command's code is its own."""
    adopt = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
os.execv(sys.executable, [sys.executable, "-m", "kvfake", "run", "--", "sh", "-c", {ORPHANS!r}])
"""
    with Running(program=(*PYTHON, adopt)) as process:
        assert process.line() == "orphaned"
        end = time.monotonic() + PATIENCE_SECONDS
        while zombies_of(process.process.pid) and time.monotonic() < end:
            time.sleep(0.01)
        assert zombies_of(process.process.pid) == []
        process.write("\n")
        assert process.end() == Ended(7, "", "")


@pytest.mark.skipif(not can_unshare("--pid", "--fork", "--kill-child"), reason="this machine allows no processes of one's own")
def test_as_the_first_process_of_a_container() -> None:
    """Signals end a server there too, though the system ignores what has no handler; a command's code comes through."""
    alone = ("unshare", "--pid", "--fork", "--kill-child", *KVFAKE)
    with Running("run", "--", "sh", "-c", "exit 3", program=alone) as process:
        assert process.end() == Ended(3, "", "")
    with Running("serve", "--port", "0", program=alone) as process:
        assert process.line().startswith("kvfake is listening on")
        os.kill(child_of(process.process.pid), signal.SIGTERM)
        assert process.end() == Ended(0, "", "")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        with Running("wait", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}", program=alone) as process:
            asking, _ = silent.accept()
            with asking:
                os.kill(child_of(process.process.pid), signal.SIGINT)
                assert process.end() == Ended(130, "", "")


@pytest.mark.skipif(not can_unshare("--pid", "--fork", "--kill-child"), reason="this machine allows no processes of one's own")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_first_process_of_a_container_while_it_starts(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals end it there too: here while it waits for its seed."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage has a handler of its own for SIGTERM
    seed = tmp_path / "seed"
    os.mkfifo(seed)
    alone = ("unshare", "--pid", "--fork", "--kill-child", *KVFAKE)
    with Running("serve", "--port", "0", "--seed", str(seed), program=alone) as process:
        writing = opened_to_write(seed)
        child = child_of(process.process.pid)
        with suppress(ProcessLookupError):  # again and again: one that comes just before the system waits is noticed after it
            for _ in range(100):
                os.kill(child, number)
                time.sleep(0.05)
        assert process.end() == Ended(128 + number, "", "")
        os.close(writing)


def opened_to_write(pipe: Path) -> int:
    """A file descriptor, once somebody reads the pipe."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.01)


def child_of(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
