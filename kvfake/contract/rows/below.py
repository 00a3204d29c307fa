"""What holds below both services, byte by byte: M28, and what P12 and P14 say of raw targets.

Law: a check knows its row, writes its messages itself, and says beforehand which keys they set.
"""

from __future__ import annotations

from kvfake.contract.call import Answer, Talk, expect
from kvfake.contract.caller import BOT, PROJECT, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import error, fields, holds, items, put, stored, succeeds

_BAD_REQUEST = "400 Bad Request"


def _start(caller: Caller, method: str, target: str, *headers: str) -> bytes:
    """The first lines of a message."""
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {caller.host}", *headers)).encode()


def _message(caller: Caller, method: str, target: str, *headers: str, who: str = BOT, body: bytes = b"") -> bytes:
    """A whole message of someone's, with these headers besides."""
    sent = [f"{name}: {value}" for name, value in caller.headers(who).items()]
    return _start(caller, method, target, *sent, *headers) + b"\r\n" + body


def _refused(caller: Caller, message: bytes, status: int, text: str) -> None:
    """The answer says so, and the connection ends."""
    with caller.talk() as talk:
        talk.send(message)
        _is_the_last(talk, status, text)


def _is_the_last(talk: Talk, status: int, text: str) -> None:
    talk.answer().expect(status, text, {"Connection": "close"})
    expect(talk.is_closed(), "the end of the connection", "none")


@row("M28", is_below=True)
def what_is_not_http_is_a_bad_request(caller: Caller) -> None:
    path = f"{caller.kv_path}/{caller.key()}"
    for target in (f"{path}%zz", f"{path}%", f"{path} b", f"{path}\x01b", f"{path}\x7f"):
        _refused(caller, _start(caller, "GET", target) + b"\r\n", 400, _BAD_REQUEST)
    for headers, body in (
        (("Content-Length: 1", "Content-Length: 2"), b"1"),
        (("Content-Length: -1",), b""),
        (("Content-Length: +1",), b"1"),
        (("no colon",), b""),
    ):
        _refused(caller, _start(caller, "PUT", path, *headers) + b"\r\n" + body, 400, _BAD_REQUEST)
    for message in ("\r\n\r\n", "GET\r\n\r\n", f"GET {path} HTTP/one\r\nHost: {caller.host}\r\n\r\n"):
        _refused(caller, message.encode(), 400, _BAD_REQUEST)


@row("M28", is_below=True)
def a_host_is_required(caller: Caller) -> None:
    message = f"GET {caller.kv_path}/{caller.key()} HTTP/1.1\r\n\r\n".encode()
    _refused(caller, message, 400, "400 Bad Request: missing required Host header")


@row("M28", is_below=True)
def an_unknown_transfer_coding_is_not_supported(caller: Caller) -> None:
    message = _start(caller, "PUT", f"{caller.kv_path}/{caller.key()}", "Transfer-Encoding: gzip") + b"\r\n"
    _refused(caller, message, 501, "Unsupported transfer encoding")


@row("M28", is_below=True)
def a_bad_chunk_is_an_error(caller: Caller) -> None:
    key = caller.key()
    caller.will_set(key)
    chunks = b"x\r\n1\r\n0\r\n\r\n"
    message = _message(caller, "PUT", f"{caller.kv_path}/{key}", "Transfer-Encoding: chunked", body=chunks)
    _refused(caller, message, 500, "invalid byte in chunk length\n")


@row("M28", is_below=True)
def chunked_wins_over_a_length(caller: Caller) -> None:
    _is_set(caller, ("Content-Length: 3", "Transfer-Encoding: chunked"), b"1\r\n7\r\n0\r\n\r\n", "7")


@row("M28", is_below=True)
def two_equal_lengths_are_one(caller: Caller) -> None:
    _is_set(caller, ("Content-Length: 1", "Content-Length: 1"), b"8", "8")


def _is_set(caller: Caller, headers: tuple[str, ...], body: bytes, value: str) -> None:
    """A set with that body sets that value, and the next message on the connection is read right."""
    key = caller.key()
    path = f"{caller.kv_path}/{key}"
    caller.will_set(key)
    with caller.talk() as talk:
        talk.send(_message(caller, "PUT", path, *headers, body=body) + _message(caller, "GET", path))
        answer = talk.answer("PUT")
        succeeds(answer)
        if not _is_last(answer):
            talk.answer().expect(200, value)
    holds(caller, key, value)


