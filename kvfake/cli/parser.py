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
            "Serve both services, until Ctrl-C, SIGTERM or SIGHUP. The first line on stdout says where.",
            "kvfake serve --seed values.json --export values.json",
        ),
        "run": _Words(
            "run a command beside a double of its own",
            "Run a command beside a fresh double on a free port, with the double's addresses and tokens in its environment; the "
            "exit code is the command's. Where something was refused, unmatched, kinder than the service, or a fault never struck, "
            "a summary on stderr says so.",
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
            "print the values as a file",
            "Print what a running server holds, and the tokens that were named, as a file of values: JSON, sorted and indented, "
            "which load and serve --seed take. A FILE is replaced as a whole, or not at all.",
            "kvfake dump values.json",
        ),
        "load": _Words(
            "set the values of a file",
            "Set every value of a file of values on a running server; where something in it is not right, none. Of a file of "
            "several worlds those of one are set: of --from-world, else of --world where the file has it, else of the server's "
            "own.",
            "kvfake load values.json --replace",
        ),
        "ls": _Words(
            "list the keys",
            "List the keys of a running server, sorted, one a line: service, owner, prefix, key, with tabs between. A name that "
            "cannot be printed, or holds a backslash, stands as inside a JSON string.",
            "kvfake ls --service persist --begins convo::",
        ),
        "get": _Words(
            "print a value",
            "Print the bytes of one value of a running server, and nothing else. Where there is none the exit code is 1.",
            "kvfake get name",
        ),
        "set": _Words(
            "set a value",
            "Set one value on a running server. Mattermost keeps JSON, Persist any text.",
            "kvfake set name '\"Ada\"'",
        ),
        "del": _Words(
            "delete values",
            "Delete values of a running server. Where one is not there the exit code is 1; the others are deleted.",
            "kvfake del name other",
        ),
    },
    "Steering a running server": {
        "faults": _Words(
            "list, add and remove faults",
            "List the faults of a running server: number, what happens to which requests, how often it struck.",
            "kvfake faults",
        ),
        "journal": _Words(
            "show what was asked and answered",
            "Show the requests to a running server, oldest first: time, method, path, owner, status, duration, then the rows in "
            "which the answer was kinder than the service, and the fault that struck. With --json and --follow, each is a line of "
            "JSON.",
            "kvfake journal --follow --method PUT",
        ),
        "clock": _Words(
            "show and set the time",
            "Show the time in the data of a running server, and whether it is frozen.",
            "kvfake clock",
        ),
        "checkpoint": _Words(
            "mark everything as it is now",
            "Mark values, clock, faults and journal of a running server as they are now, and print the mark.",
            "mark=$(kvfake checkpoint)",
        ),
        "rollback": _Words(
            "go back to a mark",
            "Let values, clock, faults and journal of a running server be as they were at the mark. Later marks are gone.",
            "kvfake rollback 1",
        ),
        "reset": _Words(
            "go back to the beginning",
            "Let values be those of the seed, or none; remove faults, journal and checkpoints; let the clock be the machine's. "
            "Tokens, routes and settings stay.",
            "kvfake reset",
        ),
        "worlds": _Words(
            "list, open and end worlds",
            "List the worlds of a running server: id and address.",
            "kvfake worlds",
        ),
        "respond": _Words(
            "answer a path beside the stores",
            "Let a running server answer such requests, which neither service does. Of two that meet a request the later answers.",
            'kvfake respond POST /api/v4/posts --status 201 --json \'{"id": "a-post"}\'',
        ),
    },
    "Contract": {
        "verify": _Words(
            "ask a server whether it does what each row says",
            "Ask a server whether it does what each row of the fact list says: holds, differs (with the exchange), or could not be "
            "seen (with what is missing). With no --against the double itself is asked. It works on keys of its own, and removes "
            "them again. Exit code: 0, 1 for a difference, 2 for a server that cannot be asked. No proxy is used.",
            "kvfake verify --against https://mattermost.example --bot-token $TOKEN",
        ),
        "explain": _Words(
            "explain a row: a fact about a service, such as M15",
            "Print rows of the fact list. A row is one fact about a service: its source, what each profile does, the test that "
            "shows it.",
            "kvfake explain M15 P03",
        ),
        "openapi": _Words(
            "print an OpenAPI description",
            "Print an OpenAPI 3.1 description of both services and of /_kvfake/, as JSON.",
            "kvfake openapi > openapi.json",
        ),
        "record": _Words(
            "keep what an app and a real server say",
            "Stand before a real server, until Ctrl-C, and keep each exchange in a file, without tokens. The first line on stdout "
            "says what to give the app as its site URL. No proxy is used.",
            "kvfake record --against https://mattermost.example -o recording.jsonl",
        ),
        "compare": _Words(
            "replay a recording on the double",
            "Replay the exchanges of a recording on the double, and show each difference with the row that explains it. Exit code: "
            "0, 1 for a difference, 2 for a file that is no recording.",
            "kvfake compare recording.jsonl",
        ),
    },
}
_ACTIONS = {  # of `faults add`: what follows the word
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
            "Let requests to the services go wrong, and print the number of the fault. ACTION: "
            + ", ".join(f"{word} {argument}".strip() for word, argument in _ACTIONS.items())
            + ". It strikes the next such request, unless an option says otherwise.",
            "kvfake faults add answer 503 --on PUT --key name --times 2",
        ),
        "rm": _Words("remove faults", "Remove faults by their numbers.", "kvfake faults rm 1 2"),
        "clear": _Words("remove all faults", "Remove all faults.", "kvfake faults clear"),
    },
    "clock": {
        "freeze": _Words("stop it", "Stop the clock, now or at a moment, and show it.", "kvfake clock freeze 2016-12-31T23:59:59Z"),
        "move": _Words("set it", "Set the clock to a moment, and show it.", "kvfake clock move 2016-12-31"),
        "shift": _Words("move it ahead, or back", "Move the clock ahead, or back, and show it.", "kvfake clock shift 3600"),
        "resume": _Words("let it be the machine's", "Let the clock be the machine's again, and show it.", "kvfake clock resume"),
    },
    "worlds": {
        "new": _Words(
            "open a world",
            "Open a world, which shares nothing with others, and print its id and its address; with --format the variables with "
            "which an app finds it.",
            'eval "$(kvfake worlds new --format sh)"',
        ),
        "end": _Words("end worlds", "End worlds by their ids. From then on they refuse.", "kvfake worlds end a1b2c3-1"),
    },
}

