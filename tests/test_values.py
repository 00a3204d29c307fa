"""The values of a running server, from the command line: ``dump``, ``load``, ``ls``, ``get``, ``set``, ``del``."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.cli import main, values
from tests.support.process import KVFAKE, PATIENCE_SECONDS, asked, environment
from tests.support.strangers import dead_port, http, stranger, the_line

NOT_UTF_8 = "\udcff\udcfe"  # how Python hands over what stood on the command line as the bytes FF FE
ODD_BYTES = b' {"a":\t1.50, "a":2}\n'  # JSON that no Python value is written as


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


@pytest.fixture(name="double")
def _double(monkeypatch: pytest.MonkeyPatch) -> Iterator[kvfake.Double]:
    with kvfake.start() as double:
        monkeypatch.setenv("KVFAKE_URL", double.url)
        yield double


@pytest.fixture(name="told")
def _told(capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Runs the command: its exit code, and its output. What it says on stderr is one line, and only where it fails."""

    def told(*words: str) -> tuple[int, bytes]:
        code = main(list(words))
        out, err = capsysbinary.readouterr()
        assert (code == 0) == (err == b"")
        return code, out if code == 0 else the_line(err.decode()).encode()

    return told


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """What comes from stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ------------------------------------------------------------------------------------------------------------ as a user runs it


def run(*words: str, url: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [*KVFAKE, *words],
        env=environment({"KVFAKE_URL": url}),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_life_of_a_value(double: kvfake.Double, tmp_path: Path) -> None:
    """Set, listed, shown, kept in a file, deleted, and brought back."""
    file = str(tmp_path / "values.json")
    assert run("set", "name", "-", url=double.url, stdin=ODD_BYTES) == (0, b"", b"")
    assert run("set", NOT_UTF_8, "1", url=double.url) == (0, b"", b"")
    assert run("ls", url=double.url) == (0, b"mattermost\tapp/bot\t\tname\nmattermost\tapp/bot\t\t\\udcff\\udcfe\n", b"")
    assert run("get", "name", url=double.url) == (0, ODD_BYTES, b"")
    assert run("dump", file, url=double.url) == (0, b"", b"")
    assert run("del", NOT_UTF_8, "name", url=double.url) == (0, b"", b"")
    assert run("del", "name", url=double.url) == (1, b"", b"kvfake: mattermost has no 'name' of app/bot\n")
    assert run("load", file, url=double.url) == (0, b"", b"")
    assert run("get", "name", url=double.url) == (0, ODD_BYTES, b"")
    code, out, err = run("dump", url=double.url)
    assert (code, out.decode(), err) == (0, Path(file).read_text(), b"")


def test_at_a_terminal_a_value_has_a_line_of_its_own(double: kvfake.Double) -> None:
    """The shell's prompt does not stand behind it."""
    double.mattermost["name"] = "Ada"
    terminal, writing = os.openpty()
    command = [*KVFAKE, "get", "name", "--url", double.url]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr, os.read(terminal, 100)) == (0, b"", b'"Ada"\r\n')
    os.close(terminal)


def test_a_list_may_be_cut_off(double: kvfake.Double) -> None:
    """As by ``head``: no traceback."""
    double.mattermost["name"] = 1
    reading, writing = os.pipe()
    os.close(reading)
    command = [*KVFAKE, "ls", "--url", double.url]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


# ------------------------------------------------------------------------------------------------------------------ one value


def test_a_value_of_the_bot(double: kvfake.Double, told: Any) -> None:
    """What nothing else is said of belongs to the bot, below no prefix; stdout has the bytes that are stored, and no more."""
    assert told("set", "name", '"Ada"') == (0, b"")
    assert double.mattermost["name"] == "Ada"
    assert told("get", "name") == (0, b'"Ada"')
    assert told("del", "name") == (0, b"")
    assert dict(double.mattermost) == {}


