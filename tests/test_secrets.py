"""No secret is shown: a marked one lies in every place that can hold one, and every output is searched for it."""

from __future__ import annotations

import base64
import json
import re
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import kvfake
from kvfake.cli import main
from kvfake.double import Double
from kvfake.services.mattermost import KV
from kvfake.services.messages import Request, Response
from kvfake.settings import SETTINGS, TOKEN_OPTIONS
from kvfake.world.redaction import BY_NAME, SECRET_NAMES, Redactor, beginning
from tests.support.doors import DOORS, opened
from tests.support.process import Running, asked, served
from tests.support.process import kvfake as run_kvfake
from tests.support.recordings import lines_of, standing_before
from tests.support.strangers import http, stranger
from tests.support.suites import run
from tests.support.wire import Wire, request_bytes

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

BIDI, TITLE = "\u202e\u2066", "\x1b]0;owned\x07"
"""What changes the order of what is read, and the title of a terminal."""


class Marks:
    """Secrets, each of which says where it was put."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def __call__(self, place: str) -> str:
        self._made.append(f"s3cr3t-{place}-{len(self._made):03}zq")
        return self._made[-1]

    def found_in(self, *texts: str | bytes) -> list[str]:
        """The marks in these texts, also in base64 and in the escapes of URLs."""
        assert self._made
        whole = "\n".join(text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts)
        for coded in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", whole):
            coded = coded.rstrip("=")
            whole += base64.b64decode(coded[: len(coded) // 4 * 4]).decode("utf-8", "replace")
        return [mark for mark in self._made if mark in whole or quote(mark, "") in whole or mark.replace("-", "%2D") in whole]


@pytest.fixture
def mark() -> Marks:
    return Marks()


# ----------------------------------------------------------------------------------------------------------- what may be secret


def request_headers(mark: Marks) -> dict[str, str]:
    """Every header of a request that can hold a secret."""
    basic = base64.b64encode(f"user:{mark('proxy-authorization')}".encode()).decode()
    return {
        "Authorization": f"Bearer {mark('authorization')}",
        "Proxy-Authorization": f"Basic {basic}",
        "Cookie": f"MMAUTHTOKEN={mark('session-cookie')}; other={mark('other-cookie')}",
        "X-CSRF-Token": mark("csrf"),
        "X-Api-Key": mark("api-key"),
        "X-Auth-Token": mark("auth-token"),
        "Token": mark("token-header"),
        "Referer": f"https://app.example/page?a=1&access_token={mark('referer')}&b=2",
        "Origin": f"https://user:{mark('origin')}@app.example",
    }


def bodies(mark: Marks) -> dict[str, bytes]:
    """Bodies that can hold a secret, by their type."""
    nested = json.dumps({"outer": json.dumps({"password": mark("json-in-json"), "more": "x"})})
    members = {
        "login_id": "ada", "password": mark('json-password"quoted'), "token": mark("json-token"), "new_password": mark("new"),
        "context": {"bot_access_token": mark("bot-token"), "acting_user_access_token": mark("user-token")},
        "oauth": [{"client_secret": mark("client-secret"), "refresh_token": mark("refresh"), "api_key": mark("json-api-key")}],
        "headers": {"Authorization": f"Bearer {mark('echoed')}", "Set-Cookie": mark("echoed-cookie")},
        "secret": {"inner": mark("in-an-object"), "more": [mark("in-a-list")]}, "PASSWD": mark("upper-case"),
        "url": f"https://user:{mark('url-in-json')}@host/?access_token={mark('query-in-json')}", "name": "Ada",
    }  # fmt: skip
    form = f"login_id=ada&password={mark('form-password')},with+comma&token={quote(mark('form-token'))}&user%5Bpassword%5D="
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    return {
        "application/json": json.dumps(members).encode(),
        "application/json; charset=utf-8": nested.encode(),
        "application/x-www-form-urlencoded": (form + mark("form-nested")).encode(),
        "multipart/form-data; boundary=x": (part.format("password", mark("multipart")) + part.format("name", "Ada")).encode(),
        "text/plain": f"password: {mark('in-a-line')}\nname: Ada".encode(),
        "application/octet-stream": b'\xff{"password": "' + mark("no-text").encode() + b'"}',
        "application/json; cut": b'{"password": "' + mark("no-end").encode(),
    }


def answer(mark: Marks) -> dict[str, Any]:
    """Every part of an answer that can hold a secret."""
    return {
        "status": 302,
        "body": json.dumps({"id": "u", "token": mark("answer-token"), "data": {"access_token": mark("answer-nested")}}),
        "headers": {
            "Token": mark("login-token"),
            "Set-Cookie": f"MMAUTHTOKEN={mark('set-cookie')}; Path=/; HttpOnly",
            "Location": f"https://user:{mark('location-user')}@host/cb?access_token={mark('location')}&state=1",
            "Link": f"<https://host/?page=2&access_token={mark('link')}>; rel=next",
            "Refresh": f"0; url=https://host/?redirect=https%3A%2F%2Fx%3Faccess_token%3D{mark('nested-url')}",
        },
    }


def ask_everything(send: Callable[..., object], mark: Marks, known: str) -> None:
    """Requests to the stores, and to paths beside them that a route, a fallback or nobody answers; ``known`` is one of the world's
    tokens.
    """
    headers = request_headers(mark)
    for path in (f"{KV}/name", "/login", "/nowhere", "/passed/on"):
        for type_, body in bodies(mark).items() if path != f"{KV}/name" else ():
            send("POST", path, {**headers, "Content-Type": type_}, body)
        query = f"?access%5Ftoken={mark('query')}&password={mark('query-password')}"
        send("GET", path + query, {name: headers[name] for name in ("Referer", "Origin", "Token")}, b"")
    send("GET", f"{KV}//name?access_token={mark('redirected')}", {}, b"")  # M21 redirects with the query
    send("PUT", f"{KV}/{known}", {"Authorization": f"Bearer {known}", "X-Mine": known}, json.dumps({"mine": known}).encode())
    send("PUT", f"{KV}/long", {"Authorization": f"Bearer {known}"}, json.dumps("x" * 8150 + known).encode())
    send("GET", f"{KV}/long", {"Authorization": f"Bearer {known}"}, b"")


def everything(exchange: kvfake.Exchange) -> str:
    """All that an exchange can be made to say, but for its key."""
    path = "" if exchange.verb else exchange.path  # a key is a user's: it is as it was sent, to be asked for
    parts = [exchange, path, exchange.fault, *exchange.request, *exchange.response, exchange.request, exchange.response]
    return repr(parts) + json.dumps(exchange.to_dict())


# ------------------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("door", DOORS)
def test_the_journal_in_python_shows_none(mark: Marks, door: str) -> None:
    """Nor do assertions on it, whatever answered, and also where a body is cut."""
    known = mark("named")
    with opened(door, token=[f"{known}=app/bot"], journal_body_bytes=8170) as one:
        one.double.respond(None, "/login", **answer(mark))
        one.double.faults.add(status=503, key="faulty", headers={"Set-Cookie": mark("fault")}, times=None)
        ask_everything(one.send, mark, known)
        one.send("GET", f"{KV}/faulty", {"Authorization": f"Bearer {known}"}, b"")
        journal = one.double.journal
        assert len(journal) > 20
        with pytest.raises(AssertionError) as failed:
            journal.assert_requested("PATCH", key=re.compile("x"), path="y")
        assert mark.found_in(str(failed.value), *map(everything, journal)) == []
        assert [exchange.fault for exchange in journal if exchange.status == 503] == list(one.double.faults)
        login = next(exchange for exchange in journal if exchange.path == "/login" and exchange.method == "POST")
        assert login.request.json()["name"] == "Ada"  # what is no secret is there


def test_the_values_of_the_stores_are_shown_as_they_are() -> None:
    """Whatever their members are called; only tokens that the world knows are hidden in them."""
    with opened("wsgi", token=["a-named-token=app/bot", "abc=project:p"]) as one:
        value = {"password": "mine", "token": "mine too", "abc": "abc", "known": "a-named-token"}
        headers = {"Authorization": "Bearer a-named-token"}
        one.send("PUT", f"{KV}/password", headers, json.dumps(value).encode())
        assert one.send("GET", f"{KV}/password", headers).json() == value
        put, got = one.double.journal
        assert put.request.json() == got.response.json() == {**value, "known": "a-na..."}
        assert (put.key, put.path) == ("password", f"{KV}/password")


def test_a_running_server_shows_none(mark: Marks, tmp_path: Path) -> None:
    """Its log, its journal over HTTP and in a file, its answers about itself."""
    known, control, file = mark("named"), mark("control"), tmp_path / "journal.jsonl"
    with kvfake.start() as upstream:
        upstream.respond(None, "/passed/on", **answer(mark))
        at = upstream.url.removeprefix("http://")
        settings = {
            "--fallback": f"http://user:{mark('fallback')}@{at}",
            "--token": f"{known}=app/bot",
            "--control-token": control,
            "--journal": str(file),
        }
        flags = [word for pair in settings.items() for word in pair]
        with served("--log", *flags) as (process, url):
            port = int(url.rpartition(":")[2])

            def send(method: str, target: str, headers: dict[str, str], body: bytes) -> None:
                with Wire(port) as wire:
                    wire.ask(request_bytes(method, target, headers, body))

            send("POST", f"{url}/_kvfake/routes", {"Authorization": f"Bearer {control}"}, route(mark))
            ask_everything(send, mark, known)
            shown = [asked(f"{url}/_kvfake/{path}", headers={"Authorization": f"Bearer {control}"}) for path in OF_CONTROL]
            refused = asked(f"{url}/_kvfake/journal", headers={"Authorization": f"Bearer {mark('wrong-control')}"})
            assert (refused.status, {reply.status for reply in shown}) == (401, {200})
            process.signal(signal.SIGTERM)
            out, err = process.end()[1:]
    assert "/login" in err
    assert "/passed/on" in file.read_text()
    assert mark.found_in(out, err, file.read_bytes(), refused.body, *[reply.body for reply in shown]) == []


OF_CONTROL = ("journal", "health", "faults", "routes", "clock", "checkpoints")


def route(mark: Marks) -> bytes:
    """A route for /login, as control takes it."""
    return json.dumps({"path": "/login", **answer(mark)}).encode()


def test_a_dump_names_tokens_and_shows_no_other(mark: Marks, tmp_path: Path) -> None:
    """Tokens that a user has named belong into a file of values. A token that was sent does not."""
    double = Double(token=[f"{(named := 'named-by-the-user')}=app/bot"])
    double.respond(None, "/login", **answer(mark))
    with opened("wsgi", token=[f"{named}=app/bot"]) as one:
        ask_everything(one.send, mark, named)
        dumped = one.double.dump()
    assert dumped["tokens"] == {named: "app/bot"}
    assert mark.found_in(json.dumps(dumped)) == []


def test_the_report_of_a_failed_test_shows_none(mark: Marks, pytester: pytest.Pytester) -> None:
    """Nor the line at its head, whatever the settings hold; and each line of it can be shown on a terminal."""
    known = mark("named")
    values = {
        "headers": request_headers(mark), "bodies": [[type_, body.decode("latin-1")] for type_, body in bodies(mark).items()],
        "answer": answer(mark), "known": known, "query": f"?access_token={mark('query')}&password={mark('query-password')}",
        "odd": f"/odd{TITLE}{BIDI}",
    }  # fmt: skip
    pytester.makefile(".json", values=json.dumps(values))
    pytester.makepyfile("""
        import json, requests
        from pathlib import Path

        def test_it(kvfake):
            values = json.loads(Path("values.json").read_text())
            kvfake.token(values["known"], "app/ada")
            kvfake.respond(None, "/login", **values["answer"])
            kvfake.faults.add(status=500, headers={"Set-Cookie": values["answer"]["headers"]["Set-Cookie"]}, key="never")
            kvfake.mattermost[values["known"]] = 1
            with requests.Session() as session:
                for path in ("/login", "/nowhere"):
                    for type_, body in values["bodies"]:
                        session.post(kvfake.url + path + values["query"], data=body.encode("latin-1"), allow_redirects=False,
                                     headers={**values["headers"], "Content-Type": type_})
                session.put(kvfake.mattermost.url_for("k"), headers=kvfake.mattermost.headers, data=json.dumps(values["odd"]))
                session.post(kvfake.url + "/odd", data=values["odd"].encode())
            assert kvfake.journal[0].request == kvfake.journal[1].request
    """)
    flags = [f"--kvfake-fallback=http://user:{mark('fallback')}@127.0.0.1:1", f"--kvfake-control-token={mark('control')}"]
    result = run(pytester, "--tb=short", f"--kvfake-token={mark('session')}=app/other", *flags)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "kvfake: control_token=given, fallback=http://...@127.0.0.1:1, token=1 declared" in text
    assert "exchanges:" in text
    assert mark.found_in(text, result.stderr.str()) == []
    assert [line for line in text.splitlines() if not line.isprintable()] == []


def test_a_recording_holds_none(mark: Marks, tmp_path: Path) -> None:
    """Of no store, and of nothing beside."""
    file, known = tmp_path / "recording.jsonl", mark("named")
    with kvfake.start(token=[f"{known}=app/bot"]) as real:
        real.respond(None, "/login", **answer(mark))
        with standing_before(real.url, file) as url:
            port = int(url.rpartition(":")[2])

            def send(method: str, target: str, headers: dict[str, str], body: bytes) -> None:
                with Wire(port) as wire:
                    wire.ask(request_bytes(method, target, headers, body))

            ask_everything(send, mark, known)
        assert len(lines_of(file)) > 20
    said = run_kvfake("compare", str(file))
    assert mark.found_in(file.read_bytes(), said.out, said.err) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


LOCATIONS = (
    "https://ada:{}@sso/login", "https://sso/cb#access_token={}", "https://sso/cb?state=1#id_token={}", "https://ada%40e:{}@sso/?x=1",
    "https://sso/cb?u=https://ada%40e:{}@h/", "/cb#access_token={}", "https://{}@sso/login",
)  # fmt: skip


@pytest.mark.parametrize(
    "answered",
    [{"status": 302, "headers": {"Location": location}} for location in LOCATIONS]
    + [{"status": status, "body": '{"password": "{}"}'} for status in (302, 403, 502)],
    ids=str,
)
def test_a_recording_keeps_none_of_what_stands_before_a_store(mark: Marks, tmp_path: Path, answered: dict[str, Any]) -> None:
    """A login answers a request to a store in its place: with a redirect, or with a page."""
    file, secret = tmp_path / "recording.jsonl", mark("login")
    text = json.dumps(answered).replace("{}", secret)
    with kvfake.start() as real, standing_before(real.url, file) as url:
        real.faults.add(**json.loads(text))
        with Wire(int(url.rpartition(":")[2])) as wire:
            wire.ask(request_bytes("GET", f"{KV}/name", {"Authorization": "Bearer some-token"}))
        (line,) = lines_of(file)
    assert (line["answer"]["status"], line["target"]) == (answered["status"], f"{KV}/name")
    assert mark.found_in(file.read_bytes()) == []


def test_a_recording_keeps_the_values_of_a_store(tmp_path: Path) -> None:
    """Whatever their members are called."""
    file = tmp_path / "recording.jsonl"
    with kvfake.start() as real, standing_before(real.url, file) as url:
        real.mattermost["name"] = {"password": "a value"}
        with Wire(int(url.rpartition(":")[2])) as wire:
            wire.ask(request_bytes("GET", f"{KV}/name", real.mattermost.headers))
        (line,) = lines_of(file)
    assert json.loads(line["answer"]["body"]) == {"password": "a value"}


def test_verdicts_show_none(mark: Marks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a server that gives back what it was given, and more, in lines, JSON and XML; and nothing that moves a cursor."""
    tokens = {flag: mark(flag.strip("-")) for flag in TOKEN_OPTIONS}
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer(mark)["headers"].items())
    echo = json.dumps({"token": mark("answered"), "you": list(tokens.values()), "words": TITLE + BIDI}, ensure_ascii=False).encode()
    reply = b"HTTP/1.1 400 No\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (headers.encode(), len(echo), echo)
    page = http(b"{}")
    junit = tmp_path / "junit.xml"
    for answers in ((reply,), (page, page, page, reply), (http(TITLE.encode(), b"401 " + TITLE.encode()),)):
        for flags in ((), ("--json",), ("--junit", str(junit))):
            with stranger(*answers) as url:
                given = [word for pair in tokens.items() for word in pair]
                assert main(["verify", "--against", url, "--timeout", "2", *given, *flags]) in (1, 2)
            shown = capsys.readouterr()
            xml = junit.read_text() if junit.exists() else ""
            assert mark.found_in(shown.out, shown.err, xml) == []
            assert [line for line in (shown.out + shown.err + xml).splitlines() if not line.isprintable()] == []


