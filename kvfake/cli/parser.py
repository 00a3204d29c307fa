"""The words of the command ``kvfake``: every command, its options, and what ``--help`` says.

Law: argv in, options out. It does nothing of what it describes, and imports nothing that does.
"""

from __future__ import annotations

import os
import re
from argparse import (
    REMAINDER,
    SUPPRESS,
    Action,
    ArgumentError,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    HelpFormatter,
    Namespace,
    _MutuallyExclusiveGroup,
)
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

from kvfake import __version__
from kvfake.settings import BY_NAME, COMMAND, MATTERMOST, PERSIST, REAL, SERVER, TOKEN_OPTIONS, WORLD, Setting, of

DEFAULT_URL = "http://127.0.0.1:8065"
FORMATS = ("sh", "dotenv", "github", "json")
_MAX_DIGITS = 15

_URL = re.compile(r"\w+://[^\s'\"]+")


class _Words(NamedTuple):
    """What ``--help`` says of a command: in a few words, in some more, and an example."""

    few: str
    more: str
    example: str


_GROUPS: dict[str, dict[str, _Words]] = {
    "Serving": {
        "serve": _Words(
            "serve both services until Ctrl-C",
            "Serve both services until Ctrl-C, SIGTERM or SIGHUP. The first line on stdout has the address.",
            "kvfake serve --seed values.json --export values.json",
        ),
        "run": _Words(
            "start a double and run a command with it",
            "Start a double on a free port, run a command with the double's addresses and tokens in its environment, and exit with "
            "the command's exit code. After it, list on stderr the requests that were refused or that nothing answered, the "
            "answers that were kinder than the service's, and the faults that never struck.",
            "kvfake run -- npm test",
        ),
        "env": _Words(
            "print the variables with which an app finds a running server",
            "Print the variables with which an app finds a running server.",
            'eval "$(kvfake env)"',
        ),
        "wait": _Words(
            "wait until a server answers",
            "Wait until a kvfake server answers.",
            "kvfake wait --url http://127.0.0.1:8065 --timeout 10",
        ),
    },
    "Values of a running server": {
        "dump": _Words(
            "write the values to a file",
            "Write the values of a running server, and the tokens that were declared, as a file of values: JSON, sorted and "
            "indented, which load and serve --seed read. An old FILE is replaced as a whole, or left as it was.",
            "kvfake dump values.json",
        ),
        "load": _Words(
            "set the values of a file",
            "Set all values of a file of values on a running server. If the file is invalid, set none. If the file holds several "
            "worlds, set the values of one: of --from-world, else of --world if the file has it, else of the server's own world.",
            "kvfake load values.json --replace",
        ),
        "ls": _Words(
            "list the keys",
            "List the keys of a running server, sorted, one on each line: service, owner, prefix and key, separated by tabs. A "
            "name that cannot be printed, or contains a backslash, is written as in a JSON string.",
            "kvfake ls --service persist --begins convo::",
        ),
        "get": _Words(
            "print a value",
            "Print the bytes of one value of a running server, and nothing else; on a terminal, a line break follows. If there is "
            "no such key, the exit code is 1.",
            "kvfake get name",
        ),
        "set": _Words(
            "set a value",
            "Set one value on a running server. Mattermost stores JSON, Persist stores any text.",
            "kvfake set name '\"Ada\"'",
        ),
        "del": _Words(
            "delete values",
            "Delete values of a running server. If one does not exist, the exit code is 1, and the others are deleted.",
            "kvfake del name other",
        ),
    },
    "Control of a running server": {
        "faults": _Words(
            "list, add and remove faults",
            "List the faults of a running server: number, the fault as a sentence, and how often it struck.",
            "kvfake faults",
        ),
        "journal": _Words(
            "show requests and their answers",
            "Show the requests to a running server, oldest first: time, method, path, owner, status, duration, then the rows in "
            "which the answer was kinder than the service's, and the fault that struck. With --json and --follow together, each "
            "request is a line of JSON.",
            "kvfake journal --follow --method PUT",
        ),
        "clock": _Words(
            "show and set the clock",
            "Show the time of a running server's clock, which sets the times in the data, and whether it is frozen.",
            "kvfake clock",
        ),
        "checkpoint": _Words(
            "mark the current state",
            "Mark the current values, clock, faults and journal of a running server, and print the number of the mark.",
            "mark=$(kvfake checkpoint)",
        ),
        "rollback": _Words(
            "go back to a checkpoint",
            "Set values, clock, faults and journal of a running server back to a checkpoint. Later checkpoints are removed.",
            "kvfake rollback 1",
        ),
        "reset": _Words(
            "go back to the seed, or to no values",
            "Go back to the values of the seed, or to none; remove faults, journal and checkpoints; let the clock show the "
            "machine's time. Tokens, neighbours and settings stay.",
            "kvfake reset",
        ),
        "worlds": _Words(
            "list, open and end worlds",
            "List the worlds of a running server: id and address.",
            "kvfake worlds",
        ),
        "respond": _Words(
            "answer a path outside the stores",
            "Make a running server answer requests that are not for a store. If two such answers match a request, the later one is "
            "used.",
            'kvfake respond POST /api/v4/posts --status 201 --json \'{"id": "a-post"}\'',
        ),
    },
    "Comparison with the real services": {
        "verify": _Words(
            "check whether a server does what each row says",
            "Check whether a server does what each row of the fact list says. The verdict is: holds, differs (with the exchange), "
            "or could not be seen (with what is missing). Without --against the double itself is checked. verify uses its own keys "
            "and removes them. Exit code: 0, 1 if a row differs, 2 if the server cannot be checked. No proxy is used.",
            "kvfake verify --against https://mattermost.example --bot-token $TOKEN",
        ),
        "explain": _Words(
            "explain a row: a fact about a service, such as M15",
            "Print rows of the fact list. A row is one fact about a service, with its source, what each profile does, and the "
            "tests that show it.",
            "kvfake explain M15 P03",
        ),
        "openapi": _Words(
            "print an OpenAPI description",
            "Print an OpenAPI 3.1 description of both services and of /_kvfake/, as JSON.",
            "kvfake openapi > openapi.json",
        ),
        "record": _Words(
            "record the exchanges of an app and a real server",
            "Forward requests to a real server, until Ctrl-C, and write each exchange to a file, without tokens. The first line on "
            "stdout has the site URL to give the app. No proxy is used.",
            "kvfake record --against https://mattermost.example -o recording.jsonl",
        ),
        "compare": _Words(
            "replay a recording on the double",
            "Replay the exchanges of a recording on the double, and show each difference with the row that explains it. Exit code: "
            "0, 1 for a difference, 2 for a file that is not a recording.",
            "kvfake compare recording.jsonl",
        ),
    },
}
ACTIONS = {  # of `faults add`: what follows the word
    "answer": "STATUS",
    "lose-acknowledgement": "",
    "pretend": "",
    "cut": "",
    "reset": "",
    "hang": "",
    "delay": "SECONDS",
    "truncate": "",
    "garble": "",
    "stale": "",
    "limit": "NUMBER",
}
_BELOW: dict[str, dict[str, _Words]] = {  # the commands of a command
    "faults": {
        "add": _Words(
            "add a fault",
            "Make requests to the services fail, or be answered late or differently, and print the number of the fault. ACTION is "
            "one of: "
            + ", ".join(f"{word} {argument}".strip() for word, argument in ACTIONS.items())
            + ". The fault strikes the next request that matches, unless an option says otherwise.",
            "kvfake faults add answer 503 --on PUT --key name --times 2",
        ),
        "rm": _Words("remove faults", "Remove faults by their numbers.", "kvfake faults rm 1 2"),
        "clear": _Words("remove all faults", "Remove all faults.", "kvfake faults clear"),
    },
    "clock": {
        "freeze": _Words(
            "stop the clock", "Stop the clock, now or at a moment, and show it.", "kvfake clock freeze 2016-12-31T23:59:59Z"
        ),
        "move": _Words("set the clock", "Set the clock to a moment, and show it.", "kvfake clock move 2016-12-31"),
        "shift": _Words("move the clock ahead or back", "Move the clock ahead or back, and show it.", "kvfake clock shift 3600"),
        "resume": _Words(
            "go back to the machine's time", "Let the clock show the machine's time again, and show it.", "kvfake clock resume"
        ),
    },
    "worlds": {
        "new": _Words(
            "open a world",
            "Open a world, which shares nothing with others, and print its id and its address; with --format, print the variables "
            "with which an app finds it.",
            'eval "$(kvfake worlds new --format sh)"',
        ),
        "end": _Words("end worlds", "End worlds by their ids. They then refuse all requests.", "kvfake worlds end a1b2c3-1"),
    },
}