def test_a_value_of_somebody_below_a_prefix(double: kvfake.Double, told: Any) -> None:
    """An owner is ``app/user``."""
    where = ("--owner", "app/ada", "--prefix", "p")
    assert told("set", *where, "name", "[1, 2]") == (0, b"")
    assert double.mattermost.as_user("ada").with_prefix("p").raw["name"] == b"[1, 2]"
    assert told("get", *where, "name") == (0, b"[1, 2]")
    elsewhere = b"app/ada below the prefix 'p' has one: kvfake get --owner app/ada --prefix p name"
    assert told("get", "name") == (1, b"mattermost has no 'name' of app/bot; " + elsewhere)
    assert told("del", *where, "name", "age") == (1, b"mattermost has no 'age' of app/ada below the prefix 'p'")
    assert told("get", *where, "name") == (1, b"mattermost has no 'name' of app/ada below the prefix 'p'")


def test_a_string_of_persist(double: kvfake.Double, told: Any) -> None:
    """It is stored and shown as it stands, of one project or another."""
    assert told("set", "--service", "persist", "a/b c&d=ü", 'ä "quoted" \n') == (0, b"")
    assert double.persist["a/b c&d=ü"] == 'ä "quoted" \n'
    assert told("get", "--service", "persist", "a/b c&d=ü") == (0, 'ä "quoted" \n'.encode())
    assert told("set", "--service", "persist", "--owner", "other", "name", "") == (0, b"")
    assert told("get", "--service", "persist", "--owner", "other", "name") == (0, b"")
    assert dict(double.persist.project("other")) == {"name": ""}
    assert told("del", "--service", "persist", "name", "age") == (
        1,
        b"persist has no 'name', no 'age' of project; other has one: kvfake get --service persist --owner other name",
    )
    assert told("del", "--service", "persist", "--owner", "other", "name") == (0, b"")


def test_the_values_of_a_token(double: kvfake.Double, told: Any) -> None:
    """Of its owner: a stranger's too, and those of a world that the server knows by the token."""
    asked(double.mattermost.url_for("user"), "PUT", 1, {"Authorization": "Bearer my-bot"})
    asked(double.persist.url_for("user"), "PUT", {"value": "v"}, {"Authorization": "Bearer my-bot"})
    as_token = ("--as-token", "my-bot")
    owner = double.journal[0].owner
    assert told("get", *as_token, "user") == (0, b"1")
    assert told("set", *as_token, "user", "2") == (0, b"")
    assert double.mattermost.as_owner(str(owner)) == {"user": 2}
    line = f"{owner}\t\tuser\n"
    assert told("ls", *as_token) == (0, f"mattermost\t{line}persist\t{line}".encode())
    assert told("ls", *as_token, "--service", "persist") == (0, f"persist\t{line}".encode())
    assert told("ls", *as_token, "--prefix", "p") == (0, b"")
    assert told("del", *as_token, "--service", "persist", "user") == (0, b"")
    assert dict(double.persist.project(str(owner))) == {}
    world = asked(double.url + "/_kvfake/worlds", "POST").json()
    assert told("set", "--as-token", world["tokens"]["mattermost"], "name", "3") == (0, b"")
    assert asked(world["address"] + "/_kvfake/data").json()["mattermost"] == {"app/bot": {"": {"name": 3}}}
    _, error = told("get", "--as-token", world["tokens"]["mattermost"], "--prefix", "p", "name")
    assert error.decode().endswith(f"; app/bot has one: kvfake get --url '{world['address']}' name")


def test_a_token_that_a_service_does_not_know(double: kvfake.Double, told: Any) -> None:
    """The service is named, as a project's token is none of Mattermost's."""
    token = ("--as-token", double.persist.token)
    assert told("get", *token, "name") == (1, b"mattermost does not know that token")
    assert told("set", *token, "name", "1") == (1, b"mattermost does not know that token")
    assert told("ls", *token, "--service", "mattermost") == (1, b"mattermost does not know that token")
    assert told("ls", *token) == (0, b"")
    with kvfake.start(strict=True) as strict:
        assert told("ls", "--url", strict.url, "--as-token", "my-bot") == (1, b"the server does not know that token")


