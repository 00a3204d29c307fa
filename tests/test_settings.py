"""Settings: one name everywhere, and values that are possible or refused in words that help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kvfake.settings import (
    BY_NAME,
    COMMAND,
    REAL,
    SERVER,
    SETTINGS,
    WORLD,
    from_environment,
    from_flags,
    from_keywords,
    of,
    parse_owner,
    parse_token,
    resolve,
)

# ----------------------------------------------------------------------------------------------------------------- the table


def test_a_setting_has_one_name_everywhere() -> None:
    """Keyword, flag, variable and ini option are spellings of it."""
    missing = BY_NAME["mattermost_missing"]
    assert (missing.flag, missing.variable, missing.ini) == (
        "--mattermost-missing",
        "KVFAKE_MATTERMOST_MISSING",
        "kvfake_mattermost_missing",
    )


def test_the_settings_that_were_promised_are_there() -> None:
    """With their scopes and defaults."""
    assert {setting.name: setting.default for setting in of(SERVER)} == {
        "host": "127.0.0.1",
        "port": 8065,
        "public_url": None,
        "site_path": "",
        "allow_host": (),
        "log": False,
        "control": True,
        "control_token": None,
    }
    assert {setting.name: setting.default for setting in of(COMMAND)} == {"journal": None, "export": None}
    assert {setting.name: setting.default for setting in of(WORLD)} == {
        "profile": "documented",
        "strict": False,
        "token": (),
        "mattermost_missing": None,
        "fallback": None,
        "seed": None,
        "journal_exchanges": 1000,
        "journal_body_bytes": 65_536,
    }
    assert {setting.name: setting.default for setting in of(REAL)} == {"against": None, "ca_file": None, "insecure": False}
    assert of(SERVER, COMMAND, REAL, WORLD) == SETTINGS
    assert [setting.name for setting in SETTINGS if setting.is_switch] == ["log", "control", "insecure", "strict"]
    assert [setting.name for setting in SETTINGS if setting.is_file] == ["journal", "export", "ca_file", "seed"]
    assert [setting.name for setting in SETTINGS if setting.is_list] == ["allow_host", "token"]


@pytest.mark.parametrize(
    "setting", [setting for setting in SETTINGS if setting.default is not None], ids=lambda setting: setting.name
)
def test_a_default_is_a_possible_value(setting: Any) -> None:
    """Said aloud, it means the same."""
    assert from_keywords({setting.name: setting.default}, SERVER, WORLD, REAL) == {setting.name: setting.default}


# ---------------------------------------------------------------------------------------------------------------- the readers


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("host", "::1", "::1"),
        ("port", 0, 0),
        ("port", "65535", 65535),
        ("public_url", "http://kv.example", "http://kv.example"),
        ("public_url", "https://kv.example:8443/base/", "https://kv.example:8443/base"),
        ("public_url", "http://[::1]:80", "http://[::1]:80"),
        ("site_path", "", ""),
        ("site_path", "/", ""),
        ("site_path", "/mm/", "/mm"),
        ("site_path", "/a-b/~c/$d", "/a-b/~c/$d"),
        ("allow_host", "a.example b.example\nc.example", ("a.example", "b.example", "c.example")),
        ("allow_host", ["a.example"], ("a.example",)),
        ("allow_host", "", ()),
        ("log", True, True),
        ("log", 0, False),
        ("strict", " Yes\n", True),
        ("strict", "TRUE", True),
        ("strict", "on", True),
        ("strict", "1", True),
        ("strict", "No", False),
        ("strict", "false", False),
        ("strict", "off", False),
        ("strict", "0", False),
        ("profile", "plugin-1.2", "plugin-1.2"),
        ("token", "a=app/bot\n  b=/user", ("a=app/bot", "b=/user")),
        ("token", ("a b=app/bot",), ("a b=app/bot",)),
        ("token", (text for text in ["a=project:first"]), ("a=project:first",)),
        ("mattermost_missing", "404", "404"),
        ("mattermost_missing", 404, "404"),
        ("control", "no", False),
        ("control_token", "ä key", "ä key"),
        ("journal", "folder/journal.jsonl", "folder/journal.jsonl"),
        ("seed", Path("folder/data.json"), "folder/data.json"),
        ("export", "-", "-"),
        ("seed", "values.json", "values.json"),
        ("fallback", "http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("journal_exchanges", "0", 0),
        ("journal_exchanges", 1_000_000, 1_000_000),
        ("journal_body_bytes", "0016777216", 16_777_216),
    ],
)
def test_a_possible_value(name: str, given: object, kept: object) -> None:
    """It is kept in its own form, whichever it was given in."""
    assert from_keywords({name: given}, SERVER, COMMAND, WORLD) == {name: kept}


TEXT = "expected a text that is not empty, got "
PORT = "expected a number from 0 (any free port) to 65535, got "
URL = "expected http(s)://host[:port][/path], got "
PATH = "expected a plain path such as /mattermost, got "
SWITCH = "expected one of 1, true, yes, on, 0, false, no, off, got "


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("host", "", TEXT),
        ("host", 1, TEXT),
        ("host", "\udcff", "expected a text that UTF-8 can hold, got '\\udcff'"),
        ("port", True, PORT),
        ("port", -1, PORT),
        ("port", 65536, PORT),
        ("port", 80.0, PORT),
        ("port", "٨٠", PORT),
        ("port", "", PORT),
        ("port", "eighty", PORT),
        ("public_url", "", TEXT),
        ("public_url", "kv.example", URL),
        ("public_url", "ftp://kv.example", URL),
        ("public_url", "http://", URL),
        ("public_url", "http://kv.example/?query", URL),
        ("public_url", "http://kv.example/?", URL),
        ("public_url", "http://kv.example/#part", URL),
        ("public_url", "http://kv.example /", URL),
        ("public_url", "http://kv.example\n", URL),
        ("public_url", "http://kv.example:port", URL),
        ("public_url", "http://kv.example:65536", URL),
        ("public_url", "http://kv.example:0", URL),
        ("public_url", "http://[::1", URL),
        ("site_path", "mm", PATH),
        ("site_path", "/a//b", PATH),
        ("site_path", "/a b", PATH),
        ("site_path", "/a?b", PATH),
        ("site_path", "/%61", PATH),
        ("site_path", "/ä", PATH),
        ("site_path", "/a\0", PATH),
        ("site_path", 1, PATH),
        ("allow_host", 1, "expected texts, got 1"),
        ("allow_host", [""], TEXT),
        ("allow_host", [1], TEXT),
        ("allow_host", b"a.example", TEXT),
        ("log", "2", SWITCH),
        ("strict", "maybe", SWITCH),
        ("strict", "", SWITCH),
        ("profile", "plugin", "expected one of documented, plugin-1.2, got 'plugin'"),
        ("token", "a=app/bot b", "a text of 1 character is not TOKEN=OWNER, such as my-token=app/bot or my-token=project:project"),
        ("token", ["a=b"], "'b' is not an owner: expected app/user (Mattermost), /user (a Mattermost user of no app) or "),
        ("token", ["\ud800=app/bot"], "expected a text that UTF-8 can hold, got ..."),
        ("token", "\udcff=app/bot", "expected a text that UTF-8 can hold, got ..."),
        ("mattermost_missing", "nil", "expected one of object, null, 404, got 'nil'"),
        ("control", "off with it", SWITCH),
        ("control_token", "", TEXT),
        ("export", "", TEXT),
        ("seed", True, TEXT),
        ("seed", "\udcff", "expected a text that UTF-8 can hold, got '\\udcff'"),
        ("fallback", "127.0.0.1:8080", URL),
        ("journal_exchanges", -1, "expected a number from 0 to 1000000, got -1"),
        ("journal_exchanges", "1e3", "expected a number from 0 to 1000000, got '1e3'"),
        ("journal_body_bytes", 16_777_217, "expected a number from 0 to 16777216, got 16777217"),
    ],
)
def test_a_value_that_is_not_possible(name: str, given: object, words: str) -> None:
    """The setting is named, and what is possible is said."""
    with pytest.raises(ValueError, match="^" + re.escape(f"{name}: {words}")):
        from_keywords({name: given}, SERVER, COMMAND, WORLD)


# -------------------------------------------------------------------------------------------------------------- tokens, owners


@pytest.mark.parametrize(
    ("text", "service", "owner"),
    [
        ("app/user", "mattermost", "app/user"),
        ("com.example.app/Ada Lovelace", "mattermost", "com.example.app/Ada Lovelace"),
        ("/user", "mattermost", "/user"),
        ("project:NAME", "persist", "NAME"),
        ("project:a/b", "persist", "a/b"),
        ("project:project:a", "persist", "project:a"),
    ],
)
def test_an_owner(text: str, service: str, owner: str) -> None:
    """Its form says which service it belongs to."""
    assert parse_owner(text) == (service, owner)


@pytest.mark.parametrize("text", ["", "app", "app/", "/", "a/b/c", "//user", "project", "project:", "Project:x"])
def test_no_owner(text: str) -> None:
    """The three forms are named."""
    with pytest.raises(ValueError, match=r"expected app/user .*, /user .* or project:NAME") as wrong:
        parse_owner(text)
    assert repr(text) in str(wrong.value)


def test_a_list_is_no_owner() -> None:
    """Nor is what else is no text; a token's owner is one text."""
    with pytest.raises(ValueError, match=r"^\['app/bot'\] is not an owner: expected a text, such as app/bot or project:NAME$"):
        parse_owner(["app/bot"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "token", "owner"),
    [
        ("token=app/bot", "token", "app/bot"),
        ("base64==/user", "base64=", "/user"),
        ("a=b=c=project:first", "a=b=c", "project:first"),
        ("=app/bot=/user", "=app/bot", "/user"),
    ],
)
def test_a_token_is_split_from_its_owner_at_the_last_mark(text: str, token: str, owner: str) -> None:
    """So a token may hold one."""
    assert parse_token(text) == (token, owner)


