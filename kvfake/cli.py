"""The command ``kvfake``.

Law: argv in, an exit code out. It reads flags into settings, and prints; what it prints on stdout can be piped.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kvfake import __version__
from kvfake.settings import PORT_OF_SERVE_ONLY, SERVER, SETTINGS, WORLD, Setting, from_environment, from_flags, resolve

if TYPE_CHECKING:
    from kvfake.double import Started

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

DEFAULT_URL = "http://127.0.0.1:8065"
_FORMATS: dict[str, Callable[[dict[str, str]], str]] = {
    "sh": lambda env: "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items()),
    "dotenv": lambda env: "".join(f'{name}="{value}"\n' for name, value in env.items()),
    "json": lambda env: json.dumps(env, indent=2) + "\n",
}

_EPILOG = """\
Every option of serve can be set by its variable: --mattermost-missing by KVFAKE_MATTERMOST_MISSING (several tokens are
separated by blanks). Order: flag, variable, default.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    words = sys.argv[1:] if argv is None else argv
    cut = words.index("--") if words[:1] == ["run"] and "--" in words else len(words)
    parser = _parser()
    options = parser.parse_args(words[:cut])
    if cut < len(words):
        options.command += words[cut if options.command else cut + 1 :]  # behind its first word a "--" is the command's own
    try:
        code: int = options.do(parser, options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has heard enough; nor does Python get to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvfake",
        description="A double of the Mattermost Apps key-value store and of Beep Boop Persist, for tests and for work offline.",
    )
    parser.add_argument("--version", action="version", version=f"kvfake {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="serve both services until Ctrl-C", epilog=_EPILOG, description=_text(_serve))
    run = commands.add_parser(
        "run",
        help="run a command beside a double of its own",
        epilog=_EPILOG,
        description=_text(_run),
        usage="kvfake run [options] -- COMMAND [ARGUMENT ...]",
    )
    env = commands.add_parser("env", help="print the variables with which an app finds a running server", description=_text(_env))
    wait = commands.add_parser("wait", help="wait until a server answers", description=_text(_wait))
    for command in (serve, run):
        for setting in SETTINGS:
            _add(command, setting, free_port=command is run)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")
    for command in (env, wait):
        command.add_argument(
            "--url",
            default=os.environ.get("KVFAKE_URL") or DEFAULT_URL,
            help=f"where the server is (default: the variable KVFAKE_URL, else {DEFAULT_URL})",
        )
    env.add_argument("--format", choices=tuple(_FORMATS), default="sh", help="how to print them (default: sh, for eval)")
    wait.add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="how long to wait (default: 30)")
    for command, do in ((serve, _serve), (run, _run), (env, _env), (wait, _wait)):
        command.set_defaults(do=do)
    return parser


def _text(function: Callable[..., int]) -> str:
    return (function.__doc__ or "").replace("``", "")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, such as 30 or 0.5, got {text!r}")
    return seconds


def _add(parser: argparse.ArgumentParser, setting: Setting, free_port: bool) -> None:
    default = "a free one" if free_port and setting.name == "port" else setting.default
    meaning = setting.meaning + (f" (default: {default})" if default not in (None, (), "", False) else "")
    more: dict[str, Any] = {"metavar": "|".join(setting.choices) or setting.metavar}
    if setting.is_switch:
        more = {"action": argparse.BooleanOptionalAction, "default": None}
    elif setting.is_list:
        more["action"] = "append"
    parser.add_argument(setting.flag, dest=setting.name, help=meaning, **more)


def _settings(
    parser: argparse.ArgumentParser, options: argparse.Namespace, overrides: Mapping[str, Any], without: frozenset[str]
) -> dict[str, Any]:
    try:
        environment = from_environment(os.environ, SERVER, WORLD, without=without)
        return resolve(from_flags(vars(options)), environment, overrides, scopes=(SERVER, WORLD))
    except ValueError as wrong:
        parser.error(str(wrong))


def _bind(settings: dict[str, Any]) -> Started | None:
    """A double behind a bound server; one line on stderr where it cannot be bound."""
    from kvfake.double import Started

    try:
        return Started(settings)
    except (OSError, UnicodeError) as failed:  # the latter for a host that cannot be a name
        reason = getattr(failed, "strerror", None) or str(failed)
        _complain(f"cannot listen on {settings['host']}:{settings['port']}: {reason} (--port takes another, --port 0 a free one)")
        return None


def _complain(text: str) -> None:
    print(f"kvfake: {text}", file=sys.stderr, flush=True)


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Serve both services, until Ctrl-C or SIGTERM. The first line on stdout says where."""
    from kvfake.running import ENDING, held

    double = _bind(_settings(parser, options, {}, frozenset()))
    if double is None:
        return FAILED
    with held(ENDING), double:
        double.server.start()
        print(f"kvfake is listening on {double.url}", flush=True)
        signal.sigwait(ENDING)
    return 0


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run a command beside a fresh double on a free port, with the double's addresses and tokens in its environment; the
    exit code is the command's.
    """
    from kvfake.running import run

    if not options.command:
        parser.error("run: expected a command, as in: kvfake run -- npm test")
    double = _bind(_settings(parser, options, {"port": 0}, PORT_OF_SERVE_ONLY))
    if double is None:
        return FAILED
    with double:
        return run(options.command, {**os.environ, **double.env}, double.server.start, _complain)


def _env(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Print the variables with which an app finds a running server, as in: eval "$(kvfake env)"."""
    from kvfake.asking import NoAnswer, environment
    from kvfake.proxies import no_proxy

    try:
        env = environment(options.url)
    except NoAnswer as why:
        _complain(f"no kvfake server answers at {options.url}: {why} (kvfake serve starts one, --url names another)")
        return FAILED
    print(_FORMATS[options.format]({**env, **no_proxy(options.url, os.environ)}), end="", flush=True)
    return 0


def _wait(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Wait until a kvfake server answers."""
    from kvfake.asking import NoAnswer, wait

    try:
        wait(options.url, options.timeout)
    except NoAnswer as why:
        _complain(f"no kvfake server answered at {options.url} within {options.timeout:g} seconds: {why}")
        return FAILED
    return 0
