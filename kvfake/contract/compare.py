"""``kvfake compare``: replay a recording on the double, and print where their answers differ.

Law: options in, lines (or JSON, or JUnit's XML) and an exit code out. Before the replay the double gets an owner for each token,
and the values that were there before; during the replay its clock follows the moments that the real server gave. After a difference
it gets the real server's value, so that each difference is reported once. Which rows explain a difference is not decided here.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from kvfake.contract import DIFFERENT, write_text
from kvfake.contract.attribution import Difference, Elsewhere, Past, mismatches
from kvfake.contract.recorded_state import Place, RecordedState, Step, Value, is_done, label_of, values_after
from kvfake.contract.recording import RecordedExchange, Recording, read
from kvfake.contract.verify_report import add_case, junit_document
from kvfake.errors import CommandError
from kvfake.http.connection import sent_body
from kvfake.http.router import Router
from kvfake.lines import counted, printable
from kvfake.services import mattermost
from kvfake.services.facts import ROWS
from kvfake.services.messages import Operation, finished
from kvfake.settings import BY_NAME, SERVER, WORLD, command_settings, resolve
from kvfake.stores import Entry, Namespace
from kvfake.world.backend import Backend

RECORDED_PROFILE = "plugin-1.2"  # a recording is of a real server

_UNREAD = frozenset(BY_NAME) - {"profile"}
_NOT_EXPLAINED = "not explained"
_COLUMNS = 132


class Replay:
    """A recording, and the double on which it is replayed."""

    def __init__(self, recording: Recording, profile: str) -> None:
        settings = resolve({"profile": profile, "strict": True, "journal_exchanges": 0}, scopes=(SERVER, WORLD))
        backend = Backend("", settings)
        self._world, self._router = backend.own_world, Router(backend, None)
        self._base = urlsplit(recording.against).path.encode()
        self._state = RecordedState(exchange for exchange in recording.exchanges if not exchange.is_beside)
        self.owners = self._state.owners
        self.beside = len(recording.exchanges) - len(self._state.steps)
        self._past: dict[Place, Past] = {}

    def __len__(self) -> int:
        """How many exchanges are replayed."""
        return len(self._state.steps)

    @property
    def exchanges(self) -> Iterator[RecordedExchange]:
        """Those that are replayed."""
        return (step.exchange for step in self._state.steps)

    def differences(self) -> Iterator[Difference]:
        self._world.clock.freeze()
        for (_, token), owner in self.owners.items():
            self._world.tokens.add(token.decode("utf-8", "replace"), owner)
        for place, value in self._state.values.items():
            self._put(place, value)
        for step in self._state.steps:
            difference = self._difference(step) if step.operation is None else self._replayed(step, step.operation)
            if difference is not None:
                yield difference

    def _replayed(self, step: Step, operation: Operation) -> Difference | None:
        """Replay an operation. Where the answers differ, give the double the value of the real server."""
        request, recorded, verb = step.exchange.request, step.exchange.response, operation.verb
        place = (operation.namespace, operation.key)
        before, values = self._world.store.get(*place), values_after(request, recorded, operation)
        is_refused = verb in ("set", "delete") and not is_done(recorded)
        if verb == "set":
            self._move_clock(values.get(operation.key))
        difference = self._difference(step)
        if difference is not None and is_refused:
            self._put(place, before)
        elif difference is not None and verb != "mget" and values:
            self._put(place, values[operation.key])
        if verb == "set" and is_refused:
            self._past[place] = self._past.get(place, Past())._replace(refused=recorded.status)
        elif verb == "set":
            self._past[place] = Past(verb, request, before.value if before is not None else None)
        elif verb == "delete" and not is_refused:
            self._past[place] = Past(verb)
        elif verb == "get" and difference is not None and values:
            self._past.pop(place, None)  # another client may have changed it
        return difference

    def _difference(self, step: Step) -> Difference | None:
        """The difference between the recorded answer and the double's, if there is one."""
        request = step.exchange.request
        response = finished(self._router.answer(request, self._base))
        response = response.replace(body=sent_body(request.method, response))
        lines = mismatches(step.exchange, response)
        return Difference(step, response, lines, self._past, self._where) if lines else None

    def _where(self, namespace: Namespace, key: bytes, value: Value | None) -> Elsewhere | None:
        """Where else the value lies; without a value, where else the key was deleted."""
        if value is None:
            deleted = [place for place, past in self._past.items() if past.verb == "delete" and place[0][0] == namespace[0]]
            if any(space == namespace and key.startswith(one) for space, one in deleted):
                return Elsewhere.KEY
            return next((_between(space, namespace) for space, one in deleted if one == key), None)
        store = self._world.store
        places = [(space, key) for space in store.namespaces() if space[0] == namespace[0] and space != namespace]
        places += [(namespace, one) for one in store.keys(namespace) if one != key]
        holding = (place for place in places if (entry := store.get(*place)) is not None and entry.value == value.data)
        return next((_between(space, namespace) for space, _ in holding), None)

    def _put(self, place: Place, value: Value | Entry | None) -> None:
        if value is None:
            self._world.store.delete(*place)
        elif isinstance(value, Entry):
            self._world.store.set(*place, value)
        else:
            self._move_clock(value)
            self._world.store.set(*place, Entry(value.data, self._world.clock.now()))

    def _move_clock(self, value: Value | None) -> None:
        """Set the clock to the moment that the real server gave, if that can be read."""
        if value is not None and value.updated is not None:
            with suppress(ValueError):
                self._world.clock.move_to(value.updated)


