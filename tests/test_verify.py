"""``kvfake verify``: each row of a server is seen, what is wrong is told under its row, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest

import kvfake
from kvfake.cli import main
from kvfake.contract.checks import CHECKS, DIFFERS, HOLDS, NOT_SEEN, NOT_VERIFIABLE, Finding, Verdict, run_checks
from kvfake.contract.checks.client import (
    BOT,
    OTHER_PROJECT,
    PLAIN_USER,
    PROJECT,
    USER,
    CheckResponse,
    ContractClient,
    Mismatch,
)
from kvfake.contract.checks.expectations import Check, Run
from kvfake.contract.verify_report import Report
from kvfake.double import Double
from kvfake.http.connection import Handler
from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, site_client
from kvfake.services.facts import ROWS
from kvfake.services.messages import Request, Response, finished
from kvfake.settings import Profile
from kvfake.signals import DeferredSignals, Interrupted, sigterm_calls
from kvfake.world.redaction import Redactor
from tests.rows.wrong import WRONG, Wrong
from tests.support.doors import serving
from tests.support.process import Running
from tests.support.troubled_servers import SELF_SIGNED, answer, behind_tls, listening, saying, silent

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

PROFILES: tuple[Profile, ...] = ("documented", "plugin-1.2")
TOKENS = {
    BOT: "the-bots-own-token-6f2a",
    USER: "the-users-own-token-81c3",
    PLAIN_USER: "the-plain-users-token-77",
    PROJECT: "the-projects-token-9d0e",
    OTHER_PROJECT: "the-other-projects-token",
}
OWNERS = {BOT: "app/bot", USER: "app/user", PLAIN_USER: "/user", PROJECT: "project:first", OTHER_PROJECT: "project:second"}
NAMED = [f"{TOKENS[who]}={owner}" for who, owner in OWNERS.items()]
GIVEN = {who: (f"--{who}-token", token) for who, token in TOKENS.items()}
OF_MATTERMOST = (*GIVEN[BOT], *GIVEN[USER], *GIVEN[PLAIN_USER])
OF_PERSIST = ("--service", "persist", *GIVEN[PROJECT], *GIVEN[OTHER_PROJECT])
FOREIGN = {
    "kvfake": 1,
    "mattermost": {"app/bot": {"": {"foreign": 1}, "kv": {"foreign": 2}}},
    "persist": {"first": {"foreign": {"value": "x", "updated": "2016-09-09T23:16:43.970809Z"}}},
}


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, str]:
        """What was said of each row."""
        lines = [line for line in self.out.splitlines() if line[:1] in "MP" and line[1:3].isdigit()]
        return {line[:3]: next(outcome for outcome in (HOLDS, DIFFERS, NOT_SEEN) if line[5:].startswith(outcome)) for line in lines}

    @property
    def summary(self) -> str:
        return self.out.splitlines()[-1]


class Verify:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        """Run the command in this process."""
        try:
            code = main(["verify", *words])
        except SystemExit as wrong_words:
            code = int(str(wrong_words.code))
        return Said(code, *self._capsys.readouterr())

    def refused(self, *words: str) -> str:
        """The one line on stderr of a server that cannot be asked."""
        said = self(*words)
        assert said.code == 2
        assert "Traceback" not in said.err
        return without_start(said.err)


def without_start(err: str) -> str:
    (line,) = err.splitlines()
    assert line.startswith("kvfake: ")
    return line.removeprefix("kvfake: ")


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    return Verify(capsys)


@pytest.fixture
def double() -> Iterator[Double]:
    """A strict one behind a server, which holds keys of others."""
    with started() as double:
        yield double
        assert_as_before(double)


def started(**settings: Any) -> Double:
    double = kvfake.start(strict=True, token=NAMED, **settings)
    double.load(FOREIGN)
    return double


def assert_as_before(double: Double) -> None:
    dump = double.dump()
    assert {name: dump[name] for name in FOREIGN} == FOREIGN


# --------------------------------------------------------------------------------------------------------------- every row


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("service", ["mattermost", "persist"])
def test_the_double_does_what_every_row_says(verify: Verify, service: str, profile: str) -> None:
    """With no address a double of its own is asked, also below HTTP; every row holds that can be seen at all."""
    said = verify("--service", service, "--profile", profile)
    assert said.code == 0
    assert said.out.startswith(f"Asking the double itself ({service}, profile {profile})\n")
    letter = service[0].upper()
    assert said.rows == {row: NOT_SEEN if row in NOT_VERIFIABLE else HOLDS for row in ROWS if row[0] == letter}
    assert said.err == ""


def test_the_documentation_is_the_profile_of_the_double(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the environment says otherwise; its tokens are not for the double, nor its other settings."""
    monkeypatch.setenv("MATTERMOST_BOT_TOKEN", "a secret of somebody else's")
    monkeypatch.setenv("KVFAKE_MATTERMOST_MISSING", "404")
    monkeypatch.setenv("KVFAKE_SITE_PATH", "nonsense")
    assert "profile documented" in verify().out
    monkeypatch.setenv("KVFAKE_PROFILE", "plugin-1.2")
    assert "profile plugin-1.2" in verify().out


