"""Load: many threads of several processes ask one server, and check every answer.

    python -m tests.support.load PORT PROCESS THREADS OPERATIONS SECONDS     (one of the processes; `run` starts them)

Law: a value says whose it is (world, owner, key) and who wrote it as which (writer, number). So an answer that is another's is
seen at once, and so is one that is too old: the keys of a thread are written by it alone, and it knows what it wrote last. What is
seen of keys that threads share is kept as histories, for `tests.support.histories`.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from threading import Event, Thread
from typing import Any, NamedTuple

from tests.support.histories import DELETE, GET, SET, Operation, is_linearizable
from tests.support.process import ROOT, asked, served

PROCESSES, THREADS = 4, 16
OWNERS = 4
KEYS = 12  # of a thread, for each of its owners
SHARERS = 2  # threads of a process that share a key: eight in all, so that a history can be checked
PIPELINED, SHARED = 32, 2  # requests of a round
ROUNDS_TO_A_WORLD = 40
GIVE_UP_SECONDS = 60.0
PAUSE_SECONDS = 0.05  # between two looks at the journal
LONGEST_COMPLAINT = 20  # how many wrong answers are told

MATTERMOST, PERSIST = "mattermost", "persist"
_PATHS = {MATTERMOST: "/plugins/com.mattermost.apps/api/v1/kv/", PERSIST: "/api/v1/persist/kv/"}
_METHODS = {GET: "GET", SET: "PUT", DELETE: "DELETE"}
_ABSENT = {MATTERMOST: (200, b"{}"), PERSIST: (404, b'{"error":"key not found"}')}

TOKENS = [
    f"{service}-token-{place}={mark}{place}" for place in range(OWNERS) for service, mark in (("m", "app/u"), ("p", "project:p"))
]


class Place(NamedTuple):
    """Where one owner's values lie. ``base`` is the path of the world; with an empty one the token says which world it is."""

    service: str
    owner: str
    token: str
    world: str = "own"
    base: str = ""

    def request(self, kind: str, key: str, text: str | None = None) -> bytes:
        body = "" if text is None else json.dumps(text if self.service == MATTERMOST else {"value": text})
        return (
            f"{_METHODS[kind]} {self.base}{_PATHS[self.service]}{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def text(self, key: str, writer: str, number: int) -> str:
        return f"{self.world} {self.owner} {key} {writer} {number}"

    def value_in(self, kind: str, key: str, answer: tuple[int, bytes], text: str | None) -> str | None:
        """The text that a get has answered, ``None`` for a key that is not there. ``ValueError`` for an answer that cannot be."""
        status, body = answer
        if kind == GET and answer == _ABSENT[self.service]:
            return None
        if status == 200 and kind == DELETE and not body:
            return None
        if status == 200 and self.service == MATTERMOST and kind == SET and body == b'{"changed":true}\n':
            return None
        if status == 200 and kind != DELETE and not (self.service == MATTERMOST and kind == SET):
            payload = json.loads(body)
            value = payload if self.service == MATTERMOST else payload["value"]
            is_of_key = self.service == MATTERMOST or payload["key"] == key
            if is_of_key and (value == text if kind == SET else value.startswith(f"{self.world} {self.owner} {key} ")):
                return str(value)
        raise ValueError(f"{kind} of {key} by {self.owner} in {self.world}: {status} {body!r}")


class Line:
    """A kept connection. Requests can be pipelined."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), GIVE_UP_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""

    def ask(self, *requests: bytes) -> list[tuple[int, bytes]]:
        self._socket.sendall(b"".join(requests))
        return [self._answer() for _ in requests]

    def _answer(self) -> tuple[int, bytes]:
        while (end := self._heard.find(b"\r\n\r\n") + 4) < 4:
            self._more()
        head, length = self._heard[:end].lower(), 0
        if (place := head.find(b"\r\ncontent-length:")) > 0:
            length = int(head[place + 17 : head.index(b"\r\n", place + 2)])
        while len(self._heard) < end + length:
            self._more()
        body, self._heard = self._heard[end : end + length], self._heard[end + length :]
        return int(head[9:12]), body

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError(f"the server closed the connection after {self._heard!r}")
        self._heard += data


class Client:
    """One thread's part of the load: ``name`` is unique, ``number`` is its number in its process."""

    def __init__(self, port: int, name: str, number: int, operations: int, end: float) -> None:
        self.port, self.name, self.number, self.operations, self.end = port, name, number, operations, end
        self.random, self.done, self.numbers = random.Random(name), 0, 0
        self.held: dict[tuple[Place, str], str] = {}  # what this thread wrote last, and was told so
        self.shared: list[tuple[str, str, str, Operation]] = []  # service, owner, key, what was seen
        self.wrong: list[str] = []
        self.places = [
            Place(service, f"{mark}{owner}", f"{service[0]}-token-{owner}")
            for owner in (number % OWNERS, (number + 1) % OWNERS)
            for service, mark in ((MATTERMOST, "app/u"), (PERSIST, "p"))
        ]

    def run(self) -> None:
        try:
            self.line, rounds = Line(self.port), 0
            while self.done < self.operations and time.monotonic() < self.end:
                self.use_own_keys(self.places)
                self.use_shared_keys()
                if rounds % ROUNDS_TO_A_WORLD == self.number:
                    self.use_a_world()
                rounds += 1
            self.line = Line(self.port)  # what was acknowledged is there for whoever comes later
            self.read_all()
        except Exception as failed:
            self.wrong.append(f"{self.name}: {failed!r}")

    def ask(self, *requests: bytes) -> list[tuple[int, bytes]]:
        self.done += len(requests)
        return self.line.ask(*requests)

    def new_text(self, place: Place, key: str) -> str:
        self.numbers += 1
        return place.text(key, self.name, self.numbers)

    def use_own_keys(self, places: list[Place]) -> None:
        """A pipeline of requests about keys that nobody else writes."""
        steps, requests = [], []
        for _ in range(PIPELINED):
            place, key = self.random.choice(places), f"{self.name}-{self.random.randrange(KEYS)}"
            kind = self.random.choice([GET, GET, SET, SET, DELETE])
            text = self.new_text(place, key) if kind == SET else None
            steps.append((place, key, kind, text))
            requests.append(place.request(kind, key, text))
        for (place, key, kind, text), answer in zip(steps, self.ask(*requests), strict=True):
            value = self.checked(place, kind, key, answer, text)
            if kind == GET and value != self.held.get((place, key)):
                self.wrong.append(f"{self.name} reads {value!r}, wrote {self.held.get((place, key))!r}")
            elif text is not None:
                self.held[place, key] = text
            elif kind == DELETE:
                self.held.pop((place, key), None)

    def checked(self, place: Place, kind: str, key: str, answer: tuple[int, bytes], text: str | None) -> str | None:
        try:
            return place.value_in(kind, key, answer, text)
        except (ValueError, KeyError, TypeError, AttributeError) as bad:
            self.wrong.append(f"{self.name}: {bad!r}")
            return None

    def use_shared_keys(self) -> None:
        """One request at a time, each kept with the moments around it. The monotonic clock is the same in every process."""
        group = self.number % (THREADS // SHARERS)
        for _ in range(SHARED):
            service = self.random.choice([MATTERMOST, PERSIST])
            owner = group % OWNERS
            place = Place(service, f"{'app/u' if service == MATTERMOST else 'p'}{owner}", f"{service[0]}-token-{owner}")
            key, kind = f"shared-{group}", self.random.choice([GET, GET, GET, SET, SET, DELETE])
            text = self.new_text(place, key) if kind == SET else None
            called = time.monotonic()
            answer = self.ask(place.request(kind, key, text))[0]
            returned = time.monotonic()
            value = self.checked(place, kind, key, answer, text)
            self.shared.append((service, place.owner, key, Operation(called, returned, kind, text if kind == SET else value)))

    def use_a_world(self) -> None:
        """It comes, has the same keys with other values, and goes; then nobody is let in, and nothing of it is left."""
        world = json.loads(self.ask(_control("POST", "/worlds"))[0][1])
        id, tokens = world["id"], world["tokens"]
        places = [Place(MATTERMOST, "app/bot", tokens[MATTERMOST], id), Place(PERSIST, "project", tokens[PERSIST], id)]
        places.append(places[0]._replace(base=f"/~{id}", owner="app/u0", token="m-token-0"))
        for _ in range(2):
            self.use_own_keys(places)
        self.ask(_control("DELETE", f"/worlds/{id}"))
        for place in places:
            if (status := self.ask(place.request(SET, f"{self.name}-0", "late"))[0][0]) != 410:
                self.wrong.append(f"{self.name}: a world that has ended answers {status}")
        self.held = {where: text for where, text in self.held.items() if where[0].world != id}

    def read_all(self) -> None:
        for place in self.places:
            for key in (f"{self.name}-{number}" for number in range(KEYS)):
                value = self.checked(place, GET, key, self.ask(place.request(GET, key))[0], None)
                if value != self.held.get((place, key)):
                    self.wrong.append(f"lost: {self.name} reads {value!r} at the end, wrote {self.held.get((place, key))!r}")


def _control(method: str, path: str) -> bytes:
    return f"{method} /_kvfake{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()


def process(port: int, number: int, threads: int, operations: int, seconds: float) -> dict[str, Any]:
    """All threads of one process, to their end: what they saw."""
    end = time.monotonic() + seconds
    clients = [Client(port, f"c{number}x{place}", place, operations // threads, end) for place in range(threads)]
    running = [Thread(target=client.run) for client in clients]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return {
        "done": sum(client.done for client in clients),
        "wrong": [text for client in clients for text in client.wrong],
        "held": [[place.service, place.owner, key, text] for client in clients for (place, key), text in client.held.items()],
        "shared": [one for client in clients for one in client.shared],
    }


class Outcome(NamedTuple):
    """``wrong`` tells the wrong answers; ``histories`` counts those that were checked, ``shared`` the operations in them."""

    done: int
    seconds: float
    wrong: list[str]
    histories: int
    shared: int
    looks_at_the_journal: int


def run(operations: int, seconds: float, processes: int = PROCESSES, threads: int = THREADS) -> Outcome:
    """So many operations, or as many as there is time for, against a server in a process of its own."""
    flags = [word for token in TOKENS for word in ("--token", token)]
    with served(*flags) as (_, url):
        port = int(url.rpartition(":")[2])
        began, reader = time.monotonic(), JournalReader(url)
        reader.start()
        command = [sys.executable, "-m", "tests.support.load", str(port)]
        numbers = [str(threads), str(operations // processes), str(seconds)]
        children = [
            subprocess.Popen([*command, str(place), *numbers], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for place in range(processes)
        ]
        try:
            outs = [child.communicate(timeout=seconds + 2 * GIVE_UP_SECONDS)[0] for child in children]
        finally:
            for child in children:
                child.kill()
        parts, lasted = [json.loads(out) for out in outs], time.monotonic() - began
        wrong = [*(text for part in parts for text in part["wrong"]), *reader.stop()]
        histories = _histories(one for part in parts for one in part["shared"])
        held = _held(asked(f"{url}/_kvfake/data").json())
        for place, history in histories.items():
            history.append(Operation(time.monotonic(), time.monotonic(), GET, held.pop(place, None)))  # the last look
            if not is_linearizable(history):
                wrong.append(f"not linearizable: {place}, {len(history)} operations")
        acknowledged = {(service, owner, key): text for part in parts for service, owner, key, text in part["held"]}
        wrong += [f"lost or old: {place}" for place, text in acknowledged.items() if held.get(place) != text]
        wrong += [f"nobody set {place}: {held[place]!r}" for place in held.keys() - acknowledged.keys()]
        return Outcome(
            sum(part["done"] for part in parts), lasted, wrong, len(histories), sum(map(len, histories.values())), reader.looks
        )


def _histories(shared: Iterable[Any]) -> dict[tuple[str, str, str], list[Operation]]:
    histories: dict[tuple[str, str, str], list[Operation]] = {}
    for service, owner, key, operation in shared:
        histories.setdefault((service, owner, key), []).append(Operation(*operation))
    return histories


def _held(document: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    """What a file of values holds, of both services."""
    held = {(PERSIST, owner, key): record["value"] for owner, keys in document[PERSIST].items() for key, record in keys.items()}
    for owner, prefixes in document[MATTERMOST].items():
        held |= {(MATTERMOST, owner, key): text for key, text in prefixes[""].items()}
    return held


class JournalReader:
    """Reads the journal all the time, and checks that its exchanges are of one piece: no key, owner or value of another."""

    def __init__(self, url: str) -> None:
        self._url, self._stop, self.looks = url, Event(), 0
        self._wrong: list[str] = []
        self._thread = Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[str]:
        self._stop.set()
        self._thread.join()
        return self._wrong

    def _run(self) -> None:
        since = 0
        try:
            while not self._stop.wait(PAUSE_SECONDS):
                journal = asked(f"{self._url}/_kvfake/journal?since={since}").json()
                numbers = [exchange["number"] for exchange in journal["exchanges"]]
                if numbers != list(range(journal["seen"] - len(numbers) + 1, journal["seen"] + 1)):
                    self._wrong.append(f"the journal has seen {journal['seen']} and shows {numbers}")
                self._wrong += [
                    f"the journal mixes {exchange}" for exchange in journal["exchanges"] if not _is_of_one_piece(exchange)
                ]
                since, self.looks = journal["seen"], self.looks + 1
        except Exception as failed:
            self._wrong.append(f"the journal: {failed!r}")


def _is_of_one_piece(exchange: dict[str, Any]) -> bool:
    """Whether the value that was set, or answered, is of that key and owner."""
    if exchange["status"] != 200 or exchange["method"] == "DELETE":
        return True
    body = exchange["request" if exchange["method"] == "PUT" else "response"]["body"]
    payload = json.loads(body)
    value = payload["value"] if exchange["service"] == PERSIST else payload
    return value == {} or str(value).split(" ")[:3] == ["own", exchange["owner"], exchange["key"]]


def complaint(wrong: list[str]) -> str:
    return "\n".join([f"{len(wrong)} wrong:", *wrong[:LONGEST_COMPLAINT]])


if __name__ == "__main__":
    port, number, threads, operations = map(int, sys.argv[1:5])
    json.dump(process(port, number, threads, operations, float(sys.argv[5])), sys.stdout)
