"""What is large is done outside of the loop of a server, in pieces, and nobody waits for it. What the lock of a world is for."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.double import Double, world_of
from kvfake.http import router as router_module
from kvfake.http.router import MAX_TARGET_BYTES_IN_LOOP
from kvfake.services.messages import Job, Lane, Pause, Request, Response
from kvfake.services.persist import MAX_MGET_ANSWER_BYTES, MAX_MGET_KEYS, MAX_VALUE_BYTES
from kvfake.stores import Dropped, Entry, Namespace
from kvfake.stores.memory import MAX_KEYS_UNDONE_IN_PLACE, MemoryStore
from kvfake.world import datafile
from kvfake.world.backend import MAX_BODY_BYTES_IN_LOOP
from kvfake.world.pauses import Pauses
from kvfake.world.world import World
from tests.support.doors import WsgiDoor
from tests.support.process import PATIENCE_SECONDS

TOKEN = "project-token"
HEADERS = {b"host": b"localhost", b"authorization": b"Bearer " + TOKEN.encode()}
KV, MGET = "/api/v1/persist/kv", "/api/v1/persist/mget"


@pytest.fixture
def double() -> Double:
    return kvfake.Double(token=[f"{TOKEN}=project:first"])


def ask(double: Double, method: str, target: str, payload: object = None) -> Response | Job:
    body = b"" if payload is None else json.dumps(payload).encode()
    return double._router.answer(Request(method, target.encode(), HEADERS, body))


def response_of(answer: Response | Job) -> Response:
    """The response of a job that a server runs in the lane of large operations."""
    assert isinstance(answer, Job)
    assert answer.lane is Lane.SERVICE
    return answer()


def fill(double: Double, count: int, value: str = "v") -> list[str]:
    keys = [f"k{number:05d}" for number in range(count)]
    double.load({"kvfake": 1, "persist": {"first": dict.fromkeys(keys, value)}})
    return keys


# ------------------------------------------------------------------------------------------------------------------- answers


def test_a_large_list_is_written_outside_of_the_loop(double: Double) -> None:
    """It is of the moment at which it was asked for, and in the journal once it is written."""
    keys = fill(double, 1234)
    answer = ask(double, "GET", KV)
    double.persist.project("first")["later"] = "v"
    assert not double.journal
    assert json.loads(response_of(answer).body) == keys
    assert [(exchange.verb, exchange.status, exchange.owner) for exchange in double.journal] == [("list", 200, "first")]


def test_a_large_answer_to_an_unknown_token_names_the_row() -> None:
    """As every answer does to one whom the real service does not know."""
    double = kvfake.Double()
    stranger = {"Authorization": "Bearer a-token-of-nobody"}
    wsgi = WsgiDoor(double)
    for number in range(1234):
        wsgi.send("PUT", f"{KV}/{number}", stranger, b'{"value":"v"}')
    answer = wsgi.send("GET", KV, stranger)
    assert len(answer.json()) == 1234
    assert answer.headers["Kvfake-Rows"] == "P14"


@pytest.mark.parametrize(("count", "value"), [(1001, "v"), (300, "v" * 2000), (500, "v" * 600)])
def test_a_large_mget_is_written_outside_of_the_loop(double: Double, count: int, value: str) -> None:
    """Large in keys, or in bytes; with ``null`` for keys that are not there."""
    keys = fill(double, count, value)
    answer = ask(double, "POST", MGET, {"keys": [*keys, "none"]})
    double.persist.project("first").clear()
    records = json.loads(response_of(answer).body)
    assert [record["key"] for record in records[:-1]] == keys
    assert {record["value"] for record in records[:-1]} == {value}
    assert records[-1] is None


def test_small_answers_are_made_at_once(double: Double) -> None:
    """A thread of its own would take longer than they do."""
    keys = fill(double, 500)
    for method, target, payload in (("GET", KV, None), ("POST", MGET, {"keys": keys}), ("POST", MGET, {"keys": []})):
        assert isinstance(ask(double, method, target, payload), Response)


def test_a_fault_strikes_a_large_answer_too(double: Double) -> None:
    """It is written outside of the loop, and changed as the fault says; a function of the user's is called there, too."""
    keys = fill(double, 1234)
    double.faults.add(headers={"X-Late": "yes"}, times=2)
    response = response_of(ask(double, "GET", KV))
    assert (("X-Late", "yes") in response.headers, json.loads(response.body)) == (True, keys)
    double.faults.clear()
    seen: list[Any] = []
    double.faults.add(headers={"X-Late": "yes"}, before=lambda request: seen.append(request.verb))
    answer = ask(double, "GET", KV)
    assert isinstance(answer, Job)
    assert json.loads(answer().body) == keys
    assert seen == ["list"]
    assert [str(exchange.fault) for exchange in double.journal] == [
        "on any request: headers {'X-Late': 'yes'}, 2 times",
        "on any request: call <lambda>, headers {'X-Late': 'yes'}, once",
    ]