@pytest.mark.parametrize("profile", PROFILES)
def test_a_server_is_checked_and_keeps_no_keys(verify: Verify, profile: str) -> None:
    """A kvfake says itself which profile it has. Keys of others are not touched."""
    with started(profile=profile) as double:
        said = verify("--against", double.url, "--raw", *OF_MATTERMOST)
        assert said.out.startswith(f"Asking {double.url} (mattermost, profile {profile})\n")
        assert said.summary == "28 rows: 28 hold, 0 differ, 0 could not be seen"
        assert said.code == 0
        assert_as_before(double)


@pytest.mark.parametrize("end", ["", "/", "/api/v1", "/api/v1/"])
def test_persist_is_found_by_either_of_its_urls(verify: Verify, double: Double, end: str) -> None:
    """The site's, or the base that its clients are given."""
    said = verify("--against", double.url + end, *OF_PERSIST, "--raw")
    assert said.summary == "15 rows: 14 hold, 0 differ, 1 could not be seen (1 that no client can see)"
    assert "P11  not seen  nothing that is asked from outside makes an unexpected error: 500" in said.out


@pytest.mark.parametrize("service", [OF_MATTERMOST, OF_PERSIST])
def test_a_site_may_have_a_sub_path(verify: Verify, service: tuple[str, ...]) -> None:
    with started(site_path="/chat/here") as double:
        said = verify("--against", double.url, "--raw", *service)
        assert said.code == 0
        assert set(said.rows.values()) - {NOT_SEEN} == {HOLDS}
        assert_as_before(double)


def test_missing_options_are_named_and_counted(verify: Verify, double: Double) -> None:
    """A row holds where everything of it was asked; each that needs an option names it, and those are counted."""
    said = verify("--against", double.url, *GIVEN[BOT])
    assert said.code == 0
    assert "M12  not seen  needs --plain-user-token: A valid user token" in said.out
    assert "M09  not seen  needs --user-token" in said.out
    assert "M28  not seen  needs --raw: " in said.out
    assert "(the rest holds)" in said.out
    assert list(said.rows.values()).count(NOT_SEEN) == int(said.summary.split(" differ, ")[1].split()[0])
    for missing in ("4 need --raw", "--user-token", "--plain-user-token"):
        assert missing in said.summary


def test_everything_may_be_required(verify: Verify, double: Double) -> None:
    """What could not be seen is a failure then."""
    assert verify("--against", double.url, *GIVEN[BOT], "--require", "all").code == 1
    assert verify("--against", double.url, *OF_MATTERMOST, "--raw", "--require", "all").code == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_an_explicit_profile_wins(verify: Verify, profile: str) -> None:
    """Whatever the server says of itself: M17 is where both differ."""
    with started(profile=profile) as double:
        other = PROFILES[1 - PROFILES.index(profile)]
        said = verify("--against", double.url, *OF_MATTERMOST, "--profile", other)
        assert said.code == 1
        assert said.rows["M17"] == DIFFERS
        assert_as_before(double)


def test_a_server_that_is_no_kvfake_is_taken_for_the_plugin(verify: Verify, double: Double) -> None:
    for answered in (answer("201 Created"), answer("200 OK", b"[]"), answer("200 OK", b'{"kvfake": "1", "profile": ["x"]}')):
        with listening(saying(answered)) as port:
            said = verify("--against", f"http://127.0.0.1:{port}", *GIVEN[BOT])
            assert "profile plugin-1.2" in said.out
            assert said.code == 1


# ---------------------------------------------------------------------------------------------------------- wrong services


@pytest.mark.once
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.row}-{wrong.what}")
def test_a_wrong_service_differs_in_its_row(wrong: Wrong) -> None:
    """Under one of the profiles at least."""
    if wrong.row in NOT_VERIFIABLE:
        pytest.skip(NOT_VERIFIABLE[wrong.row])
    assert any(differs(wrong, profile) for profile in PROFILES)


