"""Doubles and worlds: who is known, who is welcome, and that nobody sees what is another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import kvfake
from kvfake.double import Double, world_of
from kvfake.services.mattermost import KV
from kvfake.world import datafile
from kvfake.world.backend import Backend, WorldEnded
from kvfake.world.tokens import MAX_STRANGER_BYTES, MAX_STRANGERS, TokenIssuer
from kvfake.world.world import World
from tests.support.doors import CLIENT_DOORS, DOORS, SocketDoor, opened
from tests.support.served import doubles_of
from tests.support.wire import Reply


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def open_world(double: Double, **settings: object) -> World:
    return double._backend.open(settings)


def test_two_doubles_share_nothing() -> None:
    """Neither values nor tokens nor addresses."""
    one, two = kvfake.Double(strict=True), kvfake.Double(strict=True)
    one.mattermost["k"] = 1
    assert two.mattermost == {}
    assert not set(one.env.values()) & set(two.env.values()) - {"127.0.0.1", two.env["NO_PROXY"]}


def test_a_double_of_its_own_does_not_end() -> None:
    """Its world is there as long as it is; one beside others ends when it is closed."""
    with kvfake.start() as started:
        beside = doubles_of(started).open({})
        assert not beside.is_closed
        beside.close()
        assert (beside.is_closed, started.is_closed) == (True, False)


def test_services_share_nothing() -> None:
    """Not even a token that a user named for both."""
    double = kvfake.Double(token=["t=app/bot", "t=project:p"])
    double.mattermost["k"] = 1
    double.persist.project("p")["k"] = "one"
    assert double.mattermost.as_owner("app/bot") == {"k": 1}
    assert double.persist == {}


@pytest.mark.parametrize("door", DOORS)
def test_an_unnamed_token_is_an_owner_of_its_own(door: str) -> None:
    """Unless the world is strict; a missing token never is."""
    with opened(door) as welcoming:
        headers = bearer("anything")
        assert welcoming.send("PUT", f"{KV}/k", headers, b"1").status == 200
        owner = "anonymous-" + hashlib.sha256(b"anything").hexdigest()[:12]
        assert welcoming.double.mattermost.as_owner(owner) == {"k": 1}
        assert welcoming.send("PUT", "/persist/kv/k", headers, b'{"value":"v"}').status == 200
        assert welcoming.double.persist.project(owner) == {"k": "v"}
        assert welcoming.send("GET", f"{KV}/k").status == 401
        assert welcoming.send("GET", "/persist/kv/k").status == 401
    with opened(door, strict=True) as strict:
        assert strict.send("PUT", f"{KV}/k", bearer("anything"), b"1").status == 401
        assert strict.send("PUT", "/persist/kv/k", bearer("anything"), b'{"value":"v"}').status == 401


SET, GET, DELETE = ("PUT", f"{KV}/k", b"1"), ("GET", f"{KV}/k", b""), ("DELETE", f"{KV}/k", b"")


@pytest.mark.parametrize("faulty", [False, True], ids=["plain", "with a fault"])
@pytest.mark.parametrize("profile", ["documented", "plugin-1.2"])
@pytest.mark.parametrize("door", [door for door in (*DOORS, *CLIENT_DOORS) if door != "site"])  # which writes no header
def test_an_answer_to_an_unknown_token_names_the_row(door: str, profile: str, faulty: bool) -> None:
    """In its header and in the journal, under both profiles, also where a fault may strike. The real services refuse the token."""
    with opened(door, profile=profile) as site:
        if faulty:
            site.double.faults.add(status=503, key="another")
        for row, requests in (
            ("M11", [SET, GET, DELETE, ("GET", f"{KV}/absent", b"")]),
            ("P14", [("PUT", "/persist/kv/k", b'{"value":"v"}'), ("GET", "/persist/kv", b""), ("GET", "/persist/kv/absent", b"")]),
        ):
            for method, target, body in requests:
                assert site.send(method, target, bearer("anything"), body).headers["Kvfake-Rows"] == row
                assert site.double.journal[-1].rows == (row,)
        site.send(*GET[:2], bearer(site.double.mattermost.token))
        assert site.double.journal[-1].rows == ()


def test_a_refusal_of_an_unknown_token_names_no_row() -> None:
    """It is not kinder. Another row stands beside that of the token."""
    with opened("site") as site:
        for method, target, body in (("PUT", f"{KV}/k", b"{"), ("GET", f"{KV}/a/b/c", b""), ("PUT", "/persist/kv/k", b"{}")):
            assert "Kvfake-Rows" not in site.send(method, target, bearer("anything"), body).headers
        for _ in range(2):
            site.send("PUT", f"{KV}/ABC/k", bearer("anything"), b"1")
        assert site.double.journal[-1].rows == ("M11", "M15", "M17")


def test_what_is_remembered_of_unknown_tokens_is_bounded() -> None:
    """Also where each request has another token, or a large one. Their owners stay the same."""
    tokens = kvfake.Double()._backend.own_world.tokens
    first = tokens.owner_of("mattermost", b"first")
    for number in range(3 * MAX_STRANGERS):
        tokens.owner_of("mattermost", b"%d" % number)
        tokens.owner_of("mattermost", b"%0*d" % (MAX_STRANGER_BYTES + 1, number))
        assert len(tokens._strangers) <= MAX_STRANGERS
    assert all(len(token) <= MAX_STRANGER_BYTES for token in tokens._strangers)
    assert tokens.owner_of("persist", b"first") == first == "anonymous-" + hashlib.sha256(b"first").hexdigest()[:12]


def test_a_token_that_was_issued_to_a_stranger_is_known() -> None:
    """As one that a test reads an app's values with: it is no stranger's any more."""
    with opened("site") as site:
        site.send(*SET[:2], bearer("anything"), b"1")
        token = site.double.mattermost.as_owner(str(site.double.journal[-1].owner)).token
        reply = site.send(*GET[:2], bearer(token))
        assert (reply.text, "Kvfake-Rows" in reply.headers) == ("1", False)


def test_a_token_of_one_service_is_unknown_to_the_other() -> None:
    """Whether it was named or issued, and strict or not: it is a mistake of the app."""
    with opened("wsgi", token=["mine=app/bot", "yours=project:p"]) as door:
        for token in ("mine", door.double.mattermost.token):
            assert door.send("GET", "/persist/kv", bearer(token)).status == 401
        for token in ("yours", door.double.persist.token):
            assert door.send("GET", f"{KV}/k", bearer(token)).status == 401


def test_tokens_of_one_owner_share_values() -> None:
    """Also a named one and the double's own."""
    with opened("wsgi", token=["a=app/bot", "b=app/bot"]) as door:
        door.send("PUT", f"{KV}/k", bearer("a"), b"1")
        assert door.send("GET", f"{KV}/k", bearer("b")).text == "1"
        assert door.double.mattermost == {"k": 1}


