"""The words of the command ``kvfake``: every command, its options, and what ``--help`` says.

Law: argv in, options out. It does nothing of what it describes, and imports nothing that does.
"""

from __future__ import annotations

import os
import re
from argparse import REMAINDER, ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from typing import Any, NoReturn

from kvfake import __version__
from kvfake.settings import BY_NAME, COMMAND, MATTERMOST, PERSIST, REAL, SERVER, TOKEN_OPTIONS, WORLD, Setting, of

DEFAULT_URL = "http://127.0.0.1:8065"
FORMATS = ("sh", "dotenv", "github", "json")

_URL = re.compile(r"\w+://[^\s'\"]+")
_COMMANDS = {  # what each does, in a few words and in some more
    "serve": (
        "serve both services until Ctrl-C",
        "Serve both services, until Ctrl-C, SIGTERM or SIGHUP. The first line on stdout says where.",
    ),
    "run": (
        "run a command beside a double of its own",
        "Run a command beside a fresh double on a free port, with the double's addresses and tokens in its environment; the exit "
        "code is the command's.",
    ),
    "env": (
        "print the variables with which an app finds a running server",
        'Print the variables with which an app finds a running server, as in: eval "$(kvfake env)".',
    ),
    "wait": ("wait until a server answers", "Wait until a kvfake server answers."),
    "dump": (
        "print the values of a running server as a file",
        "Print what a running server holds, and the tokens that were named, as a file of values: JSON, sorted and indented, which "
        "load and serve --seed take. A FILE is replaced as a whole, or not at all.",
    ),
    "load": (
        "set the values of a file on a running server",
        "Set every value of a file of values on a running server; where something in it is not right, none.",
    ),
    "ls": (
        "list the keys of a running server",
        "List the keys of a running server, sorted, one a line: service, owner, prefix, key, with tabs between. A name that cannot "
        "be printed, or holds a backslash, stands as inside a JSON string.",
    ),
    "get": (
        "print a value",
        "Print the bytes of one value of a running server, and nothing else. Where there is none the exit code is 1.",
    ),
    "set": (
        "set a value",
        "Set one value on a running server. Mattermost keeps JSON, as in: kvfake set name '\"Ada\"'. Persist keeps any text.",
    ),
    "del": (
        "delete values",
        "Delete values of a running server. Where one is not there the exit code is 1; the others are deleted.",
    ),
    "verify": (
        "ask a server whether it does what each row says",
        "Ask a server whether it does what each row of the fact list says: holds, differs (with the exchange), or could not be "
        "seen (with what is missing). With no --against the double itself is asked. It works on keys of its own, and removes them "
        "again. Exit code: 0, 1 for a difference, 2 for a server that cannot be asked.",
    ),
    "explain": ("say what a row is about", "Print rows of the fact list: source, what each profile does, the test that shows it."),
    "openapi": ("print an OpenAPI description", "Print an OpenAPI 3.1 description of both services and of /_kvfake/, as JSON."),
    "record": (
        "keep what an app and a real server say",
        "Stand before a real server, until Ctrl-C, and keep each exchange in a file, without tokens. The first line on stdout says "
        "what to give the app as its site URL.",
    ),
    "compare": (
        "replay a recording on the double",
        "Replay the exchanges of a recording on the double, and show each difference with the row that explains it. Exit code: 0, "
        "1 for a difference, 2 for a file that is no recording.",
    ),
}

_OF_VALUES = ("dump", "load", "ls", "get", "set", "del")
_OF_SETTINGS = """\
Every option can be set by its variable: --mattermost-missing by KVFAKE_MATTERMOST_MISSING. In a variable a switch is 1 or 0, and
what is repeatable is separated by blanks. Order: flag, variable, default.
"""
_OF_TOKENS = """\
An app's tokens come with every call that Mattermost makes to it: context.bot_access_token is the bot's, and
context.acting_user_access_token, where the app expands it, a user's. Log both in a handler of the app, on a server for tests, and
pass them on within the hour. A plain user's token is a personal access token of a user's own (Profile, Security).
"""
_OF_WORDS = 'A KEY or VALUE that begins with "-" stands behind "--", as in: kvfake get -- -key'


def parse(argv: list[str]) -> tuple[ArgumentParser, Namespace]:
    """The options, of which ``command`` is the first word; ends the process where they are wrong, or help was asked for."""
    cut = argv.index("--") if argv[:1] == ["run"] and "--" in argv else len(argv)
    parser = _parser()
    options, unknown = parser.parse_known_args(argv[:cut])
    if unknown:
        parser.error(_not_known(unknown))
    if cut < len(argv):
        options.words += argv[cut if options.words else cut + 1 :]  # behind its first word a "--" is the command's own
    return parser, options


def _not_known(words: list[str]) -> str:
    """An error that names the flags alone: what stands behind one may be a secret."""
    flags = [word.partition("=")[0] if word.startswith("--") else word[:2] for word in words if word.startswith("-")]
    return f"unrecognized arguments: {' '.join(flags)}" if flags else f"expected no more words, got {len(words)}"


