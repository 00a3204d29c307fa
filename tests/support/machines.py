"""Both services under any sequence of requests and powers, beside `tests.support.model`, through one of the ways in.

Law: rules do a thing to both sides. The invariants compare whole worlds after each, so what lands where it should not is seen at
once.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import requests
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from kvfake.world.mappings import Mattermost, Persist
from tests.support.doors import TOKENS, SocketDoor, opened
from tests.support.model import MATTERMOST, PERSIST, Address, Answer, Asked, Fault, Journal, Recorded, Values, World
from tests.support.wire import Reply, Wire

WAYS_IN = ("wsgi", "socket", "httpx", "requests")

NAMED = {
    token: (PERSIST if ":" in owner else MATTERMOST, owner.removeprefix("project:"))
    for token, _, owner in (text.partition("=") for text in TOKENS)
}
OF_MATTERMOST = [token for token, (service, _) in NAMED.items() if service == MATTERMOST]
OF_PERSIST = [token for token, (service, _) in NAMED.items() if service == PERSIST]
STRANGERS = ("stranger", "another-stranger")
ROOM_IN_JOURNAL = 6
SECOND = 1_000_000  # microseconds
_SEED = {
    "kvfake": 1,
    "mattermost": {"app-one/bot": {"": {"a": "seed"}, "my-app": {"ab": [1]}}, "app-one/user": {"p": {"a": {}}}},
    "persist": {"first": {"a": {"value": "seed", "updated": "1970-01-01T00:00:00.000007Z"}}},
}
_OF_SEED = {
    Address("", MATTERMOST, "app-one/bot", b"  ", b"a"): b'"seed"',
    Address("", MATTERMOST, "app-one/bot", b"my-app", b"ab"): b"[1]",
    Address("", MATTERMOST, "app-one/user", b"p ", b"a"): b"{}",
    Address("", PERSIST, "first", b"", b"a"): b"seed",
}

keys = st.sampled_from(["a", "a", "ab", "a b", "é%"])
prefixes = st.sampled_from(["", "", "p", "p ", "my-app", "€"])  # "p " is "p" (M25); "my-app" is the documentation's own (M16)


class Long(bytes):
    """A long value that a failure does not print whole."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


VALUES = (b"1", b"1.0", b'{"x": [null]}', b"{}", b'"a"', b"[1,2]", Long(b'"' + b"v" * 8190 + b'"'))
BAD_VALUES = (None, Long(b'"' + b"v" * 8191 + b'"'))
values = st.integers(0, len(VALUES) - 1).map(VALUES.__getitem__)
bad_values = st.integers(0, len(BAD_VALUES) - 1).map(BAD_VALUES.__getitem__)
asked_of_mattermost = st.one_of(
    st.tuples(st.sampled_from(["get", "delete"]), keys, prefixes),
    st.tuples(st.just("set"), keys, prefixes, values),
    st.tuples(st.just("set"), keys, prefixes, values | bad_values),
).map(lambda fields: Asked(MATTERMOST, *fields))
asked_of_persist = st.one_of(
    st.tuples(st.sampled_from(["get", "get", "delete"]), keys),
    st.tuples(st.just("set"), keys, st.just(""), values),
    st.tuples(st.just("set"), keys, st.just(""), values | st.none()),
    st.tuples(st.just("list"), st.sampled_from(["", "a", "a b", "c"]))
    | st.tuples(st.just("mget"), st.just(""), st.just(""), st.just(b""), st.lists(keys, max_size=4).map(tuple)),
).map(lambda fields: Asked(PERSIST, *fields))
FEW, MANY = 3, 12  # requests of one rule, so that they meet each other
Batch = tuple[str, list[Asked]]  # a token, and what is asked with it
batches: st.SearchStrategy[Batch] = st.one_of(
    st.tuples(st.sampled_from(OF_MATTERMOST), st.lists(asked_of_mattermost, min_size=FEW, max_size=MANY)),
    st.tuples(st.sampled_from(OF_PERSIST), st.lists(asked_of_persist, min_size=FEW, max_size=MANY)),
)