def test_an_mget_answers_64_mib_at_most(double: Double) -> None:
    """A thousand values of 64 KiB come; more is refused before anything of it is written. Escapes count as they are written."""
    values = double.persist.project("first")
    keys = fill(double, 1000, "v" * 65_536)
    assert len(response_of(ask(double, "POST", MGET, {"keys": keys})).body) > 1000 * 65_536
    refused = ask(double, "POST", MGET, {"keys": [*keys, *keys[:100]]})
    assert isinstance(refused, Response)
    text = f"the answer is too large: expected at most {MAX_MGET_ANSWER_BYTES} bytes; ask for fewer keys"
    assert (refused.status, json.loads(refused.body)) == (400, {"error": text})
    values["escaped"] = "\n" * MAX_VALUE_BYTES
    for count, status in ((100, 200), (128, 400), (200, 400)):
        assert response_of(ask(double, "POST", MGET, {"keys": ["escaped"] * count})).status == status
    values["small"] = "\x01" * 1300
    assert response_of(ask(double, "POST", MGET, {"keys": ["small"] * MAX_MGET_KEYS})).status == 400
    values["just over"] = "v" * (MAX_MGET_ANSWER_BYTES // 256)
    assert response_of(ask(double, "POST", MGET, {"keys": ["just over"] * 256})).status == 400


def test_a_large_request_is_read_outside_of_the_loop(double: Double) -> None:
    """A long body, and a long target, where large operations are. Where a fault may call a function, where others wait, too."""
    value = {"value": "v" * (MAX_BODY_BYTES_IN_LOOP + 1)}
    assert response_of(ask(double, "PUT", f"{KV}/k", value)).status == 200
    assert double.persist.project("first")["k"] == value["value"]
    double.faults.add(status=503, before=lambda: None)
    for method, target, payload, lane, status in (
        ("PUT", f"{KV}/k", value, Lane.OTHER, 503),
        ("GET", f"{KV}?x=" + "x" * MAX_TARGET_BYTES_IN_LOOP, None, Lane.SERVICE, 200),
    ):
        answer = ask(double, method, target, payload)
        assert isinstance(answer, Job)
        assert answer.lane is lane
        assert answer().status == status


def test_what_computes_and_then_waits_changes_its_lane(double: Double) -> None:
    """So a long target that leads to a neighbour keeps no large operation waiting."""
    double.mount("/neighbour", lambda environ, start_response: start_response("204 No Content", []) and [])
    first = ask(double, "GET", "/neighbour?x=" + "x" * MAX_TARGET_BYTES_IN_LOOP)
    assert isinstance(first, Job)
    second = first.call()
    assert isinstance(second, Job)
    assert (first.lane, second.lane, second().status) == (Lane.SERVICE, Lane.OTHER, 204)


# ------------------------------------------------------------------------------------------------------------- many values


def is_free(world: World, seconds: float) -> bool:
    """Whether another thread gets the world's lock within that time."""
    got: list[bool] = []

    def try_it() -> None:
        got.append(world.lock.acquire(timeout=seconds))
        if got[0]:
            world.lock.release()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return got[0]


def test_others_are_let_in_while_many_values_are_moved(double: Double) -> None:
    """Loading, dumping, replacing, deleting, rolling back and resetting hold the world's lock for short moments only."""
    world, pauses = double._world, 0

    def pause() -> None:
        nonlocal pauses
        if not pauses % 500:
            assert is_free(world, PATIENCE_SECONDS)
        pauses += 1

    data = {"kvfake": 1, "persist": {"first": {f"k{number}": "v" for number in range(2000)}}}
    works: list[Callable[[], object]] = [
        lambda: datafile.load(world, data, pause=pause),
        lambda: datafile.dump(world, pause=pause),
        lambda: datafile.load(world, data, replace=True, pause=pause),
        lambda: world.checkpoint() and datafile.delete(world, pause=pause),
        lambda: datafile.load(world, data, pause=pause),
        lambda: world.rollback(world.checkpoints[0], pause),
        lambda: datafile.delete(world, service="persist", pause=pause),
        lambda: world.reset(pause),
    ]
    for place, work in enumerate(works):
        before = pauses
        work()
        assert pauses > before + 500 or place in (3, 6), f"work {place} does not pause"


def test_many_values_are_brought_back_beside_those_that_are_there(tmp_path: Path) -> None:
    """By a rollback, and by a reset to a seed: others use the values meanwhile, and then see all of the old ones at once."""
    old = {f"k{number}": "old" for number in range(2 * MAX_KEYS_UNDONE_IN_PLACE)}
    data = {"kvfake": 1, "persist": {"first": old}}
    (tmp_path / "seed.json").write_text(json.dumps(data))
    double = kvfake.Double(seed=str(tmp_path / "seed.json"))
    world, values = double._world, double.persist.project("first")
    mark = double.checkpoint()
    works: list[Callable[[Pause], None]] = [lambda pause: world.rollback(mark, pause), world.reset]
    for work in works:
        double.load({"kvfake": 1, "persist": {"first": dict.fromkeys(values, "new"), "second": {"k": "new"}}})
        seen: list[str] = []

        def pause(seen: list[str] = seen) -> None:
            seen.append(values["k0"])
            if seen[-1] != "old":
                assert len(values) == 2 * MAX_KEYS_UNDONE_IN_PLACE + (len(seen) > 1)
                values["meanwhile"] = "new"

        work(pause)
        assert seen[0] == "new"
        assert seen[-1] == "old"
        assert world_of(double).holdings() == [("persist", "first", sorted(old))]
        assert {*values.values()} == {"old"}
        assert len(values) == 2 * MAX_KEYS_UNDONE_IN_PLACE


def test_all_values_are_deleted_in_one_step(double: Double) -> None:
    """Whoever asks in between sees nothing; it is the memory that is given back later."""
    fill(double, 100)
    seen: list[int] = []
    assert datafile.delete(double._world, pause=lambda: seen.append(len(double.persist.project("first")))) == 100
    assert seen
    assert set(seen) == {0}


def test_a_dump_is_of_one_moment(double: Double) -> None:
    """What is set while it is written is not in it."""
    keys = fill(double, 10)
    values = double.persist.project("first")
    dumped = datafile.dump(double._world, pause=lambda: values.update({"later": "v", keys[-1]: "other"}))
    assert {key: record["value"] for key, record in dumped["persist"]["first"].items()} == dict.fromkeys(keys, "v")


def test_a_pause_sleeps_only_after_some_work() -> None:
    """A short piece of work does not wait at all."""
    slept: list[float] = []
    now = iter([0.0, 0.0005, 0.0010, 5.0, 5.0001, 5.0020, 6.0])

    class Counted(Pauses):
        _now = staticmethod(lambda: next(now))

        def _sleep(self, seconds: float) -> None:
            slept.append(seconds)

    pause = Counted()
    pause()
    assert not slept
    pause()
    pause()
    assert len(slept) == 1
    pause()
    assert len(slept) == 2


# -------------------------------------------------------------------------------------------------------------------- the lock


class Watched(MemoryStore):
    """A store that notes whether another thread could have the world's lock while it is used."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.uses: list[bool] = []

    def _note_use(self) -> None:
        self.uses.append(is_free(self.world, 0))

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        self._note_use()
        return super().get(namespace, key)

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        self._note_use()
        super().set(namespace, key, entry)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        self._note_use()
        return super().delete(namespace, key)

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        self._note_use()
        return super().keys(namespace, prefix)

    def snapshot(self, namespace: Namespace) -> Iterator[tuple[bytes, Entry]]:
        self._note_use()
        return super().snapshot(namespace)

    def drop(self, namespace: Namespace) -> Dropped:
        self._note_use()
        return super().drop(namespace)

    def count(self, namespace: Namespace) -> int:
        self._note_use()
        return super().count(namespace)

    def namespaces(self) -> list[Namespace]:
        self._note_use()
        return super().namespaces()

    def clear(self) -> Dropped:
        self._note_use()
        return super().clear()

    def checkpoint(self) -> int:
        self._note_use()
        return super().checkpoint()

    def keep_seed(self) -> None:
        self._note_use()
        super().keep_seed()

    def prepare_clear(self) -> Iterator[None]:
        for _ in super().prepare_clear():
            self._note_use()
            yield

    def prepare_rollback(self, number: int) -> Iterator[None]:
        for _ in super().prepare_rollback(number):
            self._note_use()
            yield

    def rollback(self, number: int) -> Dropped:
        self._note_use()
        return super().rollback(number)


USES: dict[str, Callable[[Double], object]] = {
    "read a value": lambda double: double.persist["k"],
    "set a value": lambda double: double.persist.update(k="w"),
    "delete a value": lambda double: double.persist.pop("k"),
    "look for a value": lambda double: "k" in double.persist,
    "list the keys": lambda double: list(double.persist),
    "count the keys": lambda double: len(double.persist),
    "clear the mapping": lambda double: double.persist.clear(),
    "load": lambda double: double.load({"kvfake": 1, "persist": {"project": {"k": "v"}}}),
    "replace": lambda double: double.load({"kvfake": 1}, replace=True),
    "dump": lambda double: double.dump(),
    "delete": lambda double: datafile.delete(double._world),
    "delete one": lambda double: datafile.delete(double._world, "persist", "project", key="k"),
    "show what it holds": lambda double: double._world.holdings(),
    "make a checkpoint": lambda double: double.checkpoint(),
    "roll back": lambda double: double.rollback(1),
    "reset": lambda double: double.reset(),
    "keep a seed": lambda double: double._world.keep_seed(),
    "a request": lambda double: double._router.answer(Request("GET", b"/api/v1/persist/kv/k", dict(HEADERS))),
}


@pytest.mark.parametrize("what", USES)
def test_nothing_touches_values_between_a_read_and_a_write_of_another_thread(double: Double, what: str) -> None:
    """Whatever uses the values holds the world's lock: a request that reads and then writes is never in between."""
    world = double._world
    store = Watched()
    store.world, world.store = world, store
    double.persist["k"] = "v"
    double.checkpoint()
    store.uses.clear()
    USES[what](double)
    assert store.uses
    assert not any(store.uses)


def test_a_dump_has_no_bound(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike what a mounted application answers: whoever has put the values there can have them back."""
    monkeypatch.setattr(router_module, "MAX_ANSWER_BYTES", 1000)
    fill(double, 1000)
    dumped = WsgiDoor(double).send("GET", "/_kvfake/data")
    assert (dumped.status, len(dumped.json()["persist"]["first"])) == (200, 1000)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"kvfake":1}', 200), (b'{"kvfake":1,', 400), (b'{"kvfake":1,"persist":{"p":{"k":5}}}', 400)],
    ids=["good", "broken", "refused"],
)
def test_what_control_was_sent_is_not_kept(body: bytes, status: int) -> None:
    """Not even until the garbage collector looks for it: five bodies of 60 MiB were 300 MiB."""
    import gc

    double = kvfake.Double()
    wsgi = WsgiDoor(double)
    assert wsgi.send("POST", "/_kvfake/data", body=body).status == status
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            assert wsgi.send("POST", "/_kvfake/data", body=b" " * 1_000_000 + body).status == status
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
        gc.enable()