def test_the_token_of_an_owner_is_the_one_that_was_named() -> None:
    """In the world of a server, so that what is named goes on working after a restart. The first of several; not one that stands in
    no header, nor one that was named for somebody else since.
    """
    double = kvfake.Double(token=["one=app/bot", "two=app/bot", "p=project:project"])
    assert (double.mattermost.token, double.persist.token) == ("one", "p")
    assert (double.env["MATTERMOST_BOT_TOKEN"], double.env["BEEPBOOP_TOKEN"]) == ("one", "p")
    double.token("one", "app/ada")
    assert double.mattermost.as_user("ada").token == "one"
    assert len(double.mattermost.token) == 26
    double.load({"kvfake": 1, "tokens": {"two words": "project:odd", "größe": "project:odd"}})
    assert len(double.persist.project("odd").token) == 32


def test_another_world_issues_tokens_of_its_own() -> None:
    """They tell which world a request is for; a named one does not."""
    double = kvfake.Double()
    world = open_world(double, token=("one=app/bot",))
    assert double._backend.world_of(world.token("mattermost", "app/bot").encode()) is world


def test_a_token_can_be_named_later() -> None:
    """And must be named for somebody."""
    with opened("wsgi", strict=True) as door:
        assert door.send("GET", f"{KV}/k", bearer("late=r")).status == 401
        door.double.token("late=r", "app/ada")
        door.double.token("late=r", "project:p")
        assert door.send("GET", f"{KV}/k", bearer("late=r")).status == 200
        assert door.send("GET", "/persist/kv", bearer("late=r")).status == 200
        with pytest.raises(ValueError, match="expected app/user"):
            door.double.token("t", "nobody")


