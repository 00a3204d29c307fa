"""The command ``kvfake``.

Law: options in, an exit code out. What it prints on stdout can be piped, and what goes wrong is one line on stderr.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kvfake.cli.parser import POWERS, VALUES, parse, shown_urls
from kvfake.errors import BIND_ERRORS, CommandError, UsageError, cannot_listen, server_failed
from kvfake.lines import tell
from kvfake.settings import COMMAND, PERSIST, PORT_OF_SERVE_ONLY, SERVER, WORLD, command_settings

if TYPE_CHECKING:
    from kvfake.double import DoubleServer
    from kvfake.files import Files

FAILED = 1  # an exit code
SWITCH_SECONDS = 0.0001
"""How long a thread of this process computes while another waits for the interpreter; a GET gives it up three times. Beside two
jobs that compute, 99 of 100 GETs took at most 6 ms with this, and 10 ms with 1 ms; the jobs took no longer. Python's own is 5 ms.
"""
SCOPES = (SERVER, WORLD, COMMAND)

_OPEN_TO_ALL = (
    "every machine that reaches this one can use this server, and /_kvfake/ gives its tokens to each; --control-token TOKEN "
    "protects /_kvfake/, --no-control switches it off"
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser, options = parse(sys.argv[1:] if argv is None else argv)
    try:
        code = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except UsageError as wrong:
        parser.error(str(wrong))
    except CommandError as failed:
        _complain(str(failed))
        return failed.code
    except OSError as failed:  # of stdout: a command reports all others itself
        if not isinstance(failed, BrokenPipeError):  # then the reader has read enough
            _complain(f"cannot write to stdout: {failed.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout at exit, and would fail again
        return FAILED


def _complain(text: str) -> None:
    tell(shown_urls(text))


def _allow_open_files() -> None:
    """Raise the limit of open files, of which each connection is one, to what the system allows, as Go's programs do."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bind(settings: dict[str, Any], exports_all_worlds: bool) -> tuple[DoubleServer, Files]:
    """A double behind a bound server, and the files that it writes, which are open."""
    from kvfake.double import DoubleServer
    from kvfake.files import Files, is_missing_or_empty, is_same_file
    from kvfake.signals import end_this_process
    from kvfake.world.hosts import is_loopback

    seed, journal, export = settings["seed"], settings["journal"], settings["export"]
    for name in ("seed", "export"):
        if None not in (journal, settings[name]) and is_same_file(journal, settings[name]):
            raise UsageError(f"--journal {journal}: expected a file of its own, and not that of --{name}")
    if None not in (seed, export) and is_same_file(seed, export) and is_missing_or_empty(seed):  # the first time of many
        settings = {**settings, "seed": None}
    try:
        double = DoubleServer(settings)
    except BIND_ERRORS as failed:
        raise CommandError(cannot_listen(settings, failed, "--port takes another, --port 0 a free one")) from None
    except ValueError as wrong:  # in the seed
        hint = " (with --export of the same file it begins with nothing)" if seed and not os.path.lexists(seed) else ""
        raise CommandError(f"{wrong}{hint}") from None
    try:
        files = Files(journal, export, _complain)
    except OSError as failed:
        double.close()
        raise CommandError(f"cannot write {failed.filename}: {failed.strerror}") from None
    if settings["control"] and settings["control_token"] is None and not is_loopback(settings["host"]):
        _complain(_OPEN_TO_ALL)
    if files.journal_file is not None:
        double.backend.listen(files.journal_file.write)
    double.backend.exports_all_worlds = exports_all_worlds
    sys.setswitchinterval(SWITCH_SECONDS)
    double.server.on_failure = end_this_process
    return double, files


def _exit_code(double: DoubleServer, code: int) -> int:
    """The exit code. Raises `CommandError` where the server ended by itself."""
    if double.server.failure is not None:
        raise server_failed(double.server.failure)
    return code


def _serve(options: Namespace) -> int:
    from kvfake.signals import end_signals, hold_signals, wait_for_signal
    from kvfake.world import datafile
    from kvfake.world.redaction import shown_url

    _allow_open_files()
    settings = command_settings(vars(options), scopes=SCOPES)
    double, files = _bind(settings, options.all_worlds)
    with files, double:
        numbers = end_signals()
        hold_signals(numbers)
        double.server.start()
        reached = f", reached at {shown_url(double.own.url)}" if settings["public_url"] else ""
        print(f"kvfake is listening on {double.listening_at if reached else double.own.url}{reached}", flush=True)
        wait_for_signal(numbers)
        double.close()
        is_written = files.finish(lambda: double.backend.documents(datafile.export), double.backend.exporting)
        return _exit_code(double, 0 if is_written else FAILED)


def _run(options: Namespace) -> int:
    from kvfake.cli.running import Summary, run
    from kvfake.world import datafile

    if not options.words:
        raise UsageError("run: expected a command, as in: kvfake run -- npm test")
    settings = command_settings(vars(options), scopes=SCOPES, overrides={"port": 0}, unread=PORT_OF_SERVE_ONLY)
    double, files = _bind(settings, options.all_worlds)
    summary = None if options.quiet else Summary(double.backend)
    has_started = False

    def start() -> None:
        nonlocal has_started
        has_started = True
        double.server.start()

    with files, double:
        code = run(options.words, {**os.environ, **double.own.env}, start, _complain)
        double.close()
        if has_started and not files.finish(lambda: double.backend.documents(datafile.dump), double.backend.exporting):
            code = code or FAILED
        code = _exit_code(double, code)
        for line in summary.lines() if summary is not None else ():
            _complain(line)
        return code


def _powers(options: Namespace) -> int:
    from kvfake.cli.powers import run

    with _server_errors(options.url):
        run(options)
    return 0


def _wait(options: Namespace) -> int:
    from kvfake.http_client import NoAnswer, NotSendable, wait

    try:
        wait(options.url, options.timeout, options.control_token)
    except NoAnswer as why:
        within = "" if isinstance(why, NotSendable) else f" within {options.timeout:g} seconds"
        raise CommandError(f"no kvfake server answered at {options.url}{within}: {why}") from None
    return 0


def _values(options: Namespace) -> int:
    if options.service == PERSIST and options.prefix is not None:
        raise UsageError("--prefix: expected none with --service persist")
    from kvfake.cli.values import run

    with _server_errors(options.url):
        run(options, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _openapi(options: Namespace) -> int:
    from kvfake.control.openapi import description
    from kvfake.control.routes import ROUTES
    from kvfake.services.jsontext import json_text

    sys.stdout.write(json_text(description(ROUTES)))
    return 0


def _contract(options: Namespace) -> int:
    code: int = import_module(f"kvfake.contract.{options.command}").command(options)
    return code


@contextmanager
def _server_errors(url: str) -> Iterator[None]:
    """Turn `NoAnswer` and `Refused` of the HTTP client into a `CommandError` that names the URL."""
    from kvfake.http_client import NoAnswer, Refused

    try:
        yield
    except Refused as why:
        raise CommandError(f"the server at {url} refuses: {why}") from None
    except NoAnswer as why:
        raise CommandError(f"no kvfake server answers at {url}: {why} (kvfake serve starts one, --url names another)") from None


_COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "serve": _serve,
    "run": _run,
    **dict.fromkeys(POWERS, _powers),
    "wait": _wait,
    "openapi": _openapi,
    **dict.fromkeys(VALUES, _values),
    **dict.fromkeys(("verify", "explain", "record", "compare"), _contract),
}
