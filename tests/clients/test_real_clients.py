"""The official clients, and those that apps use without one, do with the double what they do with the services."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import kvfake
from kvfake.double import Double
from tests.clients.official import GoStories, NodeStories
from tests.clients.sessions import Session
from tests.support.missing import tool

ADA = {
    "user_id": "7q7kaakokfdsdycy3pr9ctkc5r",
    "is_employee": True,
    "team": {"name": "My Team", "id": "hoan6o9ws7rp5xj7wu9rmysrte"},
}
NAME = "Ada Lovelace, née Byron 🧮"
KEYS = ["a key", "a/b", "convo::42", "users:U1"]


@pytest.mark.once
class TestTheGoDriver:
    """`appclient` of mattermost-plugin-apps v1.2.2; the stories are in ``go/driver_test.go``."""

    pytestmark = pytest.mark.timeout(600)

    @pytest.mark.shows("M16")
    def test_stores_a_text(self, go: GoStories, double: Double) -> None:
        """The documentation's text lies under the documentation's prefix and key."""
        go.tell("TestText", call(double))
        assert double.mattermost.with_prefix("my-app") == {"my-key": "my-value"}

    def test_stores_nested_data(self, go: GoStories, double: Double) -> None:
        """The documentation's struct is a JSON object."""
        go.tell("TestNestedData", call(double))
        assert double.mattermost.with_prefix("my-app")["my-key"] == ADA

    def test_deletes(self, go: GoStories, double: Double) -> None:
        """What the driver deleted is not there."""
        go.tell("TestDelete", call(double))
        assert dict(double.mattermost.with_prefix("my-app")) == {}

    def test_acts_as_the_bot_and_as_the_user(self, go: GoStories, double: Double) -> None:
        """The two tokens of one context lead to different values."""
        go.tell("TestBotAndActingUser", call(double))
        assert double.mattermost.with_prefix("my-app") == {"my-key": "the bot's"}
        assert double.mattermost.as_user("ada").with_prefix("my-app") == {"my-key": "ada's", "forgotten": "ada's"}
        assert dict(double.mattermost.as_user("grace").with_prefix("my-app")) == {}

    @pytest.mark.shows("M06")
    def test_keeps_prefixes_apart(self, go: GoStories, double: Double) -> None:
        """No prefix, a short one and the documentation's long one are namespaces of their own."""
        go.tell("TestPrefixes", call(double))
        for prefix in ("", "p", "my-app"):
            assert double.mattermost.with_prefix(prefix) == {"my-key": f'below "{prefix}"'}

    @pytest.mark.shows("M17")
    def test_reads_whether_a_value_changed(self, go: GoStories, double: Double) -> None:
        """`documented`: the second equal set changes nothing."""
        go.tell("TestAnEqualValueChangesNothing", call(double))
        assert double.mattermost["my-key"] == ADA

    @pytest.mark.shows("M17")
    def test_reads_changed_as_the_plugin_answers_it(self, go: GoStories) -> None:
        """`plugin-1.2`: every set is a change."""
        with kvfake.start(profile="plugin-1.2", strict=True) as double:
            go.tell("TestEverySetIsAChange", call(double))
            assert double.mattermost["my-key"] == ADA

    @pytest.mark.shows("M15", "M16")
    def test_is_refused_its_prefix_by_the_plugin(self, go: GoStories) -> None:
        """`plugin-1.2`: a prefix has two bytes at most."""
        with kvfake.start(profile="plugin-1.2", strict=True) as double:
            go.tell("TestTheLongPrefixIsRefused", call(double))
            assert double.mattermost.with_prefix("p") == {"my-key": "my-value"}

    @pytest.mark.shows("M14")
    def test_stores_the_largest_value(self, go: GoStories, double: Double) -> None:
        """8192 bytes are stored, one more is not."""
        go.tell("TestTheLargestValue", call(double))
        assert len(double.mattermost.raw["my-key"]) == 8192

    def test_is_refused_with_an_unknown_token(self, go: GoStories, double: Double) -> None:
        """A strict double knows the tokens of its contexts alone."""
        go.tell("TestAnUnknownTokenIsRefused", call(double))
        assert dict(double.mattermost) == {}

    def test_reads_what_python_wrote(self, go: GoStories, double: Double) -> None:
        """Values that a test puts there reach the app."""
        double.mattermost.with_prefix("my-app")["my-key"] = ADA
        double.mattermost["name"] = NAME
        double.mattermost["numbers"] = [1, 2.5, -3e100]
        double.mattermost.as_user("ada").with_prefix("p")["name"] = "ada's"
        go.tell("TestReadsWhatPythonWrote", call(double))

    def test_finds_a_site_below_a_path(self, go: GoStories) -> None:
        """The site URL of the context may have a path."""
        with kvfake.start(site_path="/chat", strict=True) as double:
            go.tell("TestNestedData", call(double))
            assert double.mattermost.with_prefix("my-app")["my-key"] == ADA


