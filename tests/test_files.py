"""Files that a server writes: whole, or as they were; and no reader of a log or a journal stops anybody."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kvfake as library
from kvfake import files
from kvfake.double import DoubleServer, settings_of
from kvfake.files import Files, JournalFile, write_whole
from kvfake.lines import write_all
from tests.support.process import KVFAKE, PATIENCE_SECONDS, PYTHON, Ended, Running, Terminal, asked, environment, kvfake, served
from tests.support.served import doubles_of
from tests.support.strangers import the_line
from tests.support.suites import run
from tests.support.wire import Wire, request_bytes

KV = "/plugins/com.mattermost.apps/api/v1/kv/"
HEADERS = {"Authorization": "Bearer token"}
EMPTY = {"kvfake": 1, "mattermost": {}, "persist": {}}
LONG = "x" * 4000
MORE_THAN_A_PIPE_HOLDS = 100  # requests whose log lines are LONG

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def can_unshare(*words: str) -> bool:
    """Whether this machine lets a test have mounts and processes of its own."""
    try:
        return (
            subprocess.run(["unshare", *words, "true"], capture_output=True, timeout=PATIENCE_SECONDS, check=False).returncode == 0
        )
    except OSError:
        return False


# -------------------------------------------------------------------------------------------------------------- the log


def the_log_line(err: str) -> str:
    (line,) = err.splitlines(keepends=True)
    assert line.endswith("\n")
    return line


def test_a_log_that_nobody_reads_stops_nobody() -> None:
    """As a parent has it that keeps stderr in a pipe. Every request is answered, a signal ends the server in peace."""
    with served("--log") as (process, url):
        with Wire(int(url.rpartition(":")[2])) as wire:
            for _ in range(MORE_THAN_A_PIPE_HOLDS):
                assert wire.ask(request_bytes("GET", f"{KV}name?{LONG}", HEADERS)).status == 200
        assert asked(f"{url}/_kvfake/health").status == 200
        process.signal(signal.SIGTERM)
        assert process.process.wait(PATIENCE_SECONDS) == 0


def test_a_log_is_whole_where_somebody_reads_late() -> None:
    """What is queued is written, also at the end."""
    with served("--log") as (process, url):
        with Wire(int(url.rpartition(":")[2])) as wire:
            for number in range(MORE_THAN_A_PIPE_HOLDS):
                wire.ask(request_bytes("GET", f"{KV}{number}?{LONG}", HEADERS))
        process.signal(signal.SIGTERM)
        code, _, err = process.end()
    assert code == 0
    targets = [line.split(" ", 1)[1].split("?")[0] for line in err.splitlines()]
    assert targets == [f"GET {KV}{number}" for number in range(MORE_THAN_A_PIPE_HOLDS)]


def test_a_log_whose_reader_has_gone_stops_nobody() -> None:
    """As that of ``kvfake serve --log 2>&1 | head``."""
    with served("--log") as (process, url):
        assert process.process.stderr is not None
        process.process.stderr.close()
        for _ in range(5):
            assert asked(url + KV + "name", headers=HEADERS).status == 200
            assert asked(f"{url}/_kvfake/health").status == 200
        process.signal(signal.SIGTERM)
        assert process.process.wait(PATIENCE_SECONDS) == 0


def test_a_log_at_a_terminal_that_is_held_stops_nobody() -> None:
    """As Ctrl-S holds it."""
    with Terminal("serve", "--port", "0", "--log", shell=False) as terminal:
        url = terminal.line().rpartition(" ")[2]
        terminal.type("\x13")
        with Wire(int(url.rpartition(":")[2])) as wire:
            for _ in range(MORE_THAN_A_PIPE_HOLDS):
                assert wire.ask(request_bytes("GET", f"{KV}name?{LONG}", HEADERS)).status == 200
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.end() == 0


def test_a_log_tells_how_many_lines_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they came too fast for their reader; at the end, if not before."""
    monkeypatch.setattr("kvfake.lines.MAX_QUEUED_LINES", 0)
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader:
        with os.fdopen(writing, "w") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            with library.start(log=True) as double:
                for _ in range(3):
                    asked(double.url + KV + "name", headers=HEADERS)
        assert reader.read() == "kvfake: 3 lines of the log were dropped: nobody read them\n"


