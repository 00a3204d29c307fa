"""The command line: ``serve``, ``env``, ``wait``, and what is said where something is wrong."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

import kvfake as library
from kvfake.cli import main
from tests.support.process import KVFAKE, PATIENCE_SECONDS, Ended, Running, asked, environment, kvfake, served, steers_kvfake
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


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if steers_kvfake(name)]:
        monkeypatch.delenv(name)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which somebody listens, and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def dead_port() -> Iterator[int]:
    """A port on which nobody listens and nobody can."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def url_of(port: AbstractContextManager[int]) -> Iterator[str]:
    with port as number:
        yield f"http://127.0.0.1:{number}"


@contextmanager
def stranger(*answers: bytes) -> Iterator[str]:
    """Something else at an address: it answers each connection with the next of these, the last again and again."""
    left = list(answers)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(PATIENCE_SECONDS)
            self.request.recv(65_536)
            self.request.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(PATIENCE_SECONDS)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)


def the_line(err: str) -> str:
    """All that was said on stderr, which is one line of kvfake's."""
    assert err.startswith("kvfake: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    return err[len("kvfake: ") : -1]


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
            assert time.monotonic() - begin < 5
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


def test_log_writes_a_line_an_exchange() -> None:
    """To stderr: method, target, status, bytes of the body; an access token stays out of it."""
    with served("--log") as (process, url):
        asked(url + KV + "name?access_token=secret", "PUT", b'"Ada"')
        asked(url + KV + "name", headers=bearer("secret"))
        asked(url + KV + "name?page=1", headers=bearer("secret"))
        asked(url + "/_kvfake/reset", "POST")
        process.signal(signal.SIGTERM)
        code, out, err = process.end()
    assert (code, out) == (0, "")
    assert "secret" not in err
    assert [line.rsplit(" ", 1)[0] for line in err.splitlines()] == [
        f"PUT {KV}name?access_token=... 200",
        f"GET {KV}name 200",
        f"GET {KV}name?page=1 200",
        "POST /_kvfake/reset 200",
    ]


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
    """The first line says what users see, and not where it listens."""
    with served("--public-url", "http://kv.example:8000/base/", "--site-path", "/mm") as (_, url):
        assert url == "http://kv.example:8000/base/mm"


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
    ],
)
def test_a_wrong_flag(command: str, flag: str, value: str, possible: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag and what it may be are named; the exit code is 2, and nothing was started."""
    with pytest.raises(SystemExit) as end:
        main([command, flag, value, *(["--", "never"] if command == "run" else [])])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"kvfake: error: {flag}: " in err
    assert possible in err


@pytest.mark.parametrize(
    ("variable", "value", "possible"),
    [
        ("KVFAKE_PORT", "many", "0 (any free port) to 65535"),
        ("KVFAKE_STRICT", "maybe", "one of 1, true, yes, on, 0, false, no, off"),
        ("KVFAKE_LOG", "2", "one of 1, true, yes, on, 0, false, no, off"),
        ("KVFAKE_TOKEN", "a=app/bot b", "'b' is not TOKEN=OWNER"),
        ("KVFAKE_PROFILE", "plugin", "one of documented, plugin-1.2"),
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
    assert f"kvfake: error: {variable}: " in err
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
    """The same names and values for a dotenv file and as JSON."""
    assert main(["env", "--url", double.url, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == double.env
    assert main(["env", "--url", double.url, "--format", "dotenv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f'{name}="{value}"' for name, value in double.env.items()]
    assert set(double.env) == NAMES


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
        (http(b'{\n "error":\n "no"\n}', b"404 Not Found"), 'status 404: { "error": "no" }'),
        (http(b'["KVFAKE_URL"]'), 'status 200: ["KVFAKE_URL"]'),
        (http(b'{"version": 3}'), "something else answers there"),
        (http(b'{"KVFAKE_URL": 3}'), "something else answers there"),
        (http(b'{"KVFAKE_URL": "x", "A; rm -r": "x"}'), "something else answers there"),
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


# -------------------------------------------------------------------------------------------------------------------- wait


def test_wait_for_a_server_that_answers(double: library.Double, capsys: pytest.CaptureFixture[str]) -> None:
    """It returns at once, and says nothing."""
    assert main(["wait", "--url", double.url, "--timeout", "0"]) == 0
    assert capsys.readouterr() == ("", "")


def test_wait_for_a_server_that_is_started_later() -> None:
    """From refused connections to the first answer."""
    with dead_port() as port:
        process = Running("wait", "--url", f"http://127.0.0.1:{port}", "--timeout", str(PATIENCE_SECONDS))
        with pytest.raises(subprocess.TimeoutExpired):
            process.process.wait(0.4)
    with process, library.start(port=port):
        assert process.end() == Ended(0, "", "")


def test_wait_for_what_answers_as_kvfake_at_last(capsys: pytest.CaptureFixture[str]) -> None:
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
    ],
    ids=["nobody", "somebody silent", "something else"],
)
def test_wait_in_vain(somebody: Callable[[], AbstractContextManager[str]], seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After the timeout one line says what was seen, and the exit code is 1."""
    with somebody() as url:
        assert main(["wait", "--url", url, "--timeout", "0.3"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert the_line(err) == f"no kvfake server answered at {url} within 0.3 seconds: {seen}"


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


@pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["env"], ["wait"]], ids=" ".join)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: kvfake", *command]))


@pytest.mark.parametrize(
    ("command", "sentences"),
    [
        ("serve", ["--port PORT", "(default: 8065)", "--strict, --no-strict", "--log, --no-log", "KVFAKE_MATTERMOST_MISSING"]),
        ("run", ["kvfake run [options] -- COMMAND [ARGUMENT ...]", "(default: a free one)", "(default: 127.0.0.1)"]),
        ("env", ["the variable KVFAKE_URL, else http://127.0.0.1:8065", "{sh,dotenv,json}"]),
        ("wait", ["the variable KVFAKE_URL, else http://127.0.0.1:8065", "(default: 30)"]),
    ],
)
def test_help_says_defaults(command: str, sentences: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What happens where nothing is said stands beside each option."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for sentence in sentences:
        assert sentence in text


def test_version() -> None:
    """The package's, whichever way the command is started."""
    assert kvfake("--version") == Ended(0, f"kvfake {library.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["dance"], ["serve", "more"], ["serve", "--", "more"], ["env", "--form=xml"]], ids=" ".join)
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is shown, and the exit code is 2."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: kvfake")


def test_importing_the_command_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Only ``python -m kvfake`` runs it."""
    importlib.import_module("kvfake.__main__")
    assert capsys.readouterr() == ("", "")


def test_output_may_be_cut_off() -> None:
    """A reader that has heard enough causes no traceback."""
    with served() as (_, url):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "kvfake", "env", "--url", url]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