def call(double: Double) -> dict[str, str]:
    """The environment of a story: that of an app, and the context of a call request by ada."""
    return {**double.env, "KVFAKE_TEST_CONTEXT": json.dumps(double.mattermost.context(acting_user="ada"))}


@pytest.mark.once
class TestTheNodeClient:
    """`beepboop-persist` 1.0.0, set up by the environment alone; the stories are in ``node/persist.test.js``."""

    pytestmark = pytest.mark.timeout(600)

    def test_does_the_example_of_the_documentation(self, node: NodeStories, double: Double) -> None:
        """Set, get, list, list with begins, delete."""
        node.tell("the example of the documentation", double.env)
        assert dict(double.persist) == {}

    @pytest.mark.shows("P12", "P13")
    def test_stores_json(self, node: NodeStories, double: Double) -> None:
        """What the client serializes Python finds as JSON, under every key that the client can name."""
        node.tell("any JSON value comes back under any key", double.env)
        assert double.persist.json == {key: {"under": key} for key in KEYS}
        assert double.persist["convo::42"] == '{"under":"convo::42"}'

    @pytest.mark.shows("P13")
    def test_stores_texts(self, node: NodeStories, double: Double) -> None:
        """With ``serialize: false`` the string is what the app gave."""
        node.tell("texts are stored as they are with serialize false", double.env)
        assert double.persist == {**{key: f'as "{key}" is' for key in KEYS}, "empty": ""}

    @pytest.mark.shows("P13")
    @pytest.mark.parametrize(
        "story",
        [
            "a missing key is undefined",
            "mget keeps the order of the keys",
            "list takes begins literally",
            "many at once",
            "the error of a refusal is shown",
        ],
    )
    def test_is_answered_as_by_the_service(self, node: NodeStories, double: Double, story: str) -> None:
        """The story says it."""
        node.tell(story, double.env)

    @pytest.mark.shows("P12")
    def test_names_a_key_beyond_ascii_in_two_ways(self, node: NodeStories, double: Double) -> None:
        """P12: what it sets under ``é`` (UTF-8) it cannot get (Latin-1). Python finds what was set."""
        node.tell("a key beyond ASCII is another one with a body than without", double.env)
        assert double.persist.json == {"é": "set"}

    def test_deletes(self, node: NodeStories, double: Double) -> None:
        """What the client deleted is not there."""
        node.tell("what is deleted is gone", double.env)
        assert double.persist.json == {"kept": "kept"}

    @pytest.mark.shows("P09")
    def test_stores_the_largest_value(self, node: NodeStories, double: Double) -> None:
        """262,144 bytes are stored, one more is a 400, and the client shows its ``error``."""
        node.tell("the largest value is 262144 bytes", double.env)
        assert double.persist["large"] == "\u0001" * 262_144

    def test_is_refused_with_an_unknown_token(self, node: NodeStories, double: Double) -> None:
        """A strict double knows its own token alone."""
        node.tell("an unknown token is refused", double.env)
        assert dict(double.persist) == {}

    def test_reads_what_python_wrote(self, node: NodeStories, double: Double) -> None:
        """Values that a test puts there reach the app."""
        for key in KEYS:
            double.persist.json[key] = {"under": key, "step": 2}
        double.persist["name"] = NAME
        double.persist.json["\udce9"] = "Latin-1"  # the byte that the client sends when it gets é, as Python shows such a byte
        node.tell("reads what Python wrote", double.env)

    @pytest.mark.shows("P01")
    @pytest.mark.parametrize("path", ["/api/v1", "", "/api/v1/"])
    @pytest.mark.parametrize("variable", ["BEEPBOOP_PERSIST_URL", "BEEPBOOP_API_URL"])
    def test_finds_the_service(self, node: NodeStories, double: Double, variable: str, path: str) -> None:
        """Either variable leads to it, with the documentation's path, without one, and with a slash too many."""
        urls = {"BEEPBOOP_PERSIST_URL": "", "BEEPBOOP_API_URL": ""}
        node.tell("any JSON value comes back under any key", {**double.env, **urls, variable: double.url + path})
        assert double.persist.json["convo::42"] == {"under": "convo::42"}

    def test_finds_a_service_below_a_path(self, node: NodeStories) -> None:
        """Both services lie below the site's path."""
        with kvfake.start(site_path="/chat", strict=True) as double:
            node.tell("any JSON value comes back under any key", double.env)
            assert double.persist.json["convo::42"] == {"under": "convo::42"}