@pytest.mark.parametrize(
    ("form", "status", "body"), [("object", 200, "{}"), ("null", 200, "null\n"), ("404", 404, "404 page not found\n")]
)
@pytest.mark.parametrize("profile", ["documented", "plugin-1.2"])
def test_the_answer_for_a_missing_key_can_be_chosen(form: str, status: int, body: str, profile: str) -> None:
    """It wins over the profile; a value that is there is itself."""
    with opened("wsgi", mattermost_missing=form, profile=profile) as door:
        headers = door.double.mattermost.headers
        reply = door.send("GET", f"{KV}/k", headers)
        assert (reply.status, reply.text) == (status, body)
        door.double.mattermost["k"] = None
        assert door.send("GET", f"{KV}/k", headers).text == "null"


def test_a_reset_goes_back_to_the_seed(tmp_path: Path) -> None:
    """To its values and the moments at which they were set, also where the file has changed or is gone. Its tokens stay; for each
    world, as often as one likes.
    """
    file = tmp_path / "seed.json"
    data = {"mattermost": {"app/bot": {"": {"k": 1}}}, "persist": {"project": {"k": "v"}}, "tokens": {"t": "app/bot"}}
    file.write_text(json.dumps({"kvfake": 1, **data}))
    double = kvfake.Double(seed=file)
    world = open_world(double, seed=str(file))
    at_the_start, its_start = double.dump(), datafile.dump(world)
    file.unlink()
    for _ in range(2):
        double.mattermost["k"] = double.mattermost["more"] = 2
        double.persist.clear()
        world.store.clear()
        double.checkpoint()
        double.reset()
        world.reset()
        assert (double.dump(), datafile.dump(world)) == (at_the_start, its_start)
        assert world.checkpoints == double._backend.own_world.checkpoints == []


def test_a_reset_deletes_values_alone() -> None:
    """Tokens and settings stay."""
    double = kvfake.Double(profile="plugin-1.2")
    token = double.mattermost.token
    double.mattermost["k"] = 1
    double.persist["k"] = "v"
    double.reset()
    assert (double.mattermost, double.persist, double.mattermost.token) == ({}, {}, token)
    with pytest.raises(ValueError, match="longer than the limit"):
        double.mattermost.with_prefix("ABC")


@pytest.mark.parametrize("door", DOORS)
def test_a_world_is_found_by_its_address(door: str) -> None:
    """It serves as site URL, as Persist's base with and without a path, and knows its own settings."""
    with opened(door, profile="plugin-1.2") as main:
        world = open_world(main.double, profile="documented")
        address = world.url.removeprefix(main.double.url)
        headers = bearer(world.token("mattermost", "app/bot"))
        assert main.send("PUT", f"{address}{KV}/my-app/k", headers, b"1").status == 200
        assert main.send("GET", f"{address}{KV}/my-app/k", headers).text == "1"
        assert main.send("GET", f"{address.replace('~', '%7E')}{KV}/my-app/k", headers).text == "1"
        assert main.send("GET", f"{address}{KV}//k?x", headers).headers["Location"] == f"{address}{KV}/k?x"
        for base in ("/api/v1", ""):
            sent = main.send("PUT", f"{address}{base}/persist/kv/k", bearer(world.token("persist", "project")), b'{"value":"v"}')
            assert sent.status == 200
        assert (main.double.mattermost, main.double.persist) == ({}, {})
        assert main.send("GET", f"{KV}/my-app/k", main.double.mattermost.headers).status == 500


