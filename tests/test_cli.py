"""The command line: ``serve`` and its files, ``env``, ``wait``, and what is said where something is wrong."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipapp
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import kvfake as library
from kvfake.cli import main
from kvfake.cli.parser import parse
from kvfake.double import DoubleServer, settings_of
from kvfake.files import JournalFile
from kvfake.world import datafile
from tests.support.process import (
    KVFAKE,
    PATIENCE_SECONDS,
    PYTHON,
    Ended,
    Running,
    asked,
    environment,
    kvfake,
    served,
)
from tests.support.served import doubles_of
from tests.support.strangers import dead_port, http, stranger, taken_port, the_line, url_of
from tests.support.wire import Wire, request_bytes

KV = "/plugins/com.mattermost.apps/api/v1/kv/"
PERSIST = "/api/v1/persist/kv/"

NAMES = {
    "KVFAKE_URL",
    "MATTERMOST_SITE_URL",
    "MATTERMOST_BOT_TOKEN",
    "BEEPBOOP_PERSIST_URL",
    "BEEPBOOP_API_URL",
    "BEEPBOOP_TOKEN",
    "NO_PROXY",
}


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ------------------------------------------------------------------------------------------------------------------- serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_line_says_where_it_answers(number: signal.Signals) -> None:
    """It is there once the server answers, and nothing else is on stdout; from then on a signal ends it in peace."""
    with served() as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert asked(url + "/_kvfake/health").json()["url"] == url
        process.signal(number)
        assert process.end() == Ended(0, "", "")


def test_ctrl_c_ends_it_in_the_background_of_a_script_too() -> None:
    """There a shell has SIGINT ignored for it; the promise holds."""
    script = f"trap '' INT TERM; exec {shlex.join(KVFAKE)} serve --port 0"
    for number in (signal.SIGINT, signal.SIGTERM):
        with Running("-c", script, program=("sh",)) as process:
            assert process.line().startswith("kvfake is listening on ")
            process.signal(number)
            assert process.end() == Ended(0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_ends_at_once_with_connections_open(number: signal.Signals) -> None:
    """Idle, kept alive, in the middle of a head or of a body: nobody is waited for."""
    with served() as (process, url):
        port = int(url.rpartition(":")[2])
        with Wire(port) as idle, Wire(port) as kept_alive, Wire(port) as half_a_head, Wire(port) as half_a_body:
            half_a_head.send(b"GET " + KV.encode() + b"name HTTP/1.1\r\nHo")
            half_a_body.send(b"PUT " + KV.encode() + b"name HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
            assert kept_alive.ask(request_bytes("GET", KV + "name", bearer("token"))).status == 200
            begin = time.monotonic()
            process.signal(number)
            assert process.end() == Ended(0, "", "")
            assert time.monotonic() - begin < PATIENCE_SECONDS / 2  # nothing waits for a client, or for a bound
            assert all(wire.is_closed() for wire in (idle, kept_alive, half_a_head, half_a_body))


def test_a_taken_port() -> None:
    """One clear line on stderr says which, and what helps; the exit code is 1. The flag wins over the variable."""
    with taken_port() as port:
        by_flag = kvfake("serve", "--port", str(port), KVFAKE_PORT="0")
        by_variable = kvfake("serve", KVFAKE_PORT=str(port))
        assert by_flag == by_variable
        assert (by_flag.code, by_flag.out) == (1, "")
        assert the_line(by_flag.err) == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use (--port takes another, --port 0 a free one)"
        )
        with served(KVFAKE_PORT=str(port)) as (_, url):
            assert not url.endswith(f":{port}")


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_a_host_that_is_not_here(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address of another machine, or what cannot be a name, is one line too."""
    assert main(["serve", "--host", host, "--port", "0"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err).startswith(f"cannot listen on {host}:0: ")
    assert the_line(err).endswith(" (host: expected an address or a name of this machine)")


def test_log_writes_a_line_for_each_request() -> None:
    """To stderr: time, method, target, owner, status, milliseconds, rows and fault; an access token stays out of it. What the
    server itself answers or refuses is there too.
    """
    with served("--log", "--token", "bot-secret=app/bot") as (process, url):
        asked(url + KV + "name?access_token=bot-secret", "PUT", b'"Ada"')
        asked(url + KV + "name", headers=bearer("secret"))
        asked(url + KV + "name", headers=bearer("bot-secret"))
        asked(url + KV + "x" * 60, "PUT", b'"' + b"x" * 300_000 + b'"', headers=bearer("bot-secret"))  # made by a worker thread
        asked(url + "/nothing")
        asked(url + "/_kvfake/faults", "POST", {"sever": "before", "key": "lost"})
        with suppress(OSError):
            asked(url + KV + "lost", headers=bearer("bot-secret"))
        with Wire(int(url.rpartition(":")[2])) as wire:
            assert wire.ask(request_bytes("GET", "/", {"Expect": "a miracle"})).status == 417
        with Wire(int(url.rpartition(":")[2])) as wire:
            assert wire.ask(b"no request\r\n\r\n").status == 400
        process.signal(signal.SIGTERM)
        code, out, err = process.end()
    assert (code, out) == (0, "")
    assert "secret" not in err
    stamp, took = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r"\d+\.\dms"
    lines = [re.fullmatch(f"{stamp} (.*) {took}(.*)", line) for line in err.splitlines()]
    assert [line and line[1] + line[2] for line in lines] == [
        f"PUT {KV}name?access_token=... app/bot 200",
        f"GET {KV}name anonymous-{hashlib.sha256(b'secret').hexdigest()[:12]} 200 M11",
        f"GET {KV}name app/bot 200",
        f"PUT {KV}{'x' * 60} app/bot 500",
        "GET /nothing - 404",
        "POST /_kvfake/faults - 201",
        f"GET {KV}lost app/bot - fault: on any request, key='lost': cut, once",
        "GET / - 417",
        "- - - 400",
    ]


def test_log_beside_a_journal(tmp_path: Path) -> None:
    """Both hear of each request. A line of the journal has the time, the owner, the key and the fault."""
    with served("--log", "--journal", str(tmp_path / "journal"), "--token", "bot=app/bot") as (process, url):
        asked(url + "/_kvfake/faults", "POST", {"status": 503, "key": "name"})
        asked(url + KV + "name", headers=bearer("bot"))
        process.signal(signal.SIGTERM)
        err = process.end().err
    line = lines_of(tmp_path / "journal")[0]
    assert (line["owner"], line["key"], line["fault"]) == ("app/bot", "name", "on any request, key='name': answer 503, once")
    assert abs(datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() - time.time()) < PATIENCE_SECONDS
    assert "app/bot 503" in err


def test_log_shows_no_access_token_however_it_is_written() -> None:
    """A name in a query may be escaped; what cannot be decoded is no token."""
    with served("--log") as (process, url):
        assert asked(url + KV + "name?access%5Ftoken=secret&%zz=1", "PUT", b"1").status == 200
        process.signal(signal.SIGTERM)
        assert "secret" not in process.end().err


def test_host() -> None:
    """The URL says the name that was given."""
    with served("--host", "localhost") as (_, url):
        assert url.startswith("http://localhost:")
        assert asked(url + "/_kvfake/health").status == 200


def test_site_path() -> None:
    """The URL, both services and control lie below it, and the services nowhere else."""
    with served("--site-path", "/mm/") as (_, url):
        assert url.endswith("/mm")
        assert asked(url + KV + "name", "PUT", 1, bearer("token")).status == 200
        assert asked(url + PERSIST + "name", headers=bearer("token")).status == 404
        assert asked(url + "/_kvfake/env").json()["BEEPBOOP_PERSIST_URL"] == url + "/api/v1"
        outside = asked(url.removesuffix("/mm") + KV + "name", headers=bearer("token"))
        assert outside.status == 404
        assert "expected a path below /mm" in outside.json()["error"]


def test_public_url() -> None:
    """The first line says where it listens, and what users see; proxies leave its host alone."""
    with Running("serve", "--port", "0", "--host", "0.0.0.0", "--public-url", "http://kv.example:8000/base/") as process:
        listening, _, reached = process.line().partition(", reached at ")
        assert re.fullmatch(r"kvfake is listening on http://0\.0\.0\.0:\d+", listening)
        assert reached == "http://kv.example:8000/base"
        env = env_of(listening.rpartition(" ")[2].replace("0.0.0.0", "127.0.0.1"))
        assert env["KVFAKE_URL"] == reached
        assert env["NO_PROXY"] == "127.0.0.1,kv.example"


def test_flags_of_the_world() -> None:
    """Who is known, and how it is answered; a token of one service is a stranger to the other, tokens of one owner share."""
    tokens = ("--token", "a=app/bot", "--token", "b=app/bot", "--token", "c=/user", "--token", "p=d=project:first")
    with served("--strict", "--profile", "plugin-1.2", "--mattermost-missing", "null", *tokens) as (_, url):
        assert asked(url + "/_kvfake/health").json()["profile"] == "plugin-1.2"
        assert asked(url + KV + "name", "PUT", 1, bearer("a")).json() == {"changed": True}
        assert asked(url + KV + "name", "PUT", 1, bearer("a")).json() == {"changed": True}
        assert asked(url + KV + "name", headers=bearer("b")).body == b"1"
        assert asked(url + KV + "other", headers=bearer("b")).body == b"null\n"
        for token in ("c", "p=d", "stranger"):
            assert asked(url + KV + "name", headers=bearer(token)).status == 401
        assert asked(url + PERSIST + "name", headers=bearer("p=d")).status == 404
        assert asked(url + PERSIST + "name", headers=bearer("a")).status == 401


def test_variables_of_the_world() -> None:
    """The same from the environment: tokens are separated by blanks, and what kvfake does not know is none of its business."""
    variables = {"KVFAKE_STRICT": "yes", "KVFAKE_TOKEN": " a=app/bot  p=project:first\n", "KVFAKE_UNKNOWN": "x", "KVFAKE_LOG": ""}
    with served(**variables, KVFAKE_PROFILE="plugin-1.2") as (_, url):
        assert asked(url + "/_kvfake/health").json()["profile"] == "plugin-1.2"
        assert asked(url + KV + "name", headers=bearer("a")).status == 200
        assert asked(url + PERSIST + "name", headers=bearer("p")).status == 404
        assert asked(url + KV + "name", headers=bearer("stranger")).status == 401


def test_a_flag_wins_over_its_variable() -> None:
    """Also the form of a switch that says no."""
    flags = ("--no-strict", "--profile", "documented", "--token", "b=app/bot")
    with served(*flags, KVFAKE_STRICT="1", KVFAKE_PROFILE="plugin-1.2", KVFAKE_TOKEN="a=app/other") as (_, url):
        assert asked(url + "/_kvfake/health").json()["profile"] == "documented"
        assert asked(url + KV + "name", headers=bearer("stranger")).status == 200
        asked(url + KV + "name", "PUT", 1, bearer("a"))
        assert asked(url + KV + "name", headers=bearer("b")).body == b"{}"


@pytest.mark.parametrize("command", ["serve", "run"])
@pytest.mark.parametrize(
    ("flag", "value", "possible"),
    [
        ("--port", "65536", "0 (any free port) to 65535"),
        ("--port", "http", "0 (any free port) to 65535"),
        ("--host", "", "a text that is not empty"),
        ("--public-url", "kv.example", "http(s)://host[:port][/path]"),
        ("--site-path", "mm", "a plain path such as /mattermost"),
        ("--allow-host", "", "a text that is not empty"),
        ("--profile", "plugin", "one of documented, plugin-1.2"),
        ("--token", "token", "TOKEN=OWNER"),
        ("--token", "token=owner", "app/user (Mattermost), /user (a Mattermost user of no app) or project:NAME (Persist)"),
        ("--mattermost-missing", "nil", "one of object, null, 404"),
        ("--journal", "", "a text that is not empty"),
        ("--export", "", "a text that is not empty"),
    ],
)
def test_a_wrong_flag(command: str, flag: str, value: str, possible: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag and what it may be are named; the exit code is 2, and nothing was started."""
    with pytest.raises(SystemExit) as end:
        main([command, flag, value, *(["--", "never"] if command == "run" else [])])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"kvfake {command}: error: {flag}: " in err
    assert possible in err


@pytest.mark.parametrize(
    ("variable", "value", "possible"),
    [
        ("KVFAKE_PORT", "many", "0 (any free port) to 65535"),
        ("KVFAKE_STRICT", "maybe", "one of 1, true, yes, on, 0, false, no, off"),
        ("KVFAKE_LOG", "2", "one of 1, true, yes, on, 0, false, no, off"),
        ("KVFAKE_TOKEN", "a=app/bot b", "a text of 1 character is not TOKEN=OWNER"),
        ("KVFAKE_PROFILE", "plugin", "one of documented, plugin-1.2"),
        ("KVFAKE_JOURNAL", "\udcff", "a text that UTF-8 can hold"),
    ],
)
def test_a_wrong_variable(
    variable: str, value: str, possible: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for the environment."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as end:
        main(["serve"])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert f"kvfake serve: error: {variable}: " in err
    assert possible in err


def test_python_does_not_read_the_variable_of_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kvfake.start` takes a free port, unless its keyword says otherwise."""
    with taken_port() as port:
        monkeypatch.setenv("KVFAKE_PORT", str(port))
        with library.start() as double:
            assert not double.url.endswith(f":{port}")
            assert asked(double.url + "/_kvfake/health").status == 200
        with pytest.raises(OSError, match="in use"):
            library.start(port=port)


# ------------------------------------------------------------------------------------------------------- the files of a server

SEED = {"kvfake": 1, "mattermost": {"app/bot": {"": {"name": "Ada"}}}, "tokens": {"bot-token": "app/bot"}}

# Sets what it is told to, as the double's bot: a key, a value, another key...
SETTER = """
import os, sys, urllib.request
for key, value in zip(sys.argv[1::2], sys.argv[2::2]):
    url = os.environ["MATTERMOST_SITE_URL"] + "/plugins/com.mattermost.apps/api/v1/kv/" + key
    headers = {"Authorization": "Bearer " + os.environ["MATTERMOST_BOT_TOKEN"]}
    urllib.request.urlopen(urllib.request.Request(url, value.encode(), headers, method="PUT"), timeout=20)
"""


def seeded(folder: Path, **more: Any) -> str:
    """The path of a file of values."""
    file = folder / "seed.json"
    file.write_text(json.dumps({**SEED, **more}))
    return str(file)


def is_served(url: str) -> bool:
    try:
        return asked(url + "/_kvfake/health").status == 200
    except OSError:
        return False


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_journal_of_every_world(tmp_path: Path) -> None:
    """Each exchange is a line of JSON that says whose it is; control is none. What was written stays, however the server ends."""
    file = tmp_path / "journal"
    file.write_text("of another time\n")
    with served("--journal", str(file)) as (process, url):
        assert file.read_text() == ""
        world = asked(url + "/_kvfake/worlds", "POST").json()
        asked(url + KV + "name", "PUT", "Ada", bearer("token"))
        asked(world["address"] + PERSIST + "%ff", headers=bearer(world["tokens"]["persist"]))
        while file.read_text().count("\n") < 2:  # another thread writes it
            ...
        own, other = lines_of(file)
        process.process.kill()
        process.process.wait(PATIENCE_SECONDS)
    assert lines_of(file) == [own, other]
    assert (own["number"], own["method"], own["key"], own["status"]) == (1, "PUT", "name", 200)
    assert own["request"]["body"] == '"Ada"'
    assert (other["world"], other["number"], other["service"], other["key"]) == (world["id"], 1, "persist", r"\udcff")
    assert own["world"] != other["world"]


def test_a_journal_shows_no_token(tmp_path: Path) -> None:
    """Neither in a header nor in a target nor in a body."""
    file = tmp_path / "journal"
    with served(KVFAKE_JOURNAL=str(file), KVFAKE_TOKEN="a-secret-of-mine=app/bot") as (process, url):
        asked(url + KV + "name?access_token=a-secret-of-mine", "PUT", "it is a-secret-of-mine")
        asked(url + KV + "name", headers=bearer("a-secret-of-mine"))
        world = asked(url + "/_kvfake/worlds", "POST").json()
        asked(world["address"] + PERSIST + "name", headers=bearer(world["tokens"]["persist"]))
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(0, "", "")
    assert len(lines_of(file)) == 3
    assert "secret-of-mine" not in file.read_text()
    assert world["tokens"]["persist"] not in file.read_text()


def test_a_journal_beside_a_command(tmp_path: Path) -> None:
    """``run`` leaves one too, as an artifact of CI, and stdout is the command's alone."""
    file = tmp_path / "journal"
    assert kvfake("run", "--journal", str(file), "--", *PYTHON, SETTER, "name", "1") == Ended(0, "", "")
    assert [line["key"] for line in lines_of(file)] == ["name"]


@pytest.mark.parametrize("flag", ["--journal", "--export"])
def test_a_file_in_no_folder(flag: str, tmp_path: Path) -> None:
    """One line, before anything is served or run."""
    file = tmp_path / "nowhere" / "file"
    served_none = kvfake("serve", "--port", "0", flag, str(file))
    run_none = kvfake("run", flag, str(file), "--", *PYTHON, "print('run')")
    assert served_none == run_none
    assert (served_none.code, served_none.out) == (1, "")
    reason = "No such file or directory" if flag == "--journal" else f"there is no folder {file.parent}"
    assert the_line(served_none.err) == f"cannot write {file}: {reason}"


@pytest.mark.parametrize("flag", ["--journal", "--export"])
def test_a_file_that_is_a_folder(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same; the server that was bound is gone."""
    assert main(["serve", "--port", "0", flag, str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert (out, the_line(err)) == ("", f"cannot write {tmp_path}: Is a directory")


def test_a_taken_port_leaves_the_journal_of_the_other(tmp_path: Path) -> None:
    """A second server by mistake empties no file of the first."""
    file = tmp_path / "journal"
    with served("--journal", str(file)) as (_, url):
        asked(url + KV + "name", headers=bearer("token"))
        assert kvfake("serve", "--port", url.rpartition(":")[2], "--journal", str(file)).code == 1
        asked(url + KV + "name", headers=bearer("token"))
        while file.read_text().count("\n") < 2:
            ...
        assert [line["number"] for line in lines_of(file)] == [1, 2]


def test_a_journal_that_can_no_longer_be_written() -> None:
    """The server goes on; it is told once, when it happens, and by the exit code."""
    with served("--journal", "/dev/full") as (process, url):
        for _ in range(3):
            assert asked(url + KV + "name", headers=bearer("token")).status == 200
        process.signal(signal.SIGTERM)
        code, out, err = process.end()
    assert (code, out) == (1, "")
    assert the_line(err) == "cannot write /dev/full: No space left on device (exchanges from now on are not in it)"


def test_a_journal_file_that_is_closed(tmp_path: Path) -> None:
    """It takes no line, and may be closed again."""
    ledger = JournalFile(str(tmp_path / "journal"), pytest.fail)
    with library.start() as double:
        doubles_of(double).backend.listen(ledger.write)
        asked(double.persist.url_for("name"), headers=double.persist.headers)
        ledger.close()
        asked(double.persist.url_for("name"), headers=double.persist.headers)
        ledger.close()
    assert len(lines_of(tmp_path / "journal")) == 1
    assert ledger.is_whole


def test_a_seed(tmp_path: Path) -> None:
    """A server, and the double of a command, begin with what a file holds."""
    file = seeded(tmp_path)
    with served("--strict", "--seed", file) as (_, url):
        assert asked(url + KV + "name", headers=bearer("bot-token")).json() == "Ada"
    program = "import os, urllib.request as u; print(u.urlopen(os.environ['KVFAKE_URL'] + '/_kvfake/data').read().decode())"
    ended = kvfake("run", "--", *PYTHON, program, KVFAKE_SEED=file)
    assert json.loads(ended.out)["mattermost"] == SEED["mattermost"]


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["run"]], ids=["serve", "run"])
def test_a_seed_that_is_not_right(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says where and why; nothing is served or run."""
    after = ["--", *PYTHON, "print('run')"] if command == ["run"] else []
    for file, reason in (
        (
            seeded(tmp_path, persist={"project": {"": "x"}}),
            f'{tmp_path / "seed.json"}: persist / project / "": the key is empty: expected a key of at least',
        ),
        (str(tmp_path / "none.json"), f"cannot read {tmp_path / 'none.json'}: No such file or directory"),
    ):
        assert main([*command, "--seed", file, *after]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert the_line(err).startswith(f"seed: {reason}")


def test_a_file_of_values_that_is_not_right_is_named(tmp_path: Path) -> None:
    """In Python too: by its path, and the place in it."""
    file = seeded(tmp_path, persist={"project": {"k": 5}})
    with pytest.raises(ValueError, match=re.escape(f"{file}: persist / project / k: value is a number: expected a string")):
        library.Double().load(file)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_export_at_the_end(number: signal.Signals, tmp_path: Path) -> None:
    """What was acknowledged is in the file, which replaces the one that was there; it can be the next server's seed."""
    file = seeded(tmp_path)
    with served("--seed", file, "--export", file) as (process, url):
        assert asked(url + KV + "more", "PUT", 1, bearer("bot-token")).status == 200
        assert json.loads(Path(file).read_text()) == SEED
        process.signal(number)
        assert process.end() == Ended(0, "", "")
    assert json.loads(Path(file).read_text()) == {
        **SEED,
        "mattermost": {"app/bot": {"": {"more": 1, "name": "Ada"}}},
        "persist": {},
    }


def env_of(url: str) -> dict[str, str]:
    env: dict[str, str] = json.loads(kvfake("env", "--url", url, "--format", "json").out)
    return env


@pytest.mark.parametrize("is_on_demand", [False, True], ids=["at the end", "on demand"])
def test_what_env_printed_survives_a_restart_of_the_same_data(is_on_demand: bool, tmp_path: Path) -> None:
    """The export holds the tokens that were issued: a server that begins with it knows them, and prints them again."""
    file = str(tmp_path / "values.json")
    Path(file).write_text('{"kvfake": 1}')
    with served("--strict", "--seed", file, "--export", file) as (process, url):
        env = env_of(url)
        assert asked(url + KV + "name", "PUT", 1, bearer(env["MATTERMOST_BOT_TOKEN"])).status == 200
        assert asked(url + PERSIST + "name", "PUT", {"value": "v"}, bearer(env["BEEPBOOP_TOKEN"])).status == 200
        if is_on_demand:
            assert asked(url + "/_kvfake/data/export", "POST").status == 200
        process.signal(signal.SIGKILL if is_on_demand else signal.SIGINT)
        process.end()
    with served("--strict", "--seed", file) as (_, url):
        assert asked(url + KV + "name", headers=bearer(env["MATTERMOST_BOT_TOKEN"])).body == b"1"
        assert asked(url + PERSIST + "name", headers=bearer(env["BEEPBOOP_TOKEN"])).json()["value"] == "v"
        for name in ("MATTERMOST_BOT_TOKEN", "BEEPBOOP_TOKEN"):
            assert env_of(url)[name] == env[name]


def test_env_prints_the_tokens_that_were_named() -> None:
    """By a flag, or by a seed."""
    with served("--token", "mine=app/bot", "--token", "yours=project:project") as (_, url):
        env = env_of(url)
        assert (env["MATTERMOST_BOT_TOKEN"], env["BEEPBOOP_TOKEN"]) == ("mine", "yours")


def test_an_export_holds_no_token_of_an_owner_that_cannot_be_named() -> None:
    """It can be loaded, whoever asked for a token. A dump holds no token that was issued."""
    server = DoubleServer(settings_of({}))
    double = server.own
    token = double.mattermost.token
    for owner in ("anonymous-0123456789ab", "app/a/b"):
        assert double.mattermost.as_owner(owner).token
    export = server.backend.documents(datafile.export)
    assert export["tokens"] == {token: "app/bot"}
    assert "tokens" not in double.dump()
    double.load(export)
    double.close()


def test_an_export_at_any_time(tmp_path: Path) -> None:
    """When control asks for it."""
    file = tmp_path / "export.json"
    with served("--export", str(file)) as (_, url):
        assert not file.exists()
        assert asked(url + "/_kvfake/data/export", "POST").json() == {"written": str(file)}
        assert json.loads(file.read_text())["kvfake"] == 1


def test_an_export_of_all_worlds(tmp_path: Path) -> None:
    """At the end, on demand, and of a command: each world with its id. A server begins with its own part of it, and says so."""
    file = tmp_path / "export.json"
    with served("--export", str(file), "--all-worlds") as (process, url):
        world = asked(url + "/_kvfake/worlds", "POST").json()
        token = bearer(world["tokens"]["mattermost"])
        asked(url + KV + "name", "PUT", "own", bearer("token"))
        asked(world["address"] + KV + "name", "PUT", "its", token)
        asked(url + "/_kvfake/data/export", "POST")
        assert json.loads(file.read_text())["worlds"][world["id"]]["mattermost"] == {"app/bot": {"": {"name": "its"}}}
        file.unlink()
        process.signal(signal.SIGTERM)
        assert process.end().code == 0
    assert json.loads(file.read_text())["worlds"][world["id"]]["mattermost"] == {"app/bot": {"": {"name": "its"}}}
    with served("--seed", str(file)) as (process, url):
        assert asked(url + KV + "name", headers=bearer("token")).json() == "own"
        asked(url + "/_kvfake/worlds", "POST")
        process.signal(signal.SIGTERM)
        assert (
            the_line(process.end().err) == f"{file} also holds 1 other world, left out here (kvfake load --from-world ID takes one)"
        )
    program = "import os, urllib.request as u; u.urlopen(u.Request(os.environ['KVFAKE_URL'] + '/_kvfake/worlds', b'{}'))"
    assert kvfake("run", "--export", str(file), "--all-worlds", "--", *PYTHON, program).code == 0
    assert list(json.loads(file.read_text())["worlds"].values()) == [{"kvfake": 1, "mattermost": {}, "persist": {}}]


def test_an_export_of_a_command(tmp_path: Path) -> None:
    """The exit code is the command's. The tokens that it had ended with it: two runs of the same export the same."""
    file = tmp_path / "export.json"
    program = SETTER + "sys.exit(7)"
    assert kvfake("run", "--export", str(file), "--", *PYTHON, program, "name", "1") == Ended(7, "", "")
    assert json.loads(file.read_text()) == {"kvfake": 1, "mattermost": {"app/bot": {"": {"name": 1}}}, "persist": {}}


def test_a_command_that_was_never_started_exports_nothing(tmp_path: Path) -> None:
    """A slip of the pen does not cost the file of yesterday."""
    file = seeded(tmp_path)
    ended = kvfake("run", "--export", file, "--", "/no/such/command")
    assert ended.code == 127
    assert json.loads(Path(file).read_text()) == SEED


@pytest.mark.parametrize(("own", "code"), [(0, 1), (7, 7)])
def test_an_export_that_fails_at_the_end(own: int, code: int, tmp_path: Path) -> None:
    """One line; the exit code says so, unless the command's own says more."""
    file = tmp_path / "folder" / "export.json"
    file.parent.mkdir()
    remove = f"import os, sys; os.rmdir({str(file.parent)!r}); sys.exit({own})"
    ended = kvfake("run", "--export", str(file), "--", *PYTHON, remove)
    assert (ended.code, ended.out) == (code, "")
    assert the_line(ended.err) == f"cannot write {file}: No such file or directory"


def test_an_export_into_a_pipe(tmp_path: Path) -> None:
    """What is no file is written as it stands; a second signal does not cut it off, as whoever ends a job sends more than one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with served("--export", str(pipe)) as (process, url):
        process.signal(signal.SIGTERM)
        while is_served(url):
            ...
        process.signal_group(signal.SIGTERM)
        process.signal(signal.SIGINT)
        assert json.loads(pipe.read_text()) == {"kvfake": 1, "mattermost": {}, "persist": {}}
        assert process.end() == Ended(0, "", "")


# --------------------------------------------------------------------------------------------------------------------- env


@pytest.fixture(name="double")
def _double() -> Iterator[library.Double]:
    with library.start(site_path="/it's-$HOME") as double:
        yield double


def test_env_for_a_shell(double: library.Double) -> None:
    """As it stands in the documentation: a shell takes it in, whatever characters there are."""
    script = f'eval "$({shlex.join([*KVFAKE, "env"])} --url "$1")"; exec {shlex.join([sys.executable, "-S", "-c"])} "$2"'
    say = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        ["sh", "-c", script, "sh", double.url, say],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    env = json.loads(done.stdout)
    assert {name: env[name] for name in NAMES} == double.env
    assert env["MATTERMOST_SITE_URL"].endswith("/it's-$HOME")


def test_env_in_other_forms(double: library.Double, capsys: pytest.CaptureFixture[str]) -> None:
    """The same names and values as JSON, and for the file that a step of a workflow appends to (``$GITHUB_ENV``)."""
    assert main(["env", "--url", double.url, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == double.env
    assert main(["env", "--url", double.url, "--format", "github"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}={value}" for name, value in double.env.items()]
    assert set(double.env) == NAMES


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("http://127.0.0.1:8065/api/v1?a=b&c", "'http://127.0.0.1:8065/api/v1?a=b&c'"),
        ("127.0.0.1,*.example,a-b_c~d@e+f%20", "127.0.0.1,*.example,a-b_c~d@e+f%20"),
        ("", ""),
        ("two words #no comment $HOME", "'two words #no comment $HOME'"),
        ('it\'s "$HOME" `x` \\', r'''"it's \"\$HOME\" \`x\` \\"'''),
        ("кот", "'кот'"),
    ],
)
def test_env_for_a_file_of_variables(
    value: str, written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bare where nothing needs quotes, since ``docker --env-file`` keeps them; else as libraries read it."""
    with stranger(http(json.dumps({"KVFAKE_URL": value}).encode())) as url:
        assert main(["env", "--url", url, "--format", "dotenv"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"KVFAKE_URL={written}", "NO_PROXY=127.0.0.1"]


@pytest.mark.parametrize("format", ["sh", "dotenv", "github", "json"])
def test_env_takes_no_other_variable(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever answers there: a shell that evaluates it gets the documented names alone."""
    names = ["KVFAKE_URL", "PATH", "LD_PRELOAD", "NO_PROXY", "MATTERMOST_BOT_TOKEN", "A; rm -r", "BEEPBOOP_OTHER", "ENV"]
    with stranger(http(json.dumps(dict.fromkeys(names, "evil")).encode())) as url:
        assert main(["env", "--url", url, "--format", format]) == 0
    out = capsys.readouterr().out
    assert out.count("evil") == 2
    assert all(name not in out for name in ("PATH", "LD_", "rm -r", "OTHER"))


def test_env_of_what_cannot_be_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break or an escape sequence in a value is refused: a server's as no kvfake's, one's own by its name."""
    for value in ("a\nPATH=evil", "\x1b[2J", "\u2028"):
        with stranger(http(json.dumps({"KVFAKE_URL": value}).encode())) as url:
            assert main(["env", "--url", url]) == 1
        assert "something else answers there" in the_line(capsys.readouterr().err)
    monkeypatch.setenv("NO_PROXY", "a.example\nPATH=evil")
    with stranger(http(b'{"KVFAKE_URL": "x"}')) as url:
        assert main(["env", "--url", url, "--format", "github"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err).startswith(
        "NO_PROXY cannot be printed: expected no line break and no control character in it, got 'a.exam"
    )


def test_env_asks_the_server_of_the_variable(
    double: library.Double, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``KVFAKE_URL`` says which, ``--url`` wins."""
    with dead_port() as port:
        monkeypatch.setenv("KVFAKE_URL", f"http://127.0.0.1:{port}")
        assert main(["env"]) == 1
        assert f"http://127.0.0.1:{port}" in the_line(capsys.readouterr().err)
        assert main(["env", "--url", double.url + "/"]) == 0
        monkeypatch.setenv("KVFAKE_URL", double.url)
        assert main(["env"]) == 0


def test_env_keeps_what_needs_no_proxy(
    double: library.Double, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It adds this machine to what is there, and uses no proxy itself."""
    with dead_port() as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "a.example")
        monkeypatch.setenv("no_proxy", "b.example,127.0.0.1")
        assert main(["env", "--url", double.url, "--format", "json"]) == 0
    env = json.loads(capsys.readouterr().out)
    assert env["NO_PROXY"] == "a.example,127.0.0.1"
    assert env["no_proxy"] == "b.example,127.0.0.1"


def test_env_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr says what to do; nothing that a shell would take in."""
    with dead_port() as port:
        assert main(["env", "--url", f"http://127.0.0.1:{port}"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err) == (
        f"no kvfake server answers at http://127.0.0.1:{port}: Connection refused (kvfake serve starts one, --url names another)"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"220 garbage.example ESMTP\r\n", "something else answers there"),
        (b"", "Remote end closed connection without response"),
        (http(b"<html>\n<p>Hello</p>\n</html>"), "something else answers there"),
        (http(b"\xff\xfe\xff"), "something else answers there"),
        (http(b"[" * 100_000), "something else answers there"),
        (http(b"<html></html>", b"404 Not Found"), "something else answers there"),
        (http(b'{\n "error":\n 404\n}', b"404 Not Found"), 'status 404: { "error": 404 }'),
        (http(b'["KVFAKE_URL"]'), 'status 200: ["KVFAKE_URL"]'),
        (http(b'["error"]', b"500 Internal Server Error"), 'status 500: ["error"]'),
        (http(b'"%b"' % (b"x" * (1 << 20))), "the answer has more than 1048576 bytes"),
        (http(b'{"version": 3}'), "something else answers there"),
        (http(b'{"KVFAKE_URL": 3}'), "something else answers there"),
    ],
)
def test_env_where_something_else_answers(answer: bytes, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear line, and nothing that a shell would take in."""
    with stranger(answer) as url:
        assert main(["env", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err).startswith(f"no kvfake server answers at {url}: {reason} (")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8065",
        "",
        "http://",
        "http://[::1",
        "http://127.0.0.1:port",
        "ftp://127.0.0.1",
        "http://127.0.0.1:9/a b",
        "http://127.0.0.1:9/ä",
    ],
)
def test_env_of_what_is_no_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said how one looks."""
    assert main(["env", "--url", url]) == 1
    assert f"at {url}: that is no URL; expected http://host:port (" in the_line(capsys.readouterr().err)


def test_env_over_tls_where_there_is_none(double: library.Double, capsys: pytest.CaptureFixture[str]) -> None:
    """``https://`` is a URL too, and what goes wrong is one line."""
    assert main(["env", "--url", double.url.replace("http:", "https:")]) == 1
    assert the_line(capsys.readouterr().err).startswith("no kvfake server answers at https://127.0.0.1:")


def test_env_shows_why_a_server_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """In the server's own words, in one line, of which a terminal obeys nothing."""
    with stranger(http(b'{"error": "no:\\n  not\\t today \\u001b[31m\\u009b1m"}', b"503 Service Unavailable")) as url:
        assert main(["env", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert (out, the_line(err)) == ("", rf"the server at {url} refuses: no: not today \x1b[31m\x9b1m")


def test_env_where_control_is_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that it is, and by which flag."""
    with library.start(control=False) as double:
        assert main(["env", "--url", double.url]) == 1
    assert the_line(capsys.readouterr().err) == f"the server at {double.url} refuses: control is switched off (--no-control)"


def test_a_control_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it a server refuses and says what it wants; the flag brings it, else the variable. Any readable text will do."""
    token = "ключ to it"
    with library.start(control_token=token) as double:
        for words in ([], ["--control-token", ""], ["--control-token", "wrong"]):
            assert main(["env", "--url", double.url, *words]) == 1
            reason = "expected the control token: Authorization: Bearer <token>, as --control-token says"
            assert the_line(capsys.readouterr().err) == f"the server at {double.url} refuses: {reason}"
        assert main(["env", "--url", double.url, "--control-token", token]) == 0
        monkeypatch.setenv("KVFAKE_CONTROL_TOKEN", token)
        assert main(["env", "--url", double.url]) == 0
        assert main(["wait", "--url", double.url]) == 0


@pytest.mark.parametrize("token", ["two\nlines", "\udcff"])
def test_a_control_token_that_no_header_can_hold(token: str, double: library.Double, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and nothing is asked."""
    assert main(["env", "--url", double.url, "--control-token", token]) == 1
    assert "the control token cannot be sent: expected printable characters" in the_line(capsys.readouterr().err)


# -------------------------------------------------------------------------------------------------------------------- wait


def test_wait_for_a_server_that_answers(double: library.Double, capsys: pytest.CaptureFixture[str]) -> None:
    """It returns at once, and says nothing."""
    assert main(["wait", "--url", double.url, "--timeout", str(PATIENCE_SECONDS)]) == 0
    assert capsys.readouterr() == ("", "")


def test_wait_for_a_server_whose_control_is_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    """That it says so is an answer."""
    with library.start(control=False) as double:
        assert main(["wait", "--url", double.url, "--timeout", str(PATIENCE_SECONDS)]) == 0
    assert capsys.readouterr() == ("", "")


def test_wait_for_a_server_that_is_started_later() -> None:
    """From refused connections to the first answer."""
    with dead_port() as port:
        process = Running("wait", "--url", f"http://127.0.0.1:{port}", "--timeout", str(PATIENCE_SECONDS))
        with pytest.raises(subprocess.TimeoutExpired):
            process.process.wait(0.4)
    with process, library.start(port=port):
        assert process.end() == Ended(0, "", "")


def test_wait_until_the_answer_is_kvfakes(capsys: pytest.CaptureFixture[str]) -> None:
    """What came before, such as a proxy that is not ready, does not count."""
    answers = (http(b"<html>", b"502 Bad Gateway"), b"", http(b'{"status": "starting"}'), http(b'{"status": "ok"}'))
    with stranger(*answers) as url:
        assert main(["wait", "--url", url, "--timeout", str(PATIENCE_SECONDS)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("somebody", "seen"),
    [
        (lambda: url_of(dead_port()), "Connection refused"),
        (lambda: url_of(taken_port()), "timed out"),
        (lambda: stranger(http(b'{"status": "starting"}')), "something else answers there"),
        (lambda: stranger(http(b'{"error": "not yet"}', b"503 Service Unavailable")), "not yet"),
    ],
    ids=["nobody", "somebody silent", "something else", "somebody who refuses"],
)
def test_wait_without_success(
    somebody: Callable[[], AbstractContextManager[str]], seen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the timeout one line says what was seen, and the exit code is 1."""
    with somebody() as url:
        assert main(["wait", "--url", url, "--timeout", "0.3"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err) == f"no kvfake server answered at {url} within 0.3 seconds: {seen}"


@pytest.mark.parametrize(
    "words", [["--url", "127.0.0.1:8065"], ["--url", "http://x", "--control-token", "a\nb"]], ids=["url", "token"]
)
def test_wait_for_what_cannot_be_asked(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is told at once, and not when the time is over."""
    assert main(["wait", "--timeout", "1000000", *words]) == 1
    line = the_line(capsys.readouterr().err)
    assert line.startswith(f"no kvfake server answered at {words[1]}: ")
    assert "expected" in line


@pytest.mark.parametrize("timeout", ["soon", "-1", "nan", "inf"])
def test_wait_for_no_time(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A timeout is a number of seconds."""
    with pytest.raises(SystemExit) as end:
        main(["wait", f"--timeout={timeout}"])
    assert end.value.code == 2
    assert f"--timeout: expected a number of seconds, such as 30 or 0.5, got '{timeout}'" in capsys.readouterr().err


def test_ctrl_c_ends_the_waiting() -> None:
    """With the exit code of a command that was interrupted, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        with Running("wait", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}") as process:
            asking, _ = silent.accept()
            with asking:
                process.signal(signal.SIGINT)
                assert process.end() == Ended(130, "", "")


# --------------------------------------------------------------------------------------------------------------- the rest


GROUPS = {
    "Serving": ["serve", "run", "env", "wait"],
    "Values of a running server": ["dump", "load", "ls", "get", "set", "del"],
    "Control of a running server": ["faults", "journal", "clock", "checkpoint", "rollback", "reset", "worlds", "respond"],
    "Comparison with the real services": ["verify", "explain", "openapi", "record", "compare"],
}
COMMANDS = [
    *([command] for commands in GROUPS.values() for command in commands),
    *(["faults", word] for word in ("add", "rm", "clear")),
    *(["clock", word] for word in ("freeze", "move", "shift", "resume")),
    *(["worlds", word] for word in ("new", "end")),
]


def test_help_lists_the_commands_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a few words."""
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: kvfake")
    for title, commands in GROUPS.items():
        group = out.partition(f"  {title}:\n")[2].partition("\n\n")[0]
        assert re.findall(r"^    (\w+)  ", group, re.MULTILINE) == commands


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does, with an example that it understands."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: kvfake", *command]))
    example = re.search(r"kvfake [^)\n]*", out.partition("example:\n")[2])
    assert example is not None
    _, *words = shlex.split(example[0].split(" > ")[0].rstrip('"'))
    assert words[: len(command)] == command
    assert parse(words)[1].command == command[0]


@pytest.mark.parametrize(
    ("command", "sentences"),
    [
        ("serve", ["--port PORT", "(default: 8065)", "--strict, --no-strict", "--log, --no-log", "KVFAKE_MATTERMOST_MISSING"]),
        ("serve", ["--control, --no-control answer at /_kvfake/ (default: on)", "--journal FILE", "--export FILE", "--seed FILE"]),
        ("run", ["kvfake run [options] -- COMMAND [ARGUMENT ...]", "(default: a free one)", "(default: 127.0.0.1)"]),
        (
            "env",
            ["the variable KVFAKE_URL, else http://127.0.0.1:8065", "{sh,dotenv,github,json}", "the variable KVFAKE_CONTROL_TOKEN"],
        ),
        ("wait", ["the variable KVFAKE_URL, else http://127.0.0.1:8065", "(default: 30)"]),
        ("dump", ["[FILE]", "(default: -, stdout)"]),
        ("load", ["- is stdin", "--replace"]),
        ("ls", ["(default: both)", "(default: any)", "--begins TEXT"]),
        ("get", ["(default: mattermost)", "(default: app/bot, or the project that is called project)", "(default: no prefix)"]),
        ("run", ["--quiet", "print no summary", "--all-worlds"]),
        (
            "verify",
            ["(default: documented, or with --against the server's own; plugin-1.2 for a real server)", "No proxy is used."],
        ),
        ("verify", ["extra CA file to trust for --against"]),
        ("record", ["No proxy is used."]),
        ("compare", ["print the differences as JSON", "--junit FILE"]),
        ("explain", ["A row is one fact about a service"]),
        ("set", ["KEY VALUE", "- is stdin", "kvfake set name '\"Ada\"'", "kvfake get -- -key"]),
        ("del", ["KEY [KEY ...]", "the others are deleted"]),
    ],
)
def test_help_says_defaults(command: str, sentences: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What happens where nothing is said stands beside each option."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for sentence in sentences:
        assert sentence in text


OF_A_WORLD = (
    "--profile documented|plugin-1.2", "--token TOKEN=OWNER", "--mattermost-missing object|null|404", "--fallback URL",
    "--seed FILE", "--journal-exchanges COUNT", "--journal-body-bytes BYTES",
)  # fmt: skip
OF_A_SERVER = (
    "--host ADDRESS",
    "--port PORT",
    "--public-url URL",
    "--site-path PATH",
    "--allow-host NAME",
    "--control-token TOKEN",
)
OF_FILES = ("--journal FILE", "--export FILE")
OF_A_REAL_SERVER = ("--against URL", "--ca-file FILE", "--timeout SECONDS", "--profile documented|plugin-1.2")
OF_A_RUNNING_SERVER = ("--url URL", "--control-token TOKEN")
OF_VALUES = ("--owner OWNER", "--prefix PREFIX")
USAGES = {
    "": ("COMMAND",),
    "serve": (*OF_A_SERVER, *OF_FILES, *OF_A_WORLD),
    "run": (*OF_A_SERVER, *OF_FILES, *OF_A_WORLD),
    "env": OF_A_RUNNING_SERVER,
    "wait": (*OF_A_RUNNING_SERVER, "--timeout SECONDS"),
    "dump": (*OF_A_RUNNING_SERVER, "[FILE]"),
    "load": (*OF_A_RUNNING_SERVER, "] FILE"),
    "ls": (*OF_A_RUNNING_SERVER, *OF_VALUES, "--begins TEXT"),
    "get": (*OF_A_RUNNING_SERVER, *OF_VALUES, "] KEY"),
    "set": (*OF_A_RUNNING_SERVER, *OF_VALUES, "] KEY VALUE"),
    "del": (*OF_A_RUNNING_SERVER, *OF_VALUES, "] KEY [KEY ...]"),
    "verify": (
        *OF_A_REAL_SERVER, "--bot-token TOKEN", "--user-token TOKEN", "--plain-user-token TOKEN", "--project-token TOKEN",
        "--other-project-token TOKEN", "--junit FILE",
    ),
    "record": (*OF_A_REAL_SERVER[:3], "-o FILE"),
    "compare": ("] FILE",),
    "explain": ("[ROW ...]",),
}  # fmt: skip


@pytest.mark.parametrize("command", USAGES)
def test_help_says_what_an_option_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address, a file, seconds: the word that stands behind an option, or for an argument, says which."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert [taken for taken in USAGES[command] if f"{taken} " not in text and f"{taken}] " not in text] == []


def test_version() -> None:
    """The package's, whichever way the command is started."""
    assert kvfake("--version") == Ended(0, f"kvfake {library.__version__}\n", "")


WRONG = [
    "",
    "dance",
    "serve more",
    "serve -- more",
    "env --form=xml",
    "load",
    "get",
    "set key",
    "del",
    "ls key",
    "get k --service x",
]


@pytest.mark.parametrize("words", [line.split() for line in WRONG], ids=WRONG)
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is shown, and the exit code is 2."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: kvfake")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serv", "kvfake: error: argument COMMAND: there is no 'serv' (did you mean serve?)"),
        ("dance", "kvfake: error: argument COMMAND: there is no 'dance': expected one of serve, run, env, "),
        ("serve --stict", "kvfake serve: error: unrecognized arguments: --stict (did you mean --strict?)"),
        ("faults ad", "kvfake faults: error: argument COMMAND: there is no 'ad' (did you mean add?)"),
        ("faults add truncat", "kvfake faults add: error: argument ACTION: there is no 'truncat' (did you mean truncate?)"),
        ("faults add cut --eys k", "kvfake faults add: error: unrecognized arguments: --eys (did you mean --key?)"),
        ("env --format dotnev", "kvfake env: error: argument --format: there is no 'dotnev' (did you mean dotenv?)"),
        ("get", "kvfake get: error: the following arguments are required: KEY"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the usage of that command."""
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2
    usage, _, error = capsys.readouterr().err.partition(said)
    assert usage.startswith(f"usage: {said.partition(': error')[0]} [-h]")
    assert error.endswith("\n")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["serve", "--control-tokn", "MARK"], "unrecognized arguments: --control-tokn"),
        (["serve", "--control-tokn=MARK", "-zMARK"], "unrecognized arguments: --control-tokn -z"),
        (["get", "key", "MARK"], "expected no more words, got 1"),
        (["wait", "--timeout", "http://host/?access_token=MARK"], "expected a number of seconds, such as 30 or 0.5, got"),
        (
            ["wait", "--timeout", "0", "--url", "http://127.0.0.1:9/?access_token=MARK"],
            "no kvfake server answered at http://127.0.0.1",
        ),
        (["ls", "--url", "http://127.0.0.1:9/#access_token=MARK"], "http://127.0.0.1"),
    ],
    ids=["word", "flags", "more", "option", "wait", "ls"],
)
def test_an_error_shows_no_secret_that_was_typed(words: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of words that are not known, flags alone; of URLs, no secret."""
    with suppress(SystemExit):
        main(words)
    err = capsys.readouterr().err
    assert shown in err
    assert "MARK" not in err


def test_rows_are_explained_in_a_zipapp(tmp_path: Path) -> None:
    """What the command reads lies in the package, wherever that is."""
    package = Path(library.__file__).parent
    shutil.copytree(package, tmp_path / "app" / "kvfake", ignore=shutil.ignore_patterns("__pycache__"))
    zipapp.create_archive(tmp_path / "app", tmp_path / "kvfake.pyz", main="kvfake.__main__:main")
    command = [sys.executable, str(tmp_path / "kvfake.pyz"), "explain", "M15"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    assert done.stdout.startswith("M15  A prefix over 2 bytes")


def test_importing_the_command_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Only ``python -m kvfake`` runs it."""
    importlib.import_module("kvfake.__main__")
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_disk_is_one_line() -> None:
    """Not a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kvfake", "explain"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "kvfake: cannot write to stdout: No space left on device\n")


def test_output_may_be_cut_off() -> None:
    """A reader that has heard enough causes no traceback."""
    with served() as (_, url):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "kvfake", "env", "--url", url]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
