"""Persist's keys, in a path and in a list: P07, P12.

Law: a check knows its row, and what a caller hears. In a list that holds keys of others it looks at its own, and at the order.
"""

from __future__ import annotations

from typing import Any

from kvfake.contract.call import expect
from kvfake.contract.caller import Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import fields, items, store, stored

_LONG = 300 * "l"
_SENT_UNORDERED = [*"bB", *(f"a{end}" for end in ("%25", "_", "*", "%20b", "b", ".", "%3F", "%5B", "%5C", "%2520b"))]
_SENT_UNORDERED += ["%C3%A9", _LONG + "2", _LONG + "1"]
_WITH_A = ("a b", "a%", "a%20b", "a*", "a.", "a?", "a[", "a\\", "a_", "ab")  # in the order of their bytes
_REPLACED = "\ufffd"  # stands in a list for a byte that is no UTF-8


def _listed(caller: Caller, query: str) -> list[Any]:
    return items(caller.persist("GET", f"/kv{query}"))


@row("P07")
def the_list_is_ascending_and_literal(caller: Caller) -> None:
    own = caller.key()
    for end in _SENT_UNORDERED:
        store(caller, own + end, "v")
    for begins, ends in (
        ("", ("B", *_WITH_A, "b", _LONG + "1", _LONG + "2", "é")),
        ("a", _WITH_A),
        ("a%25", ("a%", "a%20b")),
        ("a%2520", ("a%20b",)),
        ("a*", ("a*",)),
        ("a.", ("a.",)),
        ("a%3F", ("a?",)),
        ("a%5B", ("a[",)),
        ("a%5C", ("a\\",)),
        (_LONG + "1", (_LONG + "1",)),
        ("a_", ("a_",)),
        ("a+b", ("a b",)),
        ("b", ("b",)),
        ("B", ("B",)),
        ("%C3", ("é",)),
        ("z", ()),
    ):
        wanted, got = [own + end for end in ends], _listed(caller, f"?begins={own}{begins}")
        expect(got == wanted, f"the keys {wanted}", got)
    got = [key for key in _listed(caller, f"?begins={own[1:]}") if own in str(key)]
    expect(got == [], "no key that holds it elsewhere than at its beginning", got)


@row("P07")
def the_whole_list_is_ascending(caller: Caller) -> None:
    own = caller.key()
    keys = [own + end for end in ("b", "a", "c", "B")]
    for key in keys:
        store(caller, key, "v")
    for query in ("", "?begins=", "?other=x"):
        got = _listed(caller, query)
        expect(set(keys) <= {key for key in got if isinstance(key, str)}, f"a list with {keys}", f"{len(got)} others")
        whole = [key for key in got if _REPLACED not in str(key)]
        expect(whole == sorted(whole, key=_bytes), "the keys in ascending order", "another")


def _bytes(key: object) -> bytes:
    return str(key).encode("utf-8", "surrogatepass")


@row("P07")
def keys_are_listed_in_the_order_of_their_bytes(caller: Caller) -> None:
    own = caller.key()
    sent = ("%FF", "%FE", "%EF%BF%BD", "%F0%9F%98%80", "z", "%00")
    for end in sent:
        store(caller, own + end, end)
    wanted = [own + end for end in ("\0", "z", _REPLACED, "\U0001f600", _REPLACED, _REPLACED)]
    got = _listed(caller, f"?begins={own}")
    expect(got == wanted, f"the keys {wanted}", got)
    for end in sent:
        stored(caller, own + end, end)
    for end in ("%FF", "%FE", "%EF%BF%BD"):
        found = fields(caller.persist("GET", f"/kv/{own}{end}"))
        expect(found.get("key") == own + _REPLACED, f"the key {own + _REPLACED!r}", found)


def _is_the_key(caller: Caller, sent: str, key: str) -> None:
    store(caller, sent, sent)
    found = fields(caller.persist("GET", f"/kv/{sent}"))
    got = (found.get("key"), found.get("value"))
    expect(got == (key, sent), f"the key {key!r} with the value {sent!r}", got)


@row("P12")
def everything_after_kv_is_the_key(caller: Caller) -> None:
    own = caller.key()
    for sent, key in (
        (":U1", ":U1"),
        ("::42", "::42"),
        ("%20key", " key"),
        ("%C3%A9", "é"),
        ("/b/c", "/b/c"),
        ("/b", "/b"),
        ("%2Fb", "/b"),
        ("%252Fb", "%2Fb"),
        ("+b", "+b"),
        ("/", "/"),
        ("%20end%20", " end "),
        ("%F0%9F%98%80", "\U0001f600"),
        ("e%CC%81", "e\u0301"),
        (";a=1", ";a=1"),
        ("%3Fa%23b", "?a#b"),
        (".json", ".json"),
    ):
        _is_the_key(caller, own + sent, own + key)
    stored(caller, f"{own}/b", f"{own}%2Fb")
    stored(caller, f"{own}%2Bb", f"{own}+b")
    listed = sorted(map(str, _listed(caller, f"?begins={own}")))
    ends = (":U1", "::42", " key", "é", "/b/c", "/b", "%2Fb", "+b", "/", " end ", "\U0001f600", "e\u0301", ";a=1", "?a#b", ".json")
    wanted = sorted(own + end for end in ends)
    expect(listed == wanted, f"the keys {wanted}", listed)


@row("P12", is_malformed=True)
def a_key_is_never_cleaned(caller: Caller) -> None:
    own = caller.key()
    for key in (f"/{own}", f"../{own}", f"./{own}", f"{own}/..", f"{own}//b/../c"):
        _is_the_key(caller, key, key)