def differs(wrong: Wrong, profile: Profile) -> bool:
    tokens = {who: f"{who}-token" for who in TOKENS}
    double = kvfake.Double(profile=profile, strict=True, token=[f"{tokens[who]}={owner}" for who, owner in OWNERS.items()])
    with serving(double, wrong.answer, wrong.wire) as door, HttpClient(f"http://127.0.0.1:{door.port}", 2) as http:
        client = ContractClient(http, tokens, profile=profile)
        return any(run_checks(client, ROWS[wrong.row], [check]).outcome == DIFFERS for check in CHECKS if check.row == wrong.row)


def changing(**changes: Any) -> Any:
    """A service that answers every set with something changed."""

    def wrap(right: Handler) -> Handler:
        def wrongly(request: Request) -> Any:
            response = right(request)
            if isinstance(response, Response) and request.method in ("PUT", "POST") and response.status == 200:
                return response.replace(**changes)
            return response

        return wrongly

    return wrap


def test_a_difference_is_shown_with_its_exchange(verify: Verify, tmp_path: Path) -> None:
    """What was expected, what came, and the whole exchange, in lines, JSON and XML."""
    double = kvfake.Double(strict=True, token=NAMED)
    double.load(FOREIGN)
    junit = tmp_path / "junit.xml"
    with serving(double, changing(body=b'{"changed":true}')) as door:
        url = f"http://127.0.0.1:{door.port}"
        said = verify("--against", url, *OF_MATTERMOST, "--junit", str(junit))
        in_json = verify("--against", url, *OF_MATTERMOST, "--json")
    assert_as_before(double)
    assert said.code == in_json.code == 1
    assert said.rows["M04"] == DIFFERS
    assert said.rows["M02"] == HOLDS
    lines = said.out.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("M04")))
    assert "expected the body '{\"changed\":true}\\n', got '{\"changed\":true}'" in lines[start + 1]
    assert lines[start + 2].startswith("       > PUT /plugins/com.mattermost.apps/api/v1/kv/")
    assert lines[start + 3] == "       > Authorization: Bearer ..."
    assert "       < 200" in lines[start:]
    assert '       < {"changed":true}' in lines[start:]
    report = json.loads(in_json.out)
    row = next(row for row in report["rows"] if row["row"] == "M04")
    assert row["outcome"] == DIFFERS
    assert row["exchanges"][-1]["response"]["body"] == '{"changed":true}'
    assert row["exchanges"][-1]["request"]["headers"]["Authorization"] == "Bearer ..."
    assert (report["service"], report["against"], report["profile"]) == ("mattermost", url, "documented")
    assert sum(report["counts"][outcome] for outcome in (HOLDS, DIFFERS, NOT_SEEN)) == report["counts"]["rows"] == 28
    suite = ET.fromstring(junit.read_text())
    assert (suite.get("tests"), suite.get("errors")) == ("28", "0")
    assert suite.get("failures") == str(list(said.rows.values()).count(DIFFERS))
    failure = suite.find("testcase[4]/failure")
    assert failure is not None
    assert failure.text is not None
    assert "> Authorization: Bearer ..." in failure.text
    assert suite.find("testcase[28]/skipped") is not None


