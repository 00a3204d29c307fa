"""A running server is steered from the command line: faults, journal, clock, checkpoints, worlds, responses."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kvfake
from kvfake.cli import main, powers
from kvfake.cli import values as values_module
from kvfake.cli.parser import ACTIONS
from kvfake.cli.running import Summary
from kvfake.control.handlers import FAULT_ACTIONS
from tests.support.process import Running, asked, served
from tests.support.process import kvfake as run_kvfake
from tests.support.served import doubles_of
from tests.support.strangers import dead_port, http, stranger, the_line

KV = "/plugins/com.mattermost.apps/api/v1/kv/"

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

Told = Callable[..., str]


@pytest.fixture(name="double")
def _double(monkeypatch: pytest.MonkeyPatch) -> Iterator[kvfake.Double]:
    with kvfake.start() as double:
        monkeypatch.setenv("KVFAKE_URL", double.url)
        yield double


@pytest.fixture(name="told")
def _told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Runs a command that succeeds; its output."""

    def told(*words: str) -> str:
        assert main(list(words)) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return told


@pytest.fixture(name="refused")
def _refused(capfd: pytest.CaptureFixture[str]) -> Told:
    """Runs a command that fails; its line on stderr."""

    def refused(*words: str) -> str:
        assert main(list(words)) == 1
        out, err = capfd.readouterr()
        assert out == ""
        return the_line(err)

    return refused