def test_where_else_a_key_lies(double: kvfake.Double, told: Any) -> None:
    """Where a key is not there, the error has the command that shows one of that name: another owner's, or the other service's."""
    asked(double.mattermost.url_for("user"), "PUT", 1, {"Authorization": "Bearer my-bot"})
    owner = str(double.journal[0].owner)
    has_one = f"mattermost has no 'user' of app/bot; {owner} has one"
    assert told("get", "user") == (1, f"{has_one}: kvfake get --owner {owner} user".encode())
    double.persist["user"] = "v"
    assert told("del", "user") == (1, f"{has_one} (1 more: kvfake ls): kvfake get --owner {owner} user".encode())
    double.persist["-a key"] = "v"
    assert told("get", "--", "-a key") == (
        1, b"mattermost has no '-a key' of app/bot; persist: project has one: kvfake get --service persist -- '-a key'"
    )  # fmt: skip


def test_an_owner_or_a_token() -> None:
    """Not both."""
    with pytest.raises(SystemExit) as end:
        main(["get", "--owner", "app/bot", "--as-token", "t", "name"])
    assert end.value.code == 2


def test_a_server_that_is_no_kvfake_knows_no_owner(told: Any) -> None:
    """As one that answers something else."""
    with stranger(http(b"{}")) as url:
        assert told("get", "--url", url, "--as-token", "t", "name")[0] == 1


def test_a_value_from_stdin(double: kvfake.Double, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte, also a string of Persist."""
    given(monkeypatch, ODD_BYTES)
    assert told("set", "name", "-") == (0, b"")
    assert double.mattermost.raw["name"] == ODD_BYTES
    given(monkeypatch, ODD_BYTES)
    assert told("set", "--service", "persist", "name", "-") == (0, b"")
    assert double.persist.raw["name"] == ODD_BYTES


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["name", "Ada"], """payload is not valid json: invalid input (a text in JSON has quotes: '"Ada"')"""),
        (["name", "{Ada}"], "payload is not valid json: invalid input"),
        (["name", '"' + "x" * 8192 + '"'], "size limit of 8Kb exceeded"),
        (["--service", "persist", "name", NOT_UTF_8], "value is not UTF-8 at byte 0: expected a string"),
    ],
)
def test_a_value_that_a_service_refuses(words: list[str], reason: str, double: kvfake.Double, told: Any) -> None:
    """In its words; nothing is set."""
    assert told("set", *words) == (1, f"'name' is not set: {reason}".encode())
    assert dict(double.mattermost) == dict(double.persist) == {}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a/b", "1"], 'raw / mattermost / app/bot / "" / a/b: 404 page not found: no request can name the key "a/b"'),
        (["--owner", "bot", "name", "1"], "raw / mattermost / bot: it is no owner: expected app/user"),
        (["--service", "persist", "", "x"], 'persist / project / "": the key is empty'),
    ],
)
def test_an_address_that_is_not_possible(words: list[str], reason: str, double: kvfake.Double, told: Any) -> None:
    """The server says where and why."""
    code, line = told("set", *words)
    assert code == 1
    assert line.decode().startswith(f"the server at {double.url} refuses: {reason}")


def test_a_key_that_is_no_utf_8(double: kvfake.Double, told: Any) -> None:
    """Its bytes are those of the command line, and so are a prefix's."""
    assert told("set", "--prefix", "\udcf0", NOT_UTF_8, "1") == (0, b"")
    assert double.mattermost.with_prefix("\udcf0").raw[NOT_UTF_8] == b"1"
    assert told("get", "--prefix", "\udcf0", NOT_UTF_8) == (0, b"1")
    elsewhere = rb"app/bot below the prefix '\udcf0' has one"
    assert told("get", NOT_UTF_8) == (1, rb"mattermost has no '\udcff\udcfe' of app/bot; " + elsewhere)
    assert told("ls", "--begins", "\udcff") == (0, b"mattermost\tapp/bot\t\\udcf0\t\\udcff\\udcfe\n")
    assert told("del", "--prefix", "\udcf0", NOT_UTF_8) == (0, b"")


def test_a_word_that_begins_with_a_dash(double: kvfake.Double, told: Any) -> None:
    """A number needs nothing; anything else stands behind two dashes."""
    assert told("set", "number", "-5") == (0, b"")
    assert told("set", "--", "--key", "-5") == (0, b"")
    assert dict(double.mattermost) == {"number": -5, "--key": -5}
    assert told("get", "--", "--key") == (0, b"-5")


@pytest.mark.parametrize("command", [["ls"], ["get", "name"], ["set", "name", "x"], ["del", "name"]], ids=" ".join)
def test_persist_has_no_prefix(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names one is told before a server is asked."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--service", "persist", "--prefix", "p"])
    assert end.value.code == 2
    assert f"kvfake {command[0]}: error: --prefix: expected none with --service persist" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------- lists