def test_a_log_that_a_test_captures_is_there_with_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """So pytest shows it with the test that it belongs to."""
    with library.start(log=True) as double:
        for number in range(20):
            asked(f"{double.url}{KV}{number}", headers=HEADERS)
            assert f" GET {KV}{number} anonymous-" in the_log_line(capfd.readouterr().err)


def test_a_log_under_capture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory a line is there with its answer; also where a test has replaced stderr with nothing of use."""
    with library.start(log=True) as double:
        for _ in range(2):
            asked(double.url + KV + "name", headers=HEADERS)
            assert f" GET {KV}name anonymous-" in the_log_line(capsys.readouterr().err)
        monkeypatch.setattr(sys, "stderr", None)
        assert asked(double.url + KV + "name", headers=HEADERS).status == 200


def test_a_log_belongs_to_the_test_that_made_it(pytester: pytest.Pytester) -> None:
    """pytest shows it with the test that failed."""
    pytester.makepyfile(
        """
        import requests

        def test_first(kvfake):
            requests.post(kvfake.persist.url_for("k"), b"{}", headers=kvfake.persist.headers, timeout=20).raise_for_status()
        """
    )
    result = run(pytester, "--kvfake-log")
    result.stdout.fnmatch_lines(["*Captured stderr*", "* POST */api/v1/persist/kv/k project 4*"])


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_server_without_standard_files(closed: str, tmp_path: Path) -> None:
    """It serves, and a socket is not taken for a file: what is written to stderr reaches no client."""
    export = tmp_path / "export.json"
    script = f"exec {shlex.join([*KVFAKE, 'serve', '--port', '0', '--log', '--journal', str(tmp_path / 'journal')])}"
    script += f" --export {shlex.quote(str(export))} {closed}"
    with Running("-c", script, program=("sh",)) as process:
        url = url_of(process.process.pid)
        for _ in range(3):
            assert asked(url + KV + "name", "PUT", 1, HEADERS).json()["changed"] in (True, False)
        process.signal(signal.SIGTERM)
        code, out, err = process.end()
    assert (code, err) == (0, "")
    assert out in ("", f"kvfake is listening on {url}\n")
    assert json.loads(export.read_text())["kvfake"] == 1
    assert len((tmp_path / "journal").read_text().splitlines()) == 3


def url_of(pid: int) -> str:
    """Where a server answers that cannot say so: the system knows the port of its listening socket."""
    for _ in range(2000):
        sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                return f"http://127.0.0.1:{int(fields[1].rpartition(':')[2], 16)}"
        threading.Event().wait(0.01)
    raise AssertionError("it does not listen")


def test_a_recording_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    """It is given up after a moment and told; the app is answered, and a signal ends it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with library.start() as real, Running("record", "--against", real.url, "-o", str(pipe)) as process:
        url = process.line().rpartition(" ")[2]
        for _ in range(MORE_THAN_A_PIPE_HOLDS):
            assert asked(f"{url}{KV}name?{LONG}", headers=HEADERS).status == 200
        process.signal(signal.SIGTERM)
        code, _, err = process.end()
    os.close(reader)
    assert code == 1
    assert the_line(err) == f"cannot write {pipe}: nobody reads it (exchanges from now on are not in it)"


# ----------------------------------------------------------------------------------------------------------- the journal


def test_a_journal_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    """Neither clients nor the end; what is missing in it is told, and makes the exit code 1."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with served("--journal", str(pipe)) as (process, url):
        with Wire(int(url.rpartition(":")[2])) as wire:
            for _ in range(MORE_THAN_A_PIPE_HOLDS):
                assert wire.ask(request_bytes("GET", f"{KV}name?{LONG}", HEADERS)).status == 200
        process.signal(signal.SIGTERM)
        code, _, err = process.end()
    os.close(reader)
    assert code == 1
    assert the_line(err).endswith(f" exchanges are missing in {pipe}: they could not be written in time")


def test_a_journal_into_a_pipe_that_nobody_opens(tmp_path: Path) -> None:
    """It is told at the start, after a moment."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended = kvfake("serve", "--port", "0", "--journal", str(pipe))
    assert ended == Ended(1, "", f"kvfake: cannot write {pipe}: nobody reads it\n")


