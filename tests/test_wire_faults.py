"""Wire faults: exactly which bytes come, how the connection ends, and what was done by then."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import Retry
from werkzeug.test import Client

import kvfake
from kvfake.double import Double
from kvfake.http import connection as connection_module
from kvfake.http.connection import MAX_HANG_SECONDS, Action, Close, Connection, Hang, Reset, Wait, apply_wire_fault, in_pieces
from kvfake.services import mattermost
from kvfake.services.mattermost import KV
from kvfake.services.messages import Response, Sever, WireFault
from kvfake.world.faults import MAX_DELAY_SECONDS, FaultAction, FaultArguments, SeverWord
from tests.support.process import gunicorn
from tests.support.served import server_of
from tests.support.troubled import SEVERS, troubled
from tests.support.wire import Wire, request_bytes, without_date
from tests.support.wsgi import QuietHandler, werkzeug_server
from tests.test_connection import GET, PUT, finish, hear, said
from tests.test_server import port_of, until

ROOT = Path(__file__).parent.parent
LONG = 60  # seconds that no test waits for
GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"


@pytest.fixture
def double() -> Iterator[Double]:
    with kvfake.start() as started:
        yield started


@pytest.fixture
def wire(double: Double) -> Iterator[Wire]:
    with Wire(port_of(double)) as opened:
        yield opened


def asking(double: Double, method: str, key: str = "k", body: bytes = b"", **how: Any) -> bytes:
    return request_bytes(method, f"{KV}/{key}", double.mattermost.headers, body, **how)


class Heard(NamedTuple):
    """Everything that came, without its date, and how the connection ended."""

    data: bytes
    end: str


def heard(wire: Wire) -> Heard:
    data = b""
    try:
        while more := wire.socket.recv(65_536):
            data += more
    except ConnectionResetError:
        return Heard(without_date(data), "RST")
    return Heard(without_date(data), "FIN")


def is_silent(wire: Wire, seconds: float = 0.05) -> bool:
    """Whether nothing comes for a while."""
    wire.socket.settimeout(seconds)
    try:
        wire.socket.recv(1)
    except TimeoutError:
        return True
    finally:
        wire.socket.settimeout(10)
    return False


def vanish(wire: Wire) -> None:
    """End the connection with RST."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


# --------------------------------------------------------------------------------------------------------- cut connections

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"changed":true}\n'
CUT = {  # what comes, how it ends, whether it was done
    "before": (b"", "FIN", False),
    "after": (b"", "FIN", True),
    "reset": (b"", "RST", False),
    "reset-after": (b"", "RST", True),
    "garbage": (GARBAGE, "FIN", False),
    "truncate": (ANSWER[:-9], "FIN", True),
}
SILENT = {"silence": False, "silence-after": True}


def test_every_kind_of_sever_is_tested_here() -> None:
    """None is forgotten."""
    assert CUT.keys() | SILENT.keys() == set(SEVERS)


@pytest.mark.parametrize("sever", CUT)
def test_a_severed_response(double: Double, sever: SeverWord) -> None:
    """The first request of a connection, and one on a connection that was kept."""
    data, end, is_done = CUT[sever]
    for used in (False, True):
        double.reset()
        with Wire(port_of(double)) as wire:
            if used:
                assert wire.ask(asking(double, "GET", "other")).status == 200
            fault = double.faults.add(sever=sever)
            wire.send(asking(double, "PUT", body=b"1"))
            assert heard(wire) == (data, end)
        assert (double.mattermost == {"k": 1}) is is_done
        assert (double.mattermost == {}) is not is_done
        exchange = double.journal[-1]
        assert (exchange.status, exchange.fault) == (200 if sever == "truncate" else None, fault)
        assert sever == "truncate" or (exchange.response.body, dict(exchange.response.headers)) == (b"", {})


@pytest.mark.parametrize("sever", SILENT)
def test_silence_lasts_until_the_client_gives_up(double: Double, sever: SeverWord) -> None:
    """However it does: with FIN or with RST. What it says meanwhile is not heard, and others are served."""
    server = server_of(double)
    for give_up in (Wire.close, vanish, Wire.end_of_sending):
        double.reset()
        double.faults.add(sever=sever)
        with Wire(port_of(double)) as wire:
            wire.send(asking(double, "PUT", body=b"1"))
            wire.send(asking(double, "PUT", "second", b"1"))
            assert is_silent(wire)
            with Wire(port_of(double)) as other:
                assert other.ask(asking(double, "GET")).text == ("1" if SILENT[sever] else "{}")
            give_up(wire)
            assert until(lambda: not server._peers)
        assert double.mattermost == ({"k": 1} if SILENT[sever] else {})
        assert [exchange.status for exchange in double.journal] == [None, 200]


