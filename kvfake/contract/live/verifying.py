"""``kvfake verify``: ask a server whether it does what each row says.

Law: options in, verdicts out on stdout, an exit code. It decides who is asked, with which tokens, and that nothing is left there.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kvfake.cli.parser import TOKENS as VARIABLES
from kvfake.contract import DIFFERENT, UNREACHABLE
from kvfake.contract.call import Unreachable
from kvfake.contract.caller import BOT, OTHER_PROJECT, PLAIN_USER, PROJECT, TOKENS, USER, Caller
from kvfake.contract.checks import UNSEEABLE
from kvfake.contract.live.ending import Ended, Ending
from kvfake.contract.live.hiding import Hide
from kvfake.contract.live.judging import DIFFERS, UNSEEN, judge
from kvfake.contract.live.line import HttpLine
from kvfake.contract.live.preflight import check_answers, profile_of
from kvfake.contract.live.report import Report
from kvfake.contract.rows.register import checks
from kvfake.contract.saying import say
from kvfake.errors import CommandError
from kvfake.services import mattermost, persist
from kvfake.services.facts import ROWS
from kvfake.settings import BY_NAME, PROFILES, REAL, SERVER, WORLD, from_environment, from_flags, of, resolve

_OF = {mattermost.NAME: ("M", (BOT, USER), (PLAIN_USER,)), persist.NAME: ("P", (PROJECT, OTHER_PROJECT), ())}
"""How the rows of a service begin; whom its store knows, of which the first must be given; whom it does not."""
_OWNERS = {BOT: "app/bot", USER: "app/user", PLAIN_USER: "/user", PROJECT: "project:first", OTHER_PROJECT: "project:second"}
_NOT_READ = frozenset(BY_NAME) - {"profile", *(setting.name for setting in of(REAL))}
_PATIENCE_SECONDS = 10.0  # of one answer, while keys are removed


def command(parser: ArgumentParser, options: Namespace) -> int:
    """``kvfake verify``."""
    try:
        given = {**from_environment(os.environ, WORLD, REAL, without=_NOT_READ), **from_flags({"profile": options.profile})}
    except ValueError as wrong:
        parser.error(str(wrong))
    for name in ("against", "ca_file", "insecure"):
        if getattr(options, name) is None:
            setattr(options, name, given.get(name))
    profile = given.get("profile")
    if options.against is None:
        with _double(profile or PROFILES[0]) as (url, tokens):
            return _Run(options, url, tokens, profile).code()
    return _Run(options, options.against, _tokens(parser, options), profile).code()


def _tokens(parser: ArgumentParser, options: Namespace) -> dict[str, str]:
    """Who may ask the service, and their tokens; another service's are nothing that it should hear."""
    _, known, unknown = _OF[options.service]
    given = {who: getattr(options, TOKENS[who][2:].replace("-", "_")) for who in (*known, *unknown)}
    for who, token in given.items():
        flag = TOKENS[who]
        if token is None and who == known[0]:
            parser.error(f"verify --against --service {options.service} needs {flag} (or the variable {VARIABLES[flag][0]})")
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            parser.error(f"{flag}: expected a token of printable characters without blanks")
    return {who: token for who, token in given.items() if token is not None}


@contextmanager
def _double(profile: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A double that is there for this alone, and hears nothing of the environment."""
    from kvfake.double import ServerDouble

    tokens = {who: secrets.token_hex(16) for who in _OWNERS}
    named = tuple(f"{tokens[who]}={owner}" for who, owner in _OWNERS.items())
    settings = {"port": 0, "profile": profile, "strict": True, "mattermost_missing": "object", "token": named}
    double = ServerDouble(resolve(settings, scopes=(SERVER, WORLD)))
    with double:
        double.server.start()
        yield double.url, tokens


class _Run:
    """The rows of one service, asked of one server, row after row. Raises `Failed`."""

    def __init__(self, options: Namespace, url: str, tokens: Mapping[str, str], profile: str | None) -> None:
        self._options, self._tokens, self._profile = options, tokens, profile
        self._line = HttpLine(url, options.timeout, options.ca_file, bool(options.insecure))
        is_own = options.against is None
        self._hide = Hide(tokens.values())
        self._report = Report(options.service, None if is_own else self._line.url, self._hide)
        self._caller = Caller(self._line, tokens, base=self._line.base, may_be_malformed=is_own or options.raw)

    def code(self) -> int:
        """Ask, say what was found, and leave nothing behind; the exit code."""
        left: list[str] = []
        with Ending() as ending, self._line:
            try:
                with ending.coming():
                    self._ask(ending)
            except (Unreachable, CommandError) as gone:
                self._report.stopped = str(gone)
            except Ended as ended:
                return ended.code
            finally:
                left = self._clean()
        self._finish()
        if self._report.stopped is not None:
            raise CommandError(self._report.stopped, UNREACHABLE)
        outcomes = {verdict.outcome for verdict in self._report.verdicts}
        is_wrong = left or DIFFERS in outcomes or (self._options.require == "all" and UNSEEN in outcomes)
        return DIFFERENT if is_wrong else 0

    def _ask(self, ending: Ending) -> None:
        service, caller, report = self._options.service, self._caller, self._report
        letter, known, _ = _OF[service]
        check_answers(self._line, caller, service, [who for who in known if who in self._tokens], self._hide)
        report.profile = caller.profile = self._profile or profile_of(self._line)
        self._say(report.heading())
        every_check = checks()
        for row in ROWS.values():
            if row.id.startswith(letter):
                verdict = judge(caller, row, every_check, UNSEEABLE.get(row.id))
                report.verdicts.append(verdict)
                self._say(*report.lines(verdict))
                if verdict.outcome == DIFFERS:  # it may be that there is no store any more
                    self._line.close()
                    check_answers(self._line, caller, service, known[:1], self._hide)
                with ending.waiting():
                    caller.clean()

    def _clean(self) -> list[str]:
        """Remove what is still there; the targets of what could not be removed, which are told."""
        self._line.close()  # what was said on it may not have been heard to its end
        self._line.seconds = min(self._line.seconds, _PATIENCE_SECONDS)
        left = self._caller.clean()
        if left:
            sys.stderr.write(f"kvfake: {self._line.url} keeps what could not be removed: {', '.join(map(self._hide, left))}\n")
        return left

    def _finish(self) -> None:
        """The last line, and the files."""
        report = self._report
        if self._options.json:
            say(json.dumps(report.as_json(), indent=2) + "\n")
        elif report.stopped is None:
            self._say(report.summary())
        if self._options.junit is not None:
            try:
                Path(self._options.junit).write_bytes(report.as_junit(self._options.require == "all"))
            except OSError as failed:
                raise CommandError(f"cannot write {self._options.junit}: {failed.strerror}", DIFFERENT) from None

    def _say(self, *lines: str) -> None:
        if not self._options.json:
            say("".join(f"{line}\n" for line in lines))
