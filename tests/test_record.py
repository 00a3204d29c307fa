"""``kvfake record``: an app and a real server hear each other as ever, and what they say is kept in a file that holds no token."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

import kvfake
from kvfake.cli import main
from kvfake.contract import recording
from kvfake.contract.recording import RecordingWriter, redacted
from kvfake.double import Double
from kvfake.services.messages import Request, Response
from kvfake.world.redaction import Redactor, label, shortened
from tests.support.process import Running, asked
from tests.support.process import kvfake as run_kvfake
from tests.support.recordings import KV, lines_of, standing_before
from tests.support.strangers import dead_port, http, stranger, taken_port, the_line, url_of
from tests.support.troubled_servers import SELF_SIGNED, behind_tls
from tests.support.wire import Wire, request_bytes

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

BOT, USER, PROJECT = "bot-token-4f1c9a", "user-token/7+e2=", "project-token-c03d"
TOKENS = (f"{BOT}=app/bot", f"{USER}=app/user", f"{PROJECT}=project:one")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


@pytest.fixture
def real() -> Iterator[Double]:
    """The real server."""
    with kvfake.start(profile="plugin-1.2", strict=True, token=TOKENS) as double:
        yield double


@pytest.fixture
def url(real: Double, file: Path) -> Iterator[str]:
    """Where the app asks."""
    with standing_before(real.url, file) as url:
        yield url


def bearer(token: str = BOT, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


# --------------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_from_the_first_line_to_the_signal(number: int, real: Double, file: Path) -> None:
    """It says where it listens once it answers, and ends with a whole file, which is its owner's alone."""
    with Running("record", "--against", real.url, "-o", str(file)) as process:
        mark, _, url = process.line().rpartition(" ")
        assert mark == "kvfake is listening on"
        assert run_kvfake("wait", "--url", url).code == 0
        assert asked(f"{url}{KV}/name", "PUT", b"1", bearer()).text == '{"changed":true}\n'
        assert asked(f"{url}{KV}/name", headers=bearer()).text == "1"
        process.signal(number)
        assert process.end() == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header = json.loads(file.read_text().splitlines()[0])
    assert header == {
        "kvfake_recording": 1,
        "against": real.url,
        "services": {"mattermost": KV, "persist": ["/api/v1/persist", "/persist"]},
    }
    assert [(line["number"], line["method"], line["answer"]["body"]) for line in lines_of(file)] == [
        (1, "PUT", '{"changed":true}\n'),
        (2, "GET", "1"),
    ]


def test_the_url_may_be_persists(real: Double, file: Path) -> None:
    """``/api/v1`` at its end is taken off; the port may be said."""
    with dead_port() as port:
        free = port
    with Running("record", "--against", f"{real.url}/api/v1", "-o", str(file), "--port", str(free)) as process:
        assert process.line() == f"kvfake is listening on http://127.0.0.1:{free}"
        assert asked(f"http://127.0.0.1:{free}/api/v1/persist/kv", headers=bearer(PROJECT)).text == "[]"
        process.signal(signal.SIGTERM)
        assert process.end().code == 0
    assert json.loads(file.read_text().splitlines()[0])["against"] == real.url


def test_a_server_behind_tls(real: Double, file: Path) -> None:
    """Its certificate is checked, unless whoever records says otherwise."""
    with behind_tls(port_of(real.url)) as port:
        tls = f"https://127.0.0.1:{port}"
        refused = run_kvfake("record", "--against", tls, "-o", str(file))
        assert refused.code == 2
        assert "certificate" in the_line(refused.err)
        for more in (("--insecure",), ("--ca-file", str(SELF_SIGNED))):
            with Running("record", "--against", tls, "-o", str(file), *more) as process:
                url = process.line().rpartition(" ")[2]
                assert asked(f"{url}{KV}/name", headers=bearer()).text == "{}"
                process.signal(signal.SIGTERM)
                assert process.end().code == 0


def test_a_taken_port_leaves_the_recording_of_the_other(real: Double, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 1."""
    file.write_text("another's")
    with taken_port() as port:
        assert main(["record", "--against", real.url, "-o", str(file), "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert (out, the_line(err)) == ("", f"cannot listen on 127.0.0.1:{port}: Address already in use (--port takes another)")
    assert file.read_text() == "another's"
    assert main(["record", "--against", real.url, "-o", str(file), "--host", "a" * 70]) == 1
    assert the_line(capsys.readouterr().err).startswith(f"cannot listen on {'a' * 70}:0: ")


def test_a_file_that_cannot_be_written(real: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is told before anything is served."""
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "nowhere" / "file", "No such file or directory"),
        (Path("/dev/full"), "No space left on device"),
    ):
        assert main(["record", "--against", real.url, "-o", str(path)]) == 1
        out, err = capsys.readouterr()
        assert (out, the_line(err)) == ("", f"cannot write {path}: {reason}")