class TestPythonSessions:
    """`requests` and `httpx`, each with one connection that stays open."""

    def test_mattermost(self, double: Double, session: Session) -> None:
        """Set, get, delete; the body of a get is the value as it was sent."""
        url, headers = double.mattermost.url_for("my-key"), double.mattermost.headers

        assert session.ask("POST", url, headers, b'{ "object_with": "some_data" }') == (200, '{"changed":true}\n')
        assert double.mattermost["my-key"] == {"object_with": "some_data"}
        assert session.ask("GET", url, headers) == (200, '{ "object_with": "some_data" }')
        assert session.ask("PUT", url, headers, b'{ "object_with": "some_data" }') == (200, '{"changed":false}\n')
        assert session.ask("DELETE", url, headers) == (200, "")
        assert session.ask("GET", url, headers) == (200, "{}")
        assert session.ask("GET", url) == (401, "user ID is required: unauthorized\n")
        assert len(session.connections) == 1

    def test_persist(self, double: Double, session: Session) -> None:
        """Set, get, mget, list, delete."""
        url, kv, headers = double.persist.url_for("a key"), double.persist.url + "/persist/kv", double.persist.headers

        status, record = session.ask("PUT", url, headers, b'{"value": "\xc3\xa9"}')
        assert status == 200
        assert json.loads(record).keys() == {"key", "value", "updated"}
        assert double.persist["a key"] == "é"
        assert session.ask("GET", url, headers) == (200, record)
        assert session.ask("POST", double.persist.url + "/persist/mget", headers, b'{"keys": ["none", "a key"]}') == (
            200,
            f"[null,{record}]",
        )
        assert session.ask("GET", kv, headers) == (200, '["a key"]')
        assert session.ask("GET", kv + "?begins=a+k", headers) == (200, '["a key"]')
        assert session.ask("GET", kv + "?begins=k", headers) == (200, "[]")
        assert session.ask("DELETE", url, headers)[0] == 200
        assert session.ask("GET", url, headers) == (404, '{"error":"key not found"}')
        assert session.ask("GET", url)[0] == 401
        assert len(session.connections) == 1

    def test_reads_what_python_wrote(self, double: Double, session: Session) -> None:
        """Values that a test puts there reach the app."""
        double.mattermost.as_user("ada").with_prefix("p")["a key"] = {"name": NAME}
        double.persist["a/b"] = NAME
        ada = double.mattermost.as_user("ada").with_prefix("p")

        assert session.ask("GET", ada.url_for("a key"), ada.headers) == (200, f'{{"name":"{NAME}"}}')
        status, record = session.ask("GET", double.persist.url_for("a/b"), double.persist.headers)
        assert (status, json.loads(record)["value"]) == (200, NAME)

    def test_uploads_in_chunks(self, double: Double, session: Session) -> None:
        """A body whose length the client does not know beforehand."""
        mattermost, persist = double.mattermost, double.persist

        for _ in range(2):
            assert session.ask("POST", mattermost.url_for("list"), mattermost.headers, pieces(b"[", b"1,", b"2", b"]"))[0] == 200
            assert session.ask("PUT", persist.url_for("text"), persist.headers, pieces(b'{"value"', b': "one', b' two"}'))[0] == 200

        assert mattermost["list"] == [1, 2]
        assert persist["text"] == "one two"
        assert len(session.connections) == 1

    @pytest.mark.parametrize("kib", [100, 3 * 1024])
    @pytest.mark.parametrize("in_chunks", [False, True], ids=["whole", "in chunks"])
    def test_goes_on_after_a_refused_upload(self, double: Double, session: Session, kib: int, in_chunks: bool) -> None:
        """What is too large is refused, much of it before its end; the next request of the session is answered."""
        url, headers = double.mattermost.url_for("my-key"), double.mattermost.headers
        parts = [b'"', *[b"x" * 1024] * kib, b'"']

        for _ in range(3):
            refused = session.ask("POST", url, headers, pieces(*parts) if in_chunks else b"".join(parts))
            assert refused == (500, "size limit of 8Kb exceeded\n")
            assert session.ask("POST", url, headers, b'"small"')[0] == 200

        assert double.mattermost == {"my-key": "small"}

    @pytest.mark.parametrize("kib", [300, 3 * 1024])
    @pytest.mark.parametrize("in_chunks", [False, True], ids=["whole", "in chunks"])
    def test_goes_on_after_a_refused_value(self, double: Double, session: Session, kib: int, in_chunks: bool) -> None:
        """The same with Persist, whose refusals are JSON."""
        url, headers = double.persist.url_for("my-key"), double.persist.headers
        parts = [b'{"value": "', *[b"x" * 1024] * kib, b'"}']

        for _ in range(3):
            status, refusal = session.ask("PUT", url, headers, pieces(*parts) if in_chunks else b"".join(parts))
            assert status == 400
            assert "expected at most" in json.loads(refusal)["error"]
            assert session.ask("PUT", url, headers, b'{"value": "small"}')[0] == 200

        assert double.persist == {"my-key": "small"}

    def test_a_cookie_writes_only_with_its_csrf_token(self, double: Double, browser: Session) -> None:
        """A cookie alone reads; to write it needs the session's CSRF token, or the mark of the old web application."""
        url = double.mattermost.url_for("my-key")
        unauthorized = (401, "user ID is required: unauthorized\n")

        assert browser.ask("POST", url, body=b"1") == unauthorized
        assert browser.ask("POST", url, {"X-CSRF-Token": "wrong"}, b"1") == unauthorized
        assert browser.ask("POST", url, {"X-CSRF-Token": double.mattermost.csrf_token}, b"1")[0] == 200
        assert browser.ask("GET", url) == (200, "1")
        assert browser.ask("PUT", url, {"X-Requested-With": "XMLHttpRequest"}, b"2")[0] == 200
        assert browser.ask("DELETE", url) == unauthorized
        assert double.mattermost == {"my-key": 2}
        assert browser.ask("DELETE", url, {"X-CSRF-Token": double.mattermost.csrf_token}) == (200, "")
        assert dict(double.mattermost) == {}

    def test_many_at_once(self, double: Double) -> None:
        """An asynchronous client asks both services on many connections at the same time."""

        async def remember(client: httpx.AsyncClient, number: int) -> None:
            key = f"key-{number}"
            await client.post(double.mattermost.url_for(key), headers=double.mattermost.headers, json=number)
            await client.put(double.persist.url_for(key), headers=double.persist.headers, json={"value": str(number)})

        async def remember_all() -> None:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                await asyncio.gather(*[remember(client, number) for number in range(100)])

        asyncio.run(remember_all())

        assert double.mattermost == {f"key-{number}": number for number in range(100)}
        assert double.persist == {f"key-{number}": str(number) for number in range(100)}