def test_a_journal_on_stdout(tmp_path: Path) -> None:
    """It stands behind what was written there, and replaces no file."""
    out = tmp_path / "out"
    out.write_text("of before\n")
    setter = "import os, urllib.request as u; u.urlopen(os.environ['KVFAKE_URL'] + '/kv', timeout=20)"
    with out.open("a") as file:
        command = [*KVFAKE, "run", "--journal", "/dev/stdout", "--", *PYTHON, f"try:\n {setter}\nexcept OSError: ..."]
        assert subprocess.run(command, stdout=file, env=environment({}), timeout=PATIENCE_SECONDS, check=False).returncode == 0
    first, line = out.read_text().splitlines()
    assert first == "of before"
    assert json.loads(line)["path"] == "/kv"


def test_a_line_of_the_journal_is_made_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long JSON and redaction take, no request waits for them."""
    may_go_on = threading.Event()
    monkeypatch.setattr(files, "_journal_line", lambda line: b"line\n" if may_go_on.wait(PATIENCE_SECONDS) else b"")
    journal = JournalFile(str(tmp_path / "journal"), pytest.fail)
    with library.start() as double:
        doubles_of(double).backend.listen(journal.write)
        for _ in range(3):
            assert asked(double.persist.url_for("name"), headers=double.persist.headers).status == 404
    assert (tmp_path / "journal").read_text() == ""
    may_go_on.set()
    journal.close()
    assert (tmp_path / "journal").read_text() == "line\n" * 3
    assert journal.is_whole


def test_what_may_hold_a_value_is_its_owners_alone(tmp_path: Path) -> None:
    """Where it is new; an older file keeps its mode."""
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
    for name in ("journal", "export", "dump"):
        (old / name).touch()
        (old / name).chmod(0o644)
    for folder, mode in ((new, 0o600), (old, 0o644)):
        with served("--journal", str(folder / "journal"), "--export", str(folder / "export")) as (process, url):
            assert kvfake("dump", "--url", url, str(folder / "dump")).code == 0
            process.signal(signal.SIGTERM)
            assert process.end().code == 0
        assert {file.name: mode_of(file) for file in folder.iterdir()} == dict.fromkeys(("journal", "export", "dump"), mode)


# ---------------------------------------------------------------------------------------------------- whole, or as it was


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "values.json"
    file.write_text("what was there before, and is longer than what comes")
    return file


def cannot_rename(monkeypatch: pytest.MonkeyPatch, number: int = errno.EBUSY) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV, errno.EACCES])
def test_a_file_that_cannot_be_replaced_is_written_in_place(number: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is mounted into a container. Nothing is left beside it."""
    cannot_rename(monkeypatch, number)
    write_whole(file, "new")
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_in_place_gets_back_what_it_held(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full."""
    cannot_rename(monkeypatch)
    before = file.read_text()
    calls: list[int] = []

    def full(fd: int, data: bytes, seconds: float) -> None:
        calls.append(len(data))
        write_all(fd, data[:5] if len(calls) == 1 else data, seconds)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "new values")
    assert file.read_text() == before
    assert len(calls) == 2


def test_a_file_that_cannot_be_written_at_all_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not written in place either; a new one in such a folder neither."""
    cannot_rename(monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for target in (file, file.with_name("new.json")):
        with pytest.raises(OSError, match="busy"):
            write_whole(target, "new")
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_with_a_file_that_can(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is enough, at the start and at the end."""

    def read_only(**_: object) -> object:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    Files(None, str(file), pytest.fail)
    with pytest.raises(OSError, match="Read-only file system"):
        Files(None, str(file.with_name("new.json")), pytest.fail)


@contextmanager
def mounted(*mounts: str) -> Iterator[list[str]]:
    """A command that runs another with these mounts, which nobody else sees."""
    yield ["unshare", "--mount", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]


@pytest.mark.skipif(not can_unshare("--mount"), reason="this machine allows no mounts of one's own")
def test_a_mounted_file_takes_the_export(tmp_path: Path) -> None:
    """As ``docker run -v ./values.json:/data/values.json`` mounts it: at the end the values are in the user's own file."""
    own, inside = tmp_path / "values.json", tmp_path / "inside.json"
    own.write_text(json.dumps(EMPTY))
    inside.touch()
    with (
        mounted(f"mount --bind {own} {inside}") as with_mounts,
        Running("serve", "--port", "0", "--seed", str(inside), "--export", str(inside), program=(*with_mounts, *KVFAKE)) as process,
    ):
        url = process.line().rpartition(" ")[2]
        assert asked(url + KV + "name", "PUT", "Ada", HEADERS).status == 200
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(0, "", "")
    assert list(json.loads(own.read_text())["mattermost"].values()) == [{"": {"name": "Ada"}}]


@pytest.mark.skipif(not can_unshare("--mount"), reason="this machine allows no mounts of one's own")
def test_a_file_that_is_mounted_read_only_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Also in a folder that can be written: at the end it would be too late."""
    own, inside = tmp_path / "values.json", tmp_path / "inside.json"
    own.write_text(json.dumps(EMPTY))
    inside.touch()
    with (
        mounted(f"mount --bind {own} {inside}", f"mount -o remount,ro,bind {inside}") as with_mounts,
        Running("run", "--export", str(inside), "--", "echo", "run", program=(*with_mounts, *KVFAKE)) as process,
    ):
        assert process.end() == Ended(1, "", f"kvfake: cannot write {inside}: Read-only file system\n")


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_file_keeps_its_owner(is_refused: bool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is given to the owner of the old one; where that is refused, the old one is written in place."""
    old, given = file.stat(), []

    def give(fd: int, user: int, group: int) -> None:
        given.append((user, group))
        if is_refused:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    new_files_are_others(monkeypatch)
    monkeypatch.setattr(os, "fchown", give)
    write_whole(file, "new")
    assert file.read_text() == "new"
    assert given == [(old.st_uid, old.st_gid)]
    assert (file.stat().st_ino == old.st_ino) == is_refused
    assert list(file.parent.iterdir()) == [file]


def new_files_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fstat = os.fstat

    def of_another(fd: int) -> os.stat_result:
        values = list(fstat(fd))[:10]
        values[stat.ST_UID] += 1
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", of_another)


def test_a_file_that_can_only_be_replaced_is_replaced(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values matter more than who owns them."""

    def refuse(fd: int, user: int, group: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    new_files_are_others(monkeypatch)
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    write_whole(file, "new")
    assert file.read_text() == "new"


def test_a_file_keeps_its_other_names(file: Path) -> None:
    """A hard link shows what was written."""
    other = file.with_name("other.json")
    other.hardlink_to(file)
    write_whole(file, "new")
    assert (file.read_text(), other.read_text()) == ("new", "new")


@pytest.mark.skipif(not can_unshare("--mount"), reason="this machine allows no mounts of one's own")
@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
def test_a_full_disk_leaves_the_old_file(in_place: bool, tmp_path: Path) -> None:
    """And no half of a new one; one line says so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "kept.json").touch()
    mounts = [f"mount -t tmpfs -o size=16k tmpfs {disk}", f"echo old > {disk}/values.json"]
    mounts += [f"mount --bind {disk}/values.json {tmp_path}/kept.json"] if in_place else []
    target = tmp_path / "kept.json" if in_place else disk / "values.json"
    with mounted(*mounts) as with_mounts:
        setter = f"""
import os, urllib.request
url, headers = os.environ["MATTERMOST_SITE_URL"] + "{KV}", {{"Authorization": "Bearer " + os.environ["MATTERMOST_BOT_TOKEN"]}}
for key in "abcdef":
    value = b'"' + 5000 * b"x" + b'"'
    urllib.request.urlopen(urllib.request.Request(url + key, value, headers, method="PUT"), timeout=20)
"""
        script = f'{shlex.join(KVFAKE)} run --export {target} -- "$@"; code=$?; cat {target}; ls -A {disk}; exit $code'
        done = subprocess.run(
            [*with_mounts, "sh", "-c", script, "sh", *PYTHON, setter],
            env=environment({}), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    assert the_line(done.stderr) == f"cannot write {target}: No space left on device"
    assert (done.returncode, done.stdout) == (1, "old\nvalues.json\n")


def test_stdout_takes_an_export_and_a_dump(tmp_path: Path) -> None:
    """Behind what stands there already: the file that it was redirected to is not replaced."""
    out = tmp_path / "out"
    script = f'exec {shlex.join([*KVFAKE, "serve", "--port", "0", "--export", "/dev/stdout"])} >> "$1"'
    with Running("-c", script, "sh", str(out), program=("sh",)) as process:
        url = url_of(process.process.pid)
        for path in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
            ended = kvfake("dump", "--url", url, path)
            assert (ended.code, json.loads(ended.out), ended.err) == (0, EMPTY, "")
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(0, "", "")
    first, _, rest = out.read_text().partition("\n")
    assert first == f"kvfake is listening on {url}"
    assert json.loads(rest) == EMPTY


def test_an_export_into_a_pipe_that_nobody_opens(tmp_path: Path) -> None:
    """The end does not wait for ever; it is told."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with served("--export", str(pipe)) as (process, _):
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(1, "", f"kvfake: cannot write {pipe}: nobody reads it\n")


def test_an_export_into_a_pipe_that_is_read_drop_by_drop(tmp_path: Path) -> None:
    """It has an end, although there is never a long silence."""
    pipe, has_ended = tmp_path / "pipe", threading.Event()
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def drip() -> None:
        while not has_ended.wait(0.02):
            os.read(reading, 4096)

    reader = threading.Thread(target=drip)
    reader.start()
    try:
        with pytest.raises(OSError, match=r"it was not read within 0\.5 seconds"):
            write_whole(pipe, 10_000_000 * "x", seconds=0.5)
    finally:
        has_ended.set()
        reader.join()
        os.close(reading)


def test_the_end_waits_for_an_export_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would leave half a file beside, or put older values over those of the end."""
    file, order = tmp_path / "values.json", list[str]()
    began, may_go_on = threading.Event(), threading.Event()

    def write_slowly(path: str, text: str) -> None:
        began.set()
        may_go_on.wait(PATIENCE_SECONDS)
        order.append("on demand")

    def dump() -> dict[str, Any]:
        order.append("at the end")
        return EMPTY

    monkeypatch.setattr("kvfake.control.handlers.write_whole", write_slowly)
    with DoubleServer({**settings_of({}), "export": str(file)}) as server:
        server.server.start()
        asking = threading.Thread(target=asked, args=(f"{server.own.url}/_kvfake/data/export", "POST"))
        asking.start()
        assert began.wait(PATIENCE_SECONDS)
        ending = threading.Thread(target=Files(None, str(file), pytest.fail).finish, args=(dump, server.backend.exporting))
        ending.start()
        ending.join(0.2)
        may_go_on.set()
        for thread in (asking, ending):
            thread.join(PATIENCE_SECONDS)
    assert order == ["on demand", "at the end"]
    assert json.loads(file.read_text()) == EMPTY


# ------------------------------------------------------------------------------------------------- a journal of its own


@pytest.mark.parametrize("flag", ["--seed", "--export"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_journal_has_a_file_of_its_own(flag: str, is_there: bool, tmp_path: Path) -> None:
    """It would empty the file of values, or be replaced by it."""
    file = tmp_path / "values.json"
    if is_there:
        file.write_text(json.dumps(EMPTY))
    journal = f"{tmp_path}/../{tmp_path.name}/values.json"
    ended = kvfake("run", "--journal", journal, flag, str(file), "--", "echo", "run")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"error: --journal {journal}: expected a file of its own, and not that of {flag}\n")
    assert file.exists() == is_there
    assert not is_there or json.loads(file.read_text()) == EMPTY


@pytest.mark.parametrize("place", ["/dev/null", "/dev/stdout"])
def test_a_journal_and_an_export_into_one_stream(place: str) -> None:
    """Neither takes anything from the other."""
    ended = kvfake("run", "--journal", place, "--export", place, "--", "true")
    assert (ended.code, ended.err) == (0, "")
    assert (place == "/dev/null") or json.loads(ended.out) == EMPTY


# -------------------------------------------------------------------------------------------------------------- the seed


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["run"]], ids=["serve", "run"])
def test_a_file_of_ones_own_begins_with_nothing(command: list[str], tmp_path: Path) -> None:
    """The first time the file that is read at the start and written at the end is not there yet."""
    file = tmp_path / "values.json"
    flags = ["--seed", str(file), "--export", str(file)]
    for _ in range(2):
        if command == ["run"]:
            assert kvfake(*command, *flags, "--", "true") == Ended(0, "", "")
        else:
            with Running(*command, *flags) as process:
                assert process.line().startswith("kvfake is listening on")
                process.signal(signal.SIGTERM)
                assert process.end() == Ended(0, "", "")
        assert json.loads(file.read_text()) == EMPTY


@pytest.mark.parametrize("case", ["empty", "a link to nowhere", "written in another way"])
def test_a_file_of_ones_own_that_holds_nothing(case: str, tmp_path: Path) -> None:
    """As people make one for ``docker run -v``. It begins with nothing, too."""
    file, seed = tmp_path / "values.json", tmp_path / "seed.json"
    if case == "empty":
        file.touch()
    if case == "written in another way":
        seed = tmp_path / ".." / tmp_path.name / "values.json"
    else:
        seed.symlink_to(file)
    assert kvfake("run", "--seed", str(seed), "--export", str(file), "--", "true") == Ended(0, "", "")
    assert json.loads(file.read_text()) == EMPTY


def test_a_seed_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """It may be a slip of the pen; a hint says how to begin with nothing. What cannot be reached is not missing."""
    missing = str(tmp_path / "missing.json")
    (tmp_path / "file").touch()
    behind_a_file = str(tmp_path / "file" / "values.json")
    for export in ([], ["--export", str(tmp_path / "other.json")]):
        ended = kvfake("serve", "--port", "0", "--seed", missing, *export)
        hint = "(with --export of the same file it begins with nothing)"
        assert the_line(ended.err) == f"seed: cannot read {missing}: No such file or directory {hint}"
        assert (ended.code, ended.out) == (1, "")
    ended = kvfake("serve", "--port", "0", "--seed", behind_a_file, "--export", behind_a_file)
    assert the_line(ended.err).startswith(f"seed: cannot read {behind_a_file}: Not a directory")


# ------------------------------------------------------------------------------------------------------ what was acknowledged


def test_what_was_acknowledged_is_in_the_export(tmp_path: Path) -> None:
    """Whenever the signal comes."""
    file = tmp_path / "export.json"
    acknowledged: list[int] = []
    with served("--export", str(file)) as (process, url):
        writer = threading.Thread(target=write_until_the_end, args=(url, acknowledged.append))
        writer.start()
        while len(acknowledged) < 200:
            threading.Event().wait(0.005)
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(0, "", "")
        writer.join(PATIENCE_SECONDS)
    (values,) = json.loads(file.read_text())["mattermost"].values()
    assert len(acknowledged) >= 200
    assert {str(number): number for number in acknowledged}.items() <= values[""].items()


def write_until_the_end(url: str, acknowledge: Callable[[Any], None]) -> None:
    with Wire(int(url.rpartition(":")[2])) as wire:
        for number in range(1_000_000):
            try:
                if wire.ask(request_bytes("PUT", f"{KV}{number}", HEADERS, b"%d" % number)).status != 200:
                    return
            except (OSError, AssertionError, ValueError):
                return
            acknowledge(number)