_OF_VALUES = ("dump", "load", "ls", "get", "set", "del")
_OF_POWERS = tuple(_GROUPS["Steering a running server"])
_OF_SETTINGS = """\
Every option but --all-worlds and --quiet can be set by its variable: --mattermost-missing by KVFAKE_MATTERMOST_MISSING. In a
variable a switch is 1 or 0, and what is repeatable is separated by blanks. Order: flag, variable, default.
"""
_OF_TOKENS = """\
An app's tokens come with every call that Mattermost makes to it: context.bot_access_token is the bot's, and
context.acting_user_access_token, where the app expands it, a user's. Log both in a handler of the app, on a server for tests, and
pass them on within the hour. A plain user's token is a personal access token of a user's own (Profile, Security).
"""
_OF_WORDS = 'A KEY or VALUE that begins with "-" stands behind "--", as in: kvfake get -- -key'
_MOMENT = "such as 2016-12-31T23:59:59Z, or seconds since 1970"


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
        free_port = "run takes a free port where no flag says otherwise, and does not read KVFAKE_PORT."
        add[name].epilog = _epilog(words[name], _OF_SETTINGS + free_port)
        for setting in of(SERVER, WORLD, COMMAND):
            _add_setting(add[name], setting, free_port=name == "run")
        add[name].add_argument("--all-worlds", action="store_true", help="write the values of all worlds to the file of --export")
    add["run"].add_argument("--quiet", action="store_true", help="print no summary at the end")
    add["run"].usage = "kvfake run [options] -- COMMAND [ARGUMENT ...]"
    add["run"].add_argument("words", nargs=REMAINDER, metavar="COMMAND", help="the command and its arguments")
    for name in ("env", *_OF_VALUES, *_OF_POWERS):
        _add_server(add[name])
    _add_server(add["wait"], has_worlds=False)
    add["env"].add_argument("--format", choices=FORMATS, default="sh", help="how to print them (default: sh, for eval)")
    add["wait"].add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="how long to wait (default: 30)")
    add["dump"].add_argument("file", nargs="?", default="-", metavar="FILE", help="where to write it (default: -, stdout)")
    add["dump"].add_argument("--all-worlds", action="store_true", help="also the values of the other worlds, in the same file")
    add["load"].add_argument("--from-world", metavar="ID", help="the world of the file, where it holds several")
    add["load"].add_argument("file", metavar="FILE", help="a file of values; - is stdin")
    add["load"].add_argument("--replace", action="store_true", help="forget what the server held before")
    _add_address(add["ls"], None, "any", "any")
    add["ls"].add_argument("--begins", default="", metavar="TEXT", help="only keys that begin with it")
    for name in ("get", "set", "del"):
        add[name].epilog = _epilog(words[name], _OF_WORDS)
        _add_address(add[name], MATTERMOST, "app/bot, or the project that is called project", "no prefix")
    add["get"].add_argument("key", metavar="KEY")
    add["set"].add_argument("key", metavar="KEY")
    add["set"].add_argument("value", metavar="VALUE", help="what is stored, to the byte; - is stdin")
    add["del"].add_argument("keys", nargs="+", metavar="KEY")
    _add_powers(add, words)
    _add_contract(add)
    return parser