def wrong_use(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The error of a command line that is wrong, below its usage."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 2
    return capfd.readouterr().err.splitlines()[-1].partition(": error: ")[2]


def get(double: kvfake.Double, key: str = "k") -> Any:
    return asked(double.mattermost.url_for(key), headers=double.mattermost.headers)


# --------------------------------------------------------------------------------------------------------------------- faults


def test_the_life_of_a_fault(double: kvfake.Double, told: Told, refused: Told) -> None:
    """Listed with its number, a sentence, how often it struck, and whether it can strike again; then removed."""
    assert told("faults") == ""
    double.faults.add(status=503, key="k")
    double.faults.add(status=500, key="other", times=None)
    assert get(double).status == 503
    assert told("faults").splitlines() == [
        "1  on any request, key='k': answer 503, once               1 hit   over",
        "2  on any request, key='other': answer 500, until removed  0 hits  active",
    ]
    assert [fault["id"] for fault in json.loads(told("faults", "--json"))["faults"]] == [1, 2]
    assert refused("faults", "rm", "7", "2").endswith("there is no fault 7; GET /_kvfake/faults lists them")
    assert len(double.faults) == 0
    double.faults.add(status=500)
    assert told("faults", "clear") == ""
    assert len(double.faults) == 0


FAULTS: dict[str, dict[str, Any]] = {
    "answer 503 --on PUT --key k --times 2": {"answer": 503, "on": "PUT", "key": "k", "times": 2},
    "lose-acknowledgement --times forever --service persist": {"lose_acknowledgement": True, "times": None, "service": "persist"},
    "delay 0.5 --key-matches ^conv --owner app/ada": {"delay": 0.5, "key": {"matches": "^conv"}, "owner": "app/ada"},
    "limit 10 --per 60": {"limit": 10, "per": 60.0},
    "cut --nth 3": {"cut": True, "nth": 3},
    "stale --every 2 --after 1 --rate 0.5 --seed 7": {"stale": True, "every": 2, "after": 1, "rate": 0.5, "seed": 7},
    "reset --start 2016-12-31 --end 1483228800": {"reset": True, "start": "2016-12-31", "end": 1483228800.0},
}


def test_every_action_has_its_word() -> None:
    """Those of a fault in JSON and those of ``faults add`` are the same; what reads an argument is there where one is shown."""
    assert {word.replace("-", "_") for word in ACTIONS} == set(FAULT_ACTIONS)
    assert {word for word, argument in ACTIONS.items() if argument} == set(powers._ARGUMENTS)


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_in_words(words: str, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """They are sent as the names of the same fault in JSON; its number is printed."""
    sent: list[tuple[str, bytes]] = []

    def request(url: str, path: str, seconds: float, *, method: str, body: bytes, **_: object) -> dict[str, Any]:
        sent.append((f"{method} {path}", body))
        return {"id": 4}

    monkeypatch.setattr(values_module, "control_request", request)
    assert told("faults", "add", *words.split()) == "4\n"
    ((asked_for, body),) = sent
    assert asked_for == "POST /_kvfake/faults"
    assert json.loads(body) == FAULTS[words]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("answer", "answer: expected a status, such as 503, got nothing"),
        ("answer soon", "answer: expected a status, such as 503, got soon"),
        ("delay x", "delay: expected seconds, such as 0.5, got x"),
        ("cut 503", "cut: expected nothing behind it, got '503'"),
        ("cut --nth -1", "argument --nth: expected a whole number, got '-1'"),
        ("cut --times ever", "argument --times: expected a whole number, got 'ever'"),
        ("cut --rate often", "argument --rate: expected a number, such as 30 or 0.5, got 'often'"),
        ("cut --rate nan", "argument --rate: expected a number, such as 30 or 0.5, got 'nan'"),
        ("cut --key a --key-matches b", "argument --key-matches: not allowed with argument --key"),
    ],
)
def test_a_fault_that_cannot_be(words: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It is said what was expected, before a server is asked."""
    assert wrong_use(capfd, "faults", "add", *words.split()) == said


# -------------------------------------------------------------------------------------------------------------------- journal


def test_the_journal(double: kvfake.Double, told: Told) -> None:
    """A line for each request: time, method, path, owner, status, duration, rows and fault. No token."""
    assert told("journal") == ""
    get(double)
    asked(double.mattermost.url_for("k"), "PUT", 1, {"Authorization": "Bearer stranger"})
    double.faults.add(sever="before")
    with pytest.raises(OSError, match=r"closed|reset"):
        get(double, "x" * 300)
    first, second, third = told("journal").splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{stamp} GET  {KV}k app/bot 200 \d+\.\dms", first)
    assert re.fullmatch(rf"{stamp} PUT  {KV}k anonymous-\w+ 200 \d+\.\dms M11", second)
    assert re.fullmatch(rf"{stamp} GET  {KV}x+\.\.\. app/bot - \d+\.\dms fault: .+", third)
    assert len(third) < 400
    assert told("journal", "--last", "1").splitlines() == [third]
    assert told("journal", "--last", "0") == ""
    assert told("journal", "--method", "PUT", "--key", "k").splitlines() == [second]
    assert told("journal", "--owner", "app/bot", "--status", "200", "--service", "mattermost").splitlines() == [first]
    assert [one["number"] for one in json.loads(told("journal", "--json", "--last", "2"))["exchanges"]] == [2, 3]


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_a_journal_is_followed_until_ctrl_c(as_json: bool, double: kvfake.Double) -> None:
    """First what is there, then each request as it comes."""
    get(double, "before")
    with Running("journal", "--follow", "--url", double.url, *(["--json"] if as_json else [])) as process:
        for key in ("before", "while", "after"):
            line = process.line()
            assert f"/kv/{key}" in line
            assert not as_json or json.loads(line)["key"] == key
            get(double, {"before": "while"}.get(key, "after"))
        process.signal(signal.SIGINT)
        ended = process.end()
    assert (ended.code, ended.err) == (130, "")


def exchanges(*numbers: int, seen: int, dropped: int = 0) -> bytes:
    same: dict[str, Any] = {"time": "T", "method": "GET", "owner": None, "status": 404, "duration": 0, "rows": [], "fault": None}
    shown = [{**same, "path": f"/{number}"} for number in numbers]
    return http(json.dumps({"exchanges": shown, "seen": seen, "dropped": dropped}).encode())


def test_a_followed_journal_tells_what_it_did_not_see(capfd: pytest.CaptureFixture[str]) -> None:
    """Requests that were dropped before they could be shown are counted; a server that was started anew ends it."""
    with stranger(exchanges(1, seen=1), exchanges(6, 7, seen=7, dropped=5), exchanges(1, seen=1)) as url:
        assert main(["journal", "--follow", "--url", url]) == 1
    out, err = capfd.readouterr()
    assert [line.split()[2] for line in out.splitlines()] == ["/1", "/6", "/7"]
    dropped, anew = err.splitlines()
    assert dropped == "kvfake: up to 4 requests are not shown: the journal dropped them (journal_exchanges keeps more)"
    assert anew == f"kvfake: the server at {url} has been started anew"


def test_a_followed_journal_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    """An exchange is a line; where nothing is new there is none."""
    with stranger(exchanges(1, seen=1), exchanges(seen=1), exchanges(2, seen=2), exchanges(seen=0)) as url:
        assert main(["journal", "--follow", "--json", "--url", url]) == 1
    assert [json.loads(line)["path"] for line in capfd.readouterr().out.splitlines()] == ["/1", "/2"]


def test_a_followed_journal_ends_with_its_server() -> None:
    """With one clear line."""
    with served() as (server, url), Running("journal", "--follow", "--url", url) as process:
        asked(url + "/nothing")
        process.line()
        server.signal(signal.SIGTERM)
        code, _, err = process.end()
    assert code == 1
    assert the_line(err).startswith(f"no kvfake server answers at {url}: ")


# ------------------------------------------------------------------------------------------------- the clock, the checkpoints


def test_the_clock(double: kvfake.Double, told: Told, refused: Told) -> None:
    """Shown, frozen, moved, and let go."""
    assert told("clock").endswith(" running\n")
    assert told("clock", "freeze", "2016-12-31T23:59:59.5Z") == "2016-12-31T23:59:59.500000Z frozen\n"
    assert told("clock", "shift", "1") == "2017-01-01T00:00:00.500000Z frozen\n"
    assert told("clock", "shift", "-1.5") == "2016-12-31T23:59:59.000000Z frozen\n"
    assert told("clock", "move", "0") == "1970-01-01T00:00:00.000000Z frozen\n"
    assert json.loads(told("clock", "freeze", "--json")) == {"time": "1970-01-01T00:00:00.000000Z", "frozen": True}
    assert "expected a datetime" in refused("clock", "move", "soon")
    assert told("clock", "resume").endswith(" running\n")


def test_checkpoints_and_the_beginning(double: kvfake.Double, told: Told, refused: Told) -> None:
    """A mark is printed, and taken back; a reset is a way home too."""
    double.mattermost["k"] = 1
    mark = told("checkpoint").strip()
    double.mattermost["k"] = 2
    assert told("rollback", mark) == ""
    assert double.mattermost["k"] == 1
    assert "is no checkpoint" in refused("rollback", "77")
    assert told("reset") == ""
    assert "k" not in double.mattermost
    assert json.loads(told("checkpoint", "--json")) == {"checkpoint": 2}


# --------------------------------------------------------------------------------------------------------- worlds, responses


def test_the_life_of_a_world(double: kvfake.Double, told: Told, refused: Told) -> None:
    """Opened, used by its id by every command, and ended."""
    id, address = told("worlds", "new", "--profile", "plugin-1.2", "--strict", "--token", "mine=app/bot").split()
    assert address == f"{double.url}/~{id}"
    assert told("worlds").splitlines()[1].split() == [id, address]
    assert told("set", "--world", id, "k", "1") == ""
    assert told("get", "--world", id, "k") == "1"
    assert told("get", "--world", id, "--as-token", "mine", "k") == "1"
    assert told("ls", "--world", id) == "mattermost\tapp/bot\t\tk\n"
    assert told("ls") == ""
    assert asked(address + KV + "k", "PUT", 1, {"Authorization": "Bearer mine"}).json() == {"changed": True}
    assert asked(address + KV + "k", headers={"Authorization": "Bearer stranger"}).status == 401
    assert len(told("journal", "--world", id).splitlines()) == 2
    assert json.loads(told("env", "--world", id, "--format", "json"))["KVFAKE_URL"] == address
    assert told("clock", "freeze", "2016-12-31", "--world", id).endswith(" frozen\n")
    assert told("clock", "--world", id).endswith(" frozen\n")
    assert told("clock").endswith(" running\n")
    assert told("clock", "--world", id, "resume").endswith(" running\n")
    assert told("worlds", "end", id) == ""
    assert "has ended" in refused("clock", "--world", id)
    assert "refuses: " in refused("worlds", "end", id, "no/world")


def test_a_world_for_a_shell(double: kvfake.Double, told: Told) -> None:
    """Its variables, in the form that was asked for; or all that the server says."""
    env = dict(line.split("=", 1) for line in told("worlds", "new", "--format", "github").splitlines())
    assert env["KVFAKE_URL"].startswith(f"{double.url}/~")
    assert env["NO_PROXY"] == "127.0.0.1"
    world = json.loads(told("worlds", "new", "--json"))
    assert world["env"]["KVFAKE_URL"] == world["address"]


def test_a_response_beside_the_stores(double: kvfake.Double, told: Told, refused: Told, capfd: pytest.CaptureFixture[str]) -> None:
    """With a status, headers, and a body of JSON or text; for one method or any."""
    assert told("respond", "POST", "/api/v4/posts", "--status", "201", "--json", '{"id": "a"}', "--header", "X-More: y") == ""
    answer = asked(double.url + "/api/v4/posts", "POST", {})
    assert (answer.status, answer.json()) == (201, {"id": "a"})
    assert answer.headers["X-More"] == "y"
    assert told("respond", "any", "/hello", "--body", "hi") == ""
    assert asked(double.url + "/hello", "DELETE").body == b"hi"
    assert "refuses: " in refused("respond", "GET", "no-path")
    assert wrong_use(capfd, "respond", "GET", "/", "--json", "{") == "--json: expected JSON, got '{'"
    assert wrong_use(capfd, "respond", "GET", "/", "--header", "X") == "--header: expected 'NAME: VALUE', got 'X'"


# ----------------------------------------------------------------------------------------------------------- whoever answers


@pytest.mark.parametrize("words", ["faults", "journal", "clock", "checkpoint", "worlds", "worlds new", "worlds new --format sh"])
def test_something_else_answers(words: str, refused: Told) -> None:
    """One line says so, also where it is JSON."""
    with stranger(http(b'{"faults": 3, "exchanges": [1], "worlds": [{}], "env": 3}')) as url:
        assert refused(*words.split(), "--url", url).startswith(f"no kvfake server answers at {url}: something else answers there")


def test_a_duration_that_is_no_number(refused: Told) -> None:
    """The same."""
    exchange: dict[str, Any] = {
        "time": "",
        "method": "GET",
        "path": "/",
        "owner": None,
        "status": 200,
        "duration": "1",
        "rows": [],
        "fault": None,
    }
    with stranger(http(json.dumps({"exchanges": [exchange], "seen": 1, "dropped": 0}).encode())) as url:
        assert refused("journal", "--url", url).startswith(f"no kvfake server answers at {url}: something else answers there")


@pytest.mark.parametrize("words", ["worlds end \udcff", "reset --world \udcff"])
def test_an_id_of_a_world_may_be_any_bytes(double: kvfake.Double, refused: Told, words: str) -> None:
    """Those that are not UTF-8 reach Python as lone surrogates. No world has such an id."""
    assert double.url
    assert refused(*words.split())


def test_a_listed_fault_shows_no_secret(double: kvfake.Double, told: Told) -> None:
    """Its text is that of the server, without what goes by the name of a secret."""
    double.faults.add(503, body={"password": "unseen"}, headers={"Authorization": "Bearer unseen"})
    assert "unseen" not in told("faults")
    assert "answer 503" in told("faults")


def test_what_a_server_says_cannot_steer_a_terminal(told: Told) -> None:
    """Escape sequences are shown as such."""
    with stranger(http(json.dumps({"worlds": [{"id": "\x1b[31m", "address": "a\nb"}]}).encode())) as url:
        assert told("worlds", "--url", url) == "\\x1b[31m  a\\nb\n"


def test_no_server(refused: Told) -> None:
    """The line says what to do."""
    with dead_port() as port:
        assert "kvfake serve starts one" in refused("faults", "--url", f"http://127.0.0.1:{port}")


def test_a_control_token_opens_it(told: Told) -> None:
    """As for every command; before or behind the word of what is done."""
    with kvfake.start(control_token="key") as double:
        assert told("clock", "--url", double.url, "--control-token", "key", "resume")
        assert told("clock", "resume", "--url", double.url, "--control-token", "key")


# ---------------------------------------------------------------------------------------------------------------- the summary

TROUBLE = f"""
import json, os, urllib.error, urllib.request
url = os.environ["KVFAKE_URL"]
def send(path, method="GET", token="", body=None):
    request = urllib.request.Request(url + path, body, {{"Authorization": "Bearer " + token}}, method=method)
    try:
        return json.load(urllib.request.urlopen(request, timeout=20))
    except (urllib.error.HTTPError, ValueError):
        return {{}}
bot = os.environ["MATTERMOST_BOT_TOKEN"]
for number in range(5):
    send("{KV}k" + str(number), token="wrong")
send("/api/v4/posts", "POST", body=b"1")
for _ in range(2):
    send("{KV}k", "PUT", bot, b"1")
send("/_kvfake/faults", "POST", body=b'{{"status": 500, "key": "never"}}')
world = send("/_kvfake/worlds", "POST", body=b"{{}}")
path = "/~" + world["id"]
send(path + "/_kvfake/faults", "POST", body=b'{{"status": 500, "key": "neither"}}')
send(path + "/nothing")
send("/_kvfake/worlds/" + world["id"], "DELETE")
print("done")
"""


def test_a_summary_after_a_command() -> None:
    """What was refused, unmatched, kinder than the service, and which fault never struck, in all worlds, with what to do. The exit
    code and stdout are the command's.
    """
    words = ("--", "python3", "-c", TROUBLE)
    code, out, err = run_kvfake("run", "--strict", *words)
    assert (code, out) == (0, "done\n")
    refused, unmatched, kinder, unused = err.splitlines()
    assert refused.startswith("kvfake: 5 requests refused, without a known token; use that of the environment, or ")
    assert refused.endswith(f": GET {KV}k0; GET {KV}k1; GET {KV}k2; ...")
    assert unmatched.startswith("kvfake: 2 requests unmatched, which nobody answers; ")
    assert unmatched.endswith(": POST /api/v4/posts; GET /nothing")
    assert kinder == "kvfake: answers kinder than the service: M17 (1); kvfake explain M17 says how"
    assert unused.startswith("kvfake: 2 faults never struck: ")
    assert "neither" in unused
    assert run_kvfake("run", "--strict", "--quiet", *words) == (0, "done\n", "")


def test_no_fault_shows_a_token_of_its_world(double: kvfake.Double, told: Told) -> None:
    """Neither in the summary, also where the world has ended, nor in a list: a key may hold one."""
    backend = doubles_of(double).backend
    summary = Summary(backend)
    world = backend.open({})
    for one in (backend.own_world, world):
        one.faults.on(key=one.token("persist", "project")).answer(503)
    asked(world.url + "/nothing")
    backend.end(world)
    *_, said = summary.lines()
    shown = said + told("faults")
    assert shown.count(": answer 503, once") == 3
    assert not any(one.token("persist", "project") in shown for one in (backend.own_world, world))


def test_no_summary_where_nothing_happened() -> None:
    """Silence is the good news."""
    assert run_kvfake("run", "--", "python3", "-c", "print(1)") == (0, "1\n", "")
