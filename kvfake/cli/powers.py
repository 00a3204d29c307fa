"""The commands that describe and steer a running server: env, faults, journal, clock, checkpoint, rollback, reset, worlds, respond.

Law: options in, one request to ``/_kvfake/``, its answer on stdout: as text, bounded and safe for a terminal, or as the server's
JSON. It has no power of its own. Only ``journal --follow`` repeats its request.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kvfake.cli.values import ask
from kvfake.contract import write_text
from kvfake.double import no_proxy
from kvfake.errors import CommandError, UsageError
from kvfake.files import exchange_line
from kvfake.http_client import NOT_KVFAKE, NoAnswer, Refused, environment, environment_in
from kvfake.lines import counted, printable, tell
from kvfake.world.redaction import shortened

_PAUSE_SECONDS = 0.2  # between two looks at a journal that is followed
_MAX_CHARACTERS = 200  # of a line's longest part

# -------------------------------------------------------------------------------------------------------------- the variables

_PLAIN = re.compile(r"[\w@%+=:,./~*-]*", re.ASCII)


def _dotenv(value: str) -> str:
    """The value as a file of variables has it. Bare where nothing needs quotes: ``docker --env-file`` would take them for a part of
    it. Libraries read single quotes literally, and escapes in double ones.
    """
    if _PLAIN.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"' if "'" in value else f"'{value}'"


_FORMATS: dict[str, Callable[[dict[str, str]], str]] = {
    "sh": lambda env: "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items()),
    "dotenv": lambda env: "".join(f"{name}={_dotenv(value)}\n" for name, value in env.items()),
    "github": lambda env: "".join(f"{name}={value}\n" for name, value in env.items()),  # as $GITHUB_ENV takes it
    "json": lambda env: json.dumps(env, indent=2) + "\n",
}


def _env(options: Namespace) -> None:
    _print_variables(environment(options.url, options.control_token), options)


def _print_variables(env: dict[str, str], options: Namespace) -> None:
    for url in (options.url, env["KVFAKE_URL"]):
        env |= no_proxy(url, {**os.environ, **env})
    for name, value in env.items():
        if not value.isprintable():
            raise CommandError(f"{name} cannot be printed: expected no line break and no control character in it, got {value!r}")
    write_text(_FORMATS[options.format](env))


# --------------------------------------------------------------------------------------------------------------------- faults

_SELECTION = ("on", "key", "service", "owner")
_POSITIONS = ("nth", "every", "after", "rate", "seed", "times", "per")
_ARGUMENTS: dict[str, tuple[Callable[[str], float], str]] = {
    "answer": (int, "a status, such as 503"),
    "delay": (float, "seconds, such as 0.5"),
    "limit": (int, "a number of requests, and --per SECONDS"),
}


def _faults(options: Namespace) -> None:
    _show(options, _ask(options, "/faults"), lambda answer: _table(map(_fault_cells, answer["faults"])))


def _fault_cells(fault: Mapping[str, Any]) -> tuple[str, ...]:
    return str(fault["id"]), fault["text"], counted(fault["hits"], "hit"), "active" if fault["active"] else "over"


def _add_fault(options: Namespace) -> None:
    fields = {name: getattr(options, name) for name in _SELECTION if getattr(options, name) is not None}
    if options.key_matches is not None:
        fields["key"] = {"matches": options.key_matches}
    fields[options.action.replace("-", "_")] = _argument(options.action, options.argument)
    fields |= {name: getattr(options, name) for name in _POSITIONS if hasattr(options, name)}
    fields |= {name: _moment(getattr(options, name)) for name in ("start", "end") if getattr(options, name) is not None}
    _show(options, _ask(options, "/faults", "POST", fields), lambda answer: [str(answer["id"])])


def _argument(action: str, text: str | None) -> float:
    """What follows the word of an action; ``True`` where nothing does. Raises `UsageError`."""
    if action not in _ARGUMENTS:
        if text is not None:
            raise UsageError(f"{action}: expected nothing behind it, got {text!r}")
        return True
    read, expected = _ARGUMENTS[action]
    try:
        return read(text or "")
    except ValueError:
        raise UsageError(f"{action}: expected {expected}, got {text or 'nothing'}") from None


def _remove_faults(options: Namespace) -> None:
    _delete_each(options, [f"/faults/{number}" for number in options.numbers])


def _clear_faults(options: Namespace) -> None:
    _show(options, _ask(options, "/faults", "DELETE"))


# -------------------------------------------------------------------------------------------------------------------- journal


def _journal(options: Namespace) -> None:
    names = ("method", "key", "service", "owner", "status")
    query = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    answer = _ask_journal(options, query)
    exchanges = answer["exchanges"]
    answer["exchanges"] = exchanges if options.last is None else exchanges[max(0, len(exchanges) - options.last) :]
    if not options.follow:
        _show(options, answer, _exchange_lines)
        return
    while True:
        if options.json:
            write_text("".join(f"{json.dumps(exchange)}\n" for exchange in answer["exchanges"]))
        else:
            _show(options, answer, _exchange_lines)
        time.sleep(_PAUSE_SECONDS)
        seen = answer["seen"]
        answer = _ask_journal(options, {**query, "since": seen})
        if answer["seen"] < seen:
            raise CommandError(f"the server at {options.url} has been started anew")
        if answer["dropped"] > seen:
            tell(
                f"up to {answer['dropped'] - seen} requests are not shown: the journal dropped them (journal_exchanges keeps more)"
            )


def _ask_journal(options: Namespace, query: Mapping[str, Any]) -> dict[str, Any]:
    answer = _ask(options, f"/journal?{urlencode(query, errors='surrogateescape', quote_via=quote)}")
    if not (
        isinstance(answer.get("exchanges"), list) and isinstance(answer.get("seen"), int) and isinstance(answer.get("dropped"), int)
    ):
        raise NoAnswer(NOT_KVFAKE)
    return answer


def _exchange_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for exchange in answer["exchanges"]:
        path = shortened(printable(exchange["path"]), _MAX_CHARACTERS)
        others = (exchange[name] for name in ("owner", "status", "duration", "rows", "fault"))
        yield exchange_line(exchange["time"], f"{exchange['method']:4}", path, *others)


# ------------------------------------------------------------------------------------------------- the clock, the checkpoints


def _clock(options: Namespace) -> None:
    _show(options, _ask(options, "/clock"), _clock_lines)


def _set_clock(options: Namespace) -> None:
    moves: dict[str, Any] = {"shift": options.seconds} if options.below == "shift" else {}
    if options.below in ("freeze", "resume"):
        moves[options.below] = True
    if options.below in ("freeze", "move") and options.moment is not None:
        moves["move_to"] = _moment(options.moment)
    _show(options, _ask(options, "/clock", "POST", moves), _clock_lines)


def _clock_lines(answer: Mapping[str, Any]) -> list[str]:
    return [f"{answer['time']} {'frozen' if answer['frozen'] else 'running'}"]


def _moment(text: str) -> str | float:
    """Seconds since 1970, or the text of a moment."""
    try:
        return float(text)
    except ValueError:
        return text


def _checkpoint(options: Namespace) -> None:
    _show(options, _ask(options, "/checkpoints", "POST"), lambda answer: [str(answer["checkpoint"])])


def _rollback(options: Namespace) -> None:
    _show(options, _ask(options, f"/checkpoints/{options.mark}/rollback", "POST"))


def _reset(options: Namespace) -> None:
    _show(options, _ask(options, "/reset", "POST"))


# --------------------------------------------------------------------------------------------------------- worlds, responses


def _worlds(options: Namespace) -> None:
    _show(options, _ask(options, "/worlds"), lambda answer: _table((one["id"], one["address"]) for one in answer["worlds"]))


def _open_world(options: Namespace) -> None:
    settings = {name: getattr(options, name) for name in ("profile", "strict", "token") if getattr(options, name) is not None}
    answer = _ask(options, "/worlds", "POST", settings)
    if options.format is None or options.json:
        _show(options, answer, lambda answer: _table([(answer["id"], answer["address"])]))
    else:
        _print_variables(environment_in(answer.get("env")), options)


def _end_worlds(options: Namespace) -> None:
    _delete_each(options, [f"/worlds/{quote(id, safe='', errors='surrogateescape')}" for id in options.ids])


def _respond(options: Namespace) -> None:
    headers = dict(_header(text) for text in options.header)
    route = {"method": options.method, "path": options.path, "status": options.status, "headers": headers, "body": options.body}
    if options.method == "any":
        route["method"] = None
    if options.json is not None:
        try:
            route["json"] = json.loads(options.json)
        except (ValueError, RecursionError):
            raise UsageError(f"--json: expected JSON, got {options.json!r}") from None
    _ask(options, "/routes", "POST", route)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"--header: expected 'NAME: VALUE', got {text!r}")
    return name.strip(), value.strip()


# ---------------------------------------------------------------------------------------------------------------- the server

_COMMANDS: dict[tuple[str, str | None], Callable[[Namespace], None]] = {
    ("env", None): _env,
    ("faults", None): _faults,
    ("faults", "add"): _add_fault,
    ("faults", "rm"): _remove_faults,
    ("faults", "clear"): _clear_faults,
    ("journal", None): _journal,
    ("clock", None): _clock,
    **dict.fromkeys([("clock", move) for move in ("freeze", "move", "shift", "resume")], _set_clock),
    ("checkpoint", None): _checkpoint,
    ("rollback", None): _rollback,
    ("reset", None): _reset,
    ("worlds", None): _worlds,
    ("worlds", "new"): _open_world,
    ("worlds", "end"): _end_worlds,
    ("respond", None): _respond,
}


def run(options: Namespace) -> None:
    """Run the command that the options name. Raises `CommandError`, and what `control_request` raises."""
    _COMMANDS[options.command, options.below](options)


def _ask(options: Namespace, path: str, method: str = "GET", payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return ask(options, f"/_kvfake{path}", method, b"" if payload is None else json.dumps(payload).encode())


def _delete_each(options: Namespace, paths: Iterable[str]) -> None:
    """Delete each; where one is not there, the others are deleted, and `Refused` is raised."""
    refused: Refused | None = None
    for path in paths:
        try:
            _show(options, _ask(options, path, "DELETE"))
        except Refused as why:
            refused = refused or why
    if refused is not None:
        raise refused


def _show(
    options: Namespace, answer: Mapping[str, Any], lines: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _: ()
) -> None:
    """Print the answer as JSON, or as the lines that say it. Raises `NoAnswer` where no kvfake answers so."""
    if options.json:
        write_text(json.dumps(answer, indent=2) + "\n")
        return
    try:
        write_text("".join(f"{printable(line)}\n" for line in lines(answer)))
    except (LookupError, TypeError, ValueError, AttributeError):
        raise NoAnswer(NOT_KVFAKE) from None


def _table(rows: Iterable[Iterable[str]]) -> list[str]:
    """The rows, each on a line, in columns."""
    cells = [[shortened(printable(cell), _MAX_CHARACTERS) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