def test_a_required_row_fails_in_the_xml_too(verify: Verify, double: Double, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    verify("--against", double.url, *GIVEN[BOT], "--require", "all", "--junit", str(junit))
    suite = ET.fromstring(junit.read_text())
    assert suite.get("skipped") == "0"
    assert suite.findall("testcase/failure[@message='needs --plain-user-token']")


def test_a_file_that_cannot_be_written_is_reported(verify: Verify, double: Double, tmp_path: Path) -> None:
    said = verify("--against", double.url, *OF_MATTERMOST, "--junit", str(tmp_path / "no" / "junit.xml"))
    assert said.code == 1
    assert without_start(said.err) == f"cannot write {tmp_path / 'no' / 'junit.xml'}: No such file or directory"


def test_an_unexpected_response_is_a_difference(verify: Verify) -> None:
    """JSON of another form, control characters, bytes that are no UTF-8: all are shown in lines."""
    double = kvfake.Double(strict=True, token=NAMED)
    body = b'[{"k\x1b[31m": "\xff\xed\xa0\x80"}]'
    with serving(double, changing(body=body, headers=(("X-Odd", "\x85\xff"),))) as door:
        said = verify("--against", f"http://127.0.0.1:{door.port}", *OF_PERSIST)
    assert said.code == 1
    assert said.rows["P03"] == DIFFERS
    assert "\x1b" not in said.out
    assert "Traceback" not in said.out + said.err


def test_a_connection_cut_during_one_row_is_a_difference_of_that_row(verify: Verify, double: Double) -> None:
    """The server is there all the same."""
    double.faults.add(sever="before", method="POST", times=None)
    said = verify("--against", double.url, *OF_MATTERMOST)
    assert said.code == 1
    assert said.rows["M03"] == DIFFERS
    assert said.rows["M02"] == HOLDS
    assert "expected an answer, but" in said.out


def test_a_row_without_checks_does_not_hold(double: Double) -> None:
    with HttpClient(double.url, 10) as http:
        verdict = run_checks(ContractClient(http, TOKENS), ROWS["M01"], ())
    assert (verdict.outcome, verdict.reasons) == (NOT_SEEN, ("nothing was asked",))


def test_a_check_that_stumbles_is_a_difference(double: Double) -> None:
    """An answer may be of a form that nobody thought of."""

    def stumble(run: Run) -> None:
        run.client.request("GET", f"{run.client.kv_path}/{run.key}").json()["value"]

    with HttpClient(double.url, 10) as http:
        verdict = run_checks(ContractClient(http, TOKENS), ROWS["M02"], [Check("M02-stumble", (stumble,))])
    assert verdict.outcome == DIFFERS
    (finding,) = verdict.mismatches
    assert str(finding.mismatch) == "the answer is not what can be read here: KeyError: 'value'"
    assert [answer.body for answer in finding.exchanges] == [b"{}"]


# ------------------------------------------------------------------------------------------------------------------ tokens


def echoing(right: Handler) -> Handler:
    """A service that says again what it heard, in every way: as it is, in percent-encoding, in JSON, and often."""

    def wrongly(request: Request) -> Any:
        response = right(request)
        if not isinstance(response, Response):
            return response
        said = " ".join(TOKENS.values())
        encoded = "".join(f"%{ord(character):02X}" for character in said)
        body = f"{said} {encoded} {quote(quote(said, safe=''))} {json.dumps(said)} " + 100 * said
        headers = (("Location", f"/?access_token={quote(said)}"), ("Set-Cookie", f"MMAUTHTOKEN={TOKENS[BOT]}"))
        return response.replace(body=body.encode(), headers=headers)

    return wrongly


@pytest.mark.parametrize("asked", [OF_MATTERMOST, OF_PERSIST], ids=["mattermost", "persist"])
def test_tokens_are_never_shown(verify: Verify, tmp_path: Path, asked: tuple[str, ...]) -> None:
    """Not by a server that repeats them either, nor half of one where a text was cut."""
    double = kvfake.Double(strict=True, token=NAMED)
    junit = tmp_path / "junit.xml"
    with serving(double, echoing) as door:
        url = f"http://127.0.0.1:{door.port}"
        said = verify("--against", url, "--raw", "--junit", str(junit), "--timeout", "1", *asked)
        in_json = verify("--against", url, "--raw", "--json", "--timeout", "1", *asked)
    assert said.code == in_json.code == 1
    for text in (said.out, said.err, in_json.out, in_json.err, junit.read_text()):
        for token in TOKENS.values():
            if token in asked:
                assert token[:8] not in text.replace("%", "").replace("\\", "")
                assert quote(token).replace("-", "%2D") not in text
                assert "".join(f"%{ord(character):02X}" for character in token)[:24] not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=s3cret-TOKEN&b", "a=...&b"),
        ("S3CRET-token", "..."),
        ("s3cret%2dTOKEN %73%33%63%72%65%74%2D%54%4F%4B%45%4E s3cret%252DTOKEN", "... ... ..."),
        (r"s3cret\u002dTOKEN s3cret\x2dTOKEN s3cret\\-TOKEN s3cret&#45;TOKEN s3cret&#x2D;TOKEN", "... ... ... ... ..."),
        ("csrf-s3cret-TOKEN", "csrf-..."),
        ("as3crets... and s3cret", "as3crets... and s3cret"),
        ("line\n\x1b[31m\ud800é", "line\\n\\x1b[31m\\ud800é"),
    ],
)
def test_a_token_is_hidden_in_every_form(text: str, shown: str) -> None:
    """Whole, and escaped as URLs, strings and HTML do it."""
    assert Redactor(["s3cret-TOKEN", "another"]).redact(text) == shown