def test_a_recording_that_can_no_longer_be_written(real: Double, tmp_path: Path) -> None:
    """The app is served; it is told once, when it happens, and by the exit code."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Running("record", "--against", real.url, "-o", str(pipe)) as process:
        url = process.line().rpartition(" ")[2]
        os.close(reader)
        for _ in range(3):
            assert asked(f"{url}{KV}/name", headers=bearer()).status == 200
        process.signal(signal.SIGTERM)
        code, out, err = process.end()
    assert (code, out) == (1, "")
    assert the_line(err) == f"cannot write {pipe}: Broken pipe (exchanges from now on are not in it)"


def test_a_server_that_cannot_be_recorded(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is one clear line, exit code 2, and no file."""
    moved = b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://mm.example%b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    elsewhere = "HTML (status 200), not the store: is that the site URL of Mattermost, or the URL of Persist?"
    for server, reason in (
        (url_of(dead_port()), "Connection refused"),
        (stranger(moved % b""), "redirects to https://mm.example: give that URL"),
        (stranger(http(b"<!doctype html><p>Sign in")), f"answers {elsewhere}"),
    ):
        with server as address:
            assert main(["record", "--against", address, "-o", str(file)]) == 2
        out, err = capsys.readouterr()
        assert (out, "Traceback" in err) == ("", False)
        assert the_line(err).startswith(f"{address} ")
        assert reason in the_line(err)
        assert not file.exists()


def test_words_that_are_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Are told, as with every command."""
    for words, reason in (
        ((), "record: expected --against URL"),
        (("--against", "mm.example"), "--against: expected http(s)://host[:port][/path]"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["record", "-o", str(file), *words])
        assert ended.value.code == 2
        assert reason in capsys.readouterr().err
    assert main(["record", "-o", str(file), "--against", "https://ada:secret@mm.example"]) == 2
    assert "secret" not in the_line(capsys.readouterr().err)


def test_persist_alone(file: Path) -> None:
    """A server that answers HTML where Mattermost's store would be may be Persist's."""
    page, missing = http(b"<p>Cannot GET", b"404 Not Found"), http(b'{"error":"key not found"}', b"404 Not Found")
    with stranger(page, missing) as address, Running("record", "--against", address, "-o", str(file)) as process:
        assert process.line().startswith("kvfake is listening on ")
        process.signal(signal.SIGTERM)
        assert process.end().code == 0


# --------------------------------------------------------------------------------------------------------- what is passed on


def test_everything_is_passed_on(real: Double, url: str, file: Path) -> None:
    """Also what lies beside the stores: of that only the method, the path and the status are kept."""
    real.respond("POST", "/api/v4/users/login", 201, json={"id": "u"}, headers={"Token": "of-a-session-98", "X-More": "m"})
    reply = asked(f"{url}/api/v4/users/login?a=b", "POST", {"login_id": "ada", "password": "secret"}, {"X-Sent": "s"})
    assert (reply.status, reply.json(), reply.headers["Token"], reply.headers["X-More"]) == (
        201,
        {"id": "u"},
        "of-a-session-98",
        "m",
    )
    (exchange,) = real.journal
    assert (exchange.method, exchange.path, exchange.request.json()) == (
        "POST",
        "/api/v4/users/login?a=b",
        {"login_id": "ada", "password": "..."},
    )
    assert exchange.request.headers["x-sent"] == "s"
    assert lines_of(file) == [{"number": 1, "method": "POST", "target": "/api/v4/users/login", "status": 201, "beside": True}]


def test_an_id_in_a_path_beside_the_stores_may_be_a_secret(url: str, file: Path) -> None:
    """As a webhook's is: it is not kept."""
    for path in ("/hooks/xzy9m4kq8fygpkqzr1w6tq3sjc", "/api/v4/posts", "/persistent", "/plugins/com.mattermost.apps/api/v1/call"):
        asked(url + path, "POST", b"{}")
    assert [line["target"] for line in lines_of(file)] == [
        "/hooks/...",
        "/api/v4/posts",
        "/persistent",
        "/plugins/com.mattermost.apps/api/v1/call",
    ]


