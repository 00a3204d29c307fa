"""Every row of the fact list holds, through every door and under both profiles; and each check would see it if it did not."""

from __future__ import annotations

import re
from typing import Any

import pytest

import kvfake
from kvfake.contract.checks import CHECKS, NOT_VERIFIABLE
from kvfake.contract.checks.client import CheckResponse, ContractClient, Mismatch
from kvfake.contract.checks.expectations import Check
from kvfake.double import Double
from kvfake.http_client import ClientRequest
from kvfake.services.facts import ROWS
from kvfake.services.mattermost import KV
from kvfake.services.messages import Request, Response, finished
from kvfake.services.persist import API
from kvfake.settings import Profile
from tests.rows.wrong import WRONG, Wrong
from tests.support.doors import CLIENT_DOORS, DOORS, TOKENS, Door, SocketDoor, opened, serving
from tests.support.lines import WHO, DoorClient, client_of
from tests.support.wire import Reply, request_bytes

PROFILES: tuple[Profile, ...] = ("documented", "plugin-1.2")
ALL_DOORS = [*DOORS, *CLIENT_DOORS]


def with_values_of_others(double: Double) -> dict[str, Any]:
    """Values that were there before anybody asked, in every namespace in which a check sets some; and how they look."""
    for owner in ("app-one/bot", "app-one/user"):
        mattermost = double.mattermost.as_owner(owner)
        mattermost["key"] = mattermost.with_prefix("kv")["key"] = mattermost.with_prefix("k")["key"] = "another's"
    for project in ("first", "second"):
        double.persist.project(project).update(dict.fromkeys(("A", "a", "z", "é", "f" * 32), "another's"))
    return double.dump()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("door", ALL_DOORS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_row_holds(check: Check, door: str, profile: str) -> None:
    """The double does what the row says. What was asked for that left nothing behind, and touched nothing of others."""
    if check.needs_socket and door != SocketDoor.name:
        pytest.skip("decided below the double: by a server, or by a client")
    with opened(door, profile=profile, strict=True, token=TOKENS) as opened_door:
        before = with_values_of_others(opened_door.double)
        client = client_of(opened_door, profile)
        check.run(client)
        assert client.exchanges
        assert client.clean() == []
        assert opened_door.double.dump() == before


class WatchedClient(DoorClient):
    """The way through a door, and what went along it."""

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self.exchanges: list[CheckResponse] = []

    def send(self, request: ClientRequest) -> Response:
        response = super().send(request)
        self.exchanges.append(CheckResponse.of(request, response))
        return response


KEY = "[0-9a-f]{32}"
SET_HERE = re.compile(f"{KV}/(kv/|kv%2F)?{KEY}[^/]*|(/api/v1)?/persist/kv/[./]*{KEY}.*")
READING = {"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_changes_nothing_but_keys_of_its_own(check: Check, profile: str) -> None:
    """It may be asked of a live server: whatever is no reading names a new key, and nothing is set but in two namespaces."""
    with opened(SocketDoor.name, profile=profile, strict=True, token=TOKENS) as door:
        transport = WatchedClient(door)
        client = ContractClient(transport, WHO, profile=profile)
        check.run(client)
        client.clean()
    not_read = [one for one in transport.exchanges if one.request.method.upper() not in READING]
    changing = [one for one in not_read if "/mget" not in one.request.target]
    assert all(re.search(KEY, one.request.target) for one in changing)
    done = [one.request for one in changing if one.status < 300]
    assert all(SET_HERE.fullmatch(request.target) for request in done if request.method != "DELETE")


@pytest.mark.once
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.row}-{wrong.what}")
def test_a_wrong_service_is_seen(wrong: Wrong) -> None:
    """A check of the row tells what differs on a service that is wrong in it. The values of others are left alone there, too."""
    told = [differs(check, wrong, profile) for check in CHECKS if check.row == wrong.row for profile in PROFILES]
    assert any(told)
    assert all("expected " in text and " got " in text for text in told if text)


def differs(check: Check, wrong: Wrong, profile: Profile) -> str:
    """What the check has to say of that service."""
    double = kvfake.Double(profile=profile, strict=True, token=TOKENS)
    before = with_values_of_others(double)
    with serving(double, wrong.answer, wrong.wire) as door:
        client = client_of(door, profile, seconds=0.2)
        try:
            check.run(client)
        except Mismatch as difference:
            return str(difference)
        finally:
            client.clean()
            assert within(before, double.dump())
    return ""


IN_BOTH = [  # method, what follows the path of a key, body: what either service answers in one way or another
    *[(method, "", b'{"value":"v"}') for method in ("PUT", "POST")],
    *[(method, "", b"") for method in ("GET", "HEAD", "PATCH", "get", "DELETE", "GET")],
    *[("PUT", "", body) for body in (b'\xef\xbb\xbf{"value":"v"}', b"x", b"1e999")],
    *[("GET", rest, b"") for rest in ("/more", "%25", "%zz", "?begins=a")],
]


@pytest.mark.parametrize(
    "wrong", [wrong for wrong in WRONG if wrong.answer is not None], ids=lambda wrong: f"{wrong.row}-{wrong.what}"
)
def test_a_wrong_service_is_right_in_the_other(wrong: Wrong) -> None:
    """Else its check might see what is none of its row's."""
    path, token = (f"{API}/persist/kv", "project-token") if wrong.row.startswith("M") else (KV, "bot-token")

    def answers(change: Any) -> list[Any]:
        double = kvfake.Double(profile="plugin-1.2", strict=True, token=TOKENS)
        double.clock.freeze()
        double.clock.move_to("2016-09-09T23:16:43Z")
        answer = change(double._router.answer)
        headers = {b"host": b"localhost", b"authorization": f"Bearer {token}".encode()}
        asked = [Request(method, f"{path}/{'a' * 32}{rest}".encode(), headers, body) for method, rest, body in IN_BOTH]
        return [(response.status, response.headers, response.body) for response in (finished(answer(one)) for one in asked)]

    assert answers(wrong.answer) == answers(lambda right: right)


def within(few: Any, many: Any) -> bool:
    """Whether everything of the one is in the other as well."""
    return all(name in many and within(few[name], many[name]) for name in few) if isinstance(few, dict) else bool(few == many)


def test_every_row_has_a_check_and_wrong_services() -> None:
    """No row is without, but those that nobody can see from outside."""
    seen = [id for id in ROWS if id not in NOT_VERIFIABLE]
    assert list(dict.fromkeys(check.row for check in CHECKS)) == seen
    assert sorted({wrong.row for wrong in WRONG}) == seen


def test_a_check_has_a_name_of_its_own() -> None:
    """It is one row's, and asks below HTTP only where it says so."""
    names = [check.title for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.is_malformed for check in CHECKS if check.needs_socket)


# ----------------------------------------------------------------- what the rows say of a double that no outside check can see


every_door = pytest.mark.parametrize("door", ALL_DOORS)


def ask(door: Door, method: str, rest: str, body: str = "", who: str | None = "bot-token", **headers: str) -> Reply:
    """Ask Mattermost's store. Of the name of a header an underscore is a hyphen."""
    sent = {"Authorization": f"Bearer {who}"} if who is not None else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return door.send(method, f"{KV}/{rest}", {**sent, **named}, body.encode())


def persist(door: Door, method: str, rest: str, body: bytes = b"", who: str = "project-token") -> Reply:
    return door.send(method, f"{API}/persist{rest}", {"Authorization": f"Bearer {who}", "Content-Type": "application/json"}, body)


@pytest.mark.shows("P11")
@every_door
def test_an_unexpected_error_is_a_500_and_the_server_goes_on(door: str) -> None:
    """With an error in JSON, as every other."""
    with opened(door, token=TOKENS) as asked:
        world = asked.double._world

        class Broken(type(world.store)):  # type: ignore[misc]
            def get(self, *_: object) -> None:
                raise RuntimeError("the disk is full")

        whole, world.store = world.store, Broken()
        try:
            reply = persist(asked, "GET", "/kv/key")
        finally:
            world.store = whole
        assert (reply.status, list(reply.json())) == (500, ["error"])
        assert persist(asked, "GET", "/kv/key").status == 404


@pytest.mark.shows("M15", "M16")
@every_door
def test_a_long_prefix_is_a_name_space_of_its_own_where_it_is_taken(door: str) -> None:
    """A check sets nothing there, for it would be refused by a real server."""
    with opened(door, profile="documented", token=TOKENS) as asked:
        assert ask(asked, "POST", "my-app/my-key", '"my-value"').text == '{"changed":true}\n'
        assert ask(asked, "GET", "my-app/my-key").text == '"my-value"'
        assert [ask(asked, "GET", f"{prefix}/my-key").text for prefix in ("my", "my-ap")] == ["{}", "{}"]
        assert ask(asked, "DELETE", "my-app/my-key").status == 200
        assert ask(asked, "GET", "my-app/my-key").text == "{}"
        assert ask(asked, "PUT", "%E2%82%AC/key", "1").status == 200


@pytest.mark.shows("M25")
@every_door
def test_a_short_prefix_is_padded_and_a_letter_may_be_two_bytes(door: str) -> None:
    """A check sets in no namespace but two."""
    with opened(door, profile="plugin-1.2", token=TOKENS) as asked:
        assert ask(asked, "PUT", "p/key", "0").status == 200
        assert ask(asked, "GET", "p%20/key").text == "0"
        assert ask(asked, "GET", "%20p/key").text == "{}"
        assert ask(asked, "PUT", "%C3%A9/key", "1").status == 200
        assert ask(asked, "GET", "%C3%A9/key").text == "1"


@pytest.mark.shows("M09")
@every_door
def test_a_user_has_values_in_each_app_whatever_the_token(door: str) -> None:
    """A check cannot have two tokens of one user, nor those of two apps."""
    with opened(door, token=TOKENS) as asked:
        for who in ("bot-token", "user-token", "other-app-token"):
            ask(asked, "PUT", "key", f'"{who}"', who)
        for who in ("bot-token", "user-token", "other-app-token"):
            assert ask(asked, "GET", "key", who=who).text == f'"{who}"'
        assert ask(asked, "GET", "key", who="user-token-again").text == '"user-token"'


@pytest.mark.shows("M10")
@every_door
def test_the_first_of_many_good_tokens_counts(door: str) -> None:
    """Header, cookie, query."""
    with opened(door, token=TOKENS) as asked:
        for who in ("bot-token", "user-token", "other-app-token"):
            ask(asked, "PUT", "key", f'"{who}"', who)
        cookie, query = "MMAUTHTOKEN=user-token", "key?access_token=other-app-token"
        assert ask(asked, "GET", query, Cookie=cookie).text == '"bot-token"'
        assert ask(asked, "GET", query, who=None, Cookie=cookie).text == '"user-token"'
        assert ask(asked, "GET", query, who=None).text == '"other-app-token"'


@pytest.mark.shows("M26")
@every_door
def test_the_csrf_token_is_the_one_of_the_session(door: str) -> None:
    """What it really is cannot be known from outside: here it is ``csrf-`` and the token."""
    with opened(door, token=TOKENS) as asked:
        for method in ("PUT", "POST", "DELETE"):
            for csrf, status in (("csrf-bot-token", 200), ("csrf-user-token", 401), ("bot-token", 401)):
                reply = ask(asked, method, "key", "1", None, Cookie="MMAUTHTOKEN=bot-token", X_CSRF_Token=csrf)
                assert reply.status == status, csrf


@pytest.mark.shows("P02")
@every_door
def test_a_project_has_its_values_whatever_the_token(door: str) -> None:
    """Two tokens of one project see the same; Mattermost's mean nothing to Persist."""
    with opened(door, token=TOKENS) as asked:
        assert persist(asked, "PUT", "/kv/key", b'{"value":"v"}').status == 200
        assert persist(asked, "GET", "/kv/key", who="project-token-again").json()["value"] == "v"
        for method, rest in (("GET", "/kv"), ("GET", "/kv/key"), ("PUT", "/kv/key"), ("DELETE", "/kv/key"), ("POST", "/mget")):
            reply = persist(asked, method, rest, who="bot-token")
            assert (reply.status, list(reply.json())) == (401, ["error"])


@pytest.mark.shows("P03", "P05")
@every_door
def test_the_three_fields_have_an_order_and_others_are_not_kept(door: str) -> None:
    """As in the documentation's samples."""
    with opened(door, token=TOKENS) as asked:
        reply = persist(asked, "PUT", "/kv/key", b'{"more":1,"value":"v"}')
        assert (reply.status, list(reply.json())) == (200, ["key", "value", "updated"])
        assert persist(asked, "GET", "/kv/key").body == reply.body


@pytest.mark.shows("P07")
@every_door
def test_the_last_begins_of_a_query_counts(door: str) -> None:
    """Of a query that says it twice."""
    with opened(door, token=TOKENS) as asked:
        for key in ("b", "B"):
            persist(asked, "PUT", f"/kv/{key}", b'{"value":"v"}')
        assert persist(asked, "GET", "/kv?begins=b&begins=B").json() == ["B"]
        assert persist(asked, "GET", "/kv?begins=b&begins=").json() == persist(asked, "GET", "/kv").json() == ["B", "b"]


@pytest.mark.shows("P04", "P09", "P14")
@every_door
def test_an_error_says_what_is_wrong_and_what_was_expected(door: str) -> None:
    """In words of its own: a check asks for a text alone."""
    with opened(door, token=TOKENS) as asked:
        for method, rest, body, words in (
            ("PUT", "/kv/key", b"", "not JSON"),
            ("PUT", "/kv/key", b'{"value":"x"} y', "not JSON"),
            ("PUT", "/kv/key", b'{"value":"x","n":NaN}', "not JSON"),
            ("PUT", "/kv/key", b'{"value":"' + 200_000 * b'\\"[', "not JSON"),
            ("PUT", "/kv/key", b"[]", "the body is an array"),
            ("PUT", "/kv/key", b"null", "the body is null"),
            ("PUT", "/kv/key", b"{}", "value is missing"),
            ("PUT", "/kv/key", b'{"value":true}', "value is a boolean"),
            ("PUT", "/kv/key", b'{"value":"a\\ud800b"}', "lone surrogate"),
            ("PUT", "/kv/key", b'{"value":"v","more":[' + b",".join([b"[]"] * 100) + b"]}", "more than 100 objects and arrays"),
            ("PUT", "/kv/key", b'{"value":"' + 262_145 * b"x" + b'"}', "262145 bytes"),
            ("PUT", "/kv/key", 3 * 1024 * 1024 * b"x", "too large: expected at most 2097152 bytes"),
            ("GET", "/kv/", b"", "key is empty"),
            ("PUT", "/kv/", b'{"value":"v"}', "key is empty"),
            ("DELETE", "/kv/", b"", "key is empty"),
            ("POST", "/mget", b"{}", "keys is missing"),
            ("POST", "/mget", b'{"keys":{"a":1}}', "keys is an object"),
            ("POST", "/mget", b'{"keys":["key",5]}', "keys[1] is a number"),
            ("POST", "/mget", b'{"keys":["\\udfff"]}', "lone surrogate"),
            ("POST", "/mget", b'{"keys":[' + b",".join([b'"k"'] * 10_001) + b"]}", "10001 keys: expected at most 10000"),
        ):
            reply = persist(asked, method, rest, body)
            assert (reply.status, reply.headers["Content-Type"], list(reply.json())) == (400, "application/json", ["error"])
            assert words in reply.json()["error"]
            assert "expected" in reply.json()["error"]
        assert persist(asked, "GET", "/kv").json() == []


def test_a_body_may_hold_a_hundred_objects_and_arrays() -> None:
    """Those in strings do not count, and fields that are not kept do."""
    with opened("site", token=TOKENS) as asked:
        for count, status in ((100, 200), (101, 400)):
            body = b'{"value":"[[{{","more":[' + b",".join([b"{}"] * (count - 2)) + b"]}"
            assert persist(asked, "PUT", "/kv/key", body).status == status


@pytest.mark.shows("P14")
@every_door
def test_a_method_that_is_not_allowed_gets_the_allowed_ones(door: str) -> None:
    """On the list of keys too, where a check sends nothing that could change it."""
    with opened(door, token=TOKENS) as asked:
        for method, rest, allowed in (
            ("PUT", "/kv", "GET"),
            ("DELETE", "/kv", "GET"),
            ("POST", "/kv/key", "GET, PUT, DELETE"),
            ("GET", "/mget", "POST"),
        ):
            reply = persist(asked, method, rest)
            assert (reply.status, reply.headers["Allow"], list(reply.json())) == (405, allowed, ["error"])


@pytest.mark.shows("M20")
@every_door
def test_nothing_is_set_where_there_is_no_key(door: str) -> None:
    """A check only reads there."""
    with opened(door, token=TOKENS) as asked:
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            reply = ask(asked, method, "", "1")
            assert (reply.status, reply.text) == (404, "404 page not found\n")


@pytest.mark.shows("M28")
def test_a_bad_chunk_is_an_error_for_persist_too() -> None:
    """What lies below HTTP is the same for the whole port."""
    headers = {"Authorization": "Bearer project-token", "Transfer-Encoding": "chunked"}
    with serving(kvfake.Double(token=TOKENS)) as door:
        reply = door.raw(request_bytes("PUT", "/persist/kv/key", headers) + b"x\r\n")
        assert (reply.status, reply.text) == (500, "invalid byte in chunk length\n")
        assert persist(door, "GET", "/kv").json() == []


@pytest.mark.shows("M28")
def test_requests_refused_below_http_get_plain_text() -> None:
    """As Go's server does; and a client of HTTP/1.0 need not say a host, but is told that the connection stays."""
    head = f"GET {KV}/key HTTP/1.0\r\nAuthorization: Bearer bot-token\r\n"
    with serving(kvfake.Double(token=TOKENS)) as door:
        for message in (f"GET {KV}/%zz HTTP/1.1\r\nHost: x\r\n\r\n", f"GET {KV}/a HTTP/1.1\r\n\r\n"):
            assert door.raw(message.encode()).kept == {"Content-Type": "text/plain; charset=utf-8"}
        assert door.raw(f"{head}\r\n".encode()).status == 200
        reply = door.raw(f"{head}Connection: keep-alive\r\n\r\n".encode())
        assert (reply.status, reply.headers["Connection"]) == (200, "keep-alive")