@pytest.mark.parametrize("text", ["", "token", "=app/bot", "app/bot"])
def test_no_token_with_an_owner(text: str) -> None:
    """Both must be there."""
    with pytest.raises(ValueError, match=r"is not TOKEN=OWNER, such as my-token=app/bot"):
        parse_token(text)


# -------------------------------------------------------------------------------------------------- keywords, flags, variables


def test_keywords() -> None:
    """``None`` is not given."""
    assert from_keywords({"port": "80", "strict": None, "profile": "plugin-1.2"}, SERVER, WORLD) == {
        "port": 80,
        "profile": "plugin-1.2",
    }


@pytest.mark.parametrize("name", ["colour", "Port", "kvfake_port", "port", "journal"])
def test_a_keyword_that_is_no_setting_here(name: str) -> None:
    """The possible ones are listed; a server's are none of a world's."""
    with pytest.raises(TypeError) as wrong:
        from_keywords({"strict": True, name: None}, WORLD)
    there_are = "profile, strict, token, mattermost_missing, fallback, seed, journal_exchanges, journal_body_bytes"
    assert str(wrong.value) == f"{name!r} is not a setting here; there are: {there_are}"


def test_settings_without_names_are_refused() -> None:
    """A list, say, which a fixture ``kvfake_settings`` may return. What is in it is not shown: it may be a token."""
    with pytest.raises(TypeError, match=r'^expected a dict of settings, such as {"profile": "plugin-1\.2"}, got a list$'):
        from_keywords(["token"], WORLD)  # type: ignore[arg-type]


