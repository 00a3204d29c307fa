"""The mappings: one owner's values, as a test reads and writes them beside its app."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvfake
from kvfake.double import Double
from kvfake.services.mattermost import KV
from tests.support.doors import WsgiDoor
from tests.support.wire import Reply

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def double() -> Double:
    return kvfake.Double()


def ask(double: Double, method: str, path: str, body: bytes = b"", service: str = "mattermost") -> Reply:
    view = double.mattermost if service == "mattermost" else double.persist
    return WsgiDoor(double).send(method, path, view.headers, body)


def test_values_of_the_app_are_read_from_mappings(double: Double) -> None:
    """As Python values."""
    ask(double, "PUT", f"{KV}/name", b' "Ada" ')
    ask(double, "PUT", f"{KV}/p/k", b'{"a":[1,2.5,null]}')
    ask(double, "PUT", "/persist/kv/convo::42", b'{"value":"{\\"step\\":2}"}', "persist")
    assert double.mattermost["name"] == "Ada"
    assert double.mattermost.with_prefix("p")["k"] == {"a": [1, 2.5, None]}
    assert double.mattermost.raw["name"] == b' "Ada" '
    assert double.persist["convo::42"] == '{"step":2}'
    assert double.persist.json["convo::42"] == {"step": 2}
    assert list(double.persist) == ["convo::42"]


def test_values_set_in_mappings_are_served_to_the_byte(double: Double) -> None:
    """In the form in which ``JSON.stringify`` would write it."""
    double.mattermost["k"] = {"a": "é", "b": [1, True]}
    double.mattermost.raw["r"] = b' [ 1 ]\n"'[:-1]
    double.persist.json["j"] = {"step": 2}
    double.persist["s"] = "plain"
    assert ask(double, "GET", f"{KV}/k").body == '{"a":"é","b":[1,true]}'.encode()
    assert ask(double, "GET", f"{KV}/r").body == b" [ 1 ]\n"
    assert ask(double, "GET", "/persist/kv/j", service="persist").json()["value"] == '{"step":2}'
    assert ask(double, "GET", "/persist/kv/s", service="persist").json()["value"] == "plain"


@given(JSON)
def test_any_json_value_comes_back(value: object) -> None:
    """Here, and over the wire."""
    double = kvfake.Double()
    double.mattermost["k"] = value
    double.persist.json["k"] = value
    assert double.mattermost["k"] == value
    assert double.persist.json["k"] == value
    assert json.loads(ask(double, "GET", f"{KV}/k").body) == value


@given(st.binary(min_size=1, max_size=6))
def test_any_key_of_persist_can_be_read_by_the_name_it_is_listed_under(key: bytes) -> None:
    """Also where its bytes are no UTF-8."""
    double = kvfake.Double()
    path = "/persist/kv/" + "".join(f"%{byte:02x}" for byte in key)
    assert ask(double, "PUT", path, b'{"value":"v"}', "persist").status == 200
    (name,) = double.persist
    assert name == key.decode("utf-8", "surrogateescape")
    assert double.persist[name] == "v"
    assert name in double.persist
    assert ask(double, "GET", double.persist.url_for(name).removeprefix(double.url), service="persist").status == 200
    del double.persist[name]
    assert ask(double, "GET", path, service="persist").status == 404


def test_falsy_values_are_values(double: Double) -> None:
    """An empty string, a zero, a null are values that are there."""
    for key, value in {"zero": 0, "text": "", "no": False, "null": None, "list": []}.items():
        double.mattermost[key] = value
        assert double.mattermost[key] == value
        assert key in double.mattermost
    double.persist["empty"] = ""
    assert double.persist["empty"] == ""
    assert "empty" in double.persist
    assert len(double.mattermost) == 5


def views(double: Double) -> list[MutableMapping[str, object]]:
    return [double.mattermost, double.mattermost.with_prefix("p"), double.persist.json, double.persist.project("other").json]


def test_mappings_behave_like_a_dict(double: Double) -> None:
    """With everything that a dict of the same content does."""
    for view in views(double):
        assert view == {}
        view.update(b=1, a="two")
        assert view == {"a": "two", "b": 1}
        assert (list(view), len(view), "a" in view, "c" in view, 5 in view) == (["a", "b"], 2, True, False, False)
        assert (view.get("c", 3), view.setdefault("a", 4), view.pop("b")) == (3, "two", 1)
        assert dict(view.items()) == {"a": "two"}
        view.clear()
        assert view == {}
        with pytest.raises(KeyError, match="a"):
            view["a"]
        with pytest.raises(KeyError, match="a"):
            del view["a"]


def test_iterating_is_over_a_snapshot(double: Double) -> None:
    """Setting meanwhile harms nobody."""
    double.persist.update(a="1", b="2")
    for key in double.persist:
        double.persist[key + key] = "new"
        del double.persist[key]
    assert list(double.persist) == ["aa", "bb"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 8191, "size limit of 8Kb exceeded"),
        (float("nan"), "payload is not valid json"),
        (float("inf"), "payload is not valid json"),
    ],
)
def test_mattermosts_limits_hold(double: Double, value: object, words: str) -> None:
    """In its own words, and nothing changes."""
    double.mattermost["k"] = "kept"
    with pytest.raises(ValueError, match=words):
        double.mattermost["k"] = value
    assert double.mattermost["k"] == "kept"


def test_raw_bytes_must_be_what_the_service_takes(double: Double) -> None:
    """JSON for Mattermost, UTF-8 for Persist."""
    with pytest.raises(ValueError, match="payload is not valid json: invalid input"):
        double.mattermost.raw["k"] = b"nope"
    with pytest.raises(ValueError, match="value is not UTF-8 at byte 1"):
        double.persist.raw["k"] = b"a\xff"


@pytest.mark.parametrize("key", ["", "a/b", "a\nb", ".", ".."])
def test_a_key_that_no_request_can_name_is_refused(double: Double, key: str) -> None:
    """It would never be found over the wire."""
    with pytest.raises(ValueError, match="404 page not found: no request can name the key"):
        double.mattermost[key] = 1
    assert key not in double.mattermost


@pytest.mark.parametrize("prefix", ["a/", "\n", ".", ".."])
def test_a_prefix_that_no_request_can_name_is_refused(double: Double, prefix: str) -> None:
    """Likewise."""
    with pytest.raises(ValueError, match="no request can name the prefix"):
        double.mattermost.with_prefix(prefix)


def test_a_long_prefix_is_refused_where_the_plugin_would() -> None:
    """In the plugin's words; the documentation takes it."""
    with pytest.raises(ValueError, match='prefix "my-app" is longer than the limit of 2 ASCII characters'):
        kvfake.Double(profile="plugin-1.2").mattermost.with_prefix("my-app")
    kvfake.Double().mattermost.with_prefix("my-app")["k"] = 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "value is a number: expected a string"),
        (None, "value is null: expected a string"),
        (b"x", "value is bytes: expected a string"),
        ("x" * 262_145, "value has 262145 bytes: expected at most 262144"),
        ("a\ud800", "value has a lone surrogate at character 1"),
    ],
)
def test_persists_limits_hold(double: Double, value: str, words: str) -> None:
    """In its own words."""
    with pytest.raises(ValueError, match=words):
        double.persist["k"] = value
    with pytest.raises(ValueError, match="the key is empty"):
        double.persist[""] = "v"
    assert double.persist == {}