def test_what_a_recorded_server_said_is_compared_in_lines_that_can_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its target, its headers, its token and its body hold: nothing that moves a cursor or turns the order of a line."""
    odd, file = TITLE + BIDI + "\n\x9b31m", tmp_path / "recording.jsonl"
    answered = {"status": 400, "headers": {"content-type": "x\x1b[31m"}, "body": odd}
    line = {"number": 1, "method": "GET" + TITLE, "target": f"{KV}/{odd}", "headers": {"authorization": "Bearer \x1b[31m"}}
    first = {"kvfake_recording": 1, "against": "http://real.example"}
    file.write_text("".join(json.dumps(one) + "\n" for one in (first, {**line, "body": odd, "answer": answered})))
    assert main(["compare", str(file)]) == 1
    shown = capsys.readouterr()
    assert "\\x1b]0;owned\\x07" in shown.out
    assert [line for line in shown.out.splitlines() if not line.isprintable()] == []


# -------------------------------------------------------------------------------------------------------- settings and errors


WRONG = {  # settings that are refused, with a secret in them
    "KVFAKE_TOKEN": ["{}", "{}=", "{}=nobody", "a=app/bot {}"],
    "KVFAKE_PUBLIC_URL": ["ftp://user:{}@host", "http://user:{}@host:0", "user:{}@host", "http://host/?access_token={}"],
    "KVFAKE_FALLBACK": ["ftp://user:{}@host", "http://user:{}@[::1", "http://host/#{}"],
    "KVFAKE_CONTROL_TOKEN": ["{}\udcff"],
}


@pytest.mark.parametrize(("variable", "form"), [(name, form) for name, forms in WRONG.items() for form in forms])
def test_the_error_of_a_wrong_variable_shows_none(
    mark: Marks, variable: str, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the variable, and what is expected."""
    monkeypatch.setenv(variable, form.format(mark("setting")))
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert variable in shown.err
    assert mark.found_in(shown.out, shown.err) == []


