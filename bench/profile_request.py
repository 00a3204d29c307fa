"""Where the microseconds of one request go, stage by stage, in process.

    python -m bench.profile_request [REQUESTS]

Law: it runs kvfake's own chain, whole, with its inner part replaced by a constant, and part by part; it is the one file here that
knows kvfake's insides, and changes with them. A stage is the difference of the best rounds of two hot loops: live, with cold
caches and system calls between, each costs 2 to 2.5 times as much. Read which are large, not what a request costs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import kvfake
from bench.measure import in_turn
from bench.peers import ASKS, GET, PERSIST_GET, PERSIST_PUT, PUT
from bench.wire import Message
from kvfake.http.connection import Connection
from kvfake.http.parser import HeadParser
from kvfake.services import mattermost, persist
from kvfake.services.messages import Request

REQUESTS = 100  # of a round: so few that some rounds have the processor to themselves
ROUNDS = 200
JOURNAL = 1000  # from so many exchanges on it lets go of one for each that it keeps

Call = Callable[[Any], Any]
Make = Callable[[Message], Any]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    for operation in (GET, PUT, PERSIST_GET, PERSIST_PUT):
        cost = _costs(operation, count)
        print(f"\n## {operation}: {cost['whole']:.1f} us, {cost['connection']:.1f} of them with a constant answer\n")
        print(f"| {'stage':<52} | {'us':>6} | {'part':>4} |\n| {'-' * 52} | {'-' * 6} | {'-' * 4} |")
        for name, value in stages(cost).items():
            print(f"| {name:<52} | {value:6.2f} | {value / cost['whole']:4.0%} |")


def stages(cost: Mapping[str, float]) -> dict[str, float]:
    """The stages of one request, in the order in which it meets them; they make up the whole."""
    journal = cost["backend"] - cost["backend, no journal"]
    inside = cost["owner"] + cost["read"] + cost["clock"] + cost["answer"] + journal
    return {
        "head: parse": cost["head"],
        "router: what the path leads to": cost["router"] - cost["backend"],
        "backend: token and owner": cost["owner"],
        "service: read": cost["read"],
        "clock, for a set": cost["clock"],
        "service: answer, with the store": cost["answer"],
        "journal": journal,
        "backend: find the world, lock, measure": cost["backend"] - inside,
        "connection: head's end, body, state, reply bytes": cost["connection"] - cost["head"],
        "left over (caches that the parts share no more)": cost["whole"] - cost["connection"] - cost["router"],
    }


def _costs(operation: str, count: int) -> dict[str, float]:
    """Microseconds of the whole and of its parts."""
    service = mattermost if operation in (GET, PUT) else persist
    messages = ASKS[operation].messages()
    inside, bare = vars(_double()), vars(_double(journal_exchanges=0))
    world, router = inside["_world"], inside["_router"]
    for _ in range(JOURNAL):
        constant = router.answer(_request(messages[0]))
    owner = world.tokens.owner_of(service.NAME, service.token(_located(messages[0])))
    profile, moment = world.profiles[service.NAME], world.clock.now()

    def read(request: Request) -> Any:
        return service.read(request, owner)

    parts: dict[str, tuple[Call, Make]] = {
        "whole": (Connection(router.answer).receive, lambda message: message),
        "connection": (Connection(lambda request: constant).receive, lambda message: message),
        "head": (HeadParser().read, _head),
        "router": (router.answer, _request),
        "backend": (lambda request: inside["_backend"].answer(service, request, None), _located),
        "backend, no journal": (lambda request: bare["_backend"].answer(service, request, None), _located),
        "owner": (lambda request: world.tokens.owner_of(service.NAME, service.token(request)), _located),
        "read": (read, _located),
        "clock": (lambda request: world.clock.now(), _request),
        "answer": (lambda known: service.answer(known, world.store, profile, moment), lambda message: read(_located(message))),
        "nothing": (lambda request: None, _request),
    }
    found = in_turn({name: _round(call, make, messages, count) for name, (call, make) in parts.items()}, ROUNDS)
    cost = {name: min(times) for name, times in found.items()}
    direct = ("whole", "connection", "head", "router")  # the others are called through a function of this file
    cost = {name: value - (0 if name in direct else cost["nothing"]) for name, value in cost.items()}
    return {**cost, "clock": cost["clock"] if operation in (PUT, PERSIST_PUT) else 0.0}


def _round(call: Call, make: Make, messages: list[Message], count: int) -> Callable[[], float]:
    """Microseconds of one call, with inputs that were made before."""

    def figure() -> float:
        made = [make(messages[place % len(messages)]) for place in range(count)]
        following, clock = made.pop, time.perf_counter  # popped, so that letting go of it counts too
        began = clock()
        for _ in range(count):
            call(following())
        return (clock() - began) / count * 1e6

    return figure


def _double(**settings: Any) -> kvfake.Double:
    owners = ((ASKS[GET], "app/bot"), (ASKS[PERSIST_GET], "project:project"))
    tokens = [f"{ask.headers['Authorization'].split()[1]}={owner}" for ask, owner in owners]
    double = kvfake.Double(token=tokens, **settings)
    double.mattermost["read"] = "a" * 118
    double.persist["read"] = "a" * 120
    return double


def _head(message: Message) -> bytes:
    return message[: message.index(b"\r\n\r\n") + 4]


def _located(message: Message) -> Request:
    """A fresh one, as the router hands it on."""
    request = _request(message)
    request.path, _, request.query = request.target.partition(b"?")
    return request


def _request(message: Message) -> Request:
    """A fresh one: once it is answered its headers are the journal's."""
    method, target, head = HeadParser().read(_head(message))
    return Request(method, target, head.headers, message.partition(b"\r\n\r\n")[2])


if __name__ == "__main__":
    main()
