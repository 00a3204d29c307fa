"""The checks of what holds below both services, byte by byte: M28, and what P12 and P14 say of raw targets.

Law: messages written by hand. A check declares the keys that its messages set before it sends them.
"""

from __future__ import annotations

from collections.abc import Callable

from kvfake.contract.checks.client import BOT, PROJECT
from kvfake.contract.checks.expectations import Check, Expectation, Run, expect, status, success
from kvfake.contract.checks.mattermost import holds, put
from kvfake.contract.checks.persist import array, error, has_value, is_key

HOST = "Host: {host}"
OF_BOT = (HOST, "Authorization: Bearer {token}")
OF_PROJECT = (HOST, "Authorization: Bearer {project_token}")
GET, PUT = "GET {kv}/{key} HTTP/1.1", "PUT {kv}/{key} HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"


def message(*lines: str, body: str = "") -> str:
    """A message, or its beginning; its lines may hold placeholders."""
    return "".join(f"{line}\r\n" for line in lines) + f"\r\n{body}"


NOT_HTTP = (
    *(message(f"GET {{kv}}/{{key}}{end} HTTP/1.1", HOST) for end in ("%zz", "%", " b", "\x01b", "\x7f")),
    message(PUT, HOST, "Content-Length: 1", "Content-Length: 2", body="1"),
    message(PUT, HOST, "Content-Length: -1"),
    message(PUT, HOST, "Content-Length: +1", body="1"),
    message(PUT, HOST, "no colon"),
    "\r\n\r\n",
    "GET\r\n\r\n",
    message("GET {kv}/{key} HTTP/one", HOST),
)
GET_1_0 = message(GET.replace("1.1", "1.0"), *OF_BOT)
KEPT_GET_1_0 = message(GET.replace("1.1", "1.0"), *OF_BOT, "Connection: keep-alive")
PIPELINED_ENDS = [f"{number:02d}" for number in range(10, 30)]
PIPELINED = "".join(
    [message(f"PUT {{kv}}/{{key}}{end} HTTP/1.1", *OF_BOT, "Content-Length: 2", body=end) for end in PIPELINED_ENDS]
    + [message(f"GET {{kv}}/{{key}}{end} HTTP/1.1", *OF_BOT) for end in PIPELINED_ENDS]
)


def exchange(run: Run, *steps: tuple[str | bytes, Expectation], may_end: bool = True, must_end: bool = False) -> None:
    """On a connection of its own, send each message, unless it is empty, and expect that of the next response.

    ``may_end``: after a response with ``Connection: close`` nothing more is expected. ``must_end``: after the last response the
    server closes the connection.
    """
    with run.client.connection() as connection:
        for data, expected in steps:
            if data:
                connection.send(data if isinstance(data, bytes) else run.fill(data).encode())
            response = connection.receive()
            expected(response, run)
            if may_end and response.headers.get("connection", "").lower() == "close":
                break
        if must_end:
            expect(connection.is_closed(), "the end of the connection", "none")


def expect_refusal(run: Run, code: int, text: str, *messages: str) -> None:
    """Each message gets that response, and the server closes the connection."""
    for one in messages:
        exchange(run, (one, status(code, text, {"Connection": "close"})), must_end=True)


def will_set(run: Run, *ends: str) -> None:
    for end in ends:
        run.client.will_set(f"{run.client.kv_path}/{run.key}{end}", BOT)


def set_and_get(run: Run, *headers: str, body: str, value: str, end: str = "", encoded_end: str = "") -> None:
    """A set with these headers and that body sets that value, and the next message on the connection is read right. ``end`` is
    what the target has behind the key, ``encoded_end`` the same as a client would write it.
    """
    will_set(run, encoded_end)
    put_line, get_line = (line.replace("{key}", "{key}" + end) for line in (PUT, GET))
    both = message(put_line, *OF_BOT, *headers, body=body) + message(get_line, *OF_BOT)
    exchange(run, (both, success), ("", status(200, value)))
    run.run(holds("/{key}" + encoded_end, value))


def bad_chunk(run: Run) -> None:
    will_set(run, "")
    expect_refusal(run, 500, "invalid byte in chunk length\n", message(PUT, *OF_BOT, CHUNKED, body="x\r\n1\r\n0\r\n\r\n"))


