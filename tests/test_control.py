"""Control over HTTP: worlds that share nothing, and who may use control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.control import handlers
from kvfake.control.routes import ROUTES
from tests.support.process import PATIENCE_SECONDS, asked, served
from tests.support.served import server_of
from tests.support.wire import Reply

KV = "/plugins/com.mattermost.apps/api/v1/kv/"
PERSIST = "/api/v1/persist/kv/"

EVERYTHING = [
    (route.method, route.path.replace("<id>", "any").replace("<int:number>", "1").replace("<int:mark>", "1")) for route in ROUTES
]


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


@pytest.fixture(name="double")
def _double() -> Iterator[kvfake.Double]:
    with kvfake.start(strict=True) as double:
        yield double


@pytest.fixture(name="url")
def _url(double: kvfake.Double) -> str:
    return double.url


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def opened(url: str, **settings: Any) -> dict[str, Any]:
    """The description of a new world, as the server answers it."""
    reply = asked(url + "/_kvfake/worlds", "POST", settings)
    assert reply.status == 201
    described: dict[str, Any] = reply.json()
    return described


def refused(reply: Reply, status: int) -> str:
    """The error text of a refusal, which is JSON."""
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json().keys() == {"error"}
    return str(reply.json()["error"])


# ------------------------------------------------------------------------------------------------------- the server's own world


def test_health(double: kvfake.Double) -> None:
    """Status, version, URL and profile; HEAD has no body."""
    reply = asked(double.url + "/_kvfake/health")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json() == {"status": "ok", "kvfake": kvfake.__version__, "url": double.url, "profile": "documented"}
    head = asked(double.url + "/_kvfake/health", "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_env(double: kvfake.Double) -> None:
    """The same variables as the double's, apart from NO_PROXY, which depends on the environment of the caller."""
    env = asked(double.url + "/_kvfake/env").json()
    assert {**env, "NO_PROXY": "127.0.0.1"} == double.env


def test_reset(double: kvfake.Double) -> None:
    """Every value is deleted; tokens and settings stay."""
    double.mattermost["name"], double.persist["name"], token = "Ada", "Ada", double.mattermost.token
    own = asked(double.url + "/_kvfake/reset", "POST").json()["reset"]
    assert asked(f"{double.url}/_kvfake/worlds/{own}").json()["tokens"]["mattermost"] == token
    assert dict(double.mattermost) == dict(double.persist) == {}
    assert asked(double.mattermost.url_for("name"), headers=bearer("stranger")).status == 401


def test_a_reset_of_a_seeded_server(tmp_path: Path) -> None:
    """It goes back to the seed."""
    file = tmp_path / "seed.json"
    file.write_text('{"kvfake": 1, "mattermost": {"app/bot": {"": {"name": "Ada"}}}}')
    with kvfake.start(seed=file) as double:
        double.mattermost["name"] = "Eve"
        assert asked(double.url + "/_kvfake/reset", "POST").status == 200
        assert double.mattermost == {"name": "Ada"}


def test_worlds_are_listed(url: str) -> None:
    """The server's own first, then the others, each with its address; with a slash at the end or without."""
    first, second = opened(url), opened(url)
    own, *others = asked(url + "/_kvfake/worlds").json()["worlds"]
    assert own["address"] == url
    assert others == [{"id": world["id"], "address": world["address"]} for world in (first, second)]
    assert asked(url + "/_kvfake/worlds/").json()["worlds"] == [own, *others]


# ---------------------------------------------------------------------------------------------------------------- other worlds


def test_a_new_world_says_all_that_an_app_needs(url: str) -> None:
    """Its id, its address below the server's, tokens, environment variables, and the context of a call."""
    world = opened(url)
    assert world["address"] == f"{url}/~{world['id']}"
    assert world["env"] == {
        "KVFAKE_URL": world["address"],
        "MATTERMOST_SITE_URL": world["address"],
        "MATTERMOST_BOT_TOKEN": world["tokens"]["mattermost"],
        "BEEPBOOP_PERSIST_URL": world["address"] + "/api/v1",
        "BEEPBOOP_API_URL": world["address"] + "/api/v1",
        "BEEPBOOP_TOKEN": world["tokens"]["persist"],
    }
    assert world["context"]["mattermost_site_url"] == world["address"]
    assert world["context"]["bot_access_token"] == world["tokens"]["mattermost"]
    assert asked(f"{url}/_kvfake/worlds/{world['id']}").json() == world


