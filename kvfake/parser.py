"""The words of the command ``kvfake``: every command, its options, and what ``--help`` says.

Law: argv in, options out. It does nothing of what it describes, and imports nothing that does.
"""

from __future__ import annotations

import os
from argparse import REMAINDER, ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from typing import Any

from kvfake import __version__
from kvfake.settings import MATTERMOST, PERSIST, SETTINGS, Setting

DEFAULT_URL = "http://127.0.0.1:8065"
FORMATS = ("sh", "dotenv", "json")

_COMMANDS = {  # what each does, in a few words and in some more
    "serve": (
        "serve both services until Ctrl-C",
        "Serve both services, until Ctrl-C or SIGTERM. The first line on stdout says where.",
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
}

_OF_SETTINGS = """\
Every option can be set by its variable: --mattermost-missing by KVFAKE_MATTERMOST_MISSING. In a variable a switch is 1 or 0, and
what is repeatable is separated by blanks. Order: flag, variable, default.
"""
_OF_WORDS = 'A KEY or VALUE that begins with "-" stands behind "--", as in: kvfake get -- -key'


def parse(argv: list[str]) -> tuple[ArgumentParser, Namespace]:
    """The options, of which ``command`` is the first word; ends the process where they are wrong, or help was asked for."""
    cut = argv.index("--") if argv[:1] == ["run"] and "--" in argv else len(argv)
    parser = _parser()
    options = parser.parse_args(argv[:cut])
    if cut < len(argv):
        options.words += argv[cut if options.words else cut + 1 :]  # behind its first word a "--" is the command's own
    return parser, options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "kvfake",
        description="A double of the Mattermost Apps key-value store and of Beep Boop Persist, for tests and for work offline.",
    )
    parser.add_argument("--version", action="version", version=f"kvfake {__version__}")
    parser.set_defaults(service=None, prefix=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add = {name: commands.add_parser(name, help=few, description=more) for name, (few, more) in _COMMANDS.items()}
    for name in ("serve", "run"):
        add[name].epilog = _OF_SETTINGS + "run takes a free port where no flag says otherwise, and does not read KVFAKE_PORT."
        for setting in SETTINGS:
            _add_setting(add[name], setting, free_port=name == "run")
    add["run"].usage = "kvfake run [options] -- COMMAND [ARGUMENT ...]"
    add["run"].add_argument("words", nargs=REMAINDER, metavar="COMMAND", help="the command and its arguments")
    for name in list(add)[2:]:
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
    return parser


def _add_setting(parser: ArgumentParser, setting: Setting, free_port: bool) -> None:
    default = "a free one" if free_port and setting.name == "port" else "on" if setting.default is True else setting.default
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
    parser.add_argument("--owner", help=f"app/user for Mattermost, a project's name for Persist (default: {owner})")
    parser.add_argument("--prefix", help=f"Mattermost's alone (default: {prefix})")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"expected a number of seconds, such as 30 or 0.5, got {text!r}")
    return seconds