def shown_urls(text: str) -> str:
    """The text, with no secret in its URLs."""
    from kvfake.world.redaction import BY_NAME, shown_url

    return _URL.sub(lambda url: BY_NAME.redact_text(url[0]), shown_url(text))


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(shown_urls(message))


def _parser() -> ArgumentParser:
    parser = _Parser(
        "kvfake",
        description="A double of the Mattermost Apps key-value store and of Beep Boop Persist, for tests and for work offline.",
    )
    parser.add_argument("--version", action="version", version=f"kvfake {__version__}")
    parser.set_defaults(service=None, prefix=None, as_token=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add: dict[str, ArgumentParser] = {
        name: commands.add_parser(name, help=few, description=more) for name, (few, more) in _COMMANDS.items()
    }
    for name in ("serve", "run"):
        add[name].epilog = _OF_SETTINGS + "run takes a free port where no flag says otherwise, and does not read KVFAKE_PORT."
        for setting in of(SERVER, WORLD, COMMAND):
            _add_setting(add[name], setting, free_port=name == "run")
    add["run"].usage = "kvfake run [options] -- COMMAND [ARGUMENT ...]"
    add["run"].add_argument("words", nargs=REMAINDER, metavar="COMMAND", help="the command and its arguments")
    for name in ("env", "wait", *_OF_VALUES):
        _add_server(add[name])
    add["env"].add_argument("--format", choices=FORMATS, default="sh", help="how to print them (default: sh, for eval)")
    add["wait"].add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="how long to wait (default: 30)")
    add["dump"].add_argument("file", nargs="?", default="-", metavar="FILE", help="where to write it (default: -, stdout)")
    add["load"].add_argument("file", metavar="FILE", help="a file of values; - is stdin")
    add["load"].add_argument("--replace", action="store_true", help="forget what the server held before")
    _add_address(add["ls"], None, "any", "any")
    add["ls"].add_argument("--begins", default="", metavar="TEXT", help="only keys that begin with it")
    for name in ("get", "set", "del"):
        add[name].epilog = _OF_WORDS
        _add_address(add[name], MATTERMOST, "app/bot, or the project that is called project", "no prefix")
    add["get"].add_argument("key", metavar="KEY")
    add["set"].add_argument("key", metavar="KEY")
    add["set"].add_argument("value", metavar="VALUE", help="what is stored, to the byte; - is stdin")
    add["del"].add_argument("keys", nargs="+", metavar="KEY")
    _add_contract(add)
    return parser


def _add_contract(add: dict[str, ArgumentParser]) -> None:
    verify, record, compare = add["verify"], add["record"], add["compare"]
    verify.epilog = _OF_TOKENS
    verify.add_argument("--service", choices=(MATTERMOST, PERSIST), default=MATTERMOST, help=f"(default: {MATTERMOST})")
    for flag, (variable, meaning) in TOKEN_OPTIONS.items():
        verify.add_argument(flag, metavar="TOKEN", default=os.environ.get(variable) or None, help=f"{meaning} (or {variable})")
    verify.add_argument("--raw", action="store_true", help="also send malformed requests, over a plain socket (M20 to M22, M28)")
    verify.add_argument("--require", choices=("all",), help="all: a row that could not be seen is a failure too")
    verify.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    verify.add_argument("--junit", metavar="FILE", help="write them to a file, as JUnit's XML")
    for command in (verify, record):
        for setting in of(REAL):
            _add_setting(command, setting, free_port=False)
        command.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="of one answer (default: 10)")
    _add_setting(verify, BY_NAME["profile"], free_port=False)
    _add_setting(compare, BY_NAME["profile"], free_port=False, default="plugin-1.2")
    add["explain"].add_argument("rows", nargs="*", metavar="ROW", help="such as M15 (default: every row)")
    for name in ("host", "port"):
        _add_setting(record, BY_NAME[name], free_port=name == "port")
    record.add_argument("-o", "--output", metavar="FILE", required=True, help="where to keep the exchanges")
    compare.add_argument("file", metavar="FILE", help="a recording of kvfake record")


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


def _add_server(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default=os.environ.get("KVFAKE_URL") or DEFAULT_URL,
        help=f"where the server is, or one of its worlds (default: the variable KVFAKE_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--control-token",
        metavar="TOKEN",
        default=os.environ.get("KVFAKE_CONTROL_TOKEN"),
        help="the token without which the server refuses (default: the variable KVFAKE_CONTROL_TOKEN)",
    )


def _add_address(parser: ArgumentParser, service: str | None, owner: str, prefix: str) -> None:
    parser.add_argument("--service", choices=(MATTERMOST, PERSIST), default=service, help=f"(default: {service or 'both'})")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--owner", help=f"app/user for Mattermost, a project's name for Persist (default: {owner})")
    whose.add_argument("--as-token", metavar="TOKEN", help="the owner of that token, also of one that was not named")
    parser.add_argument("--prefix", help=f"Mattermost's alone (default: {prefix})")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"expected a number of seconds, such as 30 or 0.5, got {text!r}")
    return seconds
