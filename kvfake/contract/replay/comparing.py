"""``kvfake compare``: a recording, replayed on the double, and what it answers otherwise.

Law: options in, lines on stdout, an exit code. It decides nothing of what differs, nor why.
"""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator

from kvfake.contract import DIFFERENT, write_text
from kvfake.contract.redaction import printable
from kvfake.contract.replay import tape
from kvfake.contract.replay.asked import token_of
from kvfake.contract.replay.replaying import Difference, Replay
from kvfake.services.facts import ROWS
from kvfake.settings import BY_NAME, WORLD, command_settings

OF_A_RECORDING = "plugin-1.2"  # the profile: a recording is of the real thing

_NOT_READ = frozenset(BY_NAME) - {"profile"}
_NOT_EXPLAINED = "not explained"
_COLUMNS = 132


def command(options: Namespace) -> int:
    settings = command_settings(vars(options), scopes=(WORLD,), overrides={"profile": OF_A_RECORDING}, unread=_NOT_READ)
    replay = Replay(tape.read(options.file), settings["profile"])
    first_rows: Counter[str] = Counter()
    for difference in replay.differences():
        first_rows[difference.rows[0] if difference.rows else _NOT_EXPLAINED] += 1
        _print(_lines(difference))
    _print(_shared(replay))
    _print([_summary(replay, first_rows)])
    return DIFFERENT if first_rows else 0


def _print(lines: Iterator[str] | list[str]) -> None:
    write_text("".join(f"{printable(line)}\n" for line in lines))


def _lines(difference: Difference) -> Iterator[str]:
    request = difference.taped.request
    who = token_of(request).decode("utf-8", "backslashreplace")
    path = request.target.decode("utf-8", "backslashreplace")
    yield f"#{difference.taped.number} {request.method} {path}" + (f" by {who}" if who else "")
    yield from (f"  {what}" for what in difference.what)
    for id in difference.rows:
        sentence = ROWS[id].sentence.replace("``", "")
        yield "  " + textwrap.shorten(f"{id}: {sentence}", _COLUMNS - 2, placeholder=" ...")
    if not difference.rows:
        yield f"  {_NOT_EXPLAINED}"


def _shared(replay: Replay) -> Iterator[str]:
    """What the replay has taken for granted."""
    for labels in replay.same:
        names = " and ".join(token.decode("utf-8", "backslashreplace") for _, token in labels)
        row = "M09" if labels[0][0] == "mattermost" else "P02"
        yield f"{names} read what the other had set: taken for one owner's (if they are not, {row})"


def _summary(replay: Replay, first_rows: Counter[str]) -> str:
    """The last line. A difference is counted under the row that is nearest."""
    count, differ = len(replay), sum(first_rows.values())
    text = f"{_counted(count, 'exchange')}: {count - differ} the same"
    if differ:
        rows = sorted(first_rows, key=lambda row: (row == _NOT_EXPLAINED, row))
        text += f", {differ} {'differs' if differ == 1 else 'differ'} ({', '.join(f'{row} {first_rows[row]}' for row in rows)})"
    if replay.beside:
        text += f"; {replay.beside} beside the stores {'was' if replay.beside == 1 else 'were'} not replayed"
    return text


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