@pytest.mark.parametrize("start", [*range(180, 260), *range(980, 1000)])
def test_a_text_is_redacted_before_it_is_cut(start: int) -> None:
    """So no part of a token is left at a cut, wherever that falls."""
    token = "s3cret-TOKEN"
    body = start * b"x" + token.encode() + 500 * b"y"
    response = CheckResponse(ClientRequest("PUT", body.decode(), {"X": body.decode()}, body), 200, {"x": body.decode()}, body)
    finding = Finding(CHECKS[0], Mismatch("expected ", b"ok", ", got ", body, body.decode()), (response,))
    report = Report("mattermost", None, Redactor([token]))
    report.verdicts.append(Verdict(ROWS["M01"], DIFFERS, (), (), (finding,), False))
    for text in (*report.lines(report.verdicts[0]), json.dumps(report.as_json()), report.as_junit(False).decode()):
        assert "s3" not in text


def test_tokens_of_another_service_are_not_sent(verify: Verify) -> None:
    """A server hears what it has to hear."""
    heard: list[bytes] = []

    def listen(right: Handler) -> Handler:
        def listening(request: Request) -> Any:
            heard.extend([request.target, request.body, *request.headers.values()])
            return right(request)

        return listening

    with serving(kvfake.Double(strict=True, token=NAMED), listen) as door:
        verify("--against", f"http://127.0.0.1:{door.port}", *OF_MATTERMOST, *GIVEN[PROJECT], *GIVEN[OTHER_PROJECT])
    everything = b" ".join(heard)
    assert TOKENS[BOT].encode() in everything
    assert TOKENS[PROJECT].encode() not in everything
    assert TOKENS[OTHER_PROJECT].encode() not in everything


# ---------------------------------------------------------------------------------------------- servers that cannot be asked


