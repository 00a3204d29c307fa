"""Replaying a recording on a fresh double, without a socket, and finding what it answers otherwise.

Law: exchanges in, differences out. Before it replays, it gives each label an owner, puts in place what lay there before, and moves
the clock to what the real server said. After a difference the double holds what the real store does, so that each is told once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from kvfake.contract.asked import Value, got_value, is_done, place_of, set_value
from kvfake.contract.before import Place, held_before
from kvfake.contract.differing import differences
from kvfake.contract.reasons import rows_of
from kvfake.contract.seen import OWNER, PREFIX, Past, Seen
from kvfake.contract.tape import Recording, Taped
from kvfake.contract.whose import Label, label_of, owners_of, with_csrf
from kvfake.doors.felt import body_of
from kvfake.doors.site import Site
from kvfake.services.message import Operation, Response
from kvfake.settings import SERVER, WORLD, owner_of, resolve
from kvfake.stores import Entry, Namespace
from kvfake.world.fake import Fake


class Difference(NamedTuple):
    """``what`` says in lines what differs; ``rows`` what explains it, the nearest first."""

    taped: Taped
    what: list[str]
    rows: list[str]


class Replay:
    """One recording, and the double on which it is replayed."""

    def __init__(self, recording: Recording, profile: str) -> None:
        settings = resolve({"profile": profile, "strict": True, "journal_exchanges": 0}, scopes=(SERVER, WORLD))
        fake = Fake("", settings)
        self._world, self._site = fake.own, Site(fake, None)
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
                seen = Seen(taped, response, owner, place, self._past_of(place), self._elsewhere(taped, place))
                yield Difference(taped, what, rows_of(seen))
                if place is not None:
                    self._follow(taped, place, before)
            if place is not None:
                self._remember(taped, place, before)

    # ---------------------------------------------------------------------------------------------------------- beforehand

    def _prepare(self) -> None:
        for (_, token), whose in self._owners.items():
            self._world.owners.name(token.decode("utf-8", "replace"), whose)
        self._world.clock.freeze()
        owners = [self._owner(taped) for taped in self._exchanges]
        known = [(taped, owner) for taped, owner in zip(self._exchanges, owners, strict=True) if owner is not None]
        for (namespace, key), value in held_before(known).items():
            self._world.store.set(namespace, key, self._entry(value))

    def _owner(self, taped: Taped) -> str | None:
        """The owner of the token that counts, as a store knows it."""
        label = label_of(taped.request)
        owner = self._owners.get(label) if label is not None else None
        return owner_of(owner)[1] if owner is not None else None

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
        response = self._site.answer(taped.request, self._base)
        assert isinstance(response, Response)  # nothing of the stores is a job
        return response._replace(body=body_of(taped.request, response))

    def _at(self, place: Operation | None) -> Entry | None:
        return None if place is None else self._world.store.get(place.namespace, place.key)

    def _past_of(self, place: Operation | None) -> Past:
        has_one_key = place is not None and place.verb in ("get", "set", "delete")
        return self._past.get((place.namespace, place.key), Past()) if place is not None and has_one_key else Past()

    def _elsewhere(self, taped: Taped, place: Operation | None) -> str:
        """Whether what was got is another owner's doing at the same key, or was done below another prefix."""
        if place is None or place.verb != "get":
            return ""
        got = got_value(taped)
        if got is None:
            return _between(self._deleted.get((place.namespace[0], place.key), place.namespace), place.namespace)
        for namespace in self._world.store.namespaces():
            entry = self._world.store.get(namespace, place.key)
            if namespace[0] == place.namespace[0] and entry is not None and entry.value == got.data:
                return _between(namespace, place.namespace)
        return ""

    def _remember(self, taped: Taped, place: Operation, before: Entry | None) -> None:
        at, is_taken = (place.namespace, place.key), is_done(taped.response)
        if place.verb == "set" and is_taken:
            replaced = before.value if before is not None else None
            self._past[at] = Past(taped.request.target, "set", 0, replaced, taped.request.headers.get(b"content-type"))
            self._deleted.pop((place.namespace[0], place.key), None)
        elif place.verb == "set":
            self._past[at] = self._past_of(place)._replace(refused=taped.response.status)
        elif place.verb == "delete" and is_taken:
            self._past[at] = Past(last="delete")
            self._deleted[place.namespace[0], place.key] = place.namespace

    def _follow(self, taped: Taped, place: Operation, before: Entry | None) -> None:
        """Let the double hold there what the real store does."""
        if place.verb == "get" and taped.response.status in (200, 404):
            self._put(place, got_value(taped))
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
