"""The checks below HTTP, byte by byte: M28, and what P12 and P14 say of raw targets.

Law: messages as text, which no HTTP client would send. A check declares the keys that its messages set before it sends them.
"""

from __future__ import annotations

from kvfake.contract.checks.client import BOT, PROJECT
from kvfake.contract.checks.expectations import Action, Check, Expectation, Run, expect, status, success
from kvfake.contract.checks.mattermost import holds, put
from kvfake.contract.checks.persist import array, error, has_value, is_key

HOST = "Host: {host}"
OF_BOT = (HOST, "Authorization: Bearer {token}")
OF_PROJECT = (HOST, "Authorization: Bearer {project_token}")
GET, PUT = "GET {kv}/{key} HTTP/1.1", "PUT {kv}/{key} HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"


def message(*lines: str, body: str = "") -> str:
    """A message of these lines; they may hold placeholders."""
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
EMPTY_LIST = (message("GET {persist}/kv?begins={key} HTTP/1.1", *OF_PROJECT), array(words="an empty list"))


def exchange(*steps: tuple[str, Expectation], may_end: bool = True, must_end: bool = False) -> Action:
    """On a connection of its own, send each text, and expect that of the next response. An empty text is for a response to one
    of the requests in the text before; a surrogate is a byte that is no UTF-8.

    ``may_end``: after a response with ``Connection: close`` nothing more is expected. ``must_end``: after the last response the
    server closes the connection.
    """

    def action(run: Run) -> None:
        with run.client.http.connection() as connection:
            for text, expected in steps:
                data = run.fill(text).encode("utf-8", "surrogateescape")
                if data:
                    connection.send(data)
                response = run.client.receive(connection, data)
                expected(response, run)
                if may_end and response.headers.get("connection", "").lower() == "close":
                    break
            if must_end:
                expect(connection.is_closed(), "the end of the connection", "none")

    return action


def refusals(code: int, text: str, *messages: str) -> list[Action]:
    """Each message gets that response, and the server closes the connection."""
    return [exchange((one, status(code, text, {"Connection": "close"})), must_end=True) for one in messages]


def will_set(target: str, who: str = BOT) -> Action:
    """Declare a key that the next exchange sets."""
    return lambda run: run.client.will_set(run.fill(target), who)


def set_and_get(*headers: str, body: str, value: str, end: str = "", encoded_end: str = "") -> tuple[Action, ...]:
    """A set with these headers and that body sets that value, and the server reads the next message on the connection correctly.
    ``end`` is the end of the target after the key, ``encoded_end`` the same with percent-encoding.
    """
    put_line, get_line = (line.replace("{key}", "{key}" + end) for line in (PUT, GET))
    both = message(put_line, *OF_BOT, *headers, body=body) + message(get_line, *OF_BOT)
    key = "/{key}" + encoded_end
    return will_set("{kv}" + key), exchange((both, success), ("", status(200, value))), holds(key, value)


def set_raw_key(end: str, encoded_end: str, shown_end: str) -> tuple[Action, ...]:
    """A key of Persist's whose end stands raw in the target is set, and answered as text."""
    body = f'{{"value":"{encoded_end}"}}'
    head = (f"PUT {{persist}}/kv/{{key}}{end} HTTP/1.1", *OF_PROJECT, f"Content-Length: {len(body)}")
    key = "{persist}/kv/{key}" + encoded_end
    return will_set(key, PROJECT), exchange((message(*head, body=body), is_key("{key}" + shown_end)))


def below(name: str, *actions: Action) -> Check:
    """A check of what lies below HTTP."""
    return Check(name, actions, is_malformed=True, needs_socket=True)


# fmt: off
CHECKS = [
    below("M28-what_is_not_http_is_a_bad_request", *refusals(400, "400 Bad Request", *NOT_HTTP)),
    below("M28-a_host_is_required", *refusals(400, "400 Bad Request: missing required Host header", message(GET))),
    below("M28-an_unknown_transfer_coding_is_not_supported",
          *refusals(501, "Unsupported transfer encoding", message(PUT, HOST, "Transfer-Encoding: gzip"))),
    below("M28-a_bad_chunk_is_an_error",
          will_set("{kv}/{key}"),
          *refusals(500, "invalid byte in chunk length\n", message(PUT, *OF_BOT, CHUNKED, body="x\r\n1\r\n0\r\n\r\n"))),
    below("M28-chunked_wins_over_a_length",
          *set_and_get("Content-Length: 3", CHUNKED, body="1\r\n7\r\n0\r\n\r\n", value="7")),
    below("M28-two_equal_lengths_are_one", *set_and_get("Content-Length: 1", "Content-Length: 1", body="8", value="8")),
    below("M28-requests_may_be_sent_all_at_once",
          *(will_set("{kv}/{key}" + end) for end in PIPELINED_ENDS),
          exchange((PIPELINED, success), *[("", success)] * (len(PIPELINED_ENDS) - 1),
                   *(("", status(200, end)) for end in PIPELINED_ENDS), may_end=False)),
    below("M28-http_1_0_works",
          put("/{key}", "1"),
          exchange((GET_1_0, status(200, "1")), must_end=True),
          exchange((KEPT_GET_1_0, status(200, "1")), (KEPT_GET_1_0, status(200, "1")))),
    below("M28-an_absolute_target_works",
          put("/{key}", "1"), exchange((message("GET http://{host}{kv}/{key} HTTP/1.1", *OF_BOT), status(200, "1")))),
    below("M28-raw_utf_8_in_a_target_works",
          *set_and_get("Content-Length: 1", body="1", value="1", end="é", encoded_end="%C3%A9")),
    below("M28-a_header_block_has_a_bound",
          exchange((message(GET, *OF_BOT, f"X: {1_000_000 * 'x'}"), status(200))),
          *refusals(431, "431 Request Header Fields Too Large", message(GET, *OF_BOT, f"X: {1_100_000 * 'x'}"))),
    below("P12-the_node_clients_raw_bytes_are_the_key",
          *set_raw_key("\udce9", "%E9", "\ufffd"), *set_raw_key("é", "%C3%A9", "é"),
          has_value("{key}%E9", "%E9"), has_value("{key}%C3%A9", "%C3%A9")),
    below("P14-bad_encoding_is_the_services_own_error",
          *(exchange((message(f"GET {{persist}}/kv{rest} HTTP/1.1", *OF_PROJECT), error(400)), EMPTY_LIST)
            for rest in ("/{key}%zz", "/{key}%", "?begins={key}%zz"))),
]
# fmt: on
