"""``kvfake compare``: a recording is replayed on the double; what it answers otherwise is told, with the row that explains it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import httpx
import pytest
import requests

import kvfake
from kvfake.cli import main
from kvfake.contract.checks import CHECKS
from kvfake.contract.checks.client import ContractClient, Mismatch
from tests.rows.wrong import WRONG, Wrong
from tests.support.doors import TOKENS
from tests.support.lines import WHO, DoorClient
from tests.support.recordings import KV, an_app, lines_of, recorded, standing_before

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

PERSIST = "/api/v1/persist"
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
CHANGED = '{"changed":true}\n'


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> set[str]:
        """The rows that explain something."""
        return {line[2:5] for line in self.lines if re.match(r"  [MP]\d\d: ", line)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


@pytest.fixture
def compare(file: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command in this process."""

    def run(*words: str) -> Said:
        try:
            code = main(["compare", str(file), *words])
        except SystemExit as wrong_words:
            code = int(str(wrong_words.code))
        return Said(code, *capsys.readouterr())

    return run


Compare = Callable[..., Said]


# ------------------------------------------------------------------------------------------------------- writing a recording


class Written:
    """A recording, written by hand. Who asks is ``<token 1>`` unless it is said; a body that is no text is written as JSON."""

    def __init__(self, file: Path, against: str = "http://real.example") -> None:
        self._file, self._count = file, 0
        self._put({"kvfake_recording": 1, "against": against, "services": {}})

    def _put(self, line: dict[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def kv(
        self,
        method: str,
        key: str,
        answer: Any = CHANGED,
        body: str = "",
        *,
        status: int = 200,
        headers: dict[str, str] = JSON,
        who: int | None = 1,
        sent: dict[str, str] | None = None,
    ) -> None:
        self.exchange(method, f"{KV}/{key}", body, status, headers, answer, who, sent)

    def persist(
        self, method: str, rest: str, answer: Any = None, payload: Any = None, *, status: int = 200, who: int | None = 1
    ) -> None:
        self.exchange(method, f"{PERSIST}/{rest}", payload, status, JSON, answer, who)

    def exchange(
        self,
        method: str,
        target: str,
        body: Any,
        status: int,
        headers: dict[str, str],
        answer: Any,
        who: int | None = 1,
        sent: dict[str, str] | None = None,
    ) -> None:
        self._count += 1
        asked = {} if who is None else {"authorization": f"Bearer <token {who}>"}
        answered = {"status": status, "headers": headers, "body": _text(answer)}
        line = {"number": self._count, "method": method, "target": target, "headers": {**asked, **(sent or {})}}
        self._put({**line, "body": _text(body), "answer": answered})

    def beside(self, target: str = "/api/v4/posts") -> None:
        self._count += 1
        self._put({"number": self._count, "method": "POST", "target": target, "status": 201, "beside": True})


def _text(body: Any) -> str:
    return "" if body is None else body if isinstance(body, str) else json.dumps(body)


@pytest.fixture
def tape(file: Path) -> Written:
    return Written(file)


STAMP = "2016-09-09T23:16:43.970809Z"


def record(key: str, value: str, updated: str = STAMP) -> dict[str, str]:
    return {"key": key, "value": value, "updated": updated}


# ------------------------------------------------------------------------------------------------------------- the right one


def use_with_requests(url: str) -> None:
    """What an app does, on both services, as one that was written with requests."""
    with requests.Session() as session:
        for token in ("bot-token", "user-token"):
            session.headers["Authorization"] = f"Bearer {token}"
            for key in ("name", "p/name"):
                session.get(f"{url}{KV}/{key}")
                session.post(f"{url}{KV}/{key}", json={"by": token})
                session.put(f"{url}{KV}/{key}", data=b'"\xff"')
                session.get(f"{url}{KV}/{key}")
            session.put(f"{url}{KV}/name", data="no json")
            session.put(f"{url}{KV}/ABC/name", data="1")
            session.get(f"{url}{KV}/a//b", allow_redirects=False)
            session.delete(f"{url}{KV}/name")
            session.get(f"{url}{KV}/name")
            session.head(f"{url}{KV}/name")
        session.headers["Authorization"] = "Bearer plain-user-token"
        session.get(f"{url}{KV}/name")
        del session.headers["Authorization"]
        session.get(f"{url}{KV}/name?access_token=user-token")
        session.cookies["MMAUTHTOKEN"] = "bot-token"
        session.put(f"{url}{KV}/p/name", data="1")
        session.put(f"{url}{KV}/p/name", data="2", headers={"X-CSRF-Token": "csrf-bot-token"})
        session.put(f"{url}{KV}/p/name", data="3", headers={"X-Requested-With": "XMLHttpRequest"})
        session.get(f"{url}{KV}/p/name")
        session.post(f"{url}/api/v4/posts", json={"message": "hello"})


def use_with_httpx(url: str) -> None:
    """The same with httpx."""
    for token in ("project-token", "other-project-token", "project-token-again", "nobodys-token"):
        with httpx.Client(base_url=url + PERSIST, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
            for key in ("users:U1", "convo::1", "a key", "é"):
                client.get(f"/kv/{key}")
                client.put(f"/kv/{key}", json={"value": f"{key} of {len(token)}"})
                client.get(f"/kv/{key}")
            client.put("/kv/users:U1", json={"value": 5})
            client.get("/kv")
            client.get("/kv", params={"begins": "convo:"})
            client.post("/mget", json={"keys": ["é", "nothing", "convo::1", "é"]})
            client.delete("/kv/users:U1")
            client.delete("/kv/users:U1")
            client.get("/kv/users:U1")
            client.patch("/kv/users:U1")


@pytest.mark.parametrize("site_path", ["", "/chat"])
def test_the_right_server_is_as_the_double(compare: Compare, file: Path, site_path: str) -> None:
    """Whatever an app does, with whichever tokens; what was there before counts, and what lies beside the stores does not."""
    with kvfake.start(profile="plugin-1.2", strict=True, token=TOKENS, site_path=site_path) as real:
        real.mattermost.as_owner("app-one/user")["name"] = "from before"
        real.persist.project("first").update({"é": "from before", "old": "and never read"})
        with standing_before(real.url, file) as url:
            use_with_requests(url)
            use_with_httpx(url)
        statuses = {line["answer"]["status"] for line in lines_of(file) if "answer" in line}
    assert statuses == {200, 301, 400, 401, 404, 405, 500}
    said = compare()
    count = len(lines_of(file)) - 1
    shared = "<token 5> and <token 7> read what the other had set: taken for one owner's (if they are not, P02)"
    assert said == (0, f"{shared}\n{count} exchanges: {count} the same; 1 beside the stores was not replayed\n", "")


def test_the_checks_of_the_contract_are_as_on_the_double(compare: Compare, file: Path) -> None:
    """What they ask of a right server, malformed requests too."""
    with recorded(file) as door:
        for check in CHECKS:
            check.run(ContractClient(DoorClient(door), WHO))
    said = compare()
    assert (said.code, len(said.lines)) == (0, 1)


def test_the_other_profile(compare: Compare, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is compared with what the plugin does, unless somebody says otherwise."""
    tape = Written(file)
    tape.kv("GET", "my-app/name", 'prefix "my-app" is longer than the limit of 2 ASCII characters\n', status=500, headers=TEXT)
    assert compare().code == 0
    assert compare("--profile", "documented").rows == {"M15", "M16"}
    monkeypatch.setenv("KVFAKE_PROFILE", "documented")
    assert compare().code == 1
    assert compare("--profile", "plugin-1.2").code == 0
    assert "--profile: expected one of" in compare("--profile", "x").err


# -------------------------------------------------------------------------------------------------------------- what is told


def test_a_difference_is_shown_with_its_row(compare: Compare, tape: Written) -> None:
    """What was asked, by whom, what came and what the double says; the last line counts."""
    tape.beside()
    tape.kv("PUT", "name", CHANGED, "1")
    tape.kv("GET", "nothing", "null\n")
    tape.kv("GET", "nothing", "null\n", headers={}, who=None, status=401)
    tape.kv("GET", "name", "<p>Down for maintenance", status=503, headers={"content-type": "text/html"})
    tape.beside()
    said = compare()
    assert (said.code, said.err) == (1, "")
    assert said.lines == [
        f"#3 GET {KV}/nothing by <token 1>",
        "  body: recorded 'null\\n', double '{}'",
        "  M07: GET of a key that is not there: 200 and {} since v1.0.0 (2022-04); null and a newline in v0.2.0 to v0.7.0. No "
        "version ...",
        f"#4 GET {KV}/nothing",
        "  content-type: recorded none, double 'text/plain; charset=utf-8'",
        "  x-content-type-options: recorded none, double 'nosniff'",
        "  body: recorded 'null\\n', double 'user ID is required: unauthorized\\n'",
        "  M19: Errors are plain text, never JSON.",
        "  M11: No token, or one that is not known: 401, text/plain; charset=utf-8, X-Content-Type-Options: nosniff, body user ID "
        "is ...",
        f"#5 GET {KV}/name by <token 1>",
        "  status: recorded 503, double 200",
        "  body: recorded '<p>Down for maintenance', double '1'",
        "  not explained",
        "4 exchanges: 1 the same, 3 differ (M07 1, M19 1, not explained 1); 2 beside the stores were not replayed",
    ]


def test_one_exchange(compare: Compare, tape: Written) -> None:
    """Is counted as one."""
    tape.kv("GET", "name", "", status=429, headers={})
    assert compare().lines[-1] == "1 exchange: 0 the same, 1 differs (not explained 1)"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_the_response_of_a_proxy_is_not_explained(compare: Compare, tape: Written, status: int) -> None:
    """Nor a page for people."""
    tape.kv("GET", "name", "1", status=status)
    tape.persist("GET", "kv/name", {"error": "busy"}, status=status)
    tape.kv("GET", "name", "<html>", status=404, headers={})
    assert compare().lines[-1] == "3 exchanges: 0 the same, 3 differ (not explained 3)"


def test_a_value_set_by_another_client_is_not_explained(compare: Compare, tape: Written) -> None:
    """It breaks no row. From then on the double holds it too: it is told once."""
    for value in ('"Ada"', '"Bob"', '"Bob"', "{}", '"Cy"'):
        tape.kv("GET", "name", value)
    for text in ("Ada", "Bob", "Bob"):
        tape.persist("GET", "kv/name", record("name", text))
    tape.persist("GET", "kv", ["name", "other"])
    tape.persist("GET", "kv", ["name"])
    tape.persist("POST", "mget", [record("name", "Cy")], {"keys": ["name"]})
    assert compare().lines[-1] == "11 exchanges: 5 the same, 6 differ (not explained 6)"


def test_a_value_replaced_by_another_client_looks_like_a_wrong_answer(compare: Compare, tape: Written) -> None:
    """Once: then it is known that others are at work there."""
    tape.kv("PUT", "name", CHANGED, '"Ada"')
    tape.kv("GET", "name", '"Bob"')
    tape.kv("GET", "name", '"Bob"')
    tape.kv("GET", "name", '"Cy"')
    assert compare().lines[-1] == "4 exchanges: 2 the same, 2 differ (M02 1, not explained 1)"


# ----------------------------------------------------------------------------------------------------------- each wrong service


UNSEEN = {
    "M12-a user of no app may ask": "a token that may ask is one of an app",
    "M12-a user of no app is nobody": "a token to which that is said is not known",
    "P10-updated is when the first set was": "the double sets at the moment of which the real server speaks",
    "P10-updated is the local time": "the double sets at the moment of which the real server speaks",
    "M26-any CSRF token will do": "what a session's CSRF token is cannot be known: the first that is taken is",
}
"""Wrong services that a replay cannot see, and why."""

NEARER = {
    "M23-the prefix of a get or a delete is looked at before whether somebody asks": "M15",
    "M23-the prefix of a get or a delete is looked at before a user of no app": "M15",
    "M23-the prefix is looked at before JSON": "M15",
    "M23-the prefix of a set is not looked at": "M15",
    "M23-the prefix of a get or a delete is not looked at": "M15",
    "M23-who asks is looked at before the path of a get or a delete": "M20",
    "M26-a cookie does not count for a get": "M10",
}
"""Wrong services of which a recording shows one exchange, which another row explains as well: that row is the one that is named."""


def record_day(file: Path, wrong: Wrong, *, with_checks: bool) -> None:
    """What an app does on a day, and the checks of the row that is wrong."""
    with recorded(file, wrong.answer, wrong.wire) as door:
        an_app(door)
        named = ("no_token_or_an_unknown_one_is_refused",)
        for check in CHECKS if with_checks else ():
            if check.row == wrong.row or check.title in named:
                with suppress(Mismatch):
                    check.run(ContractClient(DoorClient(door, 0.2), WHO))


# Not those that are wrong below HTTP: what a recording keeps is requests, and what is none is refused by kvfake itself.
ABOVE = [wrong for wrong in WRONG if wrong.wire is None]


@pytest.mark.once
@pytest.mark.parametrize("wrong", ABOVE, ids=lambda wrong: f"{wrong.row}-{wrong.what}")
def test_a_wrong_service_is_shown_under_its_row(compare: Compare, file: Path, wrong: Wrong) -> None:
    """A recording of it differs, and its row is among those that explain why."""
    record_day(file, wrong, with_checks=True)
    told, name = compare().rows, f"{wrong.row}-{wrong.what}"
    row = NEARER.get(name, wrong.row)
    if row not in told:
        record_day(file, wrong, with_checks=False)
        told = compare().rows
    assert (row in told) == (name not in UNSEEN)


def test_every_exception_is_one() -> None:
    """Of a wrong service that there is."""
    assert {*UNSEEN, *NEARER} <= {f"{wrong.row}-{wrong.what}" for wrong in ABOVE}


# -------------------------------------------------------------------------------------------------------- whose the tokens are


def test_which_tokens_are_known(compare: Compare, tape: Written) -> None:
    """As the real server says of each, first of all where nobody else is named beside; a token of one service means nothing to the
    other.
    """
    nobody, no_app = "user ID is required: unauthorized\n", "not an app session: unauthorized\n"
    tape.kv("GET", "name", "{}", who=1, sent={"cookie": "MMAUTHTOKEN=<token 9>"})
    tape.kv("GET", "name", nobody, status=401, headers=TEXT, who=2)
    tape.kv("GET", "name", no_app, status=401, headers=TEXT, who=3)
    tape.persist("GET", "kv/name", {"error": "who are you?"}, status=401, who=1)
    tape.persist("GET", "kv/name", {"error": "forbidden"}, status=404, who=2)
    tape.kv("PUT", "a/b/c", "404 page not found\n", "1", status=404, headers=TEXT, who=4)
    tape.kv("GET", "name", "{}", who=2, sent={"cookie": "MMAUTHTOKEN=<token 1>"})
    said = compare()
    assert said.lines[-1] == "7 exchanges: 6 the same, 1 differs (M27 1)"


def test_a_token_that_is_known_no_longer(compare: Compare, tape: Written) -> None:
    """Is a difference: on the double no token ends."""
    tape.kv("GET", "name", "{}")
    tape.kv("GET", "name", "user ID is required: unauthorized\n", status=401, headers=TEXT)
    assert compare().lines[-1] == "2 exchanges: 1 the same, 1 differs (M11 1)"


def test_two_sessions_of_one_owner(compare: Compare, tape: Written) -> None:
    """One that reads what another alone has set is the same owner; this is said."""
    tape.kv("PUT", "name", CHANGED, '"Ada"', who=1)
    tape.kv("GET", "name", '"Ada"', who=2)
    tape.kv("PUT", "name", CHANGED, '"Bob"', who=2)
    tape.kv("GET", "name", '"Bob"', who=3)
    tape.kv("GET", "name", '"Bob"', who=1)
    tape.persist("PUT", "kv/name", record("name", "Ada"), {"value": "Ada"}, who=4)
    tape.persist("GET", "kv/name", record("name", "Ada"), who=5)
    said = compare()
    assert said.lines == [
        "<token 1> and <token 2> and <token 3> read what the other had set: taken for one owner's (if they are not, M09)",
        "<token 4> and <token 5> read what the other had set: taken for one owner's (if they are not, P02)",
        "7 exchanges: 7 the same",
    ]


def test_two_owners_that_hold_the_same_by_chance(compare: Compare, tape: Written) -> None:
    """Are not one, where anything speaks against it."""
    tape.kv("PUT", "name", CHANGED, '"Ada"', who=1)
    tape.kv("PUT", "other", CHANGED, '"x"', who=1)
    tape.kv("GET", "other", "{}", who=2)
    tape.kv("GET", "name", '"Ada"', who=2)
    tape.kv("DELETE", "name", "", headers={}, who=1)
    tape.kv("GET", "name", '"Ada"', who=2)
    tape.kv("GET", "name", "{}", who=3)
    tape.kv("GET", "other", "busy", status=503, who=3)
    tape.persist("PUT", "kv/name", record("name", "Ada"), {"value": "Ada"}, who=4)
    tape.persist("GET", "kv/name", record("name", "Ada", STAMP.replace("9Z", "8Z")), who=5)
    assert compare().lines == [
        f"#8 GET {KV}/other by <token 3>",
        "  status: recorded 503, double 200",
        "  body: recorded 'busy', double '{}'",
        "  not explained",
        "10 exchanges: 9 the same, 1 differs (not explained 1)",
    ]


def test_two_owners_with_different_values(compare: Compare, tape: Written) -> None:
    """The first one reads what shows it."""
    tape.kv("PUT", "name", CHANGED, '"Ada"', who=1)
    tape.kv("GET", "name", '"Ada"', who=2)
    tape.kv("PUT", "other", CHANGED, '"x"', who=2)
    tape.kv("GET", "other", "{}", who=1)
    assert compare().lines == ["4 exchanges: 4 the same"]


def test_the_csrf_token_of_a_session(compare: Compare, tape: Written) -> None:
    """Is the first that the real server took with its cookie, and never refused."""
    nobody = "user ID is required: unauthorized\n"
    cookie = {"cookie": "MMAUTHTOKEN=<token 1>"}
    tape.kv("PUT", "name", nobody, "1", status=401, headers=TEXT, who=None, sent={**cookie, "x-csrf-token": "<token 2>"})
    tape.kv("GET", "name", "{}", who=None, sent={**cookie, "x-csrf-token": "<token 3>"})
    tape.kv("PUT", "name", CHANGED, "1", who=None, sent={**cookie, "x-csrf-token": "<token 4>"})
    tape.kv("PUT", "name", CHANGED, "2", who=None, sent={**cookie, "x-csrf-token": "<token 3>"})
    tape.kv("GET", "name", "1", who=None, sent=cookie)
    said = compare()
    assert said.lines[-1] == "5 exchanges: 4 the same, 1 differs (M26 1)"


# ----------------------------------------------------------------------------------------------------- what was there before


def test_values_from_before_the_recording(compare: Compare, tape: Written) -> None:
    """A value that is read before it is set, in whichever way, lies on the double when the replay begins."""
    tape.kv("GET", "name", '{"of": "before"}')
    tape.kv("GET", "p/name", '"below p"')
    tape.kv("DELETE", "name", "", headers={})
    tape.kv("GET", "name", "{}")
    tape.persist("GET", "kv", ["a", "b", "c", "d"])
    tape.persist("GET", "kv/a", record("a", "1"))
    tape.persist("POST", "mget", [record("b", "2"), None, record("a", "1")], {"keys": ["b", "nothing", "a"]})
    tape.persist("PUT", "kv/c", record("c", "3"), {"value": "3"})
    tape.persist("DELETE", "kv/d")
    tape.persist("GET", "kv", ["a", "b", "c"])
    tape.persist("GET", "kv/nothing", {"error": "no such key"}, status=404)
    assert compare().lines == ["11 exchanges: 11 the same"]


def test_a_refused_request_shows_no_earlier_value(compare: Compare, tape: Written) -> None:
    """It is there afterwards."""
    tape.kv("PUT", "name", NO_JSON, "no json", status=400, headers=TEXT)
    tape.kv("GET", "name", '"Ada"')
    tape.persist("PUT", "kv/name", {"error": "no"}, {"value": 5}, status=400)
    tape.persist("GET", "kv/name", record("name", "Ada"))
    tape.kv("DELETE", "other", "busy", status=503)
    tape.kv("GET", "other", '"x"')
    assert compare().lines[-1] == "6 exchanges: 5 the same, 1 differs (not explained 1)"


def test_a_key_that_is_no_text_is_listed_as_it_is(compare: Compare, tape: Written) -> None:
    """It is not taken for another one that was there before."""
    tape.persist("PUT", "kv/%FF", record("\ufffd", "v"), {"value": "v"})
    tape.persist("GET", "kv", ["\ufffd"])
    assert compare().code == 0


def test_keys_are_listed_in_the_order_of_their_bytes(compare: Compare, tape: Written) -> None:
    """Which is not that of the characters that show them."""
    for key, shown in (("%FF", "\ufffd"), ("%F0%9F%98%80", "😀")):
        tape.persist("PUT", f"kv/{key}", record(shown, "v"), {"value": "v"})
    tape.persist("GET", "kv", ["😀", "\ufffd"])
    tape.persist("GET", "kv", ["\ufffd", "😀"])
    assert compare().lines[-1] == "4 exchanges: 3 the same, 1 differs (P07 1)"


def test_a_value_that_was_the_same_before(compare: Compare, tape: Written) -> None:
    """A server that takes the documentation at its word says so."""
    tape.kv("PUT", "name", '{"changed":false}\n', "1")
    tape.kv("PUT", "name", CHANGED, "2")
    assert compare("--profile", "documented").code == 0
    said = compare()
    assert (said.rows, said.lines[-1]) == ({"M17"}, "2 exchanges: 1 the same, 1 differs (M17 1)")


# ----------------------------------------------------------------------------------------------------------------- moments


def test_the_double_sets_at_the_moment_of_the_real_server(compare: Compare, tape: Written) -> None:
    """So their answers can be the same to the letter, however the moments go."""
    for number, updated in enumerate(("2016-09-09T23:16:43.970809Z", "2001-01-01T00:00:00.000000Z")):
        tape.persist("PUT", f"kv/{number}", record(str(number), "v", updated), {"value": "v"})
        tape.persist("GET", f"kv/{number}", record(str(number), "v", updated))
    assert compare().code == 0


@pytest.mark.parametrize(
    "updated", ["2016-09-09T23:16:43Z", "2016-09-09T23:16:43.970809+00:00", "2016-09-09T23:16:43.970809123Z", "yesterday", ""]
)
def test_a_moment_of_another_form(compare: Compare, tape: Written, updated: str) -> None:
    """Is P10's, wherever it is said."""
    tape.persist("PUT", "kv/name", record("name", "v", updated), {"value": "v"})
    tape.persist("GET", "kv/name", record("name", "v", updated))
    tape.persist("POST", "mget", [None, record("name", "v", updated)], {"keys": ["nothing", "name"]})
    assert compare().lines[-1] == "3 exchanges: 0 the same, 3 differ (P10 3)"


# ------------------------------------------------------------------------------------------------ what is compared, and how


def test_persist_is_compared_by_what_it_says(compare: Compare, tape: Written) -> None:
    """Blanks, the order of fields, the words of an error, and a charset are its own affair."""
    said = {"updated": STAMP, "value": "v", "key": "name"}
    headers = {"content-type": "application/json; charset=utf-8", "x-content-type-options": "nosniff"}
    tape.exchange("PUT", f"{PERSIST}/kv/name", {"value": "v"}, 200, headers, json.dumps(said, indent=1) + "\n")
    tape.exchange("GET", f"{PERSIST}/kv/nothing", "", 404, headers, {"error": "Not Found", "code": 7})
    tape.exchange("POST", f"{PERSIST}/kv/name", "", 405, {**headers, "allow": "DELETE, GET, HEAD, PUT"}, {"error": "no"})
    assert compare().code == 0


def test_the_missing_part_of_a_cut_body_is_not_compared(compare: Compare, file: Path, tape: Written) -> None:
    """Its status and headers are."""
    tape.kv("GET", "name", '"012')
    file.write_text(file.read_text().replace('"body": "\\"012"}', '"body": "\\"012", "cut": true}'))
    assert '"cut": true' in file.read_text()
    assert compare().code == 0


def test_unusual_paths_of_the_stores(compare: Compare, tape: Written) -> None:
    """They are replayed as they were sent."""
    tape.exchange("GET", "/x/../plugins/com.mattermost.apps/api/v1/kv/name", "", 301, {"location": f"{KV}/name"}, "")
    tape.exchange("GET", "/%70ersist/kv/%zz", "", 400, JSON, {"error": "bad"})
    assert compare().lines[-1].startswith("2 exchanges: ")


# ------------------------------------------------------------------------------------------------------- what is no recording


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: it is not JSON"),
        ("[" * 100_000, "line 2: it is not JSON"),
        ("[]", "line 2: it is an array: expected an object"),
        ("{}", "line 2: number is missing"),
        ({"number": True}, "line 2: number is a boolean: expected a number"),
        ({"number": "1"}, "line 2: number is a string: expected a number"),
        ({"method": None}, "line 2: method is null: expected a string"),
        ({"target": 5}, "line 2: target is a number: expected a string"),
        ({"target_base64": "?"}, "line 2: target: expected a text, or target_base64"),
        ({"body": "\ud800"}, "line 2: body: expected a text, or body_base64"),
        ({"headers": []}, "line 2: headers is an array: expected an object"),
        ({"headers": {"a": 1}}, "line 2: headers: expected names, and values of Latin-1"),
        ({"headers": {"a": "€"}}, "line 2: headers: expected names, and values of Latin-1"),
        ({"answer": {"headers": {}, "body": ""}}, "line 2: status is missing"),
    ],
)
def test_a_line_that_is_none_of_a_recording(compare: Compare, file: Path, line: Any, reason: str) -> None:
    """Is told with its number and the reason, and the exit code is 2."""
    whole = {
        "number": 1,
        "method": "GET",
        "target": f"{KV}/k",
        "headers": {},
        "body": "",
        "answer": {"status": 200, "headers": {}, "body": ""},
    }
    Written(file)
    with file.open("a") as end:
        end.write((line if isinstance(line, str) else json.dumps({**whole, **line})) + "\n")
    assert compare() == (2, "", f"kvfake: {file} is no recording of kvfake's: {reason}\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("x\n", "it is not JSON"),
        ("{}\n", 'expected {"kvfake_recording": 1, ...}'),
        ('{"kvfake_recording": 1}\n', "against is missing"),
        ('{"kvfake_recording": 1, "against": "http://x"}', "it has no end"),
    ],
)
def test_a_file_that_is_no_recording(compare: Compare, file: Path, text: str, reason: str) -> None:
    """The same."""
    file.write_text(text)
    assert compare() == (2, "", f"kvfake: {file} is no recording of kvfake's: line 1: {reason}\n")


def test_no_file(compare: Compare, file: Path) -> None:
    """Nor one that is a folder."""
    assert compare() == (2, "", f"kvfake: cannot read {file}: No such file or directory\n")
    file.mkdir()
    assert compare() == (2, "", f"kvfake: cannot read {file}: Is a directory\n")


def test_an_empty_recording(compare: Compare, tape: Written) -> None:
    """There was nothing to compare, and nothing differs."""
    assert compare() == (0, "0 exchanges: 0 the same\n", "")


# --------------------------------------------------------------------------------------------- what explains a difference


NO_JSON = "payload is not valid json: invalid input\n"


@pytest.mark.parametrize(("body", "rows"), [("1.5", {"M13"}), ("1e999", {"M13", "M24"}), ('"é"', {"M13"})])
def test_json_about_which_all_readers_agree(compare: Compare, tape: Written, body: str, rows: set[str]) -> None:
    """Is no matter of whose rules count."""
    tape.kv("PUT", "name", NO_JSON, body, status=400, headers=TEXT)
    assert compare().rows == rows


@pytest.mark.parametrize(
    ("key", "sent"),
    [("name", {}), ("my%20name", {}), ("p/name", {}), ("name", {"content-type": "text/plain"})],
)
def test_a_value_other_than_the_one_set(compare: Compare, tape: Written, key: str, sent: dict[str, str]) -> None:
    """Breaks no row of how its key is written, nor of what was said of it when it was set."""
    tape.kv("PUT", key, CHANGED, '"Ada"', sent=sent)
    tape.kv("GET", key, '"Bob"')
    tape.persist("PUT", f"kv/{key}", record(key.replace("%20", " "), "Ada"), {"value": "Ada"})
    tape.persist("GET", f"kv/{key}", record(key.replace("%20", " "), "Bob"))
    assert compare().rows == {"M02", "P05"}


def test_a_key_that_was_set_at_another_spelling_of_its_path(compare: Compare, tape: Written) -> None:
    """Is a matter of how a path is read, where it is not found."""
    tape.kv("PUT", "a%2Fb", CHANGED, "1")
    tape.kv("GET", "a/b", "{}")
    assert compare().rows == {"M02", "M20"}


def test_a_value_of_another_key(compare: Compare, tape: Written) -> None:
    """Is a matter of how a path is read."""
    tape.kv("PUT", "a%20b", CHANGED, '"Ada"')
    tape.kv("PUT", "a%2520b", CHANGED, '"Bob"')
    tape.kv("GET", "a%20b", '"Bob"')
    tape.persist("PUT", "kv/a%20b", record("a b", "Ada"), {"value": "Ada"})
    tape.persist("PUT", "kv/a+b", record("a+b", "Bob"), {"value": "Bob"})
    tape.persist("GET", "kv/a%20b", record("a b", "Bob"))
    said = compare()
    assert said.lines[-1] == "6 exchanges: 4 the same, 2 differ (M20 1, P12 1)"
    assert said.rows == {"M02", "M20", "P05", "P12"}


NOBODY = "user ID is required: unauthorized\n"


def after_a_set(tape: Written, key: str = "name") -> None:
    """A value of each service that the recording has set."""
    tape.kv("PUT", key, CHANGED, '"Ada"')
    tape.persist("PUT", f"kv/{key}", record(key, "Ada"), {"value": "Ada"})


@pytest.mark.parametrize(
    ("method", "key", "sent", "status", "headers", "answer", "rows"),
    [
        ("GET", "name", "", 401, TEXT, NOBODY, "M11"),
        ("GET", "nothing", "", 404, TEXT, "404 page not found\n", "M07"),
        ("GET", "nothing", "", 404, TEXT, "no such key\n", "M07"),
        ("GET", "nothing", "", 404, JSON, '"no such key"', "M07"),
        ("GET", "nothing", "", 200, TEXT, "no such key\n", "M07 M08"),
        ("GET", "name", "", 404, TEXT, "404 page not found\n", "M01"),
        ("GET", "name", "", 500, TEXT, "the database is locked\n", ""),
        ("GET", "name", "", 200, {}, '"Ada"', "M08"),
        ("GET", "name", "", 200, JSON, '{"changed":false}', "M02"),
        ("GET", "na%6De", "", 200, {}, '"Ada"', "M08 M20"),
        ("GET", "a/b/c", "", 404, {"content-type": "text/plain"}, "404 page not found\n", "M19 M20"),
        ("GET", "a/b/c", "", 404, TEXT, "not found\n", "M20"),
        ("PATCH", "name", "", 405, {}, "not allowed\n", "M22"),
        ("PUT", "name", "no json", 422, TEXT, "payload is not valid json: invalid input\n", "M13"),
        ("PUT", "name", "no json", 400, TEXT, "no\n", "M13"),
        ("PUT", "name", "1", 500, TEXT, "the database is locked\n", ""),
        ("PUT", "name", "1", 501, TEXT, "not implemented\n", "M03"),
        ("PUT", "name", "1", 405, {}, "", "M03"),
        ("PUT", "name", "1", 201, JSON, CHANGED, "M04"),
    ],
)
def test_each_wrong_answer_of_mattermost_has_its_row(
    compare: Compare, tape: Written, method: str, key: str, sent: str, status: int, headers: dict[str, str], answer: str, rows: str
) -> None:
    """The row that speaks of it, and no other; none where no row does. The key ``name`` was set before, to ``"Ada"``."""
    after_a_set(tape)
    tape.kv(method, key, answer, sent, status=status, headers=headers)
    assert compare().rows == set(rows.split())


@pytest.mark.parametrize("scheme", ["token", "BEARER"])
def test_a_credential_that_is_not_the_usual_one(compare: Compare, tape: Written, scheme: str) -> None:
    """Its form may be the reason why it is refused."""
    tape.kv("GET", "name", "{}")
    tape.kv("GET", "name", NOBODY, status=401, headers=TEXT, who=None, sent={"authorization": f"{scheme} <token 1>"})
    assert compare().rows == {"M10", "M11"}


def test_a_second_credential(compare: Compare, tape: Written) -> None:
    """One in the query beside the usual one: which of them counts may be the reason."""
    tape.kv("GET", "name", "{}")
    tape.kv("GET", "name?access_token=<token 2>", NOBODY, status=401, headers=TEXT)
    assert compare().rows == {"M10", "M11"}


@pytest.mark.parametrize(
    ("method", "rest", "payload", "status", "answer", "rows"),
    [
        ("GET", "kv/name", None, 200, {"key": "name", "value": "Ada"}, "P05"),
        ("GET", "kv/name", None, 200, {"key": "other", "value": "Ada", "updated": "2016-09-09T23:16:43.970809Z"}, "P05"),
        ("GET", "kv/name", None, 404, {"error": "no such key"}, "P05"),
        ("GET", "kv/name", None, 404, "not found", "P01 P05"),
        ("GET", "kv/name", None, 200, {"key": "name", "value": 5, "updated": "2016-09-09T23:16:43.970809Z"}, "P05 P13"),
        ("GET", "kv/name", None, 200, {"key": "name", "value": " Ada ", "updated": "2016-09-09T23:16:43.970809Z"}, "P05 P13"),
        ("GET", "kv/name", None, 401, {"error": "no"}, "P05 P14"),
        ("GET", "kv/", None, 404, {"error": "no such key"}, "P04"),
        ("GET", "kv/%zz", None, 404, {"error": "no such key"}, "P04 P14"),
        ("GET", "kv?begins=name", None, 200, ["name", "names"], ""),
        ("GET", "kv?begins=name", None, 200, ["a", "name"], "P07"),
        ("GET", "kv?begins=name", None, 200, [], "P07"),
        ("PUT", "kv/name", {"value": 5000 * "x"}, 400, {"error": "too large"}, "P03 P04 P09"),
        ("PUT", "kv/name", {"value": 50 * "x"}, 400, {"error": "no"}, "P03 P04"),
        ("PUT", "kv/name", {"value": 4096 * "x"}, 400, {"error": "too large"}, "P03 P04"),
        ("PUT", "kv/name", {"value": 4097 * "x"}, 400, {"error": "too large"}, "P03 P04 P09"),
        ("PUT", "kv/", {"value": 5000 * "x"}, 404, {"error": "no such key"}, "P04"),
        ("PUT", "kv/name", {"value": 5000 * "x"}, 201, "", "P03"),
        ("GET", "kv/a%20b", None, 200, record("a%20b", "Ada"), "P05 P12"),
        ("DELETE", "kv/name", None, 200, "deleted", "P06 P15"),
        ("DELETE", "kv/name", None, 403, {"error": "no"}, "P06"),
        ("POST", "mget", {"keys": ["name"]}, 200, [{"key": "name", "value": "Ada"}], "P08"),
        ("POST", "mget", {"keys": ["name"]}, 400, {"error": "no"}, "P04 P08"),
        ("POST", "kv/name", None, 404, {"error": "no"}, "P14"),
    ],
)
def test_each_wrong_answer_of_persist_has_its_row(
    compare: Compare, tape: Written, method: str, rest: str, payload: Any, status: int, answer: Any, rows: str
) -> None:
    """The same of Persist's rows. The key ``name`` was set before, to ``Ada``."""
    after_a_set(tape)
    tape.persist(method, rest, answer, payload, status=status)
    assert compare().rows == set(rows.split())


def test_a_value_that_was_replaced(compare: Compare, tape: Written) -> None:
    """Is there all the same: the set has done nothing."""
    after_a_set(tape)
    tape.kv("PUT", "name", CHANGED, '"Bob"')
    tape.kv("GET", "name", '"Ada"')
    tape.persist("PUT", "kv/name", record("name", "Bob"), {"value": "Bob"})
    tape.persist("GET", "kv/name", record("name", "Ada"))
    said = compare()
    assert said.lines[-1] == "6 exchanges: 4 the same, 2 differ (M03 1, P05 1)"
    assert said.rows == {"M02", "M03", "P03", "P05"}


def test_a_value_that_was_set_with_post_and_is_not_there(compare: Compare, tape: Written) -> None:
    """That a POST sets as a PUT does is not in question, since no value is shown."""
    tape.kv("POST", "name", CHANGED, '"Ada"')
    tape.kv("GET", "name", "404 page not found\n", status=404, headers=TEXT)
    assert compare().rows == {"M01"}


def test_a_value_that_was_deleted(compare: Compare, tape: Written) -> None:
    """Is there all the same."""
    after_a_set(tape)
    tape.kv("DELETE", "name", "", headers={})
    tape.kv("GET", "name", '"Ada"')
    tape.persist("DELETE", "kv/name")
    tape.persist("GET", "kv/name", record("name", "Ada"))
    assert compare().lines[-1] == "6 exchanges: 4 the same, 2 differ (M05 1, P06 1)"


def test_answers_of_persist_that_are_no_json(compare: Compare, tape: Written) -> None:
    """Each is its verb's."""
    text = {"content-type": "text/plain"}
    after_a_set(tape)
    tape.exchange("GET", f"{PERSIST}/kv/name", "", 200, text, record("name", "Ada"))
    tape.exchange("GET", f"{PERSIST}/kv", "", 200, text, ["name"])
    tape.exchange("POST", f"{PERSIST}/mget", {"keys": ["name"]}, 200, text, [record("name", "Ada")])
    tape.exchange("PUT", f"{PERSIST}/kv/name", {"value": "Ada"}, 200, text, record("name", "Ada"))
    assert compare().lines[-1] == "6 exchanges: 2 the same, 4 differ (P03 1, P05 1, P07 1, P08 1)"


def test_two_errors_of_persist_are_compared_by_status_and_form(compare: Compare, tape: Written) -> None:
    """Where the statuses are the same the words of an error do not matter."""
    tape.persist("PUT", "kv/name", {"error": "bad"}, {"no": "value"}, status=422)
    tape.persist("PUT", "kv/name", {"error": "bad"}, {"no": "value"}, status=400)
    said = compare()
    assert [line.partition(":")[0] for line in said.lines] == [
        "#1 PUT /api/v1/persist/kv/name by <token 1>", "  status", "  body", "  P04", "  P03", "2 exchanges",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [200, 201, 400, 404])
def test_an_answer_that_shows_that_a_token_is_known(compare: Compare, tape: Written, status: int) -> None:
    """A refusal that comes later is a difference: on the double no token ends."""
    tape.persist("PUT", "kv/name", {"error": "no"}, {"value": "v"}, status=status)
    tape.persist("GET", "kv/name", {"error": "who are you?"}, status=401)
    said = compare()
    assert ("P14" in said.rows, f"#2 GET {PERSIST}/kv/name by <token 1>" in said.lines) == (True, True)


@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_that_shows_nothing_of_a_token(compare: Compare, tape: Written, status: int) -> None:
    """The next one tells that it is not known."""
    tape.persist("GET", "kv/name", {"error": "busy"}, status=status)
    tape.persist("GET", "kv/name", {"error": "who are you?"}, status=401)
    assert compare().lines[-1] == "2 exchanges: 1 the same, 1 differs (not explained 1)"


def test_an_answer_that_shows_nothing_of_a_value(compare: Compare, tape: Written) -> None:
    """The double keeps what it has."""
    after_a_set(tape)
    for status in (429, 503):
        tape.kv("GET", "name", "5", status=status)
        tape.persist("GET", "kv/name", record("name", "Bob"), status=status)
        tape.persist("POST", "mget", [record("name", "Bob")], {"keys": ["name"]}, status=status)
    tape.kv("GET", "name", '"Ada"')
    tape.persist("GET", "kv/name", record("name", "Ada"))
    assert compare().lines[-1] == "10 exchanges: 4 the same, 6 differ (not explained 6)"


def test_a_404_of_a_path_that_names_no_key(compare: Compare, tape: Written) -> None:
    """Of neither service; there is nothing to compare but the answers."""
    tape.kv("GET", "a/b/c", "nothing here\n", status=404, headers=TEXT)
    tape.persist("GET", "kvs", {"error": "nothing here"}, status=404)
    tape.persist("POST", "mget", {"error": "nothing here"}, {"keys": 5}, status=404)
    assert compare().lines[-1] == "3 exchanges: 1 the same, 2 differ (M20 1, P04 1)"


def test_a_difference_has_no_others_behind_it(compare: Compare, tape: Written) -> None:
    """After it the double holds what the real store does: what one takes that the other refuses, and the other way round."""
    large = json.dumps(9000 * "x")
    tape.kv("PUT", "name", CHANGED, large)
    tape.kv("GET", "name", large)
    tape.kv("PUT", "name", NO_JSON, "1", status=400, headers=TEXT)
    tape.kv("GET", "name", large)
    tape.kv("DELETE", "name", "", status=500, headers=TEXT)
    tape.kv("GET", "name", large)
    tape.kv("DELETE", "name", "deleted", headers={})
    tape.kv("GET", "name", "{}")
    tape.persist("PUT", "kv/name", {"error": "no"}, {"value": "v"}, status=400)
    tape.persist("GET", "kv/name", {"error": "nothing"}, status=404)
    tape.persist("PUT", "kv/name", {"key": "name"}, {"value": "v"})
    tape.persist("PUT", "kv/name", {"key": "name"}, {"value": 5})
    said = compare()
    assert said.lines[-1] == "12 exchanges: 5 the same, 7 differ (M05 2, M13 1, M14 1, P03 1, P04 2)"


def test_values_of_others_and_of_other_prefixes(compare: Compare, tape: Written) -> None:
    """Are told as what they are; so is what was deleted there."""
    for key, who in (("name", 1), ("name", 2), ("p/name", 1)):
        tape.kv("PUT", key, CHANGED, f'"{key} of {who}"', who=who)
    tape.kv("GET", "name", '"name of 2"')
    tape.kv("GET", "name", '"p/name of 1"')
    tape.kv("DELETE", "name", "", headers={}, who=2)
    tape.kv("GET", "p/name", "{}")
    for who in (1, 2):
        tape.persist("PUT", "kv/name", record("name", f"of {who}"), {"value": f"of {who}"}, who=who)
    tape.persist("GET", "kv/name", record("name", "of 2"))
    tape.persist("DELETE", "kv/name", who=2)
    tape.persist("GET", "kv/name", {"error": "nothing"}, status=404)
    said = compare()
    assert said.lines[-1] == "12 exchanges: 7 the same, 5 differ (M06 1, M09 2, P02 2)"


def test_lists_and_mgets_that_others_have_changed(compare: Compare, tape: Written) -> None:
    """Break no row either, if they are in order, and have what was set and not what was deleted."""
    tape.persist("GET", "kv/a", record("a", "v"))
    tape.persist("POST", "mget", [None], {"keys": ["b"]})
    tape.persist("GET", "kv", ["a", "b"])
    tape.persist("GET", "kv", [])
    tape.persist("GET", "kv?begins=a", ["a", "b"])
    tape.persist("GET", "kv", {"keys": ["a"]})
    tape.persist("GET", "kv", [1])
    tape.persist("POST", "mget", [None], {"keys": ["a"]})
    tape.persist("POST", "mget", {"a": "v"}, {"keys": ["a"]})
    tape.persist("POST", "mget", [record("b", "v")], {"keys": ["a"]})
    tape.persist("PUT", "kv/c", record("c", "v"), {"value": "v"})
    tape.persist("DELETE", "kv/d")
    tape.persist("GET", "kv", ["a"])
    tape.persist("GET", "kv", ["a", "c", "d"])
    tape.persist("POST", "mget", [None], {"keys": ["c"]})
    said = compare()
    assert said.lines[-1] == "15 exchanges: 4 the same, 11 differ (P06 1, P07 4, P08 3, not explained 3)"


def test_answers_of_any_form_are_compared(compare: Compare, tape: Written) -> None:
    """Whatever comes is compared: also a character that JSON can say and UTF-8 cannot."""
    odd = "\ud800"
    tape.persist("GET", "kv", [odd, 5, None, {}])
    tape.persist("GET", "kv?begins=%ED%A0%80", [odd])
    answers: list[Any] = [
        json.dumps(odd),
        [odd],
        {"key": [], "value": odd},
        record(odd, odd, odd),
        5,
        "[" * 10_000,
        {"error": [odd]},
    ]
    for answer in answers:
        tape.persist("GET", "kv/name", answer)
        tape.persist("PUT", "kv/name", answer, {"value": odd})
        tape.persist("POST", "mget", [answer], {"keys": ["name"]})
        tape.persist("POST", "mget", answer, {"keys": ["name"]})
        tape.kv("GET", "name", answer)
        tape.kv("PUT", "name", answer, "1")
    said = compare()
    assert (said.code, said.err) == (1, "")
    assert said.lines[-1].startswith("44 exchanges: ")


def test_an_error_of_the_real_server(compare: Compare, tape: Written) -> None:
    """Is Persist's to have; Mattermost's rows know of none but their own."""
    tape.kv("GET", "name", "the database is locked\n", status=500, headers=TEXT)
    tape.persist("GET", "kv/name", {"error": "the database is locked"}, status=500)
    assert compare().lines[-1] == "2 exchanges: 0 the same, 2 differ (P11 1, not explained 1)"


# ------------------------------------------------------------------------------------------------------------------- for tools


def test_differences_for_tools(compare: Compare, tape: Written, tmp_path: Path) -> None:
    """As JSON, and as JUnit's XML with a test case for each exchange; the exit code is the same."""
    tape.kv("PUT", "name", CHANGED, "1")
    tape.kv("GET", "nothing", "null\n")
    tape.kv("GET", "odd\x1b", "<br>", status=418)
    junit = tmp_path / "junit.xml"
    said = compare("--json", "--junit", str(junit))
    assert said.code == 1
    shown = json.loads(said.out)
    assert {name: shown[name] for name in ("exchanges", "same", "differ", "beside", "shared")} == {
        "exchanges": 3, "same": 1, "differ": 2, "beside": 0, "shared": [],
    }  # fmt: skip
    first, second = shown["differences"]
    assert (first["number"], first["method"], first["target"], first["token"]) == (2, "GET", f"{KV}/nothing", "<token 1>")
    assert (first["rows"], second["rows"]) == (["M07"], [])
    assert first["differs"] == ["body: recorded 'null\\n', double '{}'"]
    assert shown["rows"] == {"M07": 1, "not explained": 1}
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    failures = [case.find("failure") for case in suite.iter("testcase")]
    assert [None if one is None else one.get("message") for one in failures] == [None, "M07", "not explained"]
    assert compare("--junit", str(junit)).lines[-1] == "3 exchanges: 1 the same, 2 differ (M07 1, not explained 1)"
    assert (
        compare("--junit", str(tmp_path / "no" / "folder")).err
        == f"kvfake: cannot write {tmp_path}/no/folder: No such file or directory\n"
    )


def test_no_differences_for_tools(compare: Compare, tape: Written) -> None:
    """An empty list."""
    tape.kv("PUT", "name", CHANGED, "1")
    said = compare("--json")
    assert (said.code, json.loads(said.out)["differences"]) == (0, [])
