"""Whose values they are, and how Mattermost's store knows who asks: M09 to M12, M26, M27.

Law: a check knows its row, and what a caller hears.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from kvfake.contract.call import Answer
from kvfake.contract.caller import BOT, PLAIN_USER, PREFIX, UNKNOWN, USER, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import ERROR, holds, holds_not, put, succeeds

_METHODS = ("GET", "PUT", "POST", "DELETE")


def _ask(caller: Caller, rest: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    """Ask with these headers, and no other word of who asks."""
    return caller.kv(method, rest, "1" if method in ("PUT", "POST") else "", None, headers)


def _cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"a=b; MMAUTHTOKEN={token}; c=d"}


def _query(rest: str, token: str) -> str:
    return f"{rest}?access_token={quote(token, safe='')}"


@row("M09")
def the_token_decides_whose_values_they_are(caller: Caller) -> None:
    key = caller.key()
    for rest in (key, f"{PREFIX}/{key}"):
        put(caller, rest, '"the bot\'s"', BOT)
        holds_not(caller, rest, '"the bot\'s"', USER)
        put(caller, rest, '"the user\'s"', USER)
        holds(caller, rest, '"the bot\'s"', BOT)
        holds(caller, rest, '"the user\'s"', USER)
        caller.kv("DELETE", rest, who=BOT).expect(200)
        holds(caller, rest, '"the user\'s"', USER)


@row("M10")
def a_token_comes_from_four_places(caller: Caller) -> None:
    key, token = caller.key(), caller.token(BOT)
    put(caller, key, '"here"')
    for word in ("Bearer", "BEARER", "bearer", "token", "Token", "TOKEN"):
        _ask(caller, key, {"Authorization": f"{word} {token}"}).expect(200, '"here"')
    _ask(caller, key, _cookie(token)).expect(200, '"here"')
    _ask(caller, _query(key, token)).expect(200, '"here"')
    encoded = "".join(f"%{byte:02X}" for byte in token.encode())
    _ask(caller, f"{key}?a=b&access%5Ftoken={encoded}").expect(200, '"here"')
    for method in ("PUT", "POST", "DELETE"):
        succeeds(_ask(caller, key, {"Authorization": f"token {token}"}, method))
        succeeds(_ask(caller, _query(key, token), None, method))


@row("M10")
def they_are_looked_at_in_order(caller: Caller) -> None:
    key, token = caller.key(), caller.token(BOT)
    put(caller, key, '"here"')
    _ask(caller, _query(key, UNKNOWN), {"Authorization": f"Bearer {token}", **_cookie(UNKNOWN)}).expect(200, '"here"')
    _ask(caller, key, {"Authorization": f"token {token}", **_cookie(UNKNOWN)}).expect(200, '"here"')
    _ask(caller, _query(key, UNKNOWN), _cookie(token)).expect(200, '"here"')
    _ask(caller, _query(key, token), {"Authorization": "Basic Ym90"}).expect(200, '"here"')


@row("M11")
def no_token_or_an_unknown_one_is_refused(caller: Caller) -> None:
    key, token = caller.key(), caller.token(BOT)
    for headers in (
        {},
        {"Authorization": f"Bearer {UNKNOWN}"},
        {"Authorization": f"Bearer  {token}"},
        {"Authorization": token},
    ):
        for method in _METHODS:
            _ask(caller, key, headers, method).expect(401, "user ID is required: unauthorized\n", ERROR)


@row("M12")
def a_user_of_no_app_is_refused(caller: Caller) -> None:
    key = caller.key()
    for method in _METHODS:
        caller.kv(method, key, "1", PLAIN_USER).expect(401, "not an app session: unauthorized\n", ERROR)


@row("M26")
def a_cookie_counts_for_a_get_alone_or_with_a_word_more(caller: Caller) -> None:
    key, cookie = caller.key(), _cookie(caller.token(BOT))
    put(caller, key, "1")
    _ask(caller, key, cookie).expect(200, "1")
    for more, status in (
        ({}, 401),
        ({"X-CSRF-Token": UNKNOWN}, 401),
        ({"X-CSRF-Token": UNKNOWN, "X-Requested-With": "XMLHttpRequest"}, 401),
        ({"X-Requested-With": "fetch"}, 401),
        ({"X-Requested-With": "xmlhttprequest"}, 401),
        ({"X-Requested-With": "XMLHttpRequest"}, 200),
    ):
        for method in ("PUT", "POST", "DELETE"):
            _ask(caller, key, {**cookie, **more}, method).expect(status)


@row("M27")
def only_the_first_source_of_a_token_is_looked_at(caller: Caller) -> None:
    key, token = caller.key(), caller.token(BOT)
    put(caller, key, "1")
    for word in ("Bearer", "token"):
        _ask(caller, key, {"Authorization": f"{word} {UNKNOWN}", **_cookie(token)}).expect(401)
        _ask(caller, _query(key, token), {"Authorization": f"{word} {UNKNOWN}"}).expect(401)
    for unknown in (UNKNOWN, ""):
        _ask(caller, _query(key, token), _cookie(unknown)).expect(401)


@row("M27")
def a_user_id_that_a_client_sends_is_dropped(caller: Caller) -> None:
    key = caller.key()
    named = {"Mattermost-User-Id": "botxxxxxxxxxxxxxxxxxxxxxxx"}
    for method in _METHODS:
        _ask(caller, key, named, method).expect(401)
    succeeds(caller.kv("PUT", key, "1", headers=named))
    holds(caller, key, "1")