def test_health_is_answered_here(real: Double, url: str, file: Path) -> None:
    """The real server is not asked, and nothing is kept of it."""
    health = asked(f"{url}/_kvfake/health?now").json()
    assert (health["status"], health["url"]) == ("ok", real.url)
    assert len(real.journal) == 0
    assert asked(f"{url}/_kvfake/env").json()["KVFAKE_URL"] == real.url
    assert [line["target"] for line in lines_of(file)] == ["/_kvfake/env"]


def test_a_real_server_below_a_path(file: Path) -> None:
    """The app leaves it out; where the real server says it, it stands as it was said."""
    with kvfake.start(site_path="/chat", token=TOKENS) as real, standing_before(real.url, file) as url:
        assert asked(f"{url}{KV}/name", "PUT", b"1", bearer()).status == 200
        assert real.mattermost["name"] == 1
        moved = asked(f"{url}{KV}//name", headers=bearer())
    assert (moved.status, moved.headers["Location"]) == (301, f"/chat{KV}/name")
    assert [line["target"] for line in lines_of(file)] == [f"{KV}/name", f"{KV}//name"]


def test_an_absolute_target_is_passed_on_by_its_path(url: str, file: Path) -> None:
    """One that has no path is refused here."""
    with Wire(port_of(url)) as wire:
        assert wire.ask(request_bytes("GET", f"http://mm.example{KV}/name", bearer())).text == "{}"
        refused = wire.ask(request_bytes("OPTIONS", "*"))
        assert (refused.status, "expected a path" in refused.json()["error"]) == (400, True)
    assert [line["target"] for line in lines_of(file)] == [f"{KV}/name"]


def test_bodies_of_every_kind(url: str, file: Path) -> None:
    """Chunked, binary, large; a HEAD has none. What is not UTF-8 is kept in base64, a raw target too."""
    with Wire(port_of(url)) as wire:
        assert wire.ask(request_bytes("PUT", f"{KV}/odd", bearer(), b'"\xff\xfe"', chunked=True)).status == 200
        assert wire.ask(request_bytes("GET", f"{KV}/odd", bearer())).body == b'"\xff\xfe"'
        assert wire.ask(request_bytes("HEAD", f"{KV}/odd", bearer())).status == 405
        assert wire.ask(request_bytes("PUT", f"{KV}/large", bearer(), 9000 * b"x")).status == 500
        assert wire.ask(request_bytes("GET", b"/persist/kv/caf" + b"\xe9", bearer(PROJECT))).status == 404
        value = 200_000 * "é"
        big = json.dumps({"value": value[:131_072]}, ensure_ascii=False).encode()
        assert wire.ask(request_bytes("PUT", "/persist/kv/big", bearer(PROJECT), big)).status == 200
    odd, got, head, large, raw, persisted = lines_of(file)
    assert base64.b64decode(odd["body_base64"]) == base64.b64decode(got["answer"]["body_base64"]) == b'"\xff\xfe"'
    assert head["answer"] == {"status": 405, "headers": {}, "body": ""}
    assert large["body"] == 9000 * "x"
    assert base64.b64decode(raw["target_base64"]) == b"/persist/kv/caf\xe9"
    assert json.loads(persisted["body"]) == {"value": 131_072 * "é"}