def test_a_new_world_has_the_servers_settings_and_its_own(url: str) -> None:
    """A setting that is missing or ``null`` is that of the server's own world."""
    same = opened(url, profile=None)
    other = opened(url, strict=False, profile="plugin-1.2", mattermost_missing="null", token=["named=app/ada"])
    assert asked(same["address"] + KV + "name", headers=bearer("stranger")).status == 401
    assert asked(other["address"] + KV + "name", headers=bearer("stranger")).body == b"null\n"
    assert asked(other["address"] + "/_kvfake/health").json()["profile"] == "plugin-1.2"
    assert asked(same["address"] + KV + "name", headers=bearer("named")).status == 401
    assert asked(other["address"] + KV + "name", headers=bearer("named")).status == 200


def test_settings_may_come_in_chunks(url: str) -> None:
    """Clients send chunks where they do not know the length of the body."""
    connection = HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=PATIENCE_SECONDS)
    connection.request("POST", "/_kvfake/worlds", iter([b'{"profile": ', b'"plugin-1.2"}']), encode_chunked=True)
    world = json.loads(connection.getresponse().read())
    connection.close()
    assert asked(world["address"] + "/_kvfake/health").json()["profile"] == "plugin-1.2"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"profile": "plugin"}, "profile: expected one of documented, plugin-1.2, got 'plugin'"),
        ({"strict": "maybe"}, "strict: expected one of 1, true, yes, on, 0, false, no, off, got 'maybe'"),
        ({"token": 1}, "token: expected texts, got 1"),
        ({"token": ["token=owner"]}, "token: 'owner' is not an owner: expected app/user (Mattermost)"),
        ({"token": ["\ud800=app/bot"]}, "token: expected a text that UTF-8 can hold"),
        ({"mattermost_missing": "200"}, "mattermost_missing: expected one of object, null, 404, got '200'"),
        ({"journal_exchanges": -1}, "journal_exchanges: expected a number from 0 to 1000000, got -1"),
        ({"fallback": "ftp://other"}, "fallback: expected http(s)://host[:port][/path], got 'ftp://other'"),
        ({"port": 80}, "'port' is not known here: expected profile, strict, token, mattermost_missing, "),
        ({"colour": "red"}, "'colour' is not known here: expected profile, strict, token, mattermost_missing, "),
        ({"seed": "/etc/passwd"}, "'seed' is not known here: expected profile, strict, token, mattermost_missing, "),
    ],
)
def test_wrong_settings(url: str, settings: dict[str, Any], error: str) -> None:
    """The refusal lists what is possible, and no world is opened."""
    assert refused(asked(url + "/_kvfake/worlds", "POST", settings), 400).startswith(error)
    assert len(asked(url + "/_kvfake/worlds").json()["worlds"]) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"profile=plugin-1.2", "the body: line 1, column 1: Expecting value: expected an object of JSON with profile, "),
        (b"\xff\xfe\xff", "the body: 'utf-8' codec can't decode byte 0xff in position 0: "),
        (b"[" * 100_000, "the body: it is nested more than 504 levels deep: expected an object of JSON with profile, "),
        (b'{"strict": true, "strict": false}', "the body: the name 'strict' stands twice in one object: expected an object"),
        (b'{"strict": NaN}', "the body: NaN is not JSON: expected an object"),
        (b'["strict"]', "the body is an array: expected an object with profile, "),
        (b"null", "the body is null: expected an object with profile, "),
    ],
    ids=["a form", "no text", "deep", "twice", "no number", "a list", "null"],
)
def test_a_body_that_is_no_object(url: str, body: bytes, error: str) -> None:
    """It is refused, and the next request works."""
    assert refused(asked(url + "/_kvfake/worlds", "POST", body), 400).startswith(error)
    assert asked(url + "/_kvfake/worlds", "POST", b"").status == 201


def test_worlds_are_isolated(double: kvfake.Double) -> None:
    """A world is reached by its address or by its own token, and shares no value with another."""
    url, one, other = double.url, opened(double.url), opened(double.url)
    token, other_token = bearer(one["tokens"]["mattermost"]), bearer(other["tokens"]["mattermost"])
    project, other_project = bearer(one["tokens"]["persist"]), bearer(other["tokens"]["persist"])

    assert asked(one["address"] + KV + "name", "PUT", "by address", token).status == 200
    assert asked(url + KV + "name", headers=token).json() == "by address"
    assert asked(url + KV + "name", "PUT", "by token", token).status == 200
    assert asked(one["address"] + KV + "name", headers=token).json() == "by token"

    assert asked(url + PERSIST + "name", "PUT", {"value": "by token"}, project).status == 200
    assert asked(one["address"] + PERSIST + "name", headers=project).status == 200
    assert asked(url + PERSIST + "name", headers=other_project).status == 404

    assert asked(other["address"] + KV + "name", headers=other_token).json() == {}
    assert asked(url + KV + "name", headers=bearer(double.mattermost.token)).json() == {}
    assert dict(double.mattermost) == dict(double.persist) == {}