def test_a_request_without_an_address_finds_the_world_that_issued_its_token() -> None:
    """So an app with a fixed site URL can be tested too."""
    with opened("wsgi") as door:
        one, two = open_world(door.double), open_world(door.double)
        for number, world in enumerate((one, two)):
            door.send("PUT", f"{KV}/k", bearer(world.token("mattermost", "app/bot")), b"%d" % number)
            door.send("PUT", "/persist/kv/k", bearer(world.token("persist", "project")), b'{"value":"%d"}' % number)
        assert [door.send("GET", f"{KV}/k", bearer(world.token("mattermost", "app/bot"))).text for world in (one, two)] == [
            "0",
            "1",
        ]
        assert (door.double.mattermost, door.double.persist) == ({}, {})


def test_a_named_token_does_not_lead_to_another_world() -> None:
    """Several worlds may know the same name; without an address it is the server's own."""
    with opened("wsgi") as door:
        world = open_world(door.double, token=["mine=app/bot"])
        door.send("PUT", f"{KV}/k", bearer("mine"), b"1")
        assert world.store.count(("mattermost", "app/bot", b"  ")) == 0


@pytest.mark.parametrize("door", DOORS)
def test_a_world_that_has_ended_refuses(door: str) -> None:
    """By its address and by its tokens, with its name; nothing of it lands elsewhere. One that never was is not there."""
    with opened(door) as main:
        world, other = open_world(main.double), open_world(main.double)
        address, headers = world.url.removeprefix(main.double.url), bearer(world.token("mattermost", "app/bot"))
        persist = bearer(world.token("persist", "project"))
        main.double._backend.end(world)
        main.double._backend.end(world)

        def refused(reply: Reply) -> bool:
            return reply.status == 410 and world.id in reply.json()["error"]

        assert refused(main.send("PUT", f"{address}{KV}/k", headers, b"1"))
        assert refused(main.send("GET", f"{address}/anything"))
        assert refused(main.send("PUT", f"{KV}/k", headers, b"1"))
        assert refused(main.send("PUT", "/persist/kv/k", persist, b'{"value":"v"}'))
        assert (main.double.mattermost, main.double.persist) == ({}, {})
        assert main.send("GET", f"{KV}/k", bearer(other.token("mattermost", "app/bot"))).status == 200
        for never in (
            "nonsense",
            world.id + "0",
            main.double._backend.own_world.id + "-0",
            main.double._backend.own_world.id + "-999",
            "%FF",
        ):
            assert main.send("GET", f"/~{never}{KV}/k", headers).status == 404


def test_the_servers_own_world_has_an_address_too() -> None:
    """As every world."""
    with opened("wsgi") as door:
        id = door.double._backend.own_world.id
        door.send("PUT", f"/~{id}{KV}/k", door.double.mattermost.headers, b"1")
        assert door.double.mattermost == {"k": 1}


def test_a_site_path() -> None:
    """Both services lie under it, and worlds; control answers with and without it."""
    with opened("wsgi", site_path="/mm/") as door:
        double = door.double
        assert double.url.endswith("/mm")
        assert double.env["BEEPBOOP_API_URL"] == double.url + "/api/v1"
        assert door.send("PUT", f"/mm{KV}/k", double.mattermost.headers, b"1").status == 200
        assert door.send("GET", "/mm/persist/kv", double.persist.headers).status == 200
        assert door.send("GET", f"/mm{KV}//k").headers["Location"] == f"/mm{KV}/k"
        assert door.send("GET", f"{KV}/k", double.mattermost.headers).status == 404
        world = open_world(double)
        assert world.url.startswith(double.url + "/~")
        address = "/mm" + world.url.removeprefix(double.url)
        assert door.send("GET", f"{address}{KV}/k", bearer(world.token("mattermost", "app/bot"))).text == "{}"
        assert [door.send("GET", f"{base}/_kvfake/health").status for base in ("/mm", "", address)] == [200, 200, 200]