def test_ls(double: kvfake.Double, told: Any) -> None:
    """Service, owner, prefix, key; sorted by their bytes, and narrowed by what is named."""
    for values_of, keys in (
        (double.persist, "ab"),
        (double.mattermost, "ba\uff5e\U0001f600"),
        (double.mattermost.as_user("ada"), "c"),
        (double.mattermost.with_prefix("p"), "a"),
        (double.persist.project("other"), "a"),
    ):
        for key in keys:
            values_of[key] = "x"
    ada, bot = ["mattermost\tapp/ada\t\tc"], [f"mattermost\tapp/bot\t\t{key}" for key in "ab\uff5e\U0001f600"]
    below, other, project = ["mattermost\tapp/bot\tp\ta"], ["persist\tother\t\ta"], [f"persist\tproject\t\t{key}" for key in "ab"]
    for words, expected in (
        ("", ada + bot + below + other + project),
        ("--service mattermost", ada + bot + below),
        ("--service persist", other + project),
        ("--owner app/bot", bot + below),
        ("--owner project --begins b", project[1:]),
        ("--prefix p", below),
        ("--service mattermost --owner app/ada --prefix=", ada),
        ("--begins nothing", []),
    ):
        assert told("ls", *words.split()) == (0, "".join(line + "\n" for line in expected).encode()), words


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ('quote " and ä', 'quote " and ä'),
        ("two\twords", r"two\twords"),
        (r"back\slash", r"back\\slash"),
        ("no-break\u00a0space", r"no-break\u00a0space"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\udcff", r"\udcff"),
        (r"\udcff", r"\\udcff"),
    ],
)
def test_a_key_is_one_field_of_one_line(key: str, shown: str, double: kvfake.Double, told: Any) -> None:
    """What would not be, stands as inside a JSON string; so does every backslash, and each line can be read back."""
    double.persist[key] = "x"
    code, out = told("ls")
    assert (code, out.decode()) == (0, f"persist\tproject\t\t{shown}\n")
    if "\\" in shown:
        assert json.loads(f'"{shown}"') == key


def test_a_list_of_lines(double: kvfake.Double, told: Any) -> None:
    """A key may hold an end of line; a list's line does not."""
    double.persist["two\nlines"] = "x"
    assert told("ls") == (0, b"persist\tproject\t\ttwo\\nlines\n")


# ----------------------------------------------------------------------------------------------------------------- all values


def test_a_dump_is_a_file_of_values(double: kvfake.Double, told: Any) -> None:
    """Sorted and indented; with the tokens that were named."""
    double.token("ä-token", "app/bot")
    double.mattermost.update(b={"z": 1, "a": 2}, a="ä")
    expected = {
        "kvfake": 1,
        "mattermost": {"app/bot": {"": {"a": "ä", "b": {"z": 1, "a": 2}}}},
        "persist": {},
        "tokens": {"ä-token": "app/bot"},
    }
    assert told("dump") == told("dump", "-") == (0, (json.dumps(expected, ensure_ascii=False, indent=2) + "\n").encode())


def test_a_dump_into_a_file(double: kvfake.Double, told: Any, tmp_path: Path) -> None:
    """It takes the place of the one that was there; where it cannot, that is told."""
    file = tmp_path / "values.json"
    file.write_text("yesterday's")
    assert told("dump", str(file)) == (0, b"")
    assert json.loads(file.read_text()) == double.dump()
    nowhere = str(tmp_path / "nowhere" / "values.json")
    assert told("dump", nowhere) == (1, f"cannot write {nowhere}: No such file or directory".encode())