def test_silence_has_a_bound(double: Double, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """After which the connection ends."""
    monkeypatch.setattr(connection_module, "MAX_HANG_SECONDS", 0.05)
    double.faults.add(sever="silence")
    wire.send(asking(double, "GET"))
    assert heard(wire) == (b"", "FIN")


@pytest.mark.parametrize("sever", ["before", "after", "garbage", "truncate"])
def test_a_close_is_no_reset_though_the_client_goes_on_sending(double: Double, sever: SeverWord) -> None:
    """What it says while the answer is late is read, and dropped: else nobody could tell a close from a reset."""
    double.faults.add(sever=sever, delay=0.1)
    with Wire(port_of(double)) as wire:
        wire.send(asking(double, "PUT", body=b"1"))
        wire.send(asking(double, "PUT", "second", b"1"))
        assert heard(wire) == CUT[sever][:2]
    assert until(lambda: not server_of(double)._peers)
    assert set(double.mattermost) <= {"k"}


def test_a_truncated_answer_that_has_no_body(double: Double, wire: Wire) -> None:
    """It promises one."""
    double.faults.add(sever="truncate")
    wire.send(asking(double, "DELETE"))
    assert heard(wire) == (b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", "FIN")


def test_a_truncated_failure(double: Double, wire: Wire) -> None:
    """Any answer can be cut: nothing was done, and half of its words come."""
    double.faults.add(sever="truncate", status=503, body="12345", headers={"X": "y"})
    wire.send(asking(double, "PUT", body=b"1"))
    data, end = heard(wire)
    assert (data.partition(b"\r\n\r\n")[2], end) == (b"12", "FIN")
    assert data.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nX: y\r\nContent-Length: 5\r\n" in data
    assert double.mattermost == {}


def test_garbage_that_the_test_gives(double: Double, wire: Wire) -> None:
    """Byte for byte."""
    double.faults.add(sever="garbage", body=b"SSH-2.0-OpenSSH_9.9\r\n")
    wire.send(asking(double, "GET"))
    assert heard(wire) == (b"SSH-2.0-OpenSSH_9.9\r\n", "FIN")


def test_every_kind_of_request_can_be_severed(double: Double) -> None:
    """HEAD, HTTP/1.0, one in chunks, one that waits to go on, one that is refused, several at once."""
    chunked = asking(double, "PUT", body=b"1", chunked=True)
    head = asking(double, "HEAD")
    waiting = asking(double, "PUT", body=b"1").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    severed: tuple[tuple[bytes, SeverWord, Heard], ...] = (
        (chunked, "after", Heard(b"", "FIN")),
        (chunked, "reset-after", Heard(b"", "RST")),
        (head, "garbage", Heard(GARBAGE, "FIN")),
        (head, "before", Heard(b"", "FIN")),
        (head.replace(b"HTTP/1.1", b"HTTP/1.0"), "reset", Heard(b"", "RST")),
        (asking(double, "PUT", body=b"1").replace(b"HTTP/1.1", b"HTTP/1.0"), "after", Heard(b"", "FIN")),
        (waiting, "after", Heard(b"HTTP/1.1 100 Continue\r\n\r\n", "FIN")),
        (asking(double, "PUT", body=b"no json"), "after", Heard(b"", "FIN")),
        (chunked + chunked + head, "before", Heard(b"", "FIN")),
    )
    for message, sever, expected in severed:
        double.reset()
        double.faults.add(sever=sever)
        with Wire(port_of(double)) as wire:
            wire.send(message)
            assert heard(wire) == expected
        is_done = sever.endswith("after") and b"no json" not in message
        assert double.mattermost == ({"k": 1} if is_done else {})
        assert len(double.journal) == 1


def test_a_severed_response_of_a_function_on_its_own_thread(double: Double, wire: Wire) -> None:
    """The same, where the answer comes from a job; also when the client is gone by then."""
    gone = Wire(port_of(double))
    double.faults.add(sever="silence", before=lambda: vanish(gone), method="DELETE")
    gone.send(asking(double, "DELETE"))
    double.faults.add(sever="reset-after", before=lambda: None)
    wire.send(asking(double, "PUT", body=b"1"))
    assert heard(wire) == (b"", "RST")
    assert double.mattermost == {"k": 1}
    assert until(lambda: not server_of(double)._peers)


def test_the_log_says_that_no_response_was_sent(capfd: pytest.CaptureFixture[str]) -> None:
    """A dash in place of its status; a late answer is logged as any other."""
    with kvfake.start(log=True) as double:
        double.faults.add(sever="after")
        double.faults.add(delay=0.01)
        for _ in range(2):
            with Wire(port_of(double)) as wire:
                wire.send(asking(double, "PUT", body=b"1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                heard(wire)
    lost, late = (re.sub(r"^\S+Z | [\d.]+ms", "", line) for line in capfd.readouterr().err.splitlines())
    assert lost == f"PUT {KV}/k app/bot - fault: on any request: lose the acknowledgement, once"
    assert late.startswith(f"PUT {KV}/k app/bot 200")


# ------------------------------------------------------------------------------------------------------------- late answers


@pytest.mark.parametrize(
    ("delay", "least"),
    [
        (0.1, 0.1),
        ((0.05, 0.1), 0.05),
        ({"median": 0.1, "sigma": 0}, 0.1),
        ({"over": 0.1}, 0.05),
        ([0.05, 0.05], 0.05),
    ],
)
def test_a_late_answer_is_whole(double: Double, wire: Wire, delay: Any, least: float) -> None:
    """And the connection goes on after it; the journal counts the delay in."""
    double.faults.add(delay=delay, times=2)
    for turn in (b"1", b"2"):
        began = time.monotonic()
        assert wire.ask(asking(double, "PUT", body=turn)).json() == {"changed": True}
        assert time.monotonic() - began >= least
    assert wire.ask(asking(double, "GET")).text == "2"
    assert isinstance(delay, dict) or double.journal[0].duration >= least


def test_a_late_answer_was_done_at_once(double: Double, wire: Wire) -> None:
    """Only the client waits; others see what it did, and are served meanwhile."""
    double.faults.add(delay=LONG)
    wire.send(asking(double, "PUT", body=b"1"))
    assert until(lambda: double.mattermost == {"k": 1})
    with Wire(port_of(double)) as other:
        assert other.ask(asking(double, "GET")).text == "1"
    assert is_silent(wire)


def test_requests_behind_a_late_response_wait_for_it(double: Double, wire: Wire) -> None:
    """Requests that were sent at once are answered one after the other, in their order."""
    double.faults.add(delay=0.05, times=2)
    wire.send(asking(double, "PUT", body=b"1") + asking(double, "GET") + asking(double, "GET", "other"))
    wire.send(asking(double, "DELETE"))
    assert [wire.reply().body for _ in range(4)] == [b'{"changed":true}\n', b"1", b"{}", b""]


def test_late_answers_of_every_kind(double: Double) -> None:
    """To HEAD, without a body, over HTTP/1.0, and after a client that will say no more."""
    double.faults.add(status=204, delay={"over": 0.05})
    double.faults.add(delay=0.05, times=None)
    with Wire(port_of(double)) as wire:
        assert wire.ask(asking(double, "GET")).status == 204
        reply = wire.ask(asking(double, "HEAD"))
        assert (reply.status, reply.body) == (405, b"")
        wire.send(asking(double, "GET"))
        wire.end_of_sending()
        data, end = heard(wire)
        assert (data[-2:], end) == (b"{}", "FIN")
    with Wire(port_of(double)) as wire:
        wire.send(asking(double, "GET").replace(b"HTTP/1.1", b"HTTP/1.0"))
        data, end = heard(wire)
        assert (data[:15], data[-2:], end) == (b"HTTP/1.0 200 OK", b"{}", "FIN")


def test_a_slow_answer_to_a_slow_client(double: Double, wire: Wire) -> None:
    """Its pieces are larger than what the socket takes at once."""
    double.persist["large"] = "x" * 262_144
    double.faults.add(delay={"over": 0.03})
    wire.send(request_bytes("POST", "/persist/mget", double.persist.headers, b'{"keys":["large"%b]}' % (b',"large"' * 59)))
    time.sleep(0.1)
    assert [entry["value"] for entry in wire.reply("POST").json()] == [double.persist["large"]] * 60


@pytest.mark.parametrize("give_up", [Wire.close, vanish])
@pytest.mark.parametrize("delay", [0.05, {"over": 0.05}])
def test_a_client_that_gives_up(double: Double, delay: Any, give_up: Callable[[Wire], None]) -> None:
    """Is forgotten, and harms nobody."""
    double.faults.add(delay=delay)
    wire = Wire(port_of(double))
    wire.send(asking(double, "PUT", body=b"1") + asking(double, "GET"))
    assert until(lambda: len(double.journal) > 0)
    give_up(wire)
    assert until(lambda: not server_of(double)._peers)
    with Wire(port_of(double)) as other:
        assert other.ask(asking(double, "GET")).text == "1"


def test_a_server_stops_at_once_whatever_waits() -> None:
    """Late answers, slow ones, silent connections, and those that were closed while the client speaks."""
    with kvfake.start() as double:
        wires, thread = [], f"kvfake-{port_of(double)}"
        assert [each.name for each in threading.enumerate()].count(thread) == 1
        for given in ({"delay": LONG}, {"delay": {"over": LONG}}, {"sever": "silence"}, {"sever": "before"}) * 5:
            double.faults.add(**given)
            wires.append(Wire(port_of(double)))
            wires[-1].send(asking(double, "PUT", body=b"1") * 2)
        assert until(lambda: len(double.journal) == len(wires))
        began = time.monotonic()
    assert time.monotonic() - began < LONG / 2
    assert thread not in [each.name for each in threading.enumerate()]
    for wire in wires:
        assert heard(wire).end
        wire.close()


# --------------------------------------------------------------------------------------------- the conversation, without a socket

MESSAGE = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 4\r\n\r\nbody"
HALF = (len(MESSAGE) + 1) // 2


@pytest.fixture
def first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's time is that of `MESSAGE`."""
    monkeypatch.setattr(connection_module, "machine_time", lambda: 0.5)


def answering(wire_fault: WireFault, body: bytes = b"body") -> Connection:
    return Connection(lambda _: Response(200, body=body, wire_fault=wire_fault))


@pytest.mark.usefixtures("first_second")
@pytest.mark.parametrize(
    ("wire_fault", "actions"),
    [
        (WireFault(), [MESSAGE]),
        (WireFault(delay=1.5), [Wait(1.5), MESSAGE]),
        (WireFault(over=0.009), [MESSAGE]),
        (WireFault(delay=1, over=0.02), [Wait(1), MESSAGE[:HALF], Wait(0.02 * HALF / len(MESSAGE)), MESSAGE[HALF:]]),
        (WireFault(sever=Sever.BEFORE), [Close(linger=True)]),
        (WireFault(delay=2, sever=Sever.AFTER), [Wait(2), Close(linger=True)]),
        (WireFault(sever=Sever.RESET), [Reset()]),
        (WireFault(delay=2, sever=Sever.RESET_AFTER), [Wait(2), Reset()]),
        (WireFault(sever=Sever.SILENCE), [Hang(MAX_HANG_SECONDS)]),
        (WireFault(delay=2, sever=Sever.SILENCE_AFTER), [Wait(2), Hang(MAX_HANG_SECONDS)]),
        (WireFault(delay=2, sever=Sever.GARBAGE), [Wait(2), b"body", Close(linger=True)]),
        (WireFault(delay=2, sever=Sever.TRUNCATE), [Wait(2), MESSAGE[:-2], Close(linger=True)]),
    ],
)
def test_actions_in_place_of_a_response(wire_fault: WireFault, actions: list[Action]) -> None:
    """Exactly; a conversation that was cut is over, another goes on."""
    connection = answering(wire_fault)
    assert hear(connection, PUT) == actions
    goes_on = isinstance(actions[-1], bytes)
    assert hear(connection, GET) == (actions if goes_on else [])
    assert finish(connection) == ([Close(linger=False)] if goes_on else [])


def test_a_severed_connection_drops_what_it_received() -> None:
    """Requests that came at once with the one that is cut are not even read."""
    asked: list[bytes] = []

    def answer(request: Any) -> Response:
        asked.append(request.target)
        return Response(200, wire_fault=WireFault(sever=Sever.BEFORE))

    assert hear(Connection(answer), PUT + GET + GET) == [Close(linger=True)]
    assert asked == [b"/b"]


@pytest.mark.usefixtures("first_second")
def test_a_response_without_body_is_severed_in_its_place() -> None:
    """To HEAD a truncated answer is whole, and garbage is garbage; what promises nothing promises sixteen bytes."""
    head = GET.replace(b"GET", b"HEAD")
    assert hear(answering(WireFault(sever=Sever.TRUNCATE)), head) == [MESSAGE[:-4], Close(linger=True)]
    assert hear(answering(WireFault(sever=Sever.GARBAGE)), head) == [b"body", Close(linger=True)]
    promising = MESSAGE[:-4].replace(b"Length: 4", b"Length: 16")
    assert hear(answering(WireFault(sever=Sever.TRUNCATE), b""), GET) == [promising, Close(linger=True)]


@pytest.mark.usefixtures("first_second")
def test_a_late_last_response_ends_the_connection() -> None:
    """As it would have without delay."""
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    message = MESSAGE.replace(b"Content", b"Connection: close\r\nContent")
    assert hear(answering(WireFault(delay=1)), last) == [Wait(1), message, Close(linger=False)]
    assert hear(answering(WireFault(delay=1)), last + GET) == [Wait(1), message, Close(linger=True)]


SECONDS = st.floats(0, MAX_DELAY_SECONDS)


@given(message=st.binary(max_size=3000), over=SECONDS)
def test_pieces_spread_the_message_over_time(message: bytes, over: float) -> None:
    """However it is cut, it is whole, at most two hundred pieces with a wait between any two, and does not take longer."""
    pieces = in_pieces(message, over)
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == message
    waits = [piece.seconds for piece in pieces if isinstance(piece, Wait)]
    assert sum(waits) <= over
    assert len(pieces) == 2 * len(waits) + 1 < 400
    assert [isinstance(piece, bytes) for piece in pieces] == [place % 2 == 0 for place in range(len(pieces))]


@given(wire_fault=st.builds(WireFault, SECONDS, SECONDS, st.sampled_from([None, *Sever])), head=st.binary(), body=st.binary())
def test_any_fault_leaves_the_stream_well_formed(wire_fault: WireFault, head: bytes, body: bytes) -> None:
    """No byte comes that is not the answer's, unless it is garbage; only a cut answer ends the connection; time is kept."""
    actions = apply_wire_fault(wire_fault, head + body, body, b"garbage")
    told = said(list(actions))
    if wire_fault.sever is None:
        assert told == head + body
    elif wire_fault.sever is Sever.TRUNCATE:
        assert (head + body).startswith(told)
        assert len(told) == len(head) + len(body) // 2
    else:
        assert told == (b"garbage" if wire_fault.sever is Sever.GARBAGE else b"")
    assert isinstance(actions[-1], bytes) == (wire_fault.sever is None)
    assert sum(action.seconds for action in actions if isinstance(action, Wait)) <= wire_fault.delay + wire_fault.over


def delays(delay: Any, seed: int, count: int = 20) -> list[float]:
    action = FaultAction(FaultArguments(delay=delay, seed=seed, before=lambda: None))
    answers = [action.response(Response(200), mattermost) for _ in range(count)]
    return [answer.wire_fault.delay for answer in answers if answer.wire_fault is not None]


@given(bounds=st.tuples(SECONDS, SECONDS), seed=st.integers())
def test_a_uniform_delay_keeps_its_bounds_and_repeats(bounds: tuple[float, float], seed: int) -> None:
    """The same seed draws the same."""
    least, most = sorted(bounds)
    drawn = delays((least, most), seed)
    assert all(least <= seconds <= most for seconds in drawn)
    assert drawn == delays((least, most), seed)


@given(median=st.floats(0.001, MAX_DELAY_SECONDS), sigma=st.floats(0, 10), seed=st.integers())
def test_a_lognormal_delay_has_a_bound_and_repeats(median: float, sigma: float, seed: int) -> None:
    """However long its tail."""
    drawn = delays({"median": median, "sigma": sigma}, seed)
    assert all(0 <= seconds <= MAX_DELAY_SECONDS for seconds in drawn)
    assert drawn == delays({"median": median, "sigma": sigma}, seed)


def test_a_lognormal_delay_has_its_median() -> None:
    """Half of what is drawn lies below it."""
    drawn = sorted(delays({"median": 0.2, "sigma": 0.5}, seed=1, count=2001))
    assert 0.19 < drawn[1000] < 0.21


# ------------------------------------------------------------------------------------------------------ other people's servers


class KeepingHandler(QuietHandler):
    """Goes on with a connection, as far as werkzeug does."""

    protocol_version = "HTTP/1.1"


@contextmanager
def gunicorn_server(*flags: str) -> Iterator[int]:
    with gunicorn("tests.support.troubled:app", *flags) as (port, errors):
        yield port
    told = "".join(errors)
    assert told.count("Traceback") == told.count("LookupError: the user's own mistake")


SERVERS: dict[str, Callable[[], Any]] = {
    "werkzeug": lambda: werkzeug_server(troubled().wsgi_app),
    "werkzeug with HTTP 1.1": lambda: werkzeug_server(troubled().wsgi_app, KeepingHandler),
    "gunicorn sync": lambda: gunicorn_server("--worker-class", "sync"),
    "gunicorn gthread": lambda: gunicorn_server("--threads", "4", "--keep-alive", "30"),
}


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with SERVERS[request.param]() as port:
        yield port


def ask(port: int, method: str, key: str, body: bytes = b"") -> Any:
    with Wire(port) as wire:
        return wire.ask(request_bytes(method, f"{KV}/{key}", {"Authorization": "Bearer t", "Connection": "close"}, body))


@pytest.mark.parametrize("sever", CUT)
def test_a_severed_response_behind_another_server(port: int, sever: str, capfd: pytest.CaptureFixture[str]) -> None:
    """To the byte, on the socket that it lends; it takes no notice and goes on."""
    data, end, is_done = CUT[sever]
    with Wire(port) as wire:
        wire.send(request_bytes("PUT", f"{KV}/{sever}", {"Authorization": "Bearer t"}, b"1"))
        assert heard(wire) == (data.replace(b"Content-Length", b"Connection: close\r\nContent-Length"), end)
    assert ask(port, "GET", sever).text == ("1" if is_done else "{}")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("sever", SILENT)
def test_silence_behind_another_server(port: int, sever: str) -> None:
    """Until the client gives up, whatever it says meanwhile; then even a server of one thread goes on."""
    put = request_bytes("PUT", f"{KV}/{sever}", {"Authorization": "Bearer t"}, b"1")
    for give_up in (Wire.close, vanish):
        with Wire(port) as wire:
            wire.send(put)
            assert is_silent(wire)
            wire.send(put)
            assert is_silent(wire)
            give_up(wire)
        assert ask(port, "GET", sever).text == ("1" if SILENT[sever] else "{}")


def test_late_answers_behind_another_server(port: int) -> None:
    """Fixed, over a time, to HEAD, without a body, and cut at last."""
    began = time.monotonic()
    assert ask(port, "PUT", "late", b"1").json() == {"changed": True}
    assert time.monotonic() - began >= 0.05
    assert ask(port, "PUT", "slow", b"[1,2,3,4,5,6,7]").json() == {"changed": True}
    assert ask(port, "GET", "slow").text == "[1,2,3,4,5,6,7]"
    assert (ask(port, "HEAD", "slow").status, ask(port, "HEAD", "slow").body) == (405, b"")
    assert (ask(port, "DELETE", "slow").status, ask(port, "GET", "slow").text) == (200, "{}")
    with Wire(port) as wire:
        wire.send(request_bytes("PUT", f"{KV}/slowly%20truncated", {"Authorization": "Bearer t"}, b"1"))
        data, end = heard(wire)
        assert (data.partition(b"\r\n\r\n")[2], end) == (b'{"change', "FIN")


def test_failures_behind_another_server(port: int) -> None:
    """In the service's form; a user's function that raises is a 500."""
    assert (ask(port, "GET", "down").status, ask(port, "GET", "down").text) == (503, "service unavailable\n")
    assert (ask(port, "GET", "empty").status, ask(port, "GET", "empty").body) == (204, b"")
    assert ask(port, "GET", "broken").status == 500


@pytest.mark.parametrize("sever", SEVERS)
def test_a_server_that_gives_no_socket(sever: SeverWord) -> None:
    """The answer says that the fault cannot be carried out; what was to be done was done."""
    double = kvfake.Double()
    double.faults.add(sever=sever, times=None)
    client, headers = Client(double.wsgi_app), double.mattermost.headers
    reply = client.put(f"{KV}/k", data=b"1", headers=headers)
    text = f"this WSGI server lends no socket: the fault sever={sever!r} cannot be carried out behind it"
    assert (reply.status_code, reply.json) == (502, {"error": text})
    assert double.mattermost == ({"k": 1} if {**SILENT, **{name: done for name, (_, _, done) in CUT.items()}}[sever] else {})
    reply = client.head(f"{KV}/k", headers=headers)
    assert (reply.status_code, reply.data) == (502, b"")


def test_a_client_that_is_gone_behind_another_server() -> None:
    """While its answer is late; the server is told what it is told of any that left."""
    double = kvfake.Double()
    double.faults.add(sever="truncate", times=None)
    lent, client = socket.socketpair()
    client.close()
    environ = {"REQUEST_METHOD": "PUT", "PATH_INFO": f"{KV}/k", "wsgi.input": None, "gunicorn.socket": lent}
    with lent, pytest.raises(ConnectionResetError, match="a fault: sever='truncate'"):
        double.wsgi_app(environ, lambda *_: None)


# ------------------------------------------------------------------------------------------------------------- real clients

TOO_LONG = 0.2
FELT = {  # what requests and httpx make of it
    "before": (requests.ConnectionError, httpx.RemoteProtocolError),
    "after": (requests.ConnectionError, httpx.RemoteProtocolError),
    "reset": (requests.ConnectionError, httpx.ReadError),
    "reset-after": (requests.ConnectionError, httpx.ReadError),
    "silence": (requests.ReadTimeout, httpx.ReadTimeout),
    "silence-after": (requests.ReadTimeout, httpx.ReadTimeout),
    "garbage": (requests.ConnectionError, httpx.RemoteProtocolError),
    "truncate": (requests.exceptions.ChunkedEncodingError, httpx.RemoteProtocolError),
}


@pytest.mark.parametrize("sever", SEVERS)
@pytest.mark.parametrize("client", ["requests", "httpx"])
def test_what_a_client_raises(double: Double, client: str, sever: SeverWord) -> None:
    """The error that it has for this, on a connection that was kept; neither asks again by itself."""
    url, headers = double.mattermost.url_for("k"), double.mattermost.headers
    place = ["requests", "httpx"].index(client)
    session: Any = (requests.Session, httpx.Client)[place]()
    with session:
        assert session.get(url, headers=headers).json() == {}
        double.faults.add(sever=sever, times=None)
        with pytest.raises(FELT[sever][place]):
            session.put(url, json=1, headers=headers, timeout=TOO_LONG if "silence" in sever else 10)
    assert until(lambda: len(double.journal.filter("PUT")) == 1)


@pytest.mark.parametrize("delay", [LONG, {"over": LONG}])
def test_an_answer_that_is_too_late_for_a_client(double: Double, delay: Any) -> None:
    """It gives up; what it asked for was done."""
    double.faults.add(delay=delay, times=2)
    headers = double.mattermost.headers
    with pytest.raises((requests.ReadTimeout, requests.ConnectionError)):
        requests.put(double.mattermost.url_for("k"), data=b"1", headers=headers, timeout=(10, TOO_LONG))
    with pytest.raises(httpx.ReadTimeout):
        httpx.put(double.mattermost.url_for("l"), content=b"1", headers=headers, timeout=httpx.Timeout(10, read=TOO_LONG))
    assert until(lambda: double.mattermost == {"k": 1, "l": 1})


def test_a_client_that_tries_again_gets_through(double: Double) -> None:
    """What most suites want to know."""
    double.faults.add(status=429, headers={"Retry-After": "0"})
    double.faults.add(sever="reset")
    double.faults.add(sever="truncate")
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=Retry(3, status_forcelist=[429], backoff_factor=0)))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(double.mattermost.url_for("k"), headers=double.mattermost.headers)
        assert session.get(double.mattermost.url_for("k"), headers=double.mattermost.headers).status_code == 200
    assert [exchange.status for exchange in double.journal] == [429, None, 200, 200]