def test_keys_are_strings(double: Double) -> None:
    """Anything else is a mistake of the test."""
    with pytest.raises(TypeError, match="keys are strings, got 5"):
        double.persist[5] = "v"  # type: ignore[index]


@pytest.mark.parametrize("value", [b'"\xff"', 501 * b"[" + 501 * b"]", b"1e999", b"-1e999", 5000 * b"1"])
def test_values_that_python_cannot_decode_are_in_raw(double: Double, value: bytes) -> None:
    """The error says where."""
    ask(double, "PUT", f"{KV}/k", value)
    with pytest.raises(ValueError, match=r"cannot be shown as a Python value .*\.raw\['k'\] has it"):
        double.mattermost["k"]
    assert double.mattermost.raw["k"] == value


def test_a_wide_value_is_shown(double: Double) -> None:
    """Only levels count."""
    ask(double, "PUT", f"{KV}/k", b"[" + 600 * b"{}," + b"{}]")
    assert double.mattermost["k"] == [{}] * 601


def test_a_value_of_persist_that_is_no_json(double: Double) -> None:
    """Is a string, and no JSON value."""
    double.persist["k"] = "plain"
    with pytest.raises(ValueError, match=r"\.raw\['k'\] has it"):
        double.persist.json["k"]


def test_a_lone_surrogate_in_a_value(double: Double) -> None:
    """Is written as its escape, as JavaScript does."""
    double.mattermost["k"] = "a\ud800"
    assert double.mattermost.raw["k"] == b'"a\\ud800"'