def pieces(*parts: bytes) -> Iterator[bytes]:
    """A body that can be read once, with no length."""
    yield from parts


class Said(NamedTuple):
    body: str
    talk: str
    """What ``--verbose`` shows."""


class TestCurl:
    """`curl`; after ``--next`` it asks again on the same connection."""

    def test_mattermost(self, double: Double) -> None:
        """Set, get, delete, get."""
        url, token = double.mattermost.url_for("my-key"), bearer(double.mattermost)

        said = curl(
            *("-H", token, "-d", '{"a": 1}', url, "--next"),
            *("-H", token, url, "-w", " %{http_code} %{content_type}\n", "--next"),
            *("-H", token, "-X", "DELETE", url, "--next"),
            *("-H", token, url, "-w", " after %{num_connects} new connections"),
        )

        assert said.body == '{"changed":true}\n{"a": 1} 200 application/json\n{} after 0 new connections'

    def test_persist(self, double: Double) -> None:
        """Set, list, get a key that is not there."""
        kv, token = double.persist.url + "/persist/kv", bearer(double.persist)

        said = curl(
            *("-H", token, "-X", "PUT", "-d", '{"value": "one"}', kv + "/users:U1", "-o", "/dev/null", "--next"),
            *("-H", token, "-G", kv, "--data-urlencode", "begins=users:", "-w", "\n", "--next"),
            *("-H", token, kv + "/none", "-w", " %{http_code} after %{num_connects} new connections"),
        )

        assert said.body == '["users:U1"]\n{"error":"key not found"} 404 after 0 new connections'
        assert double.persist == {"users:U1": "one"}

    def test_uploads_in_chunks(self, double: Double) -> None:
        """From a pipe, whose length curl does not know."""
        to_mattermost = curl("-H", bearer(double.mattermost), "-T", "-", double.mattermost.url_for("my-key"), said="[1,2]")
        to_persist = curl("-H", bearer(double.persist), "-T", "-", double.persist.url_for("my-key"), said='{"value": "one"}')

        assert "> Transfer-Encoding: chunked" in to_mattermost.talk
        assert "> Transfer-Encoding: chunked" in to_persist.talk
        assert double.mattermost == {"my-key": [1, 2]}
        assert double.persist == {"my-key": "one"}

    @pytest.mark.parametrize(("service", "stored"), [("mattermost", {"value": "one"}), ("persist", "one")])
    def test_waits_for_100_continue(self, double: Double, service: str, stored: object) -> None:
        """``Expect: 100-continue``: it is told so, sends the body, and is answered."""
        values = getattr(double, service)

        said = curl(
            *("-H", bearer(values), "-H", "Expect: 100-continue", "--expect100-timeout", "30"),
            *("-X", "PUT", "-d", '{"value": "one"}', values.url_for("my-key"), "-w", " %{http_code}"),
        )

        assert "< HTTP/1.1 100 Continue" in said.talk
        assert said.body.endswith(" 200")
        assert values == {"my-key": stored}

    def test_gets_100_continue_and_is_refused(self, double: Double, tmp_path: Path) -> None:
        """100 KB are asked for and refused; the same curl is answered afterwards."""
        large = tmp_path / "large.json"
        large.write_text('"' + "x" * 100 * 1024 + '"')
        url, token = double.mattermost.url_for("my-key"), bearer(double.mattermost)

        said = curl(
            *("-H", token, "-H", "Expect: 100-continue", "--data-binary", f"@{large}", url, "-w", "%{http_code}\n", "--next"),
            *("-H", token, "-d", '"small"', url, "-w", "%{http_code}"),
        )

        assert "< HTTP/1.1 100 Continue" in said.talk
        assert said.body == 'size limit of 8Kb exceeded\n500\n{"changed":true}\n200'
        assert double.mattermost == {"my-key": "small"}

    def test_a_cookie_writes_only_with_its_csrf_token(self, double: Double) -> None:
        """As in a browser."""
        url, cookie = double.mattermost.url_for("my-key"), f"MMAUTHTOKEN={double.mattermost.token}"

        said = curl(
            *("-b", cookie, "-d", "1", url, "-w", "%{http_code}\n", "--next"),
            *("-b", cookie, "-H", f"X-CSRF-Token: {double.mattermost.csrf_token}", "-d", "2", url, "--next"),
            *("-b", cookie, url),
        )

        assert said.body == 'user ID is required: unauthorized\n401\n{"changed":true}\n2'

    def test_the_old_protocol(self, double: Double) -> None:
        """HTTP/1.0 has no chunks and no open connections, and is understood."""
        said = curl("--http1.0", "-H", bearer(double.mattermost), "-d", '"old"', double.mattermost.url_for("my-key"))

        assert said.body == '{"changed":true}\n'
        assert double.mattermost == {"my-key": "old"}


def bearer(values: Any) -> str:
    return f"Authorization: {values.headers['Authorization']}"


def curl(*arguments: str, said: str = "") -> Said:
    """Run curl on its own: no settings file, no proxy. Options before a ``--next`` are forgotten after it; these here are not."""
    own = ["--silent", "--show-error", "--verbose", "--noproxy", "*", "--max-time", "30"]
    rest = [part for argument in arguments for part in ([argument, *own] if argument == "--next" else [argument])]
    done = subprocess.run([tool("curl"), "-q", *own, *rest], input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Said(done.stdout, done.stderr)