def test_load(double: kvfake.Double, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what is there, or in its place; from a file, or from stdin."""
    file = tmp_path / "values.json"
    file.write_text('{"kvfake": 1, "mattermost": {"app/bot": {"": {"b": 2}}}}')
    double.mattermost["a"] = 1
    assert told("load", str(file)) == (0, b"")
    assert dict(double.mattermost) == {"a": 1, "b": 2}
    given(monkeypatch, file.read_bytes())
    assert told("load", "-", "--replace") == (0, b"")
    assert dict(double.mattermost) == {"b": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"kvfake": 1,\n 2}', "the body: line 2, column 2: "),
        ('{"kvfake": 1, "mattermost": {"app/bot": {"": {"a": 1, "..": 2}}}}', 'mattermost / app/bot / "" / ..: 404 page not found'),
        ("", "the body: line 1, column 1: "),
    ],
)
def test_a_file_that_is_not_right(text: str, reason: str, double: kvfake.Double, told: Any, tmp_path: Path) -> None:
    """The place and the reason are said; nothing was loaded, nothing forgotten."""
    double.mattermost["name"] = "Ada"
    file = tmp_path / "values.json"
    file.write_text(text)
    code, line = told("load", str(file), "--replace")
    assert code == 1
    assert line.decode().startswith(f"the server at {double.url} refuses: {reason}")
    assert dict(double.mattermost) == {"name": "Ada"}


def test_a_file_that_cannot_be_loaded(double: kvfake.Double, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not there, or larger than what a server takes."""
    file = str(tmp_path / "values.json")
    assert told("load", file) == (1, f"cannot read {file}: No such file or directory".encode())
    monkeypatch.setattr(values, "MAX_BODY_BYTES", 10)
    given(monkeypatch, b'{"kvfake":1}')
    reason = "- has 12 bytes: expected at most 10 (kvfake serve --seed FILE takes any number)"
    assert told("load", "-") == (1, reason.encode())


# ------------------------------------------------------------------------------------------------------------------ addresses


def test_a_world_beside_others(double: kvfake.Double, told: Any) -> None:
    """Its address says which is meant, and nothing lands elsewhere; one that has ended refuses."""
    world = asked(double.url + "/_kvfake/worlds", "POST").json()
    there = ("--url", world["address"])
    assert told("set", *there, "name", "1") == (0, b"")
    assert told("ls", *there) == (0, b"mattermost\tapp/bot\t\tname\n")
    assert told("ls") == (0, b"")
    asked(f"{double.url}/_kvfake/worlds/{world['id']}", "DELETE")
    reason = f"the world {world['id']} has ended: nothing of this request was done"
    assert told("get", *there, "name") == (1, f"the server at {world['address']} refuses: {reason}".encode())


def test_a_server_that_wants_a_token(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the flag, else by the variable."""
    with kvfake.start(control_token="key", site_path="/mm") as double:
        url = ("--url", double.url)
        code, line = told("ls", *url)
        assert code == 1
        assert line.decode().startswith(f"the server at {double.url} refuses: expected the control token")
        assert told("set", *url, "--control-token", "key", "name", "1") == (0, b"")
        monkeypatch.setenv("KVFAKE_CONTROL_TOKEN", "key")
        assert told("get", *url, "name") == (0, b"1")


@pytest.mark.parametrize("command", [["dump"], ["ls"], ["get", "name"], ["set", "name", "1"], ["del", "name"]], ids=" ".join)
def test_no_server(command: list[str], told: Any) -> None:
    """One line says so, and what to do."""
    with dead_port() as port:
        code, line = told(*command, "--url", f"http://127.0.0.1:{port}")
    reason = "Connection refused (kvfake serve starts one, --url names another)"
    assert (code, line.decode()) == (1, f"no kvfake server answers at http://127.0.0.1:{port}: {reason}")


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b'{"kvfake": "0.1.0"}',
        b'{"kvfake": 1, "mattermost": []}',
        b'{"kvfake": 1, "mattermost": {"app/bot": {"": 1}}}',
        b'{"kvfake": 1, "raw": 1}',
        b'{"kvfake": 1, "raw": {"mattermost": {"app/bot": {"": {"name": 1}}}}}',
        b'{"kvfake": 1, "persist": {"project": {"name": {}}}}',
        b'{"kvfake": 1, "persist": {"project": {"name": "text"}}}',
        b'{"kvfake": 1, "persist": {"project": {"name": {"value": 1}}}}',
        b'{"kvfake": 1, "persist": {"project": {"\\ud800": {"value": "x"}}}}',
    ],
)
def test_something_else_answers(answer: bytes, told: Any) -> None:
    """What is no file of values is not taken for one."""
    with stranger(http(answer)) as url:
        for command in ("get", "name"), ("ls",):
            code, line = told(*command, "--url", url)
            assert code == 1
            assert line.decode().startswith(f"no kvfake server answers at {url}: something else answers there (")


# --------------------------------------------------------------------------------------------------------------- all worlds


def test_the_values_of_all_worlds_in_one_file(
    double: kvfake.Double, told: Any, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Dumped with their ids. ``load`` sets those of one world: of ``--from-world``, of ``--world``, or the server's own."""
    file = str(tmp_path / "values.json")
    double.mattermost["name"] = "own"
    assert told("dump", "--all-worlds", file)[0] == 0
    assert "worlds" not in json.loads(Path(file).read_text())
    world, other = (asked(double.url + "/_kvfake/worlds", "POST").json()["id"] for _ in range(2))
    assert told("set", "--world", world, "name", '"of a world"')[0] == 0
    assert told("dump", "--all-worlds", file)[0] == 0
    assert told("dump", "--all-worlds")[1] == Path(file).read_bytes()
    data = json.loads(Path(file).read_text())
    assert data["mattermost"] == {"app/bot": {"": {"name": "own"}}}
    assert list(data["worlds"]) == sorted([world, other])
    assert data["worlds"][world] == {"kvfake": 1, "mattermost": {"app/bot": {"": {"name": "of a world"}}}, "persist": {}}

    assert told("del", "--world", world, "name")[0] == 0
    assert told("load", "--world", world, file)[0] == 0
    assert told("get", "--world", world, "name") == (0, b'"of a world"')
    assert told("load", "--from-world", world, file)[0] == 0
    assert told("get", "name") == (0, b'"of a world"')
    assert main(["load", file]) == 0
    assert (
        the_line(capsysbinary.readouterr().err.decode())
        == f"{file} also holds 2 other worlds, left out here (--from-world ID takes one)"
    )
    assert told("get", "name") == (0, b'"own"')
    assert told("load", "--from-world", "none", file)[1].startswith(
        f"{file} holds no world 'none': expected one of {world}".encode()
    )


def test_a_file_of_one_world_has_no_other(double: kvfake.Double, told: Any, tmp_path: Path) -> None:
    """It is said; a value may be called worlds."""
    file = tmp_path / "values.json"
    file.write_text('{"kvfake": 1, "persist": {"project": {"worlds": "x"}}}')
    assert told("load", str(file)) == (0, b"")
    assert told("get", "--service", "persist", "worlds") == (0, b"x")
    assert told("load", "--from-world", "a", str(file)) == (1, f"{file} holds no world 'a': it holds one world".encode())
    file.write_text('{"kvfake": 1}')
    assert told("load", "--from-world", "a", str(file)) == (1, f"{file} holds no world 'a': it holds one world".encode())
    file.write_text('{"worlds" 1}')
    assert told("load", str(file))[1].startswith(f"{file}: line 1, column 11: ".encode())
    file.write_text('{"worlds": 1}')
    assert told("load", str(file)) == (1, b"worlds: it is a number: expected an object")


def test_all_worlds_or_one(told: Any, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Not both; and only of a kvfake."""
    with pytest.raises(SystemExit):
        main(["dump", "--all-worlds", "--world", "a"])
    assert "--all-worlds: expected none with --world" in capsysbinary.readouterr().err.decode()
    answers = (http(b'{"kvfake": 1}'), http(b'{"kvfake": 1}'))
    with stranger(*answers) as url:
        assert b"something else answers there" in told("dump", "--all-worlds", "--url", url)[1]
