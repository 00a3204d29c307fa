"""What is sent, kept and read costs in proportion to its size, in time and in memory: a story for each thing there can be more of.
What a client sends below a service, heads and chunks, is in ``test_growth_wire.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import kvfake
from kvfake.double import Double
from kvfake.http_client import ClientRequest, HttpClient
from kvfake.services import go, mattermost, persist
from kvfake.services.jsontext import load_json, read_object
from kvfake.services.messages import Request, Response, finished
from kvfake.world.document import MAX_PARTS, parse
from tests.support.growth import assert_linear
from tests.support.troubled_servers import answer, listening, saying

DIMENSIONS = {  # of what comes from outside: the words with which a story begins, in the file that has it
    "test_growth.py": (
        "query pairs", "escapes", "path parts", "cookies", "JSON depth", "digits", "strings", "members", "mget keys", "keys listed",
        "values loaded", "values dumped", "values deleted", "checkpoints", "routes", "faults", "tokens", "worlds", "journal kept",
        "headers of an answer", "chunks of an answer", "the body of an answer",
    ),
    "test_growth_wire.py": (
        "blanks in a header", "continuation lines", "header lines", "names", "cookies of one line", "path parts", "escapes",
        "pairs of a query", "chunks", "the size of a chunk", "trailers",
    ),
}  # fmt: skip


class Story(NamedTuple):
    """``run`` is measured with what ``make`` makes of the size."""

    size: int
    make: Callable[[int], Any]
    run: Callable[[Any], object]


STORIES: dict[str, Story] = {}

TOKEN = {b"host": b"localhost", b"authorization": b"Bearer t"}
KV = "/api/v1/persist/kv"


def double(**settings: Any) -> Double:
    return kvfake.Double(token=["t=project:first"], **settings)


def send(double: Double, method: str, target: str, body: bytes = b"") -> Response:
    response = finished(double._router.answer(Request(method, target.encode(), TOKEN, body)))
    assert response.status < 300, response.body
    return response


def filled(count: int, value: str = "v", **settings: Any) -> Double:
    """A double with so many values of a project."""
    made = double(**settings)
    made.load({"kvfake": 1, "persist": {"first": {f"key-{number:07d}": value for number in range(count)}}})
    return made


# --------------------------------------------------------------------------------------------------- what a service reads

STORIES |= {
    "query pairs": Story(40_000, lambda size: b"a=b&" * size, lambda query: go.query_value(query, b"access_token")),
    "query pairs with a token each": Story(
        10_000, lambda size: b"/?" + b"access_tok%65n=b&" * size, lambda target: mattermost.redact_query(target)
    ),
    "query pairs with escapes": Story(
        40_000, lambda size: b"/?" + b"a%61=b&" * size, lambda target: mattermost.redact_query(target)
    ),
    "query pairs of a list": Story(
        20_000,
        lambda size: Request("GET", b"", {}, path=KV.encode(), query=b"b%65gins=b&" * size),
        lambda request: persist.read(request, "first"),
    ),
    "escapes": Story(40_000, lambda size: b"%41" * size, go.unescape),
    "escapes to write": Story(40_000, lambda size: b"\xff" * size, go.escape),
    "characters to quote": Story(20_000, lambda size: b"\x80" * size, go.quoted),
    "path parts": Story(40_000, lambda size: b"/a/.." * size, go.clean),
    "path parts that are kept": Story(40_000, lambda size: b"/a/./" * size, go.clean),
    "cookies": Story(40_000, lambda size: b"a=b; " * size, lambda header: go.cookie_value(header, b"MMAUTHTOKEN")),
    "cookies of that name": Story(
        20_000, lambda size: b"MMAUTHTOKEN=\x01; " * size, lambda header: go.cookie_value(header, b"MMAUTHTOKEN")
    ),
    "JSON depth": Story(2_000, lambda size: b"[" * size + b"]" * size, go.json_valid),
    "JSON depth of a value": Story(250, lambda size: b"[" * size + b"]" * size, load_json),
    "brackets side by side": Story(20_000, lambda size: b"[" + b"[]," * size + b"[]]", go.json_valid),
    "digits": Story(200_000, lambda size: b"7" * size, go.json_valid),
    "digits of a body": Story(200_000, lambda size: b'{"value":%b}' % (b"7" * size), read_object),
    "strings": Story(200_000, lambda size: b'{"value":"%b"}' % (b"x" * size), read_object),
    "strings of escapes": Story(50_000, lambda size: b'{"value":"%b"}' % (b'\\"' * size), read_object),
    "members": Story(10_000, lambda size: json.dumps({str(number): number for number in range(size)}).encode(), read_object),
}

# ------------------------------------------------------------------------------------------------------ what a world holds


def mget(size: int) -> tuple[Double, bytes]:
    return filled(size), json.dumps({"keys": [f"key-{number:07d}" for number in range(size)]}).encode()


def document(size: int, value: object = "v") -> bytes:
    return json.dumps({"kvfake": 1, "persist": {"first": {f"key-{number:07d}": value for number in range(size)}}}).encode()


def load(document: bytes) -> None:
    send(double(), "POST", "/_kvfake/data", document)


def replace(given: tuple[Double, bytes]) -> None:
    send(given[0], "PUT", "/_kvfake/data", given[1])


STORIES |= {
    "mget keys": Story(2_500, mget, lambda given: send(given[0], "POST", "/api/v1/persist/mget", given[1])),
    "bytes of an mget": Story(
        1_250,
        lambda size: (filled(500, "v" * size), mget(500)[1]),
        lambda given: send(given[0], "POST", "/api/v1/persist/mget", given[1]),
    ),
    "keys listed": Story(10_000, filled, lambda double: send(double, "GET", KV)),
    "keys listed by their beginning": Story(10_000, filled, lambda double: send(double, "GET", KV + "?begins=key")),
    "values loaded": Story(2_500, document, load),
    "values loaded with their moments": Story(
        2_500, lambda size: document(size, {"value": "v", "updated": "2016-09-09T23:16:43.970809Z"}), load
    ),
    "values loaded in place of others": Story(2_500, lambda size: (filled(size), document(size)), replace),
    "brackets loaded": Story(
        2_500,
        lambda size: json.dumps({"kvfake": 1, "mattermost": {"a/b": {"": {f"k{n}": [[]] for n in range(size)}}}}).encode(),
        load,
    ),
    "a long value in a document": Story(
        10_000, lambda size: b"[" + b'"' + b'\\"' * size + b'",' + b"[],1," * size + b"2]", lambda data: parse(data, "x")
    ),
    "values dumped": Story(2_500, filled, lambda double: send(double, "GET", "/_kvfake/data")),
    "values deleted": Story(10_000, filled, lambda double: send(double, "DELETE", "/_kvfake/data")),
    "values reset": Story(10_000, filled, lambda double: send(double, "POST", "/_kvfake/reset")),
}
assert MAX_PARTS > 30_000 * 2


def checkpoints(double: Double) -> None:
    """So many as there are values, a change after each; then back through all of them."""
    marks = []
    for key in list(double.persist.project("first")):
        marks.append(double.checkpoint())
        double.persist.project("first")[key] = "w"
    for mark in reversed(marks):
        double.rollback(mark)


def changes(double: Double) -> None:
    values = double.persist.project("first")
    mark = double.checkpoint()
    for key in list(values):
        values[key] = "w"
    double.rollback(mark)


def routes(size: int) -> None:
    made = double()
    for number in range(size):
        made.respond("GET", f"/{number}")
    for number in range(0, size, size // 10):
        send(made, "GET", f"/{number}")


def faults(size: int) -> None:
    made = double()
    for number in range(size):
        made.faults.add(status=503, key=str(number), times=None)
    for fault in list(made.faults)[: size // 2]:
        fault.remove()


def with_faults(size: int) -> Double:
    made = double()
    for _ in range(size):
        made.faults.add(status=503, rate=0, times=None)
    return made


def under_a_quota(size: int) -> None:
    """Twice as many requests as the quota lets through, a checkpoint, and back."""
    made = double()
    made.faults.add(limit=size, per=3600)
    for _ in range(2 * size):
        finished(made._router.answer(Request("GET", f"{KV}/k".encode(), TOKEN)))
    made.rollback(made.checkpoint())


def under_stale_answers(size: int) -> None:
    """So many keys change, and are listed as they were."""
    made = double()
    made.faults.add(stale=True, times=None)
    for number in range(size):
        send(made, "PUT", f"{KV}/{number}", b'{"value":"v"}')
    send(made, "GET", KV)


def tokens(size: int) -> None:
    made = double()
    for number in range(size):
        made.token(f"token-{number}", f"app/{number}")
        made._world.tokens.owner_of("mattermost", b"token-%d" % number)


def worlds(size: int) -> None:
    made = double()
    opened = [json.loads(send(made, "POST", "/_kvfake/worlds").body)["id"] for _ in range(size)]
    send(made, "GET", "/_kvfake/worlds")
    for id in opened:
        send(made, "DELETE", f"/_kvfake/worlds/{id}")


def asked(size: int) -> Double:
    made = filled(1, journal_exchanges=size)
    for _ in range(size):
        send(made, "GET", f"{KV}/key-0000000")
    return made


def itself(size: int) -> int:
    return size


STORIES |= {
    "checkpoints": Story(200, filled, checkpoints),
    "changes since a checkpoint": Story(2_000, filled, changes),
    "routes": Story(200, itself, routes),
    "faults": Story(200, itself, faults),
    "faults that a request meets": Story(400, with_faults, lambda double: send(double, "PUT", f"{KV}/k", b'{"value":"v"}')),
    "faults with a quota": Story(500, itself, under_a_quota),
    "faults with stale answers": Story(500, itself, under_stale_answers),
    "tokens": Story(1_000, itself, tokens),
    "worlds": Story(20, itself, worlds),
    "journal kept": Story(1_000, itself, asked),
    "journal read": Story(500, asked, lambda double: send(double, "GET", "/_kvfake/journal")),
    "journal asked": Story(1_000, asked, lambda double: double.journal.filter("GET", key="other")),
}

# ------------------------------------------------------------------------------------------- what another server answers


@contextmanager
def upstream(message: bytes) -> Iterator[str]:
    with listening(saying(message)) as port:
        yield f"http://127.0.0.1:{port}"


def chunked(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + b"1\r\na\r\n" * size + b"0\r\n\r\n"


def ask_server(message: bytes) -> None:
    with upstream(message) as url, HttpClient(url, 30) as client:
        client.send(ClientRequest("GET", "/", {}, b""))


def ask_fallback(message: bytes) -> None:
    with upstream(message) as url:
        send(double(fallback=url), "GET", "/api/v4/users/me")


for asker, ask in (("a server", ask_server), ("a fallback", ask_fallback)):
    STORIES |= {
        f"headers of an answer of {asker}": Story(45, lambda size: answer("200 OK", b"", *["X: " + "y" * 300] * size), ask),
        f"chunks of an answer of {asker}": Story(20_000, chunked, ask),
        f"the body of an answer of {asker}": Story(4 << 20, lambda size: answer("200 OK", b"x" * size), ask),
    }


@pytest.mark.parametrize("what", STORIES)
def test_growth(what: str) -> None:
    """Twice as much costs at most 2.5 times as much."""
    story = STORIES[what]
    assert_linear(story.make, story.run, story.size)


@pytest.mark.parametrize("file", DIMENSIONS)
def test_no_dimension_is_without_a_story(file: str) -> None:
    """Everything of which somebody outside can send more is in one of these files."""
    path = Path(__file__).with_name(file)
    text = path.read_text(encoding="utf-8").partition("] = {")[2] if path.exists() else str(DIMENSIONS[file])
    assert [name for name in DIMENSIONS[file] if name not in text] == []