def test_a_token_is_unknown_in_another_world(double: kvfake.Double) -> None:
    """The address decides which world answers, also where the token belongs to another one."""
    one, other = opened(double.url), opened(double.url)
    for token in (other["tokens"]["mattermost"], double.mattermost.token):
        assert asked(one["address"] + KV + "name", "PUT", 1, bearer(token)).status == 401


def test_control_below_an_address_is_that_worlds(double: kvfake.Double) -> None:
    """A reset there empties that world alone. The list of worlds is the same at every address."""
    one, other = opened(double.url), opened(double.url)
    double.mattermost["name"] = "own"
    for world in (one, other):
        asked(world["address"] + KV + "name", "PUT", world["id"], bearer(world["tokens"]["mattermost"]))
    assert asked(one["address"] + "/_kvfake/env").json() == one["env"]
    assert asked(one["address"] + "/_kvfake/health").json()["url"] == one["address"]
    assert asked(one["address"] + "/_kvfake/reset", "POST").json() == {"reset": one["id"]}
    assert asked(one["address"] + KV + "name", headers=bearer(one["tokens"]["mattermost"])).json() == {}
    assert asked(other["address"] + KV + "name", headers=bearer(other["tokens"]["mattermost"])).json() == other["id"]
    assert double.mattermost["name"] == "own"
    assert asked(one["address"] + "/_kvfake/worlds").json() == asked(double.url + "/_kvfake/worlds").json()


def test_a_world_that_has_ended_refuses(double: kvfake.Double) -> None:
    """The refusal names the world, by address and by token; no value reaches the server's own world."""
    world = opened(double.url, strict=False)
    token, project = bearer(world["tokens"]["mattermost"]), bearer(world["tokens"]["persist"])
    assert asked(f"{double.url}/_kvfake/worlds/{world['id']}", "DELETE").json() == {"ended": world["id"]}
    for base in (world["address"], double.url):
        for path, headers in ((KV + "name", token), (PERSIST + "name", project)):
            assert world["id"] in refused(asked(base + path, "PUT", {"value": "late"}, headers), 410)
    assert world["id"] in refused(asked(world["address"] + KV + "name", "PUT", 1, bearer("anybody")), 410)
    assert world["id"] in refused(asked(world["address"] + "/_kvfake/health"), 410)
    assert dict(double.mattermost) == dict(double.persist) == {}
    everything = asked(double.url + "/_kvfake/worlds").json()["worlds"]
    assert [one["address"] for one in everything] == [double.url]


def test_a_world_that_has_ended_is_known_to_have_been(url: str) -> None:
    """It is 410 to show or end it; an id that never existed is 404."""
    world = opened(url)
    place = f"{url}/_kvfake/worlds/{world['id']}"
    assert asked(place, "DELETE").status == 200
    for method in ("GET", "DELETE"):
        assert refused(asked(place, method), 410) == f"the world {world['id']} has ended"
        for never in (world["id"] + "9", "no-world"):
            error = refused(asked(f"{url}/_kvfake/worlds/{never}", method), 404)
            assert error == f"there is no world '{never}'; GET /_kvfake/worlds lists them"


def test_the_servers_own_world_cannot_be_ended(double: kvfake.Double) -> None:
    """The refusal says what to do: a reset."""
    own = asked(double.url + "/_kvfake/worlds").json()["worlds"][0]["id"]
    place = f"{double.url}/_kvfake/worlds/{own}"
    assert asked(place).json()["address"] == double.url
    assert "POST /_kvfake/reset takes it back to its beginning" in refused(asked(place, "DELETE"), 409)
    double.mattermost["name"] = "still here"
    assert double.mattermost["name"] == "still here"