def _add_powers(add: dict[str, _Parser], words: dict[str, _Words]) -> None:
    for name in set(_OF_POWERS) - {"respond"}:
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
    journal.add_argument("--last", type=_whole, metavar="COUNT", help="only the newest of those that are kept (default: all)")
    _add_selection(journal, "--method")
    journal.add_argument("--status", type=_whole, metavar="STATUS", help="only those with that status")
    clock["freeze"].add_argument("moment", nargs="?", metavar="MOMENT", help=f"{_MOMENT} (default: now)")
    clock["move"].add_argument("moment", metavar="MOMENT", help=_MOMENT)
    clock["shift"].add_argument("seconds", type=_number, metavar="SECONDS")
    add["rollback"].add_argument("mark", type=_whole, metavar="MARK", help="as kvfake checkpoint has printed it")
    for name in ("profile", "strict", "token"):
        _add_setting(new, BY_NAME[name], free_port=False)
    new.add_argument("--format", choices=FORMATS, help="print its variables instead, as kvfake env does")
    below["worlds"]["end"].add_argument("ids", nargs="+", metavar="ID")
    respond.add_argument("method", metavar="METHOD", help="such as POST, or any")
    respond.add_argument("path", metavar="PATH", help="the whole path, such as /api/v4/posts")
    respond.add_argument("--status", type=_whole, default=200, metavar="STATUS", help="(default: 200)")
    body = respond.add_mutually_exclusive_group()
    body.add_argument("--json", metavar="TEXT", help="the body, as JSON")
    body.add_argument("--body", metavar="TEXT", help="the body, as plain text")
    respond.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="(repeatable)")


def _add_fault(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=tuple(_ACTIONS), metavar="ACTION")
    parser.add_argument("argument", nargs="?", metavar="ARG", help="of answer a status, of delay seconds, of limit a number")
    parser.add_argument(
        "--per", type=_number, default=SUPPRESS, metavar="SECONDS", help="of limit: more requests in so many seconds get 429"
    )
    key = _add_selection(parser, "--on")
    key.add_argument("--key-matches", metavar="REGEX", help="only those for keys in which it is found")
    for flag, meaning in (
        ("--nth", "strike the nth such request alone"),
        ("--every", "strike every nth of them"),
        ("--after", "let so many of them pass before"),
        ("--seed", "of --rate: the same number draws the same"),
    ):
        parser.add_argument(flag, type=_whole, default=SUPPRESS, metavar="NUMBER", help=meaning)
    parser.add_argument("--rate", type=_number, default=SUPPRESS, metavar="RATE", help="strike that part of them, from 0 to 1")
    parser.add_argument("--times", type=_times, default=SUPPRESS, metavar="NUMBER|forever", help="strike so many of them")
    parser.add_argument("--start", metavar="MOMENT", help=f"strike from then on, on the world's clock: {_MOMENT}")
    parser.add_argument("--end", metavar="MOMENT", help="strike until then")