def test_each_owner_has_its_token_and_values(double: Double) -> None:
    """Each owner has a token of its own, in its service's shape, and values of its own."""
    bot, ada, other = double.mattermost, double.mattermost.as_user("ada"), double.persist.project("other")
    assert len({bot.token, ada.token, double.persist.token, other.token}) == 4
    for token in (bot.token, ada.token):
        assert len(token) == 26
        assert token.isalnum()
        assert token == token.lower()
    assert int(other.token, 16) >= 0
    assert bot.csrf_token == "csrf-" + bot.token
    assert ada.headers == {"Authorization": f"Bearer {ada.token}"}
    bot["k"], ada["k"], double.persist["k"], other["k"] = "bot", "ada", "project", "other"
    assert ask(double, "GET", f"{KV}/k").json() == "bot"
    assert WsgiDoor(double).send("GET", f"{KV}/k", ada.headers).json() == "ada"
    assert WsgiDoor(double).send("GET", "/persist/kv/k", other.headers).json()["value"] == "other"


def test_each_mapping_knows_its_urls(double: Double) -> None:
    """Each view knows its addresses, with keys and prefixes encoded."""
    assert double.mattermost.site_url == double.url
    assert double.mattermost.url == double.mattermost.as_user("ada").url == double.url + KV
    assert double.mattermost.with_prefix("p q").url_for("a b/é") == f"{double.url}{KV}/p%20q/a%20b%2F%C3%A9"
    assert double.persist.url == double.url + "/api/v1"
    assert double.persist.url_for("users:U1/\udcff") == f"{double.url}/api/v1/persist/kv/users:U1%2F%FF"


def test_the_time_of_a_value(double: Double) -> None:
    """To the microsecond, UTC; also what a test sets itself."""
    before = datetime.now(timezone.utc)
    double.persist["k"] = "v"
    assert before <= double.persist.updated("k") <= datetime.now(timezone.utc)
    record = ask(double, "GET", "/persist/kv/k", service="persist").json()
    assert record["updated"] == double.persist.updated("k").strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with pytest.raises(KeyError):
        double.persist.updated("nothing")