@pytest.mark.parametrize("service", ["mattermost", "persist"])
def test_the_owner_of_a_token(double: kvfake.Double, service: str) -> None:
    """For each service that knows it. The token is in the body: URLs are kept in logs."""
    token = getattr(double, service).token
    reply = asked(double.url + "/_kvfake/owner", "POST", {"token": token})
    own = asked(double.url + "/_kvfake/worlds").json()["worlds"][0]["id"]
    owners = {"mattermost": None, "persist": None, service: getattr(double, service).owner}
    assert reply.json() == {"world": own, "path": "", "owners": owners}


def test_the_owner_of_an_unknown_token(double: kvfake.Double) -> None:
    """Nobody in a strict world, a stranger in another."""
    strange = {"token": "strange"}
    assert set(asked(double.url + "/_kvfake/owner", "POST", strange).json()["owners"].values()) == {None}
    world = opened(double.url, strict=False)
    asked(world["address"] + KV + "k", "PUT", 1, bearer("strange"))
    owners = asked(world["address"] + "/_kvfake/owner", "POST", strange).json()["owners"]
    data = asked(world["address"] + "/_kvfake/data").json()
    assert list(data["mattermost"]) == [owners["mattermost"]] == [owners["persist"]]


def test_the_owner_of_a_token_of_another_world(url: str) -> None:
    """A request with it belongs to that world, so the answer says where that is; at the world's own address it is here."""
    world = opened(url)
    token = {"token": world["tokens"]["persist"]}
    owners = {"mattermost": None, "persist": "project"}
    assert asked(url + "/_kvfake/owner", "POST", token).json() == {
        "world": world["id"],
        "path": f"/~{world['id']}",
        "owners": owners,
    }
    assert asked(world["address"] + "/_kvfake/owner", "POST", token).json() == {"world": world["id"], "path": "", "owners": owners}
    asked(url + f"/_kvfake/worlds/{world['id']}", "DELETE")
    assert refused(asked(url + "/_kvfake/owner", "POST", token), 410) == f"the token is of the world {world['id']}, which has ended"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "token: expected a text that is not empty, got null"),
        ({"token": ""}, "token: expected a text that is not empty, got a string"),
        ({"token": 5}, "token: expected a text that is not empty, got a number"),
        ({"token": "\udc00"}, "token: expected a text that is not empty, got a string"),
        ({"tokens": "t"}, "'tokens' is not known here: expected token"),
    ],
)
def test_the_owner_of_no_token(url: str, payload: dict[str, Any], reason: str) -> None:
    """The refusal says what is expected."""
    assert refused(asked(url + "/_kvfake/owner", "POST", payload), 400) == reason