happenings: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from([200, 201, 404, 429, 500, 503]).map(lambda status: {"status": status}),
    st.sampled_from(["before", "after", "reset", "reset-after", "truncate", "garbage"]).map(lambda sever: {"sever": sever}),
    st.sampled_from([{"body": "another"}, {"delay": 0.0001}, {"headers": {"X-Late": "yes"}}]),
)
whom: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "service": st.sampled_from([MATTERMOST, PERSIST]),
        "method": st.sampled_from(["GET", "PUT", "DELETE"]),
        "key": st.sampled_from(["a", "ab", {"matches": "^a"}]),
        "owner": st.sampled_from(["app-one/bot", "first", {"matches": "one"}]),
    },
)
when: st.SearchStrategy[dict[str, Any]] = st.just({"times": 3}) | st.fixed_dictionaries(
    {}, optional={"times": st.sampled_from([2, None]), "after": st.integers(1, 2), "every": st.just(2)}
)
faults = st.lists(st.tuples(happenings, whom, when).map(lambda parts: {**parts[0], **parts[1], **parts[2]}), min_size=1, max_size=3)
_MOMENTS = {40: 40 * SECOND, "1970-01-01T10:00:00.000001Z": 36_000 * SECOND + 1}
moves = st.sampled_from([{"shift": 0.5}, {"shift": 1}, *({"move_to": moment} for moment in _MOMENTS)])
which = st.integers(0, 9)  # one of a list of any length