def test_a_dead_port_is_reported_in_one_line(verify: Verify) -> None:
    with listening(silent) as port:
        ...
    url = f"http://127.0.0.1:{port}"
    assert verify.refused("--against", url, *OF_MATTERMOST) == f"{url} cannot be reached: Connection refused"


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_that_is_not_used_is_reported(variable: str, verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one a server cannot be reached without it."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with listening(silent) as port:
        ...
    reported = verify.refused("--against", f"http://127.0.0.1:{port}", *OF_MATTERMOST)
    assert reported.endswith(f"Connection refused ({variable} is set, but kvfake uses no proxy)")


def test_an_unknown_host_is_reported(verify: Verify) -> None:
    line = verify.refused("--against", "http://no-such-host.invalid", *OF_MATTERMOST)
    assert line.startswith("http://no-such-host.invalid cannot be reached: ")


def test_a_silent_server_is_reported(verify: Verify) -> None:
    with listening(silent) as port:
        url = f"http://127.0.0.1:{port}"
        assert verify.refused("--against", url, *OF_MATTERMOST, "--timeout", "0.2") == f"{url} did not answer within 0.2 seconds"
        assert "did not answer within 0 seconds" in verify.refused("--against", url, *OF_PERSIST, "--timeout", "0")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (answer("502 Bad Gateway", b"<html>"), "answers 502, and nothing behind it does: <html>"),
        (
            answer("200 OK", b"\n<!DOCTYPE html>"),
            "answers HTML (status 200), not the store: is the Apps plugin enabled there, and is this the site URL?",
        ),
        (answer("401 Unauthorized", b"user ID is required\n"), "does not know the token of --bot-token: user ID is required"),
        (answer("302 Found", b"", "Location: http://[::1"), "redirects to http://[::1: give that URL"),
        (answer("307 Temporary Redirect"), "redirects (status 307), and does not say where"),
        (
            answer("404 Not Found", b"404 page not found\n"),
            "answers 404, and takes no value: 404 page not found (is the Apps plugin enabled there, and is this the site URL?)",
        ),
        (
            answer("429 Too Many Requests", b"slow down"),
            "answers 429, and takes no value: slow down (is the Apps plugin enabled there, and is this the site URL?)",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer("503 Service Unavailable", b"x"),
            "answers 503, and nothing behind it does: x",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP: it began with 'SSH-2.0-OpenSSH_9.6\\r\\n'"),
        (b"", "ended the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "ended the connection in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", "ended the connection in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\n" + 200 * b"X: y\r\n" + b"\r\n", "does not speak HTTP as it should: HTTPException"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_server_without_a_store_is_reported(verify: Verify, said: bytes, told: str) -> None:
    with listening(saying(said)) as port:
        url = f"http://127.0.0.1:{port}"
        assert verify.refused("--against", url, *OF_MATTERMOST) == f"{url} {told}"


def test_html_instead_of_persist_is_reported(verify: Verify) -> None:
    with listening(saying(answer("200 OK", b"<html>"))) as port:
        assert verify.refused("--against", f"http://127.0.0.1:{port}", *OF_PERSIST).endswith("is this the URL of Persist?")


def test_persist_at_another_url_is_reported(verify: Verify) -> None:
    """A 404 is a right answer there, but not to a set."""
    with listening(saying(answer("404 Not Found", b"{}"))) as port:
        told = "answers 404, and takes no value: {} (is this the URL of Persist?)"
        assert verify.refused("--against", f"http://127.0.0.1:{port}", *OF_PERSIST).endswith(told)


def test_a_redirecting_server_says_which_url_to_give(verify: Verify) -> None:
    """The site's, not the key's; with no token in it."""

    def elsewhere(right: Handler) -> Handler:
        def redirect(request: Request) -> Response:
            return Response(301, (("Location", f"https://chat.example{request.target.decode()}"),))

        return redirect

    with serving(kvfake.Double(), elsewhere) as door:
        url = f"http://127.0.0.1:{door.port}"
        assert verify.refused("--against", url, *OF_MATTERMOST) == f"{url} redirects to https://chat.example: give that URL"
    with listening(saying(answer("302 Found", b"", f"Location: /login?to={TOKENS[BOT]}"))) as port:
        url = f"http://127.0.0.1:{port}"
        assert verify.refused("--against", url, *OF_MATTERMOST) == f"{url} redirects to {url}/login?to=...: give that URL"


def test_an_endless_response_is_reported(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvfake.http_client.MAX_RESPONSE_BYTES", 100_000)
    with listening(saying(answer("200 OK", 200_000 * b"x"))) as port:
        assert verify.refused("--against", f"http://127.0.0.1:{port}", *OF_MATTERMOST).endswith("answers more than 100000 bytes")


def test_a_store_that_stops_answering_is_reported(verify: Verify) -> None:
    """In one line, not as a difference of every row that comes after."""
    with started() as double:
        double.faults.add(status=503, after=30, times=None)
        said = verify("--against", double.url, *OF_MATTERMOST)
        assert said.code == 2
        assert list(said.rows.values()).count(DIFFERS) == 1
        assert said.err.splitlines()[-1].startswith(f"kvfake: {double.url} answers 503, and nothing behind it does")


def test_a_store_that_is_away_for_a_moment_differs_and_is_checked_on(verify: Verify) -> None:
    with started() as double:
        double.faults.add(status=503, after=30, times=1)
        said = verify("--against", double.url, *OF_MATTERMOST)
        assert (said.code, list(said.rows.values()).count(DIFFERS), len(said.rows)) == (1, 1, 28)
        assert_as_before(double)


def test_a_server_may_close_each_connection(verify: Verify) -> None:
    """Where it says so nothing differs, but that requests cannot be sent all at once."""

    def closing(right: Handler) -> Handler:
        def close(request: Request) -> Any:
            return finished(right(request)).replace(close=True)

        return close

    with serving(kvfake.Double(profile="plugin-1.2", strict=True, token=NAMED), closing) as door:
        url = f"http://127.0.0.1:{door.port}"
        assert verify("--against", url, "--raw", *OF_PERSIST).code == 0
        said = verify("--against", url, "--raw", *OF_MATTERMOST)
        differing = [line.strip().partition(":")[0] for line in said.out.splitlines() if ": expected " in line]
        assert differing == ["requests_may_be_sent_all_at_once"]


def test_a_server_that_dies_is_reported_and_the_rows_so_far_stay(verify: Verify, tmp_path: Path) -> None:
    """What could not be removed then is named."""
    junit = tmp_path / "junit.xml"
    with started() as double:
        double.faults.add(sever="before", after=30, times=None)
        said = verify("--against", double.url, *OF_MATTERMOST, "--junit", str(junit))
        double.faults.clear()
        double.faults.add(sever="before", after=30, times=None)
        in_json = verify("--against", double.url, *OF_MATTERMOST, "--json")
    assert said.code == in_json.code == 2
    assert said.rows["M01"] == HOLDS
    assert len(said.rows) < 28
    gone = f"kvfake: {double.url} ended the connection without an answer"
    left, told = said.err.splitlines()
    assert left.startswith(f"kvfake: {double.url} keeps what could not be removed: /plugins/")
    assert told == gone
    assert json.loads(in_json.out)["stopped"] == gone.removeprefix("kvfake: ")
    suite = ET.fromstring(junit.read_text())
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None


def test_a_server_that_falls_silent_is_reported(verify: Verify) -> None:
    """The cleaning does not wait for ever either."""
    with started() as double:
        double.faults.add(delay=60, after=12, times=None)
        said = verify("--against", double.url, *OF_PERSIST, "--timeout", "0.5")
    assert said.code == 2
    assert said.err.splitlines()[-1] == f"kvfake: {double.url} did not answer within 0.5 seconds"


def test_a_key_that_the_server_does_not_remove_is_a_failure(verify: Verify) -> None:
    """Its targets are named."""
    with started(profile="plugin-1.2") as double:
        double.faults.add(status=403, method="DELETE", times=None)
        said = verify("--against", double.url, *OF_MATTERMOST)
        assert said.code == 1
        assert "keeps what could not be removed: /plugins/com.mattermost.apps/api/v1/kv/" in said.err


# --------------------------------------------------------------------------------------------------------------------- TLS


def test_certificates_are_looked_at(verify: Verify, double: Double) -> None:
    """One that nobody has signed is refused, but where it was given, or nobody looks."""
    port = int(double.url.rpartition(":")[2])
    with behind_tls(port) as tls_port:
        url = f"https://127.0.0.1:{tls_port}"
        line = verify.refused("--against", url, *OF_MATTERMOST)
        assert line.startswith(f"{url} has a certificate that is not trusted: self")
        assert line.endswith("(--ca-file adds one, --insecure looks at none)")
        for more in (("--ca-file", str(SELF_SIGNED)), ("--insecure",)):
            said = verify("--against", url, *OF_MATTERMOST, *more, "--raw")
            assert said.summary.startswith("28 rows: 28 hold")
        other = f"http://127.0.0.1:{tls_port}"
        assert verify.refused("--against", other, *OF_MATTERMOST).startswith(other)
    line = verify.refused("--against", f"https://127.0.0.1:{port}", *OF_MATTERMOST)
    assert line.startswith(f"https://127.0.0.1:{port} does not speak TLS as it should: ")


def test_a_file_without_certificates_is_reported(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for name, reason in (("empty", "expected certificates in PEM"), ("none", "No such file or directory")):
        line = verify.refused("--against", "https://localhost", "--ca-file", str(tmp_path / name), *OF_MATTERMOST)
        assert line == f"cannot take certificates from {tmp_path / name}: {reason}"


# ------------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "ftp://host",
        "http://",
        "http://host:x",
        "http://host:0",
        "http://a b",
        "http://" + 64 * "x" + ".de",
        "http://hé",
    ],
)
def test_a_wrong_url_is_reported(verify: Verify, url: str) -> None:
    line = verify.refused("--against", url, *OF_MATTERMOST)
    assert line == f"that is no site URL: expected http(s)://host[:port][/path], with no user, query or fragment, got {url!r}"


@pytest.mark.parametrize("url", ["http://me:secret@host", "http://host/?secret", "http://host/#secret"])
def test_a_secret_in_a_url_is_not_repeated(verify: Verify, url: str) -> None:
    line = verify.refused("--against", url, *OF_MATTERMOST)
    assert line == "that is no site URL: expected http(s)://host[:port][/path], with no user, query or fragment"


def test_errors_of_a_plain_socket() -> None:
    """A reset is an end too, silence is none; a connection to nobody is the same line as a request."""

    def reset(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listening(reset) as port, HttpClient(f"http://127.0.0.1:{port}", 10).connection() as connection:
        connection.send(b"x")
        assert connection.is_closed()
        with pytest.raises(Mismatch, match="expected an answer, but the server "):
            ContractClient(HttpClient(f"http://127.0.0.1:{port}", 10), {}).receive(connection, b"x")
    with listening(silent) as port:
        with HttpClient(f"http://127.0.0.1:{port}", 0.1).connection() as quiet:
            assert not quiet.is_closed()
        port_of_nobody = port
    with (
        pytest.raises(NoAnswer, match="Connection refused"),
        HttpClient(f"http://127.0.0.1:{port_of_nobody}", 10).connection(),
    ):
        ...


def test_a_kept_connection_that_the_server_closed_is_made_again() -> None:
    """Once, and for a connection that was kept: a server that cuts every one is told."""
    heard: list[bytes] = []

    def once(connection: socket.socket) -> None:
        heard.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Two: a\r\nX-Two: b\r\n\r\n{}")

    with listening(once) as port, HttpClient(f"http://127.0.0.1:{port}", 10) as http:
        for _ in range(3):
            request = ClientRequest("POST", "/\udce9", {}, b"body", chunked=True)
            answered = CheckResponse.of(request, http.send(request))
            assert (answered.status, answered.headers["x-two"], answered.body) == (200, "a, b", b"{}")
    assert len(heard) == 3
    assert heard[0].startswith(b"POST /\xe9 HTTP/1.1\r\n")
    assert heard[0].endswith(b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")


def test_an_ipv6_address_stands_in_brackets() -> None:
    heard: list[bytes] = []

    def converse(connection: Any) -> None:
        heard.append(connection.recv(65_536))
        connection.sendall(answer("200 OK", b"{}"))

    with listening(converse, "::1") as port, site_client(f"http://[::1]:{port}/", 10) as http:
        assert ContractClient(http, TOKENS).request("GET", "/key").text == "{}"
        assert http.url == f"http://[::1]:{port}"
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in heard[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "verify --against --service mattermost needs --bot-token (or the variable MATTERMOST_BOT_TOKEN)"),
        (("--service", "persist"), "verify --against --service persist needs --project-token (or the variable BEEPBOOP_TOKEN)"),
        (("--bot-token", "two words"), "--bot-token: expected a token of printable characters without blanks"),
        (("--bot-token", ""), "--bot-token: expected a token of printable characters without blanks"),
        (("--bot-token", "line\n"), "--bot-token: expected a token of printable characters without blanks"),
        (("--profile", "x"), "--profile: expected one of documented, plugin-1.2, got 'x'"),
        (("--timeout", "x"), "expected a number of seconds"),
    ],
)
def test_wrong_arguments_are_reported(verify: Verify, words: tuple[str, ...], told: str) -> None:
    said = verify("--against", "http://127.0.0.1:1", *words)
    assert said.code == 2
    assert told in said.err


def test_tokens_come_from_the_environment_too(verify: Verify, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTERMOST_BOT_TOKEN", TOKENS[BOT])
    monkeypatch.setenv("MATTERMOST_USER_TOKEN", "nobody-knows-it")
    line = verify.refused("--against", double.url)
    assert line == f"{double.url} does not know the token of --user-token: user ID is required: unauthorized"


# ----------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGTERM, signal.SIGINT), 130)],
    ids=["once", "terminated", "impatiently"],
)
@pytest.mark.parametrize("method", [None, "DELETE"], ids=["asking", "removing"])
def test_a_signal_leaves_no_keys(double: Double, method: str | None, numbers: tuple[int, ...], code: int) -> None:
    """Whatever it interrupts is put away first, also where another follows."""
    double.faults.add(delay=0.02 if method is None else 0.3, method=method, times=None)
    with Running("verify", "--against", double.url, *OF_MATTERMOST, "--raw") as process:
        while not process.line().startswith("M06"):
            ...
        for number in numbers:
            process.signal(number)
        ended = process.end()
    assert ended.code == code
    assert ended.err == ""
    assert "M28" not in ended.out
    assert double.journal.filter(method="DELETE")


def test_signals_are_handled_as_before_afterwards(verify: Verify) -> None:
    """One that is ignored stays ignored all the time."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        verify("--service", "persist")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == [before[0], signal.SIG_IGN]
    finally:
        signal.signal(signal.SIGTERM, before[1])


def test_a_signal_interrupts_where_it_is_allowed() -> None:
    """At once."""
    with DeferredSignals() as signals, pytest.raises(Interrupted) as interrupted, signals.allowed():
        signal.raise_signal(signal.SIGTERM)
    assert interrupted.value.code == 128 + signal.SIGTERM


def test_a_signal_waits_until_it_is_allowed() -> None:
    """The first of several counts."""
    with DeferredSignals() as signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        with pytest.raises(Interrupted) as interrupted, signals.allowed():
            pytest.fail("the signal was lost")
        signals.check()
    assert interrupted.value.code == 128 + signal.SIGINT


def test_sigterm_may_call() -> None:
    """Where it would have ended the process; afterwards it would again."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with sigterm_calls(heard.append):
            os.kill(os.getpid(), signal.SIGTERM)
        assert (heard, signal.getsignal(signal.SIGTERM)) == ([signal.SIGTERM], signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_may_verify(verify: Verify) -> None:
    """Where no handler is taken."""
    with ThreadPoolExecutor() as pool:
        assert pool.submit(verify, "--service", "persist").result().code == 0


def test_a_closed_pipe_ends_it_and_leaves_no_keys(double: Double) -> None:
    """As ``| head`` does."""
    double.faults.add(delay=0.01, times=None)
    with Running("verify", "--against", double.url, *OF_MATTERMOST) as process:
        process.line()
        assert process.process.stdout is not None
        process.process.stdout.close()
        assert process.process.wait(20) == 1