VALUES = tuple(_GROUPS["Values of a running server"])
POWERS = ("env", *_GROUPS["Control of a running server"])
_SETTINGS_HELP = """\
Every option except --all-worlds and --quiet can be set by a variable, such as --mattermost-missing by KVFAKE_MATTERMOST_MISSING.
In a variable a switch is 1 or 0, and the values of a repeatable option are separated by spaces. A flag overrides a variable.
"""
_TOKENS_HELP = """\
Mattermost sends an app its tokens with every call: context.bot_access_token is the bot's, and context.acting_user_access_token is
a user's, if the app expands it. Log both in a handler of the app, on a test server, and use them within the hour. A plain user's
token is a personal access token of a user (Profile, Security).
"""
_WORDS_HELP = 'Write "--" before a KEY or VALUE that begins with "-": kvfake get -- -key'
_MOMENT_HELP = "such as 2016-12-31T23:59:59Z, or seconds since 1970"


def parse(argv: list[str]) -> tuple[ArgumentParser, Namespace]:
    """The parser of the command, and the options, of which ``command`` is the first word; ends the process where they are wrong, or
    help was asked for.
    """
    cut = argv.index("--") if argv[:1] == ["run"] and "--" in argv else len(argv)
    options, unknown = _parser().parse_known_args(argv[:cut])
    parser: _Parser = options.parser
    if unknown:
        parser.error(_not_known(unknown, parser.flags))
    if cut < len(argv):
        options.words += argv[cut if options.words else cut + 1 :]  # behind its first word a "--" is the command's own
    if options.world is not None:
        from urllib.parse import quote

        options.url = f"{options.url.rstrip('/')}/~{quote(options.world, safe='', errors='surrogateescape')}"
    return parser, options