def test_a_body_has_a_bound(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that is larger the beginning is kept; the app hears all of it."""
    assert recording.MAX_BODY_BYTES == 16 * 1024 * 1024
    monkeypatch.setattr(recording, "MAX_BODY_BYTES", 10)
    asked(f"{url}{KV}/name", "PUT", b'"0123456789"', bearer())
    assert asked(f"{url}{KV}/name", headers=bearer()).text == '"0123456789"'
    put, got = lines_of(file)
    assert (put["body"], got["answer"]["body"], got["answer"]["cut"]) == ('"012345678', '"012345678', True)


def test_an_incomplete_request_is_not_passed_on(real: Double, url: str, file: Path) -> None:
    """It is refused here, and nothing is kept of it."""
    with Wire(port_of(url)) as wire:
        wire.send(request_bytes("PUT", f"{KV}/name", bearer(**{"Content-Length": "100"})) + b"1")
        wire.end_of_sending()
        assert wire.reply().status == 400
    assert (len(real.journal), lines_of(file)) == (0, [])


def test_a_client_that_has_gone(real: Double, url: str, file: Path) -> None:
    """What it asked for was done, and is kept."""
    real.faults.add(delay=0.3)
    with Wire(port_of(url)) as wire:
        wire.send(request_bytes("PUT", f"{KV}/name", bearer(), b"1"))
        while not len(real.journal):
            time.sleep(0.01)
    while not lines_of(file):
        time.sleep(0.01)
    assert [line["answer"]["status"] for line in lines_of(file)] == [200]


def test_a_server_that_has_gone(file: Path) -> None:
    """The app is told, and so is the recording."""
    with kvfake.start() as real, standing_before(real.url, file) as url:
        real.close()
        assert asked(f"{url}{KV}/name", headers=bearer()).status == 502
    assert [line["answer"]["status"] for line in lines_of(file)] == [502]


def test_no_compressed_response_is_requested(real: Double, url: str) -> None:
    """No body of a store comes in a form that could not be compared; beside the stores an app has what it likes."""
    real.respond("GET", "/file", body="x")
    for path in (f"{KV}/name", "/file"):
        asked(url + path, headers=bearer(**{"Accept-Encoding": "gzip"}))
    assert [exchange.request.headers["accept-encoding"] for exchange in real.journal] == ["identity", "gzip"]
    assert [exchange.request.headers["via"] for exchange in real.journal] == ["1.1 kvfake-record"] * 2


# ----------------------------------------------------------------------------------------------------------------- no tokens


def forms(token: str) -> set[bytes]:
    """How a token may stand in a file."""
    plain = token.encode()
    texts = {token, quote(token, safe=""), quote(token), json.dumps(token)[1:-1], token.upper(), token.replace("-", "\\u002d")}
    texts |= {"".join(f"%{byte:02x}" for byte in plain), token.replace("-", "%2D"), token.replace("-", "%2d")}
    return {text.encode() for text in texts} | {base64.b64encode(plain), base64.b64encode(plain).rstrip(b"=")}


def assert_no_tokens(data: bytes, *tokens: str) -> None:
    assert [form for token in tokens for form in forms(token) if form.lower() in data.lower()] == []
    for line in map(json.loads, data.splitlines()[1:]):
        bodies = [line.get("body_base64", ""), line.get("answer", {}).get("body_base64", "")]
        assert [token for token in tokens for body in bodies if token.encode() in base64.b64decode(body)] == []


def test_no_token_is_kept_wherever_it_stood(real: Double, url: str, file: Path) -> None:
    """Each has a label, the same wherever it stands, in the order in which they were seen."""
    path = f"{KV}/name"
    sent = [
        ("GET", path, {"Authorization": f"BEARER {BOT}"}),
        ("GET", path, {"Authorization": f"token {USER}"}),
        ("GET", path, {"Authorization": f"Bearer  {BOT}"}),
        ("GET", path, {"Authorization": BOT}),
        ("GET", path, {"Authorization": "Bearer"}),
        ("GET", path, {"Authorization": f"Basic {base64.b64encode(b'ada:' + BOT.encode()).decode()}"}),
        ("GET", path, bearer(**{"Proxy-Authorization": "Basic cHJveHk6c2VjcmV0", "X-Api-Key": "another-secret"})),
        ("GET", path, {"Cookie": f'MMUSERID=someone; MMAUTHTOKEN="{BOT}"; other=cookie-secret'}),
        ("PUT", path, {"Cookie": f"MMAUTHTOKEN={BOT}", "X-CSRF-Token": "csrf-secret-11"}),
        ("GET", f"{path}?x=1&access_token={BOT}", {}),
        ("GET", f"{path}?access%5Ftoken={''.join(f'%{byte:02X}' for byte in BOT.encode())}", {}),
        ("GET", f"{path}?access_token={quote(USER, safe='')}&access_token=%zz", {}),
        ("GET", f"{KV}//name?access_token={BOT}", {}),
        ("GET", f"{KV}/my-{BOT}", bearer()),
        ("GET", "/persist/kv/name", bearer(PROJECT, **{"User-Agent": f"app/{PROJECT}"})),
    ]
    with Wire(port_of(url)) as wire:
        for method, target, headers in sent:
            wire.ask(request_bytes(method, target, headers, b"1" if method == "PUT" else b""))
    found = lines_of(file)
    assert [line["headers"] for line in found[:9]] == [
        {"authorization": "BEARER <token 1>"},
        {"authorization": "token <token 2>"},
        {"authorization": "Bearer  <token 1>"},
        {"authorization": "<token 1>"},
        {"authorization": "Bearer"},
        {"authorization": "Basic <token 3>"},
        {"authorization": "Bearer <token 1>"},
        {"cookie": "MMAUTHTOKEN=<token 1>"},
        {"cookie": "MMAUTHTOKEN=<token 1>", "x-csrf-token": "<token 5>"},
    ]
    assert [line["target"] for line in found[9:14]] == [
        f"{path}?x=1&access_token=<token 1>",
        f"{path}?access%5Ftoken=<token 1>",
        f"{path}?access_token=<token 2>&access_token=<token 6>",
        f"{KV}//name?access_token=<token 1>",
        f"{KV}/my-<token 1>",
    ]
    assert found[12]["answer"]["headers"] == {"location": f"{path}?access_token=<token 1>"}
    assert found[14]["headers"] == {"authorization": "Bearer <token 7>", "user-agent": "app/<token 7>"}
    secrets = ("cHJveHk6c2VjcmV0", "another-secret", "cookie-secret", "someone", "csrf-secret-11")
    assert_no_tokens(file.read_bytes(), BOT, USER, PROJECT, *secrets)


def test_no_token_is_kept_in_a_value(url: str, file: Path) -> None:
    """As it is, or as JSON and URLs may write it; in a body that is no text; also where it came before it was used."""
    later = "acting-user-token-55aa"
    with Wire(port_of(url)) as wire:
        for body in (
            json.dumps({"mine": BOT, "users": later}).encode(),
            json.dumps({"mine": BOT.replace("-", "%2d"), "users": quote(later)}).encode(),
            json.dumps({"mine": BOT.replace("-", "%252D"), "users": later}).encode(),
            b'{"mine": "' + BOT.encode().replace(b"-", b"\\u002D") + b'", "users": "' + later.encode() + b'\xff"}',
        ):
            assert wire.ask(request_bytes("PUT", f"{KV}/name", bearer(), body)).status == 200
            assert wire.ask(request_bytes("GET", f"{KV}/name", bearer())).body == body
        assert later.encode() in file.read_bytes()
        wire.ask(request_bytes("GET", f"{KV}/name", bearer(later)))
    assert_no_tokens(file.read_bytes(), BOT, later)
    assert json.loads(lines_of(file)[0]["body"]) == json.loads(lines_of(file)[1]["answer"]["body"])
    assert json.loads(lines_of(file)[0]["body"]) == {"mine": "<token 1>", "users": "<token 2>"}


def test_a_token_that_holds_another(url: str, file: Path) -> None:
    """Whichever was seen first: one label stands for all of it."""
    with Wire(port_of(url)) as wire:
        for token in (BOT, f"{BOT}-again", f"again-{BOT}"):
            for other in (BOT, f"{BOT}-again", f"again-{BOT}"):
                wire.ask(request_bytes("PUT", f"{KV}/name", bearer(token), json.dumps(other).encode()))
    assert [line["body"] for line in lines_of(file)] == ['"<token 1>"', '"<token 2>"', '"<token 3>"'] * 3


def test_the_token_of_a_session_that_begins(real: Double, url: str, file: Path) -> None:
    """An answer shows it first: it is hidden from there on."""
    session, csrf = "session-77aa88bb", "csrf-99cc00dd"
    for number, headers in enumerate(
        (
            {"Token": session},
            {"Set-Cookie": f"MMAUTHTOKEN={session}; Path=/"},
            {"Set-Cookie": f"MMCSRF={csrf}"},
            {"Set-Cookie": "a=b"},
        )
    ):
        real.respond("POST", f"/login{number}", headers=headers)
        assert asked(f"{url}/login{number}", "POST").headers.items() >= headers.items()
    asked(f"{url}{KV}/name", "PUT", json.dumps([session, csrf]).encode(), bearer())
    assert lines_of(file)[-1]["body"] == '["<token 1>", "<token 2>"]'
    assert_no_tokens(file.read_bytes(), session, csrf, BOT)


def test_a_token_is_replaced_before_a_body_is_cut(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no half of it is left."""
    monkeypatch.setattr(recording, "MAX_BODY_BYTES", 10)
    asked(f"{url}{KV}/name", "PUT", f'"01{BOT}"'.encode(), bearer())
    asked(f"{url}{KV}/name", headers=bearer())
    put, got = lines_of(file)
    assert put["body"] == got["answer"]["body"] == '"01<token '


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=s3cret-TOKEN&b", "a=...&b"),
        ("S3CRET-token csrf-s3cret-TOKEN", "... csrf-..."),
        ("s3cret%2dTOKEN %73%33%63%72%65%74%2D%54%4F%4B%45%4E s3cret%252DTOKEN", "... ... ..."),
        (r"s3cret\u002dTOKEN s3cret\x2dTOKEN s3cret\\-TOKEN s3cret&#45;TOKEN s3cret&#x2D;TOKEN", "... ... ... ... ..."),
        ("clé-é cl%C3%A9-%c3%a9 cl\\u00e9-&#233;", "... ... ..."),
        (r"a%41/b a%2541/b a%41\/b", "... ... ..."),
        (r"no \\\\ slashes\\", r"no ... slashes\\"),
        ("s3cret and <token 1>", "s3cret and <token 1>"),
        ("line\n\x1b[31m\ud800é", "line\\n\\x1b[31m\\ud800é"),
    ],
)
def test_a_token_is_found_in_every_form(text: str, shown: str) -> None:
    """As URLs, strings and HTML write it; what is left is one printable line."""
    assert Redactor(["s3cret-TOKEN", "", "clé-é", "a%41/b", 4 * "\\"]).redact(text) == shown