def test_worlds_without_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit: a suite that never ends its worlds gets an error before it has used all memory."""
    monkeypatch.setattr(handlers, "MAX_WORLDS", 2)
    first = opened(url)
    opened(url)
    assert "there are 2 worlds: end some with DELETE" in refused(asked(url + "/_kvfake/worlds", "POST"), 429)
    asked(f"{url}/_kvfake/worlds/{first['id']}", "DELETE")
    opened(url)


# -------------------------------------------------------------------------------------------------------------- paths and verbs


@pytest.mark.parametrize("path", ["", "/"])
def test_the_index(url: str, path: str) -> None:
    """Every path with its methods."""
    reply = asked(url + "/_kvfake" + path)
    assert reply.status == 200
    assert reply.json() == {
        "kvfake": kvfake.__version__,
        "paths": {
            "/": ["GET"],
            "/health": ["GET"],
            "/openapi.json": ["GET"],
            "/env": ["GET"],
            "/owner": ["POST"],
            "/reset": ["POST"],
            "/worlds": ["GET", "POST"],
            "/worlds/<id>": ["GET", "DELETE"],
            "/data": ["GET", "POST", "PUT", "DELETE"],
            "/data/export": ["POST"],
            "/faults": ["GET", "POST", "DELETE"],
            "/faults/<int:number>": ["GET", "DELETE"],
            "/journal": ["GET", "DELETE"],
            "/clock": ["GET", "POST"],
            "/checkpoints": ["GET", "POST"],
            "/checkpoints/<int:mark>/rollback": ["POST"],
            "/routes": ["GET", "POST", "DELETE"],
        },
    }


def test_answers_can_be_read(url: str) -> None:
    """JSON is indented, ends with a newline, and has letters of any language unescaped."""
    assert asked(url + "/_kvfake/faults").text == '{\n  "faults": []\n}\n'
    assert asked(url + "/_kvfake/faults", "POST", {"status": 503, "key": "é"}).text.endswith('  "key": "é"\n}\n')


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/worlds/a/b", "/worlds//x", "/health/more", "/checkpoints/1"),
        *("/faults/one", "/faults/-1", "/faults/" + "9" * 5000),
    ],
)
def test_a_path_that_is_not_there(url: str, path: str) -> None:
    """The refusal lists every path once."""
    error = refused(asked(url + "/_kvfake" + path), 404)
    there = ", ".join(asked(url + "/_kvfake").json()["paths"])
    assert error == f"control has no {path}; there are: {there}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("GET", "/reset", "POST"),
        ("PUT", "/worlds", "GET, HEAD, POST"),
        ("OPTIONS", "/worlds", "GET, HEAD, POST"),
        ("POST", "/worlds/any", "DELETE, GET, HEAD"),
        ("PATCH", "/data", "DELETE, GET, HEAD, POST, PUT"),
        ("DELETE", "/checkpoints/1/rollback", "POST"),
    ],
)
def test_a_verb_that_is_not_there(url: str, method: str, path: str, allowed: str) -> None:
    """``Allow`` lists the methods of the path."""
    reply = asked(url + "/_kvfake" + path, method)
    assert refused(reply, 405) == f"method {method} not allowed: expected {allowed}"
    assert reply.headers["Allow"] == allowed


# ---------------------------------------------------------------------------------------------------------- who may use control


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8065", "localhost", "LocalHost:1", "127.1.2.3:8065", "[::1]:8065", "[::1]"]
)
def test_this_machine_is_allowed(url: str, host: str) -> None:
    """By any loopback name or address, with any port, as the port may be forwarded."""
    assert asked(url + "/_kvfake/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8065", "127.0.0.1.evil.example", "192.0.2.1", "[2001:db8::1]", ""])
def test_another_host_is_refused(url: str, host: str) -> None:
    """A foreign name may resolve to this machine (DNS rebinding). The refusal names the flag that allows one."""
    error = refused(asked(url + "/_kvfake/worlds", "POST", {}, {"Host": host}), 403)
    assert error.startswith(f"Host is {host!r}: expected a name of this server (127.0.0.1, localhost, a loopback address)")
    assert "--allow-host NAME" in error
    assert len(asked(url + "/_kvfake/worlds").json()["worlds"]) == 1


@pytest.mark.parametrize("host", ["[::1", "[name]"])
def test_a_host_that_cannot_be_read(url: str, host: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It is refused as a foreign one, and nothing is logged."""
    refused(asked(url + "/_kvfake/health", headers={"Host": host}), 403)
    assert capfd.readouterr() == ("", "")


def test_allowed_hosts_are_answered() -> None:
    """The setting adds names, as a compose file needs them. The host of the public URL is always allowed."""
    with kvfake.start(allow_host=["kvfake", "Other.example"], public_url="http://Kv.example:8000") as double:
        url = f"http://127.0.0.1:{server_of(double).port}"
        for host in ("kvfake:8065", "other.example", "kv.example:8000"):
            assert asked(url + "/_kvfake/health", headers={"Host": host}).json()["url"] == "http://Kv.example:8000"
        assert asked(url + "/_kvfake/health", headers={"Host": "evil.example"}).status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost", "http://127.0.0.1:1", "http://[::1"])
def test_a_page_of_another_origin_is_refused(url: str, origin: str) -> None:
    """Nor one that has no origin of its own (``null``), such as a file or a sandboxed frame."""
    error = refused(asked(url + "/_kvfake/reset", "POST", headers={"Origin": origin}), 403)
    assert error == f"Origin is {origin!r}: expected none, or this server's own ({url.removeprefix('http://')})"


def test_a_page_of_this_server_is_answered(url: str) -> None:
    """Its ``Origin`` is the ``Host`` that it sends."""
    assert asked(url + "/_kvfake/reset", "POST", headers={"Origin": url}).status == 200
    local = url.replace("127.0.0.1", "localhost")
    assert asked(url + "/_kvfake/env", headers={"Origin": local, "Host": local.removeprefix("http://")}).status == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}], ids=["host", "origin"])
@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_other_hosts_are_refused(url: str, method: str, path: str, headers: dict[str, str]) -> None:
    """Every route refuses them, also below a world's address."""
    world = opened(url)["address"]
    for base in (url, world):
        refused(asked(base + "/_kvfake" + path, method, headers=headers), 403)