def test_a_path_outside_the_stores_is_not_found() -> None:
    """And the reply says what there is."""
    with opened("wsgi") as door:
        for path in ("/", "/nothing", "/plugins", "/api/v1", "/persistent/kv", "/_kvfakes"):
            reply = door.send("GET", path)
            assert reply.status == 404, path
            assert "/_kvfake/" in reply.json()["error"]
        assert door.send("GET", "/plugins/other").text == "404 page not found\n"


def test_targets_that_are_no_paths() -> None:
    """They lead nowhere."""
    with opened("socket") as door:
        assert isinstance(door, SocketDoor)
        for message in (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert door.raw(message).status == 404


def test_a_control_that_breaks_does_not_break_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    """It is a 500, and its traceback is on stderr."""

    def broken(*_: object) -> list[bytes]:
        raise RuntimeError("control is out of order")

    with opened("socket") as door:
        door.double._router._control = lambda: broken
        assert door.send("GET", "/_kvfake/health").status == 500
        assert "control is out of order" in capfd.readouterr().err
        assert door.send("GET", "/persist/kv", door.double.persist.headers).json() == []


def test_a_body_of_control_that_has_no_end_is_refused() -> None:
    """And nothing is done."""
    with opened("socket") as door:
        assert isinstance(door, SocketDoor)
        reply = door.raw(b"POST /_kvfake/worlds HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
        assert (reply.status, reply.json()) == (400, {"error": "the body has no end: invalid byte in chunk length"})
        assert door.double._backend.worlds == {}


@pytest.mark.parametrize("path", [f"/%70lugins{KV[8:]}/k", f"//plugins{KV[8:]}/k", f"/x/..{KV}/k"])
def test_a_path_is_a_services_once_it_is_decoded_and_cleaned(path: str) -> None:
    """As with the real site's router."""
    with opened("wsgi with a raw target") as door:
        reply = door.send("GET", path, door.double.mattermost.headers)
        assert reply.text == "{}" if "%70" in path else reply.headers["Location"] == f"{KV}/k"


def test_persists_own_path_may_be_encoded_too() -> None:
    """It is decoded once."""
    with opened("site") as door:
        assert door.send("GET", "/%70ersist/kv", door.double.persist.headers).json() == []


def test_bad_encoding_anywhere_else_is_a_bad_request() -> None:
    """As below every path of the port."""
    with opened("site") as door:
        for path in ("/%zz", "/~%zz/x", f"{KV}/%zz"):
            assert (door.send("GET", path).status, door.send("GET", path).text) == (400, "400 Bad Request")


def test_the_environment_of_an_app() -> None:
    """The names that apps read, and a proxy that is not asked."""
    double = kvfake.Double(public_url="http://kv.example:8000")
    assert double.env == {
        "KVFAKE_URL": "http://kv.example:8000",
        "MATTERMOST_SITE_URL": "http://kv.example:8000",
        "MATTERMOST_BOT_TOKEN": double.mattermost.token,
        "BEEPBOOP_PERSIST_URL": "http://kv.example:8000/api/v1",
        "BEEPBOOP_API_URL": "http://kv.example:8000/api/v1",
        "BEEPBOOP_TOKEN": double.persist.token,
        "NO_PROXY": double.env["NO_PROXY"],
    }
    assert {"127.0.0.1", "kv.example"} <= set(double.env["NO_PROXY"].split(","))


def test_no_proxy_keeps_the_hosts_that_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """``no_proxy`` is what counts for many clients, where it is set."""
    monkeypatch.setenv("NO_PROXY", "intranet, 127.0.0.1")
    monkeypatch.setenv("no_proxy", "elsewhere")
    with kvfake.start() as double:
        assert double.env["NO_PROXY"] == "intranet,127.0.0.1"
        assert double.env["no_proxy"] == "elsewhere,127.0.0.1"


def test_wrong_settings_are_refused() -> None:
    """An unknown name is a ``TypeError``, an impossible value a ``ValueError``; both say what is possible."""
    makers: list[Callable[..., Double]] = [kvfake.Double, kvfake.start]
    for make in makers:
        with pytest.raises(TypeError, match=r"'profil' is not a setting here; there are: host, port"):
            make(profil="x")
        with pytest.raises(ValueError, match=r"profile: expected one of documented, plugin-1\.2"):
            make(profile="x")


def test_tokens_of_worlds_that_are_long_forgotten() -> None:
    """A server tells by the token alone whose it was; what it did not make itself means nothing to it."""
    issuer, other = TokenIssuer(), TokenIssuer()
    for service in ("mattermost", "persist"):
        token = issuer.make(service, 1_000_000)
        assert issuer.serial_of(token) == 1_000_000
        assert other.serial_of(token) is None
        assert issuer.serial_of(token.upper()) is None  # the services know a token in its own letters alone
        assert issuer.serial_of(token[:-1] + (b"b" if token[-1:] != b"b" else b"a")) is None
    for nonsense in (b"", b"1" * 26, b"x" * 32, b"\xff" * 32, b"a" * 25, b"a" * 26, b"a" * 32):
        assert issuer.serial_of(nonsense) is None


def test_a_reset_leaves_nothing_of_what_a_test_did() -> None:
    """Neither values nor faults nor exchanges nor marks, and the clock runs with the machine's; tokens and routes stay."""
    with opened("wsgi") as one:
        double = one.double
        headers = double.mattermost.headers
        one.send("PUT", f"{KV}/k", headers, b"1")
        double.faults.add(status=503, times=None)
        double.clock.freeze()
        double.clock.move_to("2016-12-31T23:59:59Z")
        double.respond("GET", "/routed", body="here")
        mark = double.checkpoint()
        double.reset()
        assert (world_of(double).holdings(), list(double.faults), list(double.journal)) == ([], [], [])
        assert (double.clock.is_frozen, double.clock.time.year > 2016) == (False, True)
        with pytest.raises(ValueError, match="there are: none"):
            double.rollback(mark)
        assert one.send("GET", "/routed").text == "here"
        assert one.send("PUT", f"{KV}/k", headers, b"1").status == 200


def test_the_world_of_another_server_was_never_here() -> None:
    """A server that was started again at the same address cannot say that it has ended: 404, not 410."""
    with opened("wsgi") as one:
        ended = open_world(one.double)
        one.double._backend.end(ended)
        serial = ended.id.partition("-")[2]
        assert one.send("GET", f"/~{ended.id}{KV}/k").status == 410
        reply = one.send("GET", f"/~another-{serial}{KV}/k")
        assert (reply.status, reply.json()) == (404, {"error": "no route for this path: expected /~ID of an open world"})


def test_ended_worlds_are_not_remembered() -> None:
    """A thousand worlds later nothing is left of them but their number."""
    backend = Backend("http://x", kvfake.Double()._backend.own_world.settings)
    ids = []
    for _ in range(1000):
        world = backend.open({})
        ids.append(world.id)
        backend.end(world)
    assert (backend.worlds, backend._by_serial) == ({}, {})
    for id in ids:
        with pytest.raises(WorldEnded):
            backend.find(id)


@pytest.mark.parametrize("sign", ['"', "\\", "\n", "\x00", "\x1f", "\x7f", "é", "?", "x"])
def test_a_long_value_is_quoted_as_a_short_one(sign: str) -> None:
    """Whatever stands in it, and wherever."""
    with opened("site") as one:
        for value in (sign, sign + "y" * 5000, "y" * 5000 + sign):
            one.double.persist["k"] = value
            assert one.send("GET", "/persist/kv/k", one.double.persist.headers).json()["value"] == value