class Truth(RuleBasedStateMachine):
    """``way`` is how requests come; ``folder`` is for the seed."""

    way: str
    folder: Path

    @initialize(is_seeded=st.booleans(), lenient=st.booleans())
    def begin(self, is_seeded: bool, lenient: bool) -> None:
        self.stack, self.lenient, self.is_seeded = ExitStack(), lenient, is_seeded
        seed = self.folder / "seed.json"
        seed.write_text(json.dumps(_SEED if lenient else _without_long_prefixes()))
        self.door = self.stack.enter_context(
            opened(
                self.way, token=TOKENS, profile="documented" if lenient else "plugin-1.2", seed=str(seed) if is_seeded else None,
                journal_exchanges=ROOM_IN_JOURNAL, allow_host=["double.example"],
            )
        )  # fmt: skip
        self.values, self.worlds, self.ended = Values(), dict[str, World](), dict[str, tuple[str, ...]]()
        self.dumps: list[tuple[dict[str, Any], dict[Address, tuple[bytes, int]]]] = []
        double = self.door.double
        self.own = double._world.id
        self.add_world(self.own, double.mattermost.token, double.persist.token)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    def add_world(self, id: str, bot_token: str, project_token: str) -> None:
        tokens = {**NAMED, bot_token: (MATTERMOST, "app/bot"), project_token: (PERSIST, "project")}
        self.worlds[id] = World(id, tokens, Journal(ROOM_IN_JOURNAL))
        self.seed(id)

    def seed(self, id: str) -> None:
        """The world begins: with its seed, and with a clock that stands."""
        self.control(id, "POST", "/clock", {"freeze": True, "move_to": 1})
        self.worlds[id].now = SECOND
        if self.is_seeded:
            of_seed = {address: value for address, value in _OF_SEED.items() if self.lenient or len(address.prefix) < 3}
            self.values.replace(id, {address: (value, 7) for address, value in of_seed.items()})

    # ------------------------------------------------------------------------------------------------------------ requests

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Reply | None:
        """The answer; nothing where none came whole. A server that lends no socket says that it cannot cut one off: that counts as
        none.
        """
        try:
            reply = self.door.send(method, target, headers, body)
            length = {name.lower(): value for name, value in reply.headers.items()}.get("content-length", "0")
            if reply.status != 502 and len(reply.body) >= int(length):
                return reply
        except (OSError, ValueError, httpx.TransportError, requests.RequestException):  # ValueError: what came is not HTTP
            pass
        if isinstance(self.door, SocketDoor):
            self.door.wire.close()
            self.door.wire = Wire(self.door.port)
        return None

    def control(self, id: str, method: str, path: str, payload: Any = None, status: int = 200) -> Any:
        body = b"" if payload is None else json.dumps(payload).encode()
        reply = self.send(method, f"/~{id}/_kvfake{path}", {}, body)
        assert reply is not None
        assert reply.status == status, reply
        return reply.json()

    def one_of_the_worlds(self, place: int) -> World:
        return list(self.worlds.values())[place % len(self.worlds)]

    @rule(batch=batches, place=which)
    def ask_one_owner(self, batch: Batch, place: int) -> None:
        self.ask_all(batch, self.one_of_the_worlds(place))

    @rule(place=which, faults=faults, batch=batches)
    def ask_under_faults(self, place: int, faults: list[dict[str, Any]], batch: Batch) -> None:
        """The faults stay for later requests, too, if they have not struck often enough."""
        world = self.one_of_the_worlds(place)
        for fields in faults:
            assert self.control(world.id, "POST", "/faults", fields, 201)["hits"] == 0
            world.faults.append(Fault(fields))
        self.ask_all(batch, world)

    @rule(place=which, before=batches, requests=batches, moves=st.lists(moves, max_size=2))
    def ask_as_if_it_had_not_been(self, place: int, before: Batch, requests: Batch, moves: list[dict[str, Any]]) -> None:
        """A checkpoint, more of the same, and back."""
        self.ask_all(before, self.one_of_the_worlds(place))
        self.checkpoint(place)
        self.ask_all(
            (before[0], requests[1]) if before[1][0].service == requests[1][0].service else requests, self.one_of_the_worlds(place)
        )
        for move in moves:
            self.move_the_clock(place, move)
        self.roll_back(place, mark=-1)

    def ask_all(self, batch: Batch, world: World) -> None:
        token, requests = batch
        for asked in requests:
            self.ask(asked, f"/~{world.id}", token, world.id)

    @rule(requests=st.lists(st.tuples(asked_of_mattermost | asked_of_persist, which), min_size=FEW, max_size=MANY))
    def ask_at_the_root(self, requests: list[tuple[Asked, int]]) -> None:
        """The token says whose world it is; one that nobody has named or issued means the server's own."""
        issued = self.issued_tokens()
        tokens = [*reversed(issued), *NAMED, *STRANGERS]
        for asked, place in requests:
            token = tokens[place % len(tokens)]
            self.ask(asked, "", token, issued.get(token, self.own))

    @rule(requests=st.lists(st.tuples(asked_of_mattermost | asked_of_persist, which, which), min_size=FEW, max_size=MANY))
    def ask_with_any_token_at_any_address(self, requests: list[tuple[Asked, int, int]]) -> None:
        """A token that another world has issued is a stranger's here. A world that has ended refuses."""
        tokens, ids = [*self.issued_tokens(), *NAMED, *STRANGERS], [*self.worlds, *self.ended]
        for asked, place, token in requests:
            id = ids[-1 - place % len(ids)]
            self.ask(asked, f"/~{id}", tokens[(token * 3 + place) % len(tokens)], id)

    def issued_tokens(self) -> dict[str, str]:
        """The tokens that worlds have issued, also those that have ended, and the ids of these worlds."""
        gone = {token: id for id, tokens in self.ended.items() for token in tokens}
        return {token: world.id for world in self.worlds.values() for token in world.tokens if token not in NAMED} | gone

    def ask(self, asked: Asked, base: str, token: str, id: str) -> None:
        ended = id in self.ended
        expected = Answer(410) if ended else self.worlds[id].answer(self.values, asked, token, self.lenient)
        reply = self.send(asked.method, base + asked.target, {"Authorization": f"Bearer {token}"}, asked.body)
        if expected.status is None:
            assert reply is None
            return
        assert reply is not None
        assert reply.status == expected.status, (asked, reply)
        if expected.payload is not None:
            assert (reply.body if isinstance(expected.payload, bytes) else reply.json()) == expected.payload

    # -------------------------------------------------------------------------------------------------------------- worlds

    @precondition(lambda self: len(self.worlds) < 4)
    @rule()
    def open(self) -> None:
        opened = self.control(self.own, "POST", "/worlds", {}, 201)
        self.add_world(opened["id"], *opened["tokens"].values())

    @precondition(lambda self: len(self.worlds) > 1)
    @rule(place=which)
    def end(self, place: int) -> None:
        id = list(self.worlds)[1 + place % (len(self.worlds) - 1)]
        self.control(self.own, "DELETE", f"/worlds/{id}")
        self.ended[id] = tuple(token for token in self.worlds.pop(id).tokens if token not in NAMED)
        self.values.replace(id, {})
        self.control(self.own, "GET", f"/worlds/{id}", status=410)
        self.control(id, "GET", "/data", status=410)

    @rule(place=which)
    def reset(self, place: int) -> None:
        world = self.one_of_the_worlds(place)
        self.control(world.id, "POST", "/reset")
        self.values.replace(world.id, {})
        world.faults, world.marks, world.gone = [], {}, world.gone | world.marks.keys()
        world.journal.clear()
        self.control(world.id, "POST", "/clock", {"freeze": True, "move_to": 1})
        world.now = SECOND
        self.seed(world.id)

    # ----------------------------------------------------------------------------------------------------------- the powers

    @rule(place=which)
    def checkpoint(self, place: int) -> None:
        world = self.one_of_the_worlds(place)
        mark = self.control(world.id, "POST", "/checkpoints", status=201)["checkpoint"]
        assert mark not in world.marks.keys() | world.gone
        world.checkpoint(mark, self.values)

    @rule(place=which, mark=which)
    def roll_back(self, place: int, mark: int) -> None:
        """To a mark of that world; not to one that is gone, because its world was reset or rolled back to an older one."""
        world = self.one_of_the_worlds(place)
        for number in world.gone or {1000}:
            self.control(world.id, "POST", f"/checkpoints/{number}/rollback", status=404)
        if world.marks:
            number = list(world.marks)[mark % len(world.marks)]
            self.control(world.id, "POST", f"/checkpoints/{number}/rollback")
            world.rollback(number, self.values)

    @rule(place=which)
    def clear_faults(self, place: int) -> None:
        world = self.one_of_the_worlds(place)
        assert self.control(world.id, "DELETE", "/faults") == {"removed": len(world.faults)}
        world.faults = []

    @rule(place=which, move=moves)
    def move_the_clock(self, place: int, move: dict[str, Any]) -> None:
        world = self.one_of_the_worlds(place)
        self.control(world.id, "POST", "/clock", move)
        world.now = world.now + int(move["shift"] * SECOND) if "shift" in move else _MOMENTS[move["move_to"]]

    @rule(place=which)
    def forget_the_journal(self, place: int) -> None:
        world = self.one_of_the_worlds(place)
        assert self.control(world.id, "DELETE", "/journal") == {"forgotten": len(world.journal.kept)}
        world.journal.clear()

    @rule(place=which)
    def dump(self, place: int) -> None:
        world = self.one_of_the_worlds(place)
        self.dumps.append((self.control(world.id, "GET", "/data"), self.values.of(world.id)))

    @precondition(lambda self: self.dumps)
    @rule(place=which, dump=which, in_place=st.booleans())
    def load(self, place: int, dump: int, in_place: bool) -> None:
        """Beside what is there, or in place of it. A value of Mattermost is of the moment of the load."""
        world = self.one_of_the_worlds(place)
        document, held = self.dumps[dump % len(self.dumps)]
        assert self.control(world.id, "PUT" if in_place else "POST", "/data", document) == {"loaded": len(held)}
        loaded = {
            address._replace(world=world.id): (value, world.now if address.service == MATTERMOST else moment)
            for address, (value, moment) in held.items()
        }
        self.values.replace(world.id, loaded if in_place else {**self.values.of(world.id), **loaded})

    @rule(place=which, service=st.sampled_from([MATTERMOST, PERSIST]))
    def delete_values(self, place: int, service: str) -> None:
        world = self.one_of_the_worlds(place)
        left = {address: entry for address, entry in self.values.of(world.id).items() if address.service != service}
        count = len(self.values.of(world.id)) - len(left)
        assert self.control(world.id, "DELETE", f"/data?service={service}") == {"deleted": count}
        self.values.replace(world.id, left)

    @rule(place=which, is_persist=st.booleans(), prefix=st.sampled_from(["", "p"]), key=keys, value=values | st.none())
    def use_a_mapping(self, place: int, is_persist: bool, prefix: str, key: str, value: bytes | None) -> None:
        """From Python: set, or with no value delete, and read all. It meets no fault and is in no journal."""
        world = self.one_of_the_worlds(place)
        found = self.door.double._backend.find(world.id)
        assert found is not None
        view = Persist(found, "first") if is_persist else Mattermost(found, "app-one/bot", prefix)
        address = Address(
            world.id, PERSIST if is_persist else MATTERMOST, view.owner, b"" if is_persist else prefix.encode().ljust(2), b""
        )
        if value is not None:
            view.raw[key] = value
            self.values[address._replace(key=key.encode())] = value, world.now
        elif self.values.pop(address._replace(key=key.encode()), None) is not None:
            del view.raw[key]
        same = {held.key.decode(): value for held, (value, _) in self.values.items() if held[:4] == address[:4]}
        assert dict(view.raw) == same

    # ---------------------------------------------------------------------------------------------------------- what is so

    @invariant()
    def every_world_holds_what_the_model_holds(self) -> None:
        worlds = [self.door.double._world, *self.door.double._backend.worlds.values()]
        held = {}
        for world in worlds:
            for namespace in world.store.namespaces():
                for key in world.store.keys(namespace):
                    entry = world.store.get(namespace, key)
                    assert entry is not None
                    held[Address(world.id, *namespace, key)] = entry.value, entry.updated
        expected = {address: (value, _moment(held, address, moment)) for address, (value, moment) in self.values.items()}
        assert held == expected
        assert {world.id for world in worlds} == self.worlds.keys()

    @invariant()
    def every_journal_has_its_own_requests(self) -> None:
        for world in self.worlds.values():
            found = self.door.double._backend.find(world.id)
            assert found is not None
            kept = [Recorded(one.number, one.service or "", one.method, one.key, one.owner, one.status) for one in found.journal]
            assert (kept, found.journal.seen, found.journal.dropped) == (
                world.journal.kept,
                world.journal.seen,
                world.journal.dropped,
            )
            assert [fault.hits for fault in found.faults] == [fault.hits for fault in world.faults]


def _moment(held: dict[Address, tuple[bytes, int]], address: Address, moment: int) -> int:
    """A seed's values of Mattermost are of the moment when the world began: that is the machine's, and nobody can see it."""
    return held[address][1] if moment == 7 and address.service == MATTERMOST and address in held else moment


def _without_long_prefixes() -> dict[str, Any]:
    seed = json.loads(json.dumps(_SEED))
    del seed["mattermost"]["app-one/bot"]["my-app"]
    return dict(seed)


def run(way: str, folder: Path, examples: int, steps: int, is_random: bool = False) -> None:
    """So many sequences through that way in. Raises where a world and the model differ, with a short sequence that shows it."""
    machine: Any = type("Truth", (Truth,), {"way": way, "folder": folder})
    run_machine: Any = run_state_machine_as_test  # older versions of Hypothesis have no types for it
    few_or_many = settings(
        max_examples=examples, stateful_step_count=steps, derandomize=not is_random, database=None, deadline=None
    )
    run_machine(machine, settings=few_or_many)