def _not_known(words: list[str], known: list[str]) -> str:
    """An error that names the flags alone: what stands behind one may be a secret."""
    flags = [word.partition("=")[0] if word.startswith("--") else word[:2] for word in words if word.startswith("-")]
    if not flags:
        return f"expected no more words, got {len(words)}"
    return f"unrecognized arguments: {' '.join(flags)}{_did_you_mean(flags[0], known)}"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def shown_urls(text: str) -> str:
    """The text, with no secret in its URLs."""
    from kvfake.world.redaction import BY_NAME, shown_url

    return _URL.sub(lambda url: BY_NAME.redact_text(url[0]), shown_url(text))


class _Formatter(HelpFormatter):
    """Wraps each paragraph, but for those that are indented: they stand as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrap = super()._fill_text
        return "\n\n".join(part if part.startswith(" ") else wrap(part, width, indent) for part in text.split("\n\n"))


class _Parser(ArgumentParser):
    def __init__(self, *names: Any, **more: Any) -> None:
        super().__init__(*names, **{"formatter_class": _Formatter, **more})
        self.set_defaults(parser=self)  # the innermost, where a command has commands

    @property
    def flags(self) -> list[str]:
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        super().error(shown_urls(message))

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            meant = _did_you_mean(str(value), known) or f": expected one of {', '.join(known)}"
            raise ArgumentError(action, f"there is no {value!r}{meant}")


def _epilog(words: _Words, *more: str) -> str:
    return "\n\n".join([*more, "example:", f"  {words.example}"])


def _add_commands(parser: _Parser, commands: dict[str, _Words], dest: str, is_required: bool) -> dict[str, _Parser]:
    """The parsers of commands, which the help of theirs lists by itself."""
    add = parser.add_subparsers(dest=dest, metavar="COMMAND", required=is_required, parser_class=_Parser)
    return {name: add.add_parser(name, description=words.more, epilog=_epilog(words)) for name, words in commands.items()}


def _listed(commands: dict[str, _Words], width: int = 0) -> str:
    width = width or max(map(len, commands)) + 2
    return "\n".join(f"    {name:{width}}{words.few}" for name, words in commands.items())


def _parser() -> ArgumentParser:
    words = {name: one for group in _GROUPS.values() for name, one in group.items()}
    width = max(map(len, words)) + 2
    parser = _Parser(
        "kvfake",
        description="A double of the Mattermost Apps key-value store and of Beep Boop Persist, for tests and for work offline.",
        epilog="\n\n".join(
            [
                *(f"  {title}:\n{_listed(group, width)}" for title, group in _GROUPS.items()),
                "kvfake COMMAND --help says more, with an example.",
            ]
        ),
    )
    parser.add_argument("--version", action="version", version=f"kvfake {__version__}")
    parser.set_defaults(service=None, prefix=None, as_token=None, world=None, below=None)
    add = _add_commands(parser, words, "command", is_required=True)
    for name in ("serve", "run"):
        free_port = "Without --port, run takes a free port; it does not read KVFAKE_PORT."
        add[name].epilog = _epilog(words[name], _SETTINGS_HELP + free_port)
        for setting in of(SERVER, WORLD, COMMAND):
            _add_setting(add[name], setting, free_port=name == "run")
        add[name].add_argument("--all-worlds", action="store_true", help="write the values of all worlds to the file of --export")
    add["run"].add_argument("--quiet", action="store_true", help="print no summary at the end")
    add["run"].usage = "kvfake run [options] -- COMMAND [ARGUMENT ...]"
    add["run"].add_argument("words", nargs=REMAINDER, metavar="COMMAND", help="the command and its arguments")
    for name in (*VALUES, *POWERS):
        _add_server(add[name])
    _add_server(add["wait"], has_worlds=False)
    add["env"].add_argument("--format", choices=FORMATS, default="sh", help="how to print them (default: sh, for eval)")
    add["wait"].add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="how long to wait (default: 30)")
    add["dump"].add_argument("file", nargs="?", default="-", metavar="FILE", help="where to write it (default: -, stdout)")
    add["dump"].add_argument("--all-worlds", action="store_true", help="also the values of the other worlds, in the same file")
    add["load"].add_argument("--from-world", metavar="ID", help="the world of the file, where it holds several")
    add["load"].add_argument("file", metavar="FILE", help="a file of values; - is stdin")
    add["load"].add_argument("--replace", action="store_true", help="remove the values that the server has first")
    _add_address(add["ls"], None, "any", "any")
    add["ls"].add_argument("--begins", default="", metavar="TEXT", help="only keys that begin with it")
    for name in ("get", "set", "del"):
        add[name].epilog = _epilog(words[name], _WORDS_HELP)
        _add_address(add[name], MATTERMOST, "app/bot, or the project that is called project", "no prefix")
    add["get"].add_argument("key", metavar="KEY")
    add["set"].add_argument("key", metavar="KEY")
    add["set"].add_argument("value", metavar="VALUE", help="the exact bytes to store; - is stdin")
    add["del"].add_argument("keys", nargs="+", metavar="KEY")
    _add_powers(add, words)
    _add_contract(add)
    return parser


def _add_powers(add: dict[str, _Parser], words: dict[str, _Words]) -> None:
    for name in set(POWERS) - {"env", "respond"}:
        _add_json(add[name])
    below: dict[str, dict[str, _Parser]] = {}
    for name, commands in _BELOW.items():
        below[name] = _add_commands(add[name], commands, "below", is_required=False)
        add[name].epilog = "\n\n".join(["commands:", _listed(commands), _epilog(words[name])])
        for parser in below[name].values():
            _add_server(parser, is_below=True)
            _add_json(parser, is_below=True)
    _add_fault(below["faults"]["add"])
    below["faults"]["rm"].add_argument("numbers", type=_whole, nargs="+", metavar="NUMBER")
    journal, clock, new, respond = add["journal"], below["clock"], below["worlds"]["new"], add["respond"]
    journal.add_argument("--follow", action="store_true", help="print each new one as it comes, until Ctrl-C")
    journal.add_argument("--last", type=_whole, metavar="COUNT", help="only so many of the newest (default: all that are kept)")
    _add_selection(journal, "--method")
    journal.add_argument("--status", type=_whole, metavar="STATUS", help="only requests with that status")
    clock["freeze"].add_argument("moment", nargs="?", metavar="MOMENT", help=f"{_MOMENT_HELP} (default: now)")
    clock["move"].add_argument("moment", metavar="MOMENT", help=_MOMENT_HELP)
    clock["shift"].add_argument("seconds", type=_number, metavar="SECONDS")
    add["rollback"].add_argument("mark", type=_whole, metavar="MARK", help="the number that kvfake checkpoint printed")
    for name in ("profile", "strict", "token"):
        _add_setting(new, BY_NAME[name], free_port=False)
    new.add_argument("--format", choices=FORMATS, help="print the world's variables instead, as kvfake env does")
    below["worlds"]["end"].add_argument("ids", nargs="+", metavar="ID")
    respond.add_argument("method", metavar="METHOD", help="such as POST, or any")
    respond.add_argument("path", metavar="PATH", help="the whole path, such as /api/v4/posts")
    respond.add_argument("--status", type=_whole, default=200, metavar="STATUS", help="(default: 200)")
    body = respond.add_mutually_exclusive_group()
    body.add_argument("--json", metavar="TEXT", help="the body, as JSON")
    body.add_argument("--body", metavar="TEXT", help="the body, as plain text")
    respond.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="(repeatable)")


def _add_fault(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=tuple(ACTIONS), metavar="ACTION")
    parser.add_argument("argument", nargs="?", metavar="ARG", help="a status for answer, seconds for delay, a number for limit")
    parser.add_argument(
        "--per", type=_number, default=SUPPRESS, metavar="SECONDS", help="for limit: more requests in so many seconds get 429"
    )
    key = _add_selection(parser, "--on")
    key.add_argument("--key-matches", metavar="REGEX", help="only requests for keys in which this is found")
    for flag, meaning in (
        ("--nth", "strike only the nth matching request"),
        ("--every", "strike every nth matching request"),
        ("--after", "do not strike the first so many"),
        ("--seed", "for --rate: the same number chooses the same requests"),
    ):
        parser.add_argument(flag, type=_whole, default=SUPPRESS, metavar="NUMBER", help=meaning)
    parser.add_argument(
        "--rate", type=_number, default=SUPPRESS, metavar="RATE", help="strike at random, with this probability (0 to 1)"
    )
    parser.add_argument("--times", type=_times, default=SUPPRESS, metavar="NUMBER|forever", help="strike at most so many requests")
    parser.add_argument("--start", metavar="MOMENT", help=f"strike only from this moment on, on the world's clock: {_MOMENT_HELP}")
    parser.add_argument("--end", metavar="MOMENT", help="strike only before this moment")


def _add_selection(parser: ArgumentParser, method: str) -> _MutuallyExclusiveGroup:
    """The options that select requests; the group of the key."""
    parser.add_argument(method, metavar="METHOD", help="only requests with that method")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", metavar="KEY", help="only requests for that key")
    parser.add_argument("--service", choices=(MATTERMOST, PERSIST), help="only requests to that service")
    parser.add_argument("--owner", metavar="OWNER", help="only requests of that owner: app/user, or the name of a project")
    return key


def _add_json(parser: ArgumentParser, is_below: bool = False) -> None:
    default: Any = SUPPRESS if is_below else False
    parser.add_argument("--json", action="store_true", default=default, help="print the server's answer as JSON")


def _add_contract(add: dict[str, _Parser]) -> None:
    verify, record, compare = add["verify"], add["record"], add["compare"]
    verify.epilog = f"{_TOKENS_HELP}\n{verify.epilog}"
    verify.add_argument("--service", choices=(MATTERMOST, PERSIST), default=MATTERMOST, help=f"(default: {MATTERMOST})")
    for flag, (variable, meaning) in TOKEN_OPTIONS.items():
        verify.add_argument(flag, metavar="TOKEN", default=os.environ.get(variable) or None, help=f"{meaning} (or {variable})")
    verify.add_argument("--raw", action="store_true", help="also send malformed requests, over a plain socket (M20 to M22, M28)")
    verify.add_argument("--require", choices=("all",), help="all: a row that could not be seen is a failure too")
    for command in (verify, record):
        for setting in of(REAL):
            _add_setting(command, setting, free_port=False)
        command.add_argument(
            "--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="how long to wait for one answer (default: 10)"
        )
    own = "documented, or with --against the server's own; plugin-1.2 for a real server"
    _add_setting(verify, BY_NAME["profile"], free_port=False, default=own)
    _add_setting(compare, BY_NAME["profile"], free_port=False, default="plugin-1.2")
    add["explain"].add_argument("rows", nargs="*", metavar="ROW", help="such as M15 (default: every row)")
    for name in ("host", "port"):
        _add_setting(record, BY_NAME[name], free_port=name == "port")
    record.add_argument("-o", "--output", metavar="FILE", required=True, help="the file for the exchanges")
    compare.add_argument("file", metavar="FILE", help="a recording of kvfake record")
    for command, what in ((verify, "verdicts"), (compare, "differences")):
        command.add_argument("--json", action="store_true", help=f"print the {what} as JSON")
        command.add_argument("--junit", metavar="FILE", help="write them to a file, as JUnit XML")


def _add_setting(parser: ArgumentParser, setting: Setting, free_port: bool, default: str | None = None) -> None:
    """``default`` says it where the command has one of its own."""
    default = default or (
        "a free one" if free_port and setting.name == "port" else "on" if setting.default is True else setting.default
    )
    meaning = setting.meaning + (f" (default: {default})" if default not in (None, (), "", False) else "")
    more: dict[str, Any] = {"metavar": "|".join(setting.choices) or setting.metavar}
    if setting.is_switch:
        more = {"action": BooleanOptionalAction, "default": None}
    elif setting.is_list:
        more["action"] = "append"
    parser.add_argument(setting.flag, dest=setting.name, help=meaning, **more)


def _add_server(parser: ArgumentParser, has_worlds: bool = True, is_below: bool = False) -> None:
    """``is_below``: the command above has the same options, whose values stay."""
    parser.add_argument(
        "--url",
        default=SUPPRESS if is_below else os.environ.get("KVFAKE_URL") or DEFAULT_URL,
        help=f"the address of the server, or of one of its worlds (default: the variable KVFAKE_URL, else {DEFAULT_URL})",
    )
    if has_worlds:
        parser.add_argument(
            "--world", metavar="ID", default=SUPPRESS if is_below else None, help="use the world with this id (see kvfake worlds)"
        )
    parser.add_argument(
        "--control-token",
        metavar="TOKEN",
        default=SUPPRESS if is_below else os.environ.get("KVFAKE_CONTROL_TOKEN"),
        help="the server's control token, if it needs one (default: the variable KVFAKE_CONTROL_TOKEN)",
    )


def _add_address(parser: ArgumentParser, service: str | None, owner: str, prefix: str) -> None:
    parser.add_argument("--service", choices=(MATTERMOST, PERSIST), default=service, help=f"(default: {service or 'both'})")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--owner", help=f"app/user for Mattermost, the name of a project for Persist (default: {owner})")
    whose.add_argument("--as-token", metavar="TOKEN", help="the owner of this token, even if it was not declared")
    parser.add_argument("--prefix", help=f"only for Mattermost (default: {prefix})")


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def _times(text: str) -> int | None:
    return None if text == "forever" else _whole(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise ArgumentTypeError(f"expected a number, such as 30 or 0.5, got {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = _number(text)
    except ArgumentTypeError:
        seconds = -1.0
    if seconds < 0:
        raise ArgumentTypeError(f"expected a number of seconds, such as 30 or 0.5, got {text!r}")
    return seconds
