"""How Mattermost's store reads a path and a method: M20 to M22, M25.

Law: a check knows its row, and what a caller hears. No set goes to a path that could, on any server, be more than one key.
"""

from __future__ import annotations

from kvfake.contract.call import Call
from kvfake.contract.caller import BOT, PREFIX, UNKNOWN, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import TEXT, TOO_LONG, holds, holds_not, put


@row("M20", is_malformed=True)
def the_path_is_matched_decoded(caller: Caller) -> None:
    key = caller.key()
    put(caller, f"{PREFIX}%2F{key}", "1")
    holds(caller, f"{PREFIX}/{key}", "1")
    put(caller, f"{key}%2520b", "2")
    holds(caller, f"{key}%2520b", "2")
    holds_not(caller, f"{key}%20b", "2")
    put(caller, f"{key}%C3%A9", "3")
    holds(caller, f"{key}%c3%a9", "3")
    put(caller, f"{key}%E9", "5")
    holds(caller, f"{key}%e9", "5")
    put(caller, f"{key}+b", "4")
    holds(caller, f"{key}%2Bb", "4")
    holds_not(caller, f"{key}%20b", "4")


@row("M20", is_malformed=True)
def three_parts_or_a_slash_at_the_end_or_a_newline_are_not_found(caller: Caller) -> None:
    key = caller.key()
    for rest in (f"{key}/b/c", f"{key}/", f"{PREFIX}/{key}/", f"{key}%0Ab", f"{PREFIX}/{key}%0Ab", f"{key}%2Fb%2Fc"):
        for method in ("GET", "PUT", "PATCH"):
            caller.kv(method, rest, "" if method == "GET" else "1").expect(404, "404 page not found\n", TEXT)


@row("M20", is_malformed=True)
def no_part_is_not_found(caller: Caller) -> None:
    caller.kv("GET", "").expect(404, "404 page not found\n", TEXT)
    caller.send(Call("GET", caller.kv_path, caller.headers(BOT))).expect(404, "404 page not found\n", TEXT)


@row("M21", is_malformed=True)
def an_unclean_path_is_sent_to_the_clean_one(caller: Caller) -> None:
    key = caller.key()
    above = caller.kv_path.rpartition("/")[0]
    for rest, clean in (
        (f"/{key}", f"{caller.kv_path}/{key}"),
        (f"{PREFIX}//{key}", f"{caller.kv_path}/{PREFIX}/{key}"),
        (f"./{key}", f"{caller.kv_path}/{key}"),
        (f"{PREFIX}/../{key}", f"{caller.kv_path}/{key}"),
        (f"%2e%2E/{key}", f"{above}/{key}"),
        (f"%2F{key}", f"{caller.kv_path}/{key}"),
        (f"{key}/.", f"{caller.kv_path}/{key}"),
        (f"{key}//", f"{caller.kv_path}/{key}/"),
        (f"{key}/%2F?x=1&access_token=t", f"{caller.kv_path}/{key}/?x=1&access_token=t"),
        (f"{key}//%C3%A9!'()*", f"{caller.kv_path}/{key}/%C3%A9%21%27%28%29%2A"),
    ):
        for method, headers, body in (
            ("GET", {}, ""),
            ("PATCH", caller.headers(BOT), ""),
            ("PUT", {"Authorization": f"Bearer {UNKNOWN}"}, 9000 * "x"),  # M14
        ):
            caller.kv(method, rest, body, None, headers).expect(301, b"", {"Location": clean, "Content-Type": None})


@row("M22", is_malformed=True)
def another_method_is_not_allowed(caller: Caller) -> None:
    key = caller.key()
    for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "get", "Put", "PURGE"):
        for who in (BOT, None):
            caller.kv(method, key, who=who).expect(405, b"", {"Allow": None, "Content-Type": None})


@row("M25")
def prefixes_are_padded_with_blanks(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, "1")  # below no prefix, which is two blanks; no key is made below another one that would be padded
    for prefix in ("%20", "%20%20"):
        holds(caller, f"{prefix}/{key}", "1")


@row("M25")
def a_prefix_is_measured_in_bytes(caller: Caller) -> None:
    key = caller.key()
    caller.kv("GET", f"%C3%A9/{key}").expect(200)
    put(caller, f"{PREFIX}/{key}", "1")
    for sent, quoted in ((f"{PREFIX}%20", f'"{PREFIX} "'), ("%E2%82%AC", '"€"'), ("%C3%A9x", '"éx"')):
        answer = caller.kv("GET", f"{sent}/{key}")
        if caller.is_documented:
            answer.expect(200)
        else:
            answer.expect(500, TOO_LONG.format(quoted))
    holds_not(caller, f"{PREFIX}%20/{key}", "1")
