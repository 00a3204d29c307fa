"""Replaying a recording on a fresh double, without a socket, and finding what it answers otherwise.

Law: exchanges in, differences out. Before it replays, it gives each label an owner, puts in place what lay there before, and moves
the clock to what the real server said. After a difference the double holds what the real store does, so that each is told once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from kvfake.contract.replay.asked import Value, bytes_of, got_value, is_done, listed, place_of, set_value, shown_values
from kvfake.contract.replay.before import Place, held_before
from kvfake.contract.replay.differing import differences
from kvfake.contract.replay.reasons import rows_of
from kvfake.contract.replay.seen import KEY, OWNER, PREFIX, Past, Seen
from kvfake.contract.replay.tape import Recording, Taped
from kvfake.contract.replay.whose import Label, label_of, owners_of, with_csrf
from kvfake.http.in_process import sent_body
from kvfake.http.router import Router
from kvfake.services.messages import Operation, Response
from kvfake.settings import SERVER, WORLD, parse_owner, resolve
from kvfake.stores import Entry, Namespace
from kvfake.world.backend import Backend


class Difference(NamedTuple):
    """``what`` says in lines what differs; ``rows`` what explains it, the nearest first."""

    taped: Taped
    what: list[str]
    rows: list[str]


class Replay:
    """One recording, and the double on which it is replayed."""

    def __init__(self, recording: Recording, profile: str) -> None:
        settings = resolve({"profile": profile, "strict": True, "journal_exchanges": 0}, scopes=(SERVER, WORLD))
        backend = Backend("", settings)
        self._world, self._router = backend.own, Router(backend, None)
        self._base = urlsplit(recording.against).path.encode()
        self.beside = sum(taped.is_beside for taped in recording.exchanges)
        self._exchanges = with_csrf(taped for taped in recording.exchanges if not taped.is_beside)
        self._owners = owners_of(self._exchanges)
        self._past: dict[Place, Past] = {}
        self._deleted: dict[tuple[str, bytes], Namespace] = {}  # of each service and key that was deleted since it was set: where

    def __len__(self) -> int:
        """How many exchanges are replayed."""
        return len(self._exchanges)

    @property
    def same(self) -> list[list[Label]]:
        """The labels that were taken for one owner's, because one read what the other had set."""
        groups: dict[tuple[str, str], list[Label]] = {}
        for label, owner in self._owners.items():
            groups.setdefault((label[0], owner), []).append(label)
        return [labels for labels in groups.values() if len(labels) > 1]

    def differences(self) -> Iterator[Difference]:
        self._prepare()
        for taped in self._exchanges:
            owner = self._owner(taped)
            place = place_of(taped.request, owner) if owner is not None else None
            before = self._at(place)
            self._move_clock(set_value(taped) if place is not None and place.verb == "set" else None)
            response = self._answer(taped)
            what = differences(taped, response)
            if what:
                past_of, elsewhere = partial(self._past_of, place), self._elsewhere(taped, response, place)
                seen = Seen(taped, response, owner, place, past_of, elsewhere)
                yield Difference(taped, what, rows_of(seen))
                if place is not None:
                    self._follow(taped, place, before)
            if place is not None:
                self._remember(taped, place, before)

    # ---------------------------------------------------------------------------------------------------------- beforehand

    def _prepare(self) -> None:
        for (_, token), whose in self._owners.items():
            self._world.tokens.add(token.decode("utf-8", "replace"), whose)
        self._world.clock.freeze()
        owners = [self._owner(taped) for taped in self._exchanges]
        known = [(taped, owner) for taped, owner in zip(self._exchanges, owners, strict=True) if owner is not None]
        for (namespace, key), value in held_before(known).items():
            self._world.store.set(namespace, key, self._entry(value))

    def _owner(self, taped: Taped) -> str | None:
        """The owner of the token that counts, as a store knows it."""
        label = label_of(taped.request)
        owner = self._owners.get(label) if label is not None else None
        return parse_owner(owner)[1] if owner is not None else None

    def _entry(self, value: Value) -> Entry:
        self._move_clock(value)
        return Entry(value.data, self._world.clock.now())

    def _move_clock(self, value: Value | None) -> None:
        """To the moment of which the real server speaks, where it can be read."""
        if value is not None and value.updated is not None:
            with suppress(ValueError):
                self._world.clock.move_to(value.updated)

    # ------------------------------------------------------------------------------------------------------------- one by one

    def _answer(self, taped: Taped) -> Response:
        response = self._router.answer(taped.request, self._base)
        assert isinstance(response, Response)  # nothing of the stores is a job
        return response.replace(body=sent_body(taped.request, response))

    def _at(self, place: Operation | None) -> Entry | None:
        return None if place is None else self._world.store.get(place.namespace, place.key)

    def _past_of(self, place: Operation | None, key: bytes) -> Past:
        """What was done at a key beside that place, or there."""
        return self._past.get((place.namespace, key), Past()) if place is not None else Past()

    def _elsewhere(self, taped: Taped, response: Response, place: Operation | None) -> str:
        """As `Seen` says it, of the first key of which there is something to say."""
        if place is None:
            return ""
        here = place.namespace
        got, want = shown_values(taped.response, place), shown_values(response, place)
        others = [(key, got[key]) for key in want if key in got and got[key] != want[key]]
        lost = set(listed(response)) - set(listed(taped.response)) if place.verb == "list" else set()
        found = [self._lies(here, key, value.data) if value is not None else self._was_deleted(here, key) for key, value in others]
        found += [self._was_deleted(here, bytes_of(key)) for key in sorted(lost)]
        return next(filter(None, found), "")

    def _lies(self, here: Namespace, key: bytes, data: bytes) -> str:
        store = self._world.store
        for space in store.namespaces():
            entry = store.get(space, key) if space[0] == here[0] and space != here else None
            if entry is not None and entry.value == data:
                return _between(space, here)
        others = [entry for one in store.keys(here) if one != key and (entry := store.get(here, one)) is not None]
        return KEY if any(entry.value == data for entry in others) else ""

    def _was_deleted(self, here: Namespace, key: bytes) -> str:
        if any(space == here and key.startswith(one) for (_, one), space in self._deleted.items()):
            return KEY
        return _between(self._deleted.get((here[0], key), here), here)

    def _remember(self, taped: Taped, place: Operation, before: Entry | None) -> None:
        at, request, is_taken = (place.namespace, place.key), taped.request, is_done(taped.response)
        if place.verb == "set" and is_taken:
            replaced = before.value if before is not None else None
            self._past[at] = Past("set", request.method, request.target, request.headers.get(b"content-type"), replaced)
            self._deleted.pop((place.namespace[0], place.key), None)
        elif place.verb == "set":
            self._past[at] = self._past_of(place, place.key)._replace(refused=taped.response.status)
        elif place.verb == "delete" and is_taken:
            self._past[at] = Past("delete")
            self._deleted[place.namespace[0], place.key] = place.namespace

    def _follow(self, taped: Taped, place: Operation, before: Entry | None) -> None:
        """Let the double hold there what the real store does."""
        if place.verb == "get" and taped.response.status in (200, 404):
            self._put(place, got_value(taped))
            self._past.pop((place.namespace, place.key), None)  # whatever was done before, something else has come between
        elif place.verb in ("set", "delete") and not is_done(taped.response):
            self._put(place, before)
        elif place.verb == "delete":
            self._put(place, None)
        elif place.verb == "set" and (value := set_value(taped)) is not None:
            self._put(place, value)

    def _put(self, place: Operation, value: Value | Entry | None) -> None:
        if value is None:
            self._world.store.delete(place.namespace, place.key)
        else:
            entry = self._entry(value) if isinstance(value, Value) else value
            self._world.store.set(place.namespace, place.key, entry)


def _between(one: Namespace, other: Namespace) -> str:
    """What lies between two name spaces of a service, if anything."""
    return "" if one == other else OWNER if one[1] != other[1] else PREFIX