def _between(one: Namespace, other: Namespace) -> Elsewhere:
    return Elsewhere.KEY if one == other else Elsewhere.OWNER if one[1] != other[1] else Elsewhere.PREFIX


# ----------------------------------------------------------------------------------------------------------------- the command


def command(options: argparse.Namespace) -> int:
    """Print the differences. Returns the exit code."""
    settings = command_settings(vars(options), scopes=(WORLD,), overrides={"profile": RECORDED_PROFILE}, unread=_UNREAD)
    replay = Replay(read(options.file), settings["profile"])
    first_rows: Counter[str] = Counter()
    differences: list[Difference] = []
    for difference in replay.differences():
        first_rows[difference.rows[0] if difference.rows else _NOT_EXPLAINED] += 1
        if options.json or options.junit is not None:
            differences.append(difference)
        if not options.json:
            _print(_lines(difference))
    if options.json:
        write_text(json.dumps(_as_json(replay, differences, first_rows), indent=2) + "\n")
    else:
        _print(_shared(replay))
        _print([_summary(replay, first_rows)])
    if options.junit is not None:
        try:
            Path(options.junit).write_bytes(_as_junit(replay, differences))
        except OSError as failed:
            raise CommandError(f"cannot write {options.junit}: {failed.strerror}", DIFFERENT) from None
    return DIFFERENT if first_rows else 0


def _as_json(replay: Replay, differences: Iterable[Difference], first_rows: Counter[str]) -> dict[str, Any]:
    """What the lines say, for tools. A difference is counted under its nearest row."""
    return {
        "exchanges": len(replay),
        "same": len(replay) - first_rows.total(),
        "differ": first_rows.total(),
        "rows": dict(sorted(first_rows.items())),
        "beside": replay.beside,
        "shared": [printable(line) for line in _shared(replay)],
        "differences": [
            {
                "number": difference.exchange.number,
                **dict(zip(("method", "target", "token"), _request_words(difference.exchange), strict=True)),
                "differs": [printable(line) for line in difference.lines],
                "rows": difference.rows,
            }
            for difference in differences
        ],
    }


def _as_junit(replay: Replay, differences: Iterable[Difference]) -> bytes:
    """A test case for each exchange that was replayed."""
    suite, by_number = ET.Element("testsuite", name="kvfake compare"), {one.exchange.number: one for one in differences}
    for exchange in replay.exchanges:
        method, target, _ = _request_words(exchange)
        case = add_case(suite, "kvfake.compare", f"#{exchange.number} {method} {target}")
        difference = by_number.get(exchange.number)
        if difference is not None:
            message = ", ".join(difference.rows) or _NOT_EXPLAINED
            ET.SubElement(case, "failure", message=message).text = "\n".join(map(printable, _lines(difference)))
    return junit_document(suite)


def _request_words(exchange: RecordedExchange) -> tuple[str, str, str]:
    """Method, target and token of the request, for a terminal."""
    request = exchange.request
    token = label_of(request)[1].decode("utf-8", "backslashreplace")
    return printable(request.method), printable(request.target.decode("utf-8", "backslashreplace")), printable(token)


def _print(lines: Iterable[str]) -> None:
    write_text("".join(f"{printable(line)}\n" for line in lines))


def _lines(difference: Difference) -> Iterator[str]:
    method, target, token = _request_words(difference.exchange)
    yield f"#{difference.exchange.number} {method} {target}" + (f" by {token}" if token else "")
    yield from (f"  {line}" for line in difference.lines)
    for id in difference.rows:
        sentence = ROWS[id].sentence.replace("``", "")
        yield "  " + textwrap.shorten(f"{id}: {sentence}", _COLUMNS - 2, placeholder=" ...")
    if not difference.rows:
        yield f"  {_NOT_EXPLAINED}"


def _shared(replay: Replay) -> Iterator[str]:
    """What the replay has assumed about tokens."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (service, token), owner in replay.owners.items():
        groups[service, owner].append(token.decode("utf-8", "backslashreplace"))
    for (service, _), tokens in groups.items():
        if len(tokens) > 1:
            row = "M09" if service == mattermost.NAME else "P02"
            yield f"{' and '.join(tokens)} read what the other had set: taken for one owner's (if they are not, {row})"


def _summary(replay: Replay, first_rows: Counter[str]) -> str:
    """The last line. A difference is counted under its nearest row."""
    count, differ = len(replay), sum(first_rows.values())
    text = f"{counted(count, 'exchange')}: {count - differ} the same"
    if differ:
        rows = sorted(first_rows, key=lambda row: (row == _NOT_EXPLAINED, row))
        text += f", {differ} {'differs' if differ == 1 else 'differ'} ({', '.join(f'{row} {first_rows[row]}' for row in rows)})"
    if replay.beside:
        text += f"; {replay.beside} beside the stores {'was' if replay.beside == 1 else 'were'} not replayed"
    return text
