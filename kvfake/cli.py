"""The command ``kvfake``.

Law: options in, an exit code out. What it prints on stdout can be piped, and what goes wrong is one line on stderr.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kvfake.parser import parse
from kvfake.settings import COMMAND, PERSIST, PORT_OF_SERVE_ONLY, SERVER, WORLD, from_environment, from_flags, resolve
from kvfake.trouble import NO_ADDRESS, Failed, cannot_listen

if TYPE_CHECKING:
    from kvfake.ledger import Files
    from kvfake.started import Started

FAILED, INTERRUPTED = 1, 130

_FORMATS: dict[str, Callable[[dict[str, str]], str]] = {
    "sh": lambda env: "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items()),
    "dotenv": lambda env: "".join(f'{name}="{value}"\n' for name, value in env.items()),
    "json": lambda env: json.dumps(env, indent=2) + "\n",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser, options = parse(sys.argv[1:] if argv is None else argv)
    try:
        code = _DO.get(options.command, _values)(parser, options)
        sys.stdout.flush()
        return code
    except Failed as failed:
        _complain(str(failed))
        return failed.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as failed:  # of stdout: what else can fail is told where it does
        if not isinstance(failed, BrokenPipeError):  # then whoever read our output has heard enough
            _complain(f"cannot write to stdout: {failed.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does Python get to flush the rest
        return FAILED


def _complain(text: str) -> None:
    print(f"kvfake: {text}", file=sys.stderr, flush=True)


def _settings(parser: ArgumentParser, options: Namespace, overrides: Mapping[str, Any], without: frozenset[str]) -> dict[str, Any]:
    try:
        environment = from_environment(os.environ, SERVER, WORLD, COMMAND, without=without)
        return resolve(from_flags(vars(options)), environment, overrides, scopes=(SERVER, WORLD, COMMAND))
    except ValueError as wrong:
        parser.error(str(wrong))


def _bind(settings: dict[str, Any]) -> tuple[Started, Files]:
    """A double behind a bound server, and the files that it writes, which are open."""
    from kvfake.ledger import Files
    from kvfake.started import Started

    try:
        double = Started(settings)
    except NO_ADDRESS as failed:
        raise Failed(f"{cannot_listen(settings, failed)} (--port takes another, --port 0 a free one)") from None
    except ValueError as wrong:  # in the seed
        raise Failed(str(wrong)) from None
    try:
        files = Files(settings["journal"], settings["export"], _complain)
    except OSError as failed:
        double.close()
        raise Failed(f"cannot write {failed.filename}: {failed.strerror}") from None
    if files.ledger is not None:
        double.listen(files.ledger.write)
    return double, files


def _serve(parser: ArgumentParser, options: Namespace) -> int:
    from kvfake.running import ENDING, held

    double, files = _bind(_settings(parser, options, {}, frozenset()))
    with held(ENDING), files, double:
        double.server.start()
        print(f"kvfake is listening on {double.url}", flush=True)
        signal.sigwait(ENDING)
        double.close()
        return 0 if files.finish(double.dump) else FAILED


def _run(parser: ArgumentParser, options: Namespace) -> int:
    from kvfake.running import ENDING, held, run

    if not options.words:
        parser.error("run: expected a command, as in: kvfake run -- npm test")
    double, files = _bind(_settings(parser, options, {"port": 0}, PORT_OF_SERVE_ONLY))
    has_started = False

    def start() -> None:
        nonlocal has_started
        has_started = True
        double.server.start()

    with files, double:
        code = run(options.words, {**os.environ, **double.env}, start, _complain)
        with held(ENDING):
            double.close()
            if has_started and not files.finish(double.dump):
                return code or FAILED
            return code


def _env(parser: ArgumentParser, options: Namespace) -> int:
    from kvfake.asking import environment
    from kvfake.proxies import no_proxy

    with _answered(options.url):
        env = environment(options.url, options.control_token)
    print(_FORMATS[options.format]({**env, **no_proxy(options.url, os.environ)}), end="", flush=True)
    return 0


def _wait(parser: ArgumentParser, options: Namespace) -> int:
    from kvfake.asking import NoAnswer, wait

    try:
        wait(options.url, options.timeout, options.control_token)
    except NoAnswer as why:
        _complain(f"no kvfake server answered at {options.url} within {options.timeout:g} seconds: {why}")
        return FAILED
    return 0


def _values(parser: ArgumentParser, options: Namespace) -> int:
    if options.service == PERSIST and options.prefix is not None:
        parser.error("--prefix: expected none with --service persist")
    from kvfake.values import COMMANDS

    with _answered(options.url):
        COMMANDS[options.command](options, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _contract(parser: ArgumentParser, options: Namespace) -> int:
    from importlib import import_module

    code: int = import_module(f"kvfake.contract.{_CONTRACT[options.command]}").command(parser, options)
    return code


@contextmanager
def _answered(url: str) -> Iterator[None]:
    """Where a server does not answer what is asked in this block, or not as one that does it, that is told."""
    from kvfake.asking import NoAnswer, Refused

    try:
        yield
    except Refused as why:
        raise Failed(f"the server at {url} refuses: {why}") from None
    except NoAnswer as why:
        raise Failed(f"no kvfake server answers at {url}: {why} (kvfake serve starts one, --url names another)") from None


_CONTRACT = {  # the module of each
    "verify": "live.verifying",
    "explain": "explaining",
    "openapi": "openapi.describing",
    "record": "record",
    "compare": "compare",
}
_DO = {"serve": _serve, "run": _run, "env": _env, "wait": _wait, **dict.fromkeys(_CONTRACT, _contract)}  # the others are of values