def _add_selection(parser: ArgumentParser, method: str) -> _MutuallyExclusiveGroup:
    """The options that select requests; the group of the key."""
    parser.add_argument(method, metavar="METHOD", help="only requests with that method")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", metavar="KEY", help="only those for that key")
    parser.add_argument("--service", choices=(MATTERMOST, PERSIST), help="only those to that service")
    parser.add_argument("--owner", metavar="OWNER", help="only those of that owner: app/user, or a project's name")
    return key


def _add_json(parser: ArgumentParser, is_below: bool = False) -> None:
    default: Any = SUPPRESS if is_below else False
    parser.add_argument("--json", action="store_true", default=default, help="print the server's JSON, as for jq")


def _add_contract(add: dict[str, _Parser]) -> None:
    verify, record, compare = add["verify"], add["record"], add["compare"]
    verify.epilog = f"{_OF_TOKENS}\n{verify.epilog}"
    verify.add_argument("--service", choices=(MATTERMOST, PERSIST), default=MATTERMOST, help=f"(default: {MATTERMOST})")
    for flag, (variable, meaning) in TOKEN_OPTIONS.items():
        verify.add_argument(flag, metavar="TOKEN", default=os.environ.get(variable) or None, help=f"{meaning} (or {variable})")
    verify.add_argument("--raw", action="store_true", help="also send malformed requests, over a plain socket (M20 to M22, M28)")
    verify.add_argument("--require", choices=("all",), help="all: a row that could not be seen is a failure too")
    for command in (verify, record):
        for setting in of(REAL):
            _add_setting(command, setting, free_port=False)
        command.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="of one answer (default: 10)")
    own = "documented, or with --against the server's own; plugin-1.2 for a real server"
    _add_setting(verify, BY_NAME["profile"], free_port=False, default=own)
    _add_setting(compare, BY_NAME["profile"], free_port=False, default="plugin-1.2")
    add["explain"].add_argument("rows", nargs="*", metavar="ROW", help="such as M15 (default: every row)")
    for name in ("host", "port"):
        _add_setting(record, BY_NAME[name], free_port=name == "port")
    record.add_argument("-o", "--output", metavar="FILE", required=True, help="where to keep the exchanges")
    compare.add_argument("file", metavar="FILE", help="a recording of kvfake record")
    for command, what in ((verify, "verdicts"), (compare, "differences")):
        command.add_argument("--json", action="store_true", help=f"print the {what} as JSON")
        command.add_argument("--junit", metavar="FILE", help="write them to a file, as JUnit's XML")


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
        help=f"where the server is, or one of its worlds (default: the variable KVFAKE_URL, else {DEFAULT_URL})",
    )
    if has_worlds:
        parser.add_argument(
            "--world", metavar="ID", default=SUPPRESS if is_below else None, help="its world of that id (kvfake worlds lists them)"
        )
    parser.add_argument(
        "--control-token",
        metavar="TOKEN",
        default=SUPPRESS if is_below else os.environ.get("KVFAKE_CONTROL_TOKEN"),
        help="the token without which the server refuses (default: the variable KVFAKE_CONTROL_TOKEN)",
    )


def _add_address(parser: ArgumentParser, service: str | None, owner: str, prefix: str) -> None:
    parser.add_argument("--service", choices=(MATTERMOST, PERSIST), default=service, help=f"(default: {service or 'both'})")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--owner", help=f"app/user for Mattermost, a project's name for Persist (default: {owner})")
    whose.add_argument("--as-token", metavar="TOKEN", help="the owner of that token, also of one that was not named")
    parser.add_argument("--prefix", help=f"Mattermost's alone (default: {prefix})")


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