def _is_last(answer: Answer) -> bool:
    """Whether the server says that it answers nothing more on this connection, as it may."""
    return answer.headers.get("connection", "").lower() == "close"


@row("M28", is_below=True)
def requests_may_be_sent_all_at_once(caller: Caller) -> None:
    own = caller.key()
    ends = [f"{number:02d}" for number in range(10, 30)]
    for end in ends:
        caller.will_set(own + end)
    path = f"{caller.kv_path}/{own}"
    sets = [_message(caller, "PUT", path + end, "Content-Length: 2", body=end.encode()) for end in ends]
    gets = [_message(caller, "GET", path + end) for end in ends]
    with caller.talk() as talk:
        talk.send(b"".join(sets + gets))
        for _ in sets:
            succeeds(talk.answer("PUT"))
        for end in ends:
            talk.answer().expect(200, end)


@row("M28", is_below=True)
def http_1_0_works(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, "1")
    path = f"{caller.kv_path}/{key}"
    with caller.talk() as talk:
        talk.send(_message(caller, "GET", path).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        talk.answer().expect(200, "1")
        expect(talk.is_closed(), "the end of the connection", "none")
    with caller.talk() as talk:
        for _ in range(2):
            talk.send(_message(caller, "GET", path, "Connection: keep-alive").replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
            if _is_last(talk.answer().expect(200, "1")):
                break


@row("M28", is_below=True)
def an_absolute_target_works(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, "1")
    with caller.talk() as talk:
        talk.send(_message(caller, "GET", f"http://{caller.host}{caller.kv_path}/{key}"))
        talk.answer().expect(200, "1")


@row("M28", is_below=True)
def raw_utf_8_in_a_target_works(caller: Caller) -> None:
    key = caller.key()
    caller.will_set(f"{key}%C3%A9")
    path = f"{caller.kv_path}/{key}é"
    with caller.talk() as talk:
        talk.send(_message(caller, "PUT", path, "Content-Length: 1", body=b"1") + _message(caller, "GET", path))
        answer = talk.answer("PUT")
        succeeds(answer)
        if not _is_last(answer):
            talk.answer().expect(200, "1")
    holds(caller, f"{key}%C3%A9", "1")


@row("M28", is_below=True)
def a_header_block_has_a_bound(caller: Caller) -> None:
    path = f"{caller.kv_path}/{caller.key()}"
    with caller.talk() as talk:
        talk.send(_message(caller, "GET", path, f"X: {1_000_000 * 'x'}"))
        talk.answer().expect(200)
    _refused(caller, _message(caller, "GET", path, f"X: {1_100_000 * 'x'}"), 431, "431 Request Header Fields Too Large")


# --------------------------------------------------------------------------------------------------------------------- Persist


@row("P12", is_below=True)
def the_node_clients_raw_bytes_are_the_key(caller: Caller) -> None:
    own = caller.key()
    for raw, encoded, shown in ((b"\xe9", "%E9", "\ufffd"), ("é".encode(), "%C3%A9", "é")):
        caller.will_persist(f"/kv/{own}{encoded}")
        body = b'{"value":"%b"}' % encoded.encode()
        message = _message(
            caller, "PUT", f"{caller.persist_path}/kv/{own}RAW", f"Content-Length: {len(body)}", who=PROJECT, body=body
        )
        with caller.talk() as talk:
            talk.send(message.replace(b"RAW", raw, 1))
            found = fields(talk.answer("PUT"))
        expect(found.get("key") == own + shown, f"the key {own + shown!r}", found)
    for encoded in ("%E9", "%C3%A9"):
        stored(caller, own + encoded, encoded)


@row("P14", is_below=True)
def bad_encoding_is_the_services_own_error(caller: Caller) -> None:
    own = caller.key()
    for rest in (f"/kv/{own}%zz", f"/kv/{own}%", f"/kv?begins={own}%zz"):
        with caller.talk() as talk:
            talk.send(_message(caller, "GET", f"{caller.persist_path}{rest}", who=PROJECT))
            answer = talk.answer()
            error(answer, 400)
            if not _is_last(answer):
                talk.send(_message(caller, "GET", f"{caller.persist_path}/kv?begins={own}", who=PROJECT))
                found = items(talk.answer())
                expect(found == [], "an empty list", found)