@pytest.mark.parametrize("part", [b"\\", b"%25", b"%", b"25", b"&#", b"a\\", b"a%25"])
def test_a_large_text_is_redacted_in_linear_time(part: bytes) -> None:
    """Whatever it looks like: the square of a million would take hours."""
    data = part * (1_000_000 // len(part))
    assert Redactor(["a-token", "\\%-token"]).redact_bytes(data) == data


def test_a_text_is_shortened_to_what_can_be_shown() -> None:
    """The mark of the cut counts too."""
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abc...")


def test_a_token_of_a_few_letters(tmp_path: Path) -> None:
    """Is hidden where it says who asks; its letters may stand elsewhere."""
    request = Request("PUT", f"{KV}/ab?access_token=ab".encode(), {b"authorization": b"Bearer ab"}, b'"ab"')
    exchange = redacted(1, request, Response(200), Redactor(replacement=label))
    assert exchange.request == Request(
        "PUT", f"{KV}/ab?access_token=<token 1>".encode(), {b"authorization": b"Bearer <token 1>"}, b'"ab"'
    )


def test_a_token_that_reads_like_a_part_of_a_label(tmp_path: Path) -> None:
    """It changes no other label; and what is a label already stays one."""
    redactor = Redactor(replacement=label)
    for number, token in enumerate((b"first-token", b"token", b"<token 1>"), 1):
        request = Request("PUT", KV.encode() + b"/k", {b"authorization": b"Bearer " + token}, b"1 first-token")
        exchange = redacted(number, request, Response(200), redactor)
        assert exchange.request.body == b"1 <token 1>"
    assert exchange.request.headers[b"authorization"] == b"Bearer <token 1>"
    assert redactor.replace(b"another-token") == b"<token 3>"


def test_a_recording_replaces_the_file(file: Path) -> None:
    """And others can read it no more. What is written where nothing can be changed stays as it was written."""
    file.write_text("another recording, and a longer one" * 100)
    file.chmod(0o644)
    tape = RecordingWriter(str(file), "http://real.example", pytest.fail)
    tape.write(Request("GET", KV.encode() + b"/k", {b"authorization": b"Bearer " + BOT.encode()}), Response(200))
    tape.close()
    tape.write(Request("GET", KV.encode() + b"/k", {}), Response(200))
    assert (len(lines_of(file)), tape.is_whole, stat.S_IMODE(file.stat().st_mode)) == (1, True, 0o600)


def test_a_recording_into_a_terminal() -> None:
    """Or whatever else is no file of one's own: it stays open to others as it was, and what it got it keeps."""
    before = Path("/dev/null").stat().st_mode
    tape = RecordingWriter("/dev/null", "http://real.example", pytest.fail)
    tape.write(Request("GET", KV.encode() + b"/k", {b"authorization": b"Bearer " + BOT.encode()}), Response(200))
    tape.close()
    assert Path("/dev/null").stat().st_mode == before


def test_many_apps_at_once(url: str, file: Path) -> None:
    """Each line is whole, whoever asks beside."""
    wires = [Wire(port_of(url)) for _ in range(8)]
    for turn in range(10):
        for number, wire in enumerate(wires):
            wire.send(request_bytes("PUT", f"{KV}/{number}", bearer(f"token-of-app-{number}-{turn}"), b"1"))
        for wire in wires:
            wire.reply()
    for wire in wires:
        wire.close()
    assert [line["number"] for line in lines_of(file)] == list(range(1, 81))
    assert b"token-of-app" not in file.read_bytes()