def test_the_context_of_a_call(double: Double) -> None:
    """A context holds what Mattermost puts there; its tokens are those of the views."""
    context = double.mattermost.context(acting_user="ada", team_id="t")
    assert context["app_id"] == "app"
    assert context["app_path"] == "/plugins/com.mattermost.apps/apps/app"
    assert context["mattermost_site_url"] == double.url
    assert context["bot_access_token"] == double.mattermost.token
    assert context["acting_user_access_token"] == double.mattermost.as_user("ada").token
    assert len({context["bot_user_id"], context["acting_user"]["id"]}) == 2
    assert (len(context["bot_user_id"]), context["team_id"]) == (26, "t")
    assert "acting_user" not in double.mattermost.context(acting_user=None)
    call = double.mattermost.call("/send", {"to": "you"}, acting_user="ada")
    assert call == {"path": "/send", "values": {"to": "you"}, "context": double.mattermost.context(acting_user="ada")}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda double: double.mattermost.as_user("app/ada"), "as_user: expected a user's name, such as ada, got 'app/ada' "),
        (lambda double: double.mattermost.as_user(["ada"]), "as_user: expected a user's name, such as ada, got ['ada'] "),
        (lambda double: double.mattermost.as_user(""), "as_user: expected a user's name, such as ada, got '' "),
        (
            lambda double: double.mattermost.as_owner("ada"),
            "as_owner: expected app/user or anonymous-..., such as app/ada, got 'ada' ",
        ),
        (
            lambda double: double.mattermost.as_owner(None),
            "as_owner: expected app/user or anonymous-..., such as app/ada, got None ",
        ),
        (lambda double: double.persist.project(["p"]), "project: expected a project's name, got ['p']"),
        (lambda double: double.persist.project(""), "project: expected a project's name, got ''"),
    ],
)
def test_what_is_nobodys_name_is_refused(wrong: Callable[[Any], object], message: str, double: Double) -> None:
    """Else a test would read and write values that no request can reach."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        wrong(double)


def test_any_owners_values(double: Double) -> None:
    """Also those of an owner that a user named, or that nobody did."""
    double.token("mine", "my-app/ada")
    WsgiDoor(double).send("PUT", f"{KV}/k", {"Authorization": "Bearer mine"}, b"1")
    assert double.mattermost.as_owner("my-app/ada") == {"k": 1}
    WsgiDoor(double).send("PUT", f"{KV}/k", {"Authorization": "Bearer welcome"}, b"2")
    assert double.mattermost.as_owner("anonymous-280d44ab1e9f") == {"k": 2}
    assert double.mattermost.as_owner("my-app/bot").context()["app_id"] == "my-app"


def test_a_call_without_its_path(double: Double) -> None:
    """It is refused, with what to write."""
    with pytest.raises(TypeError) as wrong:
        double.mattermost.call({"dish": 1})  # type: ignore[arg-type]
    expected = "call: expected the path of the call first, as in call(\"/submit\", {'dish': 1}), got {'dish': 1}"
    assert str(wrong.value) == expected


# ------------------------------------------------------------------------------------------------ what they say of themselves


def test_the_repr_of_a_mapping(double: Double) -> None:
    """Whose values they are, below which prefix, and the values in their order, as the mapping shows them."""
    double.persist["k"] = "v"
    double.mattermost.update({"b": [1, "x"], "a": None})
    double.mattermost.as_user("ada").with_prefix("p")["k"] = 1
    assert repr(double.persist) == "<persist values of project: {'k': 'v'}>"
    assert repr(double.persist.raw) == "<persist values of project: {'k': b'v'}>"
    assert repr(double.persist.project("other")) == "<persist values of other: {}>"
    assert repr(double.mattermost) == "<mattermost values of app/bot: {'a': None, 'b': [1, 'x']}>"
    assert repr(double.mattermost.as_user("ada").with_prefix("p")) == "<mattermost values of app/ada below 'p': {'k': 1}>"


def test_the_repr_of_a_value_that_is_not_json(double: Double) -> None:
    """Its bytes are shown."""
    double.persist["k"] = "plain"
    assert repr(double.persist.json) == "<persist values of project: {'k': b'plain'}>"


def test_the_repr_of_a_large_mapping(double: Double) -> None:
    """It has a bound: ten keys, and 200 characters of each and its value."""
    double.persist.update({f"k{number:03}": "v" * 1000 for number in range(999)})
    shown = repr(double.persist)
    assert shown.startswith("<persist values of project: {'k000': 'vvv")
    assert shown.endswith("vvv..., and 989 more}>")
    assert len(shown) < 2200


def test_the_repr_of_a_mapping_can_be_shown_on_a_terminal(double: Double) -> None:
    """Whatever an owner and a key are called."""
    double.persist.project("\x1b[31m")["\x1b[32m\udcff"] = "\x1b[33m"
    assert repr(double.persist.project("\x1b[31m")) == r"<persist values of \x1b[31m: {'\x1b[32m\udcff': '\x1b[33m'}>"