@pytest.mark.parametrize("origin", [None, "own", "https://evil.example"])
@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, ("OPTIONS", "/worlds"), ("GET", "/nothing")])
def test_no_response_allows_cors(url: str, method: str, path: str, origin: str | None) -> None:
    """No response has a CORS header, which would let a browser give it to a page of another site."""
    headers = {} if origin is None else {"Origin": url if origin == "own" else origin}
    headers |= {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
    reply = asked(url + "/_kvfake" + path, method, headers=headers)
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


TOKEN = "öpen sesame"  # sent as UTF-8


@pytest.fixture(name="guarded")
def _guarded() -> Iterator[str]:
    """The address of a server with a control token."""
    with kvfake.start(control_token=TOKEN) as double:
        yield double.url


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer open sesame", f"Basic {TOKEN}", f"Token {TOKEN}", TOKEN, f"Bearer {TOKEN} too", "\xff"],
)
def test_a_control_token_is_required(guarded: str, authorization: str | None) -> None:
    """A request without it, or with another one, is refused, and the refusal says what was expected."""
    headers = {} if authorization is None else {"Authorization": on_the_wire(authorization)}
    reply = asked(guarded + "/_kvfake/worlds", "POST", {}, headers)
    assert refused(reply, 401) == "expected the control token: Authorization: Bearer <token>, as --control-token says"
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_control_token_opens(guarded: str, scheme: str) -> None:
    """The scheme may be in any case."""
    assert asked(guarded + "/_kvfake/worlds", headers={"Authorization": on_the_wire(scheme + TOKEN)}).status == 200


def test_a_control_token_with_blanks_at_its_ends() -> None:
    """A header keeps none there. Blanks alone open nothing."""
    for token, status in ((" a b ", 200), ("voilà", 200), (" ", 401)):
        with kvfake.start(control_token=token) as double:
            authorization = f"Bearer {token}".encode().decode("latin-1")
            assert asked(f"{double.url}/_kvfake/env", headers={"Authorization": authorization}).status == status


@pytest.mark.parametrize(("method", "path"), [pair for pair in EVERYTHING if pair[1] != "/health"])
def test_a_control_token_guards_everything(guarded: str, method: str, path: str) -> None:
    """Except the health check, which a container calls without a token."""
    refused(asked(guarded + "/_kvfake" + path, method), 401)
    for health in ("/health", "/health/"):
        assert asked(guarded + "/_kvfake" + health).status == 200


def test_a_control_token_is_no_way_around_the_host(guarded: str) -> None:
    """The host is checked first, so that a page of another site cannot guess tokens."""
    headers = {"Authorization": on_the_wire(f"Bearer {TOKEN}"), "Host": "evil.example"}
    refused(asked(guarded + "/_kvfake/worlds", headers=headers), 403)


def test_the_services_need_no_control_token(guarded: str) -> None:
    """An app does not know control."""
    assert asked(guarded + KV + "name", headers=bearer("anybody")).status == 200


def on_the_wire(header: str) -> str:
    """The header as a text that http.client sends as UTF-8."""
    return header.encode().decode("latin-1")


@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, ("GET", "/nothing")])
def test_control_can_be_switched_off(method: str, path: str) -> None:
    """Every path of control is 404, also below a world's address; the services still answer."""
    with kvfake.start(control=False) as double:
        assert refused(asked(double.url + "/_kvfake" + path, method), 404) == "control is switched off (--no-control)"
        refused(asked(f"{double.url}/~{double._world.id}/_kvfake{path}", method), 404)
        assert asked(double.mattermost.url_for("name"), headers=double.mattermost.headers).status == 200


def test_the_flags_that_guard_control() -> None:
    """``kvfake serve`` takes them."""
    with served("--no-control") as (_, url):
        refused(asked(url + "/_kvfake/health"), 404)
    with served("--control-token", "secret") as (_, url):
        refused(asked(url + "/_kvfake/env"), 401)
        assert asked(url + "/_kvfake/env", headers=bearer("secret")).json()["KVFAKE_URL"] == url


# -------------------------------------------------------------------------------------------------------- no fault, no journal


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_control_meets_no_fault_and_is_in_no_journal(double: kvfake.Double, method: str, path: str) -> None:
    """A fault that hits every request does not hit control, and no request to control is recorded."""
    fault = double.faults.add(sever="reset", times=None)
    asked(double.url + "/_kvfake" + path, method)
    asked(double.url + "/_kvfake/no-such-path")
    assert fault.hits == 0
    assert list(double.journal) == []
    assert double.journal.seen == 0