def pipelining(run: Run) -> None:
    will_set(run, *PIPELINED_ENDS)
    sets = [(PIPELINED if number == 0 else "", success) for number in range(len(PIPELINED_ENDS))]
    exchange(run, *sets, *(("", status(200, end)) for end in PIPELINED_ENDS), may_end=False)


def http_1_0(run: Run) -> None:
    run.run(put("/{key}", "1"))
    exchange(run, (GET_1_0, status(200, "1")), must_end=True)
    exchange(run, (KEPT_GET_1_0, status(200, "1")), (KEPT_GET_1_0, status(200, "1")))


def absolute_target(run: Run) -> None:
    run.run(put("/{key}", "1"))
    exchange(run, (message("GET http://{host}{kv}/{key} HTTP/1.1", *OF_BOT), status(200, "1")))


def header_block(run: Run) -> None:
    exchange(run, (message(GET, *OF_BOT, f"X: {1_000_000 * 'x'}"), status(200)))
    expect_refusal(run, 431, "431 Request Header Fields Too Large", message(GET, *OF_BOT, f"X: {1_100_000 * 'x'}"))


def raw_bytes_in_a_key(run: Run) -> None:
    for raw, encoded, shown in ((b"\xe9", "%E9", "\ufffd"), ("é".encode(), "%C3%A9", "é")):
        run.client.will_set(f"{run.client.persist_path}/kv/{run.key}{encoded}", PROJECT)
        body = f'{{"value":"{encoded}"}}'
        head = ("PUT {persist}/kv/{key}RAW HTTP/1.1", *OF_PROJECT, f"Content-Length: {len(body)}")
        exchange(run, (run.fill(message(*head, body=body)).encode().replace(b"RAW", raw, 1), is_key("{key}" + shown)))
    run.run(*(has_value("{key}" + encoded, encoded) for encoded in ("%E9", "%C3%A9")))


def bad_encoding(run: Run) -> None:
    empty_list = (message("GET {persist}/kv?begins={key} HTTP/1.1", *OF_PROJECT), array(words="an empty list"))
    for rest in ("/{key}%zz", "/{key}%", "?begins={key}%zz"):
        exchange(run, (message(f"GET {{persist}}/kv{rest} HTTP/1.1", *OF_PROJECT), error(400)), empty_list)


def below(name: str, do: Callable[[Run], object]) -> Check:
    """A check of what lies below HTTP."""
    return Check(name, do, is_malformed=True, is_below=True)


# fmt: off
CHECKS = [
    below("M28-what_is_not_http_is_a_bad_request", lambda run: expect_refusal(run, 400, "400 Bad Request", *NOT_HTTP)),
    below("M28-a_host_is_required",
          lambda run: expect_refusal(run, 400, "400 Bad Request: missing required Host header", message(GET))),
    below("M28-an_unknown_transfer_coding_is_not_supported",
          lambda run: expect_refusal(run, 501, "Unsupported transfer encoding", message(PUT, HOST, "Transfer-Encoding: gzip"))),
    below("M28-a_bad_chunk_is_an_error", bad_chunk),
    below("M28-chunked_wins_over_a_length",
          lambda run: set_and_get(run, "Content-Length: 3", CHUNKED, body="1\r\n7\r\n0\r\n\r\n", value="7")),
    below("M28-two_equal_lengths_are_one",
          lambda run: set_and_get(run, "Content-Length: 1", "Content-Length: 1", body="8", value="8")),
    below("M28-requests_may_be_sent_all_at_once", pipelining),
    below("M28-http_1_0_works", http_1_0),
    below("M28-an_absolute_target_works", absolute_target),
    below("M28-raw_utf_8_in_a_target_works",
          lambda run: set_and_get(run, "Content-Length: 1", body="1", value="1", end="é", encoded_end="%C3%A9")),
    below("M28-a_header_block_has_a_bound", header_block),
    below("P12-the_node_clients_raw_bytes_are_the_key", raw_bytes_in_a_key),
    below("P14-bad_encoding_is_the_services_own_error", bad_encoding),
]
# fmt: on