def test_flags() -> None:
    """What the command line holds besides is left out; an error names the flag."""
    assert from_flags({"do": print, "command": [], "strict": False, "log": None, "site_path": ""}) == {
        "strict": False,
        "site_path": "",
    }
    with pytest.raises(ValueError, match=r"^--mattermost-missing: expected one of"):
        from_flags({"mattermost_missing": "nil"})


def test_variables() -> None:
    """An empty one is not set, an unknown one is ignored, and so is one that was left out; an error names the variable."""
    environ = {"KVFAKE_PORT": "80", "KVFAKE_STRICT": "on", "KVFAKE_HOST": "", "KVFAKE_COLOUR": "red", "PORT": "81"}
    assert from_environment(environ, SERVER, WORLD) == {"port": 80, "strict": True}
    assert from_environment(environ, WORLD) == {"strict": True}
    assert from_environment(environ, SERVER, WORLD, without=frozenset({"port"})) == {"strict": True}
    with pytest.raises(ValueError, match=r"^KVFAKE_PORT: expected a number"):
        from_environment({"KVFAKE_PORT": "x"}, SERVER)


def test_the_first_layer_that_has_it_wins() -> None:
    """Else it is the default."""
    values = resolve({"port": 1}, {"port": 2, "strict": True}, {"port": 3, "log": True}, scopes=(SERVER, WORLD))
    assert (values["port"], values["strict"], values["log"], values["profile"]) == (1, True, True, "documented")
    assert list(values) == [setting.name for setting in of(SERVER, WORLD)]
    assert resolve({"journal": "a"}, {"export": "b", "port": 1}, scopes=(COMMAND,)) == {"journal": "a", "export": "b"}


def test_tokens_may_be_a_mapping() -> None:
    """As a file of values shows them."""
    given = from_keywords({"token": {"a=b": "app/bot", "c": "project:p"}}, WORLD)
    assert given == {"token": ("a=b=app/bot", "c=project:p")}