@pytest.mark.parametrize("text", ["{}", "{}=nobody"])
def test_the_error_of_a_wrong_token_in_python_shows_none(mark: Marks, text: str) -> None:
    with pytest.raises(ValueError, match=r"expected app/user|is not TOKEN=OWNER") as wrong:
        Double(token=[text.format(mark("token"))])
    assert mark.found_in(str(wrong.value)) == []


@pytest.mark.parametrize("form", ["http://user:{}@host", "http://host?access_token={}", "user:{}@host"])
@pytest.mark.parametrize("command", [["verify", "--bot-token", "t"], ["record", "-o", "/dev/null"]], ids=["verify", "record"])
def test_the_error_of_a_wrong_site_url_shows_none(
    mark: Marks, command: list[str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        assert main([*command, "--against", form.format(mark("against"))]) in (1, 2)
    shown = capsys.readouterr()
    assert mark.found_in(shown.out, shown.err) == []


def test_the_error_of_a_seed_shows_none(mark: Marks, tmp_path: Path) -> None:
    """Where it is about a token."""
    name = mark("seed")
    for tokens in (f'{{"{name}": 5}}', f'{{"{name}": "nobody"}}', f'{{"{name}": "app/a", "{name}": "app/b"}}'):
        seed = tmp_path / "seed.json"
        seed.write_text(f'{{"kvfake": 1, "tokens": {tokens}}}')
        with pytest.raises(ValueError, match=r"tokens / s3cr\.\.\.|the name s3cr\.\.\. stands twice") as wrong:
            Double(seed=str(seed))
        assert mark.found_in(str(wrong.value)) == []
    seed.write_text('{"kvfake": 1, "persist": {"project": {"key": "one", "key": "two"}}}')
    with pytest.raises(ValueError, match="the name 'key' stands twice"):
        Double(seed=str(seed))


def test_help_shows_no_value_of_a_variable(
    mark: Marks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any command, whatever the environment holds."""
    names = [setting.variable for setting in SETTINGS] + [variable for variable, _ in TOKEN_OPTIONS.values()] + ["KVFAKE_URL"]
    for name in names:
        monkeypatch.setenv(name, mark(name.lower()))
    for command in ("serve", "run", "env", "wait", "dump", "load", "ls", "get", "set", "del", "verify", "record", "compare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    assert mark.found_in(*capsys.readouterr()) == []


def test_a_child_of_run_has_tokens_in_its_environment_alone(mark: Marks) -> None:
    """Neither in its arguments nor in its name."""
    token = mark("named")
    look = "import os; p='/proc/self/'; print(open(p+'cmdline').read(), open(p+'comm').read(), os.environ['MATTERMOST_BOT_TOKEN'])"
    said = run_kvfake("run", "--strict", "--", "python3", "-c", look, KVFAKE_TOKEN=f"{token}=app/bot")
    *rest, issued = said.out.split()
    assert (said.code, said.err) == (0, "")
    assert issued not in rest
    assert token not in rest


def test_a_server_behind_a_url_with_a_password(mark: Marks) -> None:
    """The first line, the error of a client, and `repr` show the URL without it."""
    url = f"http://user:{mark('public-url')}@kv.example"
    with Running("serve", "--port", "0", "--public-url", url) as process:
        assert process.line().endswith(", reached at http://...@kv.example")
        process.signal(signal.SIGTERM)
        assert mark.found_in(*process.end()[1:]) == []
    double = Double(public_url=url)
    assert repr(double).startswith("<kvfake.Double http://...@kv.example: ")
    said = run_kvfake("wait", "--timeout", "0", "--url", url.replace("kv.example", "127.0.0.1:1"))
    assert (said.code, mark.found_in(said.out, said.err)) == (1, [])


def test_no_repr_shows_one(mark: Marks) -> None:
    """Of what a user or a traceback may show."""
    double = Double(token=[f"{mark('named')}=app/bot"])
    token = double.mattermost.token
    double.mattermost["k"], double.persist["k"] = token, token
    fault = double.faults.add(status=500, headers={"Set-Cookie": mark("fault"), "Token": mark("fault-token")})
    headers = {name.encode(): value.encode() for name, value in request_headers(mark).items()}
    request = Request("POST", f"/?access_token={mark('target')}".encode(), headers, mark("body").encode())
    response = Response(200, tuple(answer(mark)["headers"].items()), mark("answer").encode())
    shown = list(map(repr, (double, double.mattermost, double.persist, double.mattermost.raw, fault, request, response)))
    assert mark.found_in(*shown, str(fault)) == []
    assert token not in "".join(shown)
    assert "body=<" in shown[-1]


# ----------------------------------------------------------------------------------------------------- what goes by a secret's name


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize(
    "form", ['{{"{}": "%", "n": 1}}', "{}=%&n=1", "a=b&my_{}=%&n=1", '{{"n": {{"new_{}" : "%"}}}}', "{}: %", "{{'{}': '%'}}"]
)
def test_each_name_of_a_secret_hides_its_value(name: str, form: str) -> None:
    """In every spelling, and as the end of a longer name."""
    for spelled in (name, name.upper(), name.title()):
        text = form.format(spelled)
        assert BY_NAME.redact_text(text.replace("%", "a secret, or two").replace(" ", "+" if "=" in text else " ")) == text.replace(
            "%", "..."
        )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password":"a\\"b","x":"y"}', '{"password":"...","x":"y"}'),
        ('{"password":"a\\\\","x":"y"}', '{"password":"...","x":"y"}'),
        ('{"p\\u0061ssword":"a"}', '{"p\\u0061ssword":"..."}'),
        ('{"password":1234,"x":1}', '{"password":"...","x":1}'),
        ('{"password":null,"token":"","secret":true}', '{"password":null,"token":"","secret":true}'),
        ('{"secret":{"a":"}","b":["s"]},"x":1}', '{"secret":"...","x":1}'),
        ('{"secret":["a","b"],"x":1}', '{"secret":"...","x":1}'),
        ('{"secret":["a","b', '{"secret":"..."'),
        ('{"a":"{\\"password\\":\\"x\\\\\\"y\\",\\"z\\":1}"}', '{"a":"{\\"password\\":\\"...\\",\\"z\\":1}"}'),
        ('{"password":"abc', '{"password":"...'),
        ("p%61ssword=a%26b&x=y", "p%61ssword=...&x=y"),
        ("password=a,b c\"d'e<f&x=y", "password=...&x=y"),
        ("q=%7B%22password%22%3A%22a,b%22%7D&x=y", "q=%7B%22password%22%3A...&x=y"),
        ("<a href='/?access_token=abc'>", "<a href='/?access_token=...'>"),
        ("token", "token"),
        ("token=", "token="),
        ("the token is a=b", "the token is a=b"),
        ("tokens=3&token_type=bearer", "tokens=3&token_type=bearer"),
        ("https://a:b@c/?d=e", "https://...@c/?d=e"),
        ("https://a@c/:d@e", "https://...@c/:d@e"),
        ('{"url":"https:\\/\\/a:b@c"}', '{"url":"https:\\/\\/...@c"}'),
    ],
)
def test_a_value_ends_where_its_form_says(text: str, shown: str) -> None:
    """What is JSON is JSON still, and what is beside the secret stays."""
    assert BY_NAME.redact_text(text) == shown


USERINFO = (
    "ada:{}", "ada%40example.com:{}", "ada:pa%2F{}", "ada:pa%23{}", "ada:pa%3F{}", "ada:pa'{}", "ada:pa@{}", "ada:pa&{}", "{}",
    "{}:x-oauth-basic", ":{}",
)  # fmt: skip


@pytest.mark.parametrize("userinfo", USERINFO)
@pytest.mark.parametrize(
    "form",
    [
        "https://{}@host/x",
        '{{"u": "https://{}@host/x"}}',
        "/hook?u=https://{}@host/&n=1",
        '{{"u": "https:\\/\\/{}@host"}}',
        "<a href='//{}@h/'>",
    ],
)
def test_what_stands_before_the_host_of_a_url_is_hidden(mark: Marks, form: str, userinfo: str) -> None:
    """However it is escaped, and with or without a colon: the name of a user may be a token."""
    before, after = form.format("@").split("@@")
    text = form.format(userinfo.format(mark("userinfo")))
    assert BY_NAME.redact_text(text) == f"{before}...@{after}"


@pytest.mark.parametrize("userinfo", USERINFO)
def test_a_url_in_a_query_is_shown_without_what_stands_before_its_host(mark: Marks, userinfo: str) -> None:
    """It is escaped once more there."""
    url = f"https://{userinfo.format(mark('userinfo'))}@host/x"
    assert BY_NAME.redact_text(f"u={quote(url, '')}&n=1") == "u=https%3A%2F%2F...%40host%2Fx&n=1"


@pytest.mark.parametrize("userinfo", [*USERINFO, 'ada:pa"{}', "ada:pa<{}", "ada:pa\\{}"])
def test_the_own_url_and_that_of_a_fallback_are_shown_without_what_stands_before_the_host(mark: Marks, userinfo: str) -> None:
    """In the error of a fallback that does not answer, and in `repr`."""
    user = userinfo.format(mark("userinfo"))
    with opened("wsgi", fallback=f"http://{user}@127.0.0.1:1", public_url=f"http://{user}@kv.example") as one:
        answered = one.send("GET", "/elsewhere", {}, b"")
        assert answered.status == 502
        assert b"http://...@127.0.0.1:1 did not answer" in answered.body
        assert mark.found_in(answered.body, repr(one.double)) == []


PARAMETERS = (
    'name="password"', 'name="Password"', 'name="newPassword"', 'name="accessToken"', 'name="user[password]"',
    "name='password'", "name=password", 'Name="password"', 'name = "pass%77ord" ; filename="x"', 'filename="x"; name=token',
    '\r\n name="token"', 'name="token"\r\nContent-Type: text/plain',
)  # fmt: skip


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("value", ["{}", "first\r\n--line {}", "first\r\n\r\n{}", "{}\r\n--x", ""])
@pytest.mark.parametrize("line_end", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_a_part_of_a_form_with_the_name_of_a_secret_is_hidden(mark: Marks, parameter: str, value: str, line_end: str) -> None:
    """However the name is written, and whatever lines the value has. The parts beside it stay."""
    beside = '--xy\r\nContent-Disposition: form-data; name="n"\r\n\r\n--other\r\nAda\r\n'
    start, end = f"{beside}--xy\r\nX: y\r\ncontent-Disposition: form-data; {parameter}\r\n\r\n", f"\r\n{beside}--xy--\r\n"
    start, value, end = (text.replace("\r\n", line_end) for text in (start, value.format(mark("part")), end))
    assert BY_NAME.redact_text(start + value + end) == f"{start}...{end}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Content-Disposition: form-data; name="token"\n\na', 'Content-Disposition: form-data; name="token"\n\n...'),
        ('--x\nContent-Disposition: form-data; name="token"\n\na', '--x\nContent-Disposition: form-data; name="token"\n\n...'),
        ('--x\nContent-Disposition: form-data; name="token"\na', '--x\nContent-Disposition: form-data; name="token"\na'),
    ],
)
def test_a_part_without_a_beginning_or_an_end(text: str, shown: str) -> None:
    """Is hidden to the end of the text; and one without a value has none."""
    assert BY_NAME.redact_text(text) == shown


def test_overlapping_tokens_leave_nothing_over() -> None:
    """One begins inside of the other, or a secret by name holds it."""
    redactor = Redactor(["abcdef", "defghi"])
    assert redactor.redact("x abcdefghi y") == "x ... y"
    assert redactor.redact_text("x=defghi&password=1defghi2&y=abcdef") == "x=...&password=...&y=..."
    assert redactor.redact_text("x=abcdefpassword=defghi") == "x=...password=..."


def test_a_short_token_garbles_no_word() -> None:
    """Its letters stand in many words; the header that names it hides it."""
    with opened("wsgi", token=["uth=app/bot"]) as one:
        one.send("PUT", f"{KV}/uth", {"Authorization": "Bearer uth"}, b'"unauthorized"')
        (put,) = one.double.journal
        assert (put.request.json(), put.key) == ("unauthorized", "uth")
        assert put.request.headers["authorization"] == "Bearer ..."


def test_a_token_at_the_place_of_a_cut(mark: Marks) -> None:
    """Is left out as a whole, so that no part of it is shown."""
    token = "a-token-of-some-length"
    with opened("wsgi", journal_body_bytes=40, token=[f"{token}=app/bot"]) as one:
        one.send("PUT", f"{KV}/k", {"Authorization": f"Bearer {token}"}, f'"{token} 1234 {token}"'.encode())
        assert one.double.journal[0].request.body == b'"a-to... 1234 '


def test_a_compressed_body_beside_the_stores_is_not_shown() -> None:
    """Nobody can see what is in it."""
    with opened("wsgi") as one:
        one.send("POST", "/login", {"Content-Encoding": "gzip"}, b"\x1f\x8b password")
        assert one.double.journal[0].request.body == b"..."


# --------------------------------------------------------------------------------------------------------------------- growth


@pytest.mark.parametrize(
    "part",
    [b"token=", b'token:"\\', b'"\\', b'token:{"', b"//a:", b"token  ", b'secret:"\\"', b"%74oken%3D", b'\\"token\\":\\"',
     b'name="token"\r\n', b'name="', b"token: [", b"cookie'", b"//a@", b"//a@b", b"a@", b"%2F%2Fa", b"%2f%2fa%40", b"\n--x",
     b'\nContent-Disposition: form-data; name="token"', b'\r\n--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n',
     b"\n--x\nContent-Disposition: x\n token\n \n", b"\nContent-Disposition: token  ", b"//" + b"a" * 499_998],
)  # fmt: skip
def test_a_large_text_is_searched_for_names_in_linear_time(part: bytes) -> None:
    """Whatever it looks like: the square of this length would take hours."""
    data = part * (500_000 // len(part))
    assert len(BY_NAME.redact_message(data)) < 3 * len(data)


def seconds(call: Callable[[], object]) -> float:
    """The best of several tries."""
    tries = []
    for _ in range(7):
        began = time.process_time()
        call()
        tries.append(time.process_time() - began)
    return min(tries)


@pytest.mark.parametrize("form", ["{:08x}-token", "bot-token-{:08}"], ids=["that begin as they like", "that begin alike"])
def test_the_cost_of_a_text_does_not_grow_with_the_number_of_tokens(form: str) -> None:
    """Ten times as many tokens: about the same time."""
    text = b"Some words of a tenant, bot-token-, and more of them. " * 200
    few, many = ([form.format(number * 7919) for number in range(count)] for count in (1000, 10_000))
    small, large = Redactor(few, beginning), Redactor(many, beginning)
    assert large.redact_bytes(text + many[-1].encode()) == text + many[-1][:4].encode() + b"..."
    assert seconds(lambda: large.redact_bytes(text)) < 2.5 * seconds(lambda: small.redact_bytes(text))


def test_a_token_that_is_named_later_is_hidden_from_then_on() -> None:
    """Also in what was recorded before, and also as the ten-thousandth."""
    with opened("wsgi", token=[f"token-{number:06}=app/bot" for number in range(50)]) as one:
        one.send("PUT", f"{KV}/k", one.double.mattermost.headers, b'"named-later token-000049"')
        assert one.double.journal[0].request.json() == "named-later toke..."
        one.double.token("named-later", "app/ada")
        assert one.double.journal[0].request.json() == "...ater toke...".replace("...ater", "...")
