"""``kvfake verify``: check whether a server does what each row says.

Law: options in, verdicts on stdout and an exit code out. It decides which server is checked and with which tokens, and leaves no
key on it.
"""

from __future__ import annotations

import json
import secrets
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import urljoin

from kvfake.contract import DIFFERENT, UNREACHABLE, write_text
from kvfake.contract.checks import CHECKS, DIFFERS, NOT_SEEN, NOT_VERIFIABLE, probe, run_checks
from kvfake.contract.checks.client import (
    BOT,
    OTHER_PROJECT,
    PLAIN_USER,
    PROJECT,
    USER,
    CheckResponse,
    ContractClient,
    token_option,
)
from kvfake.contract.verify_report import Report
from kvfake.errors import CommandError, UsageError
from kvfake.http_client import ClientRequest, HttpClient, site_client
from kvfake.lines import printable
from kvfake.services import mattermost, persist
from kvfake.services.facts import ROWS
from kvfake.settings import BY_NAME, PROFILES, REAL, SERVER, TOKEN_OPTIONS, WORLD, command_settings, of, resolve
from kvfake.signals import DeferredSignals, Interrupted
from kvfake.world.redaction import Redactor, shortened

_ROLES = {mattermost.NAME: (BOT, USER, PLAIN_USER), persist.NAME: (PROJECT, OTHER_PROJECT)}
"""Whose tokens are used for a service; the first token must be given. Mattermost's store refuses `PLAIN_USER`."""
_OWNERS = {BOT: "app/bot", USER: "app/user", PLAIN_USER: "/user", PROJECT: "project:first", OTHER_PROJECT: "project:second"}
_HINTS = {
    mattermost.NAME: "is the Apps plugin enabled there, and is this the site URL?",
    persist.NAME: "is this the URL of Persist?",
}
_SETTINGS_OF_REAL = tuple(setting.name for setting in of(REAL))
_UNREAD = frozenset(BY_NAME) - {"profile", *_SETTINGS_OF_REAL}
_TOKEN_NAMES = tuple(flag[2:].replace("-", "_") for flag in TOKEN_OPTIONS)
_PROFILE_OF_A_REAL_SERVER = "plugin-1.2"
_GATEWAY_ERRORS = (502, 503, 504)
_MAX_SHOWN_CHARACTERS = 200
_CLEANING_EXCHANGE_SECONDS = 10.0  # of one exchange while keys are removed


def command(options: Namespace) -> int:
    """``kvfake verify``."""
    flags = {"profile": options.profile}  # --against is checked by `site_client`, whose errors have another exit code
    settings = command_settings(flags, scopes=(WORLD, REAL), overrides={"profile": None}, unread=_UNREAD)
    for name in _SETTINGS_OF_REAL:
        if getattr(options, name) is None:
            setattr(options, name, settings[name])
    is_own = options.against is None
    server = _double(settings["profile"] or PROFILES[0]) if is_own else nullcontext((options.against, _tokens(options)))
    with server as (url, tokens):
        return _Verification(options, url, tokens, settings["profile"]).code()


def _tokens(options: Namespace) -> dict[str, str]:
    """The tokens for the service, by role. A token for the other service is not among them. Raises `UsageError`."""
    roles = _ROLES[options.service]
    given = {who: getattr(options, token_option(who)[2:].replace("-", "_")) for who in roles}
    for who, token in given.items():
        flag = token_option(who)
        if token is None and who == roles[0]:
            raise UsageError(
                f"verify --against --service {options.service} needs {flag} (or the variable {TOKEN_OPTIONS[flag][0]})"
            )
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            raise UsageError(f"{flag}: expected a token of printable characters without blanks")
    return {who: token for who, token in given.items() if token is not None}


@contextmanager
def _double(profile: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The URL and the tokens of a double that is made for this check. Settings from the environment do not change it."""
    from kvfake.double import DoubleServer

    tokens = {who: secrets.token_hex(16) for who in _OWNERS}
    named = tuple(f"{tokens[who]}={owner}" for who, owner in _OWNERS.items())
    settings = {"port": 0, "profile": profile, "strict": True, "mattermost_missing": "object", "token": named}
    with DoubleServer(resolve(settings, scopes=(SERVER, WORLD))) as double:
        double.server.start()
        yield double.own.url, tokens


class _Verification:
    """The rows of one service, checked on one server, row after row. Raises `CommandError`."""

    def __init__(self, options: Namespace, url: str, tokens: Mapping[str, str], profile: str | None) -> None:
        self._options, self._tokens, self._profile = options, tokens, profile
        self._http = site_client(url, options.timeout, options.ca_file, bool(options.insecure))
        is_own = options.against is None
        self._redactor = Redactor([*tokens.values(), *filter(None, map(vars(options).get, _TOKEN_NAMES))])
        self._report = Report(options.service, None if is_own else self._http.url, self._redactor)
        self._client = ContractClient(self._http, tokens, may_be_malformed=is_own or options.raw)

    def code(self) -> int:
        """Check, report, and remove the keys. Returns the exit code."""
        with DeferredSignals() as signals, self._http:
            try:
                self._check(signals)
            except CommandError as failed:
                self._report.stopped = self._redactor.redact(str(failed))
            except Interrupted as interrupted:
                return interrupted.code
            finally:
                left = self._clean()
        self._finish()
        if self._report.stopped is not None:
            raise CommandError(self._report.stopped, UNREACHABLE)
        outcomes = {verdict.outcome for verdict in self._report.verdicts}
        is_wrong = left or DIFFERS in outcomes or (self._options.require == "all" and NOT_SEEN in outcomes)
        return DIFFERENT if is_wrong else 0

    def _check(self, signals: DeferredSignals) -> None:
        """Check row after row. A signal waits while keys are removed."""
        service, client, report = self._options.service, self._client, self._report
        known = [who for who in _ROLES[service] if who in self._tokens and who != PLAIN_USER]
        with signals.allowed():
            check_store(client, service, known, self._redactor)
            report.profile = client.profile = self._profile or _profile_of(self._http)
            self._print(report.heading())
        for row in ROWS.values():
            if row.service == service:
                with signals.allowed():
                    verdict = run_checks(client, row, CHECKS, NOT_VERIFIABLE.get(row.id))
                    report.verdicts.append(verdict)
                    self._print(*report.lines(verdict))
                    if verdict.outcome == DIFFERS:  # the server may be gone
                        self._http.close()
                        check_store(client, service, known[:1], self._redactor)
                client.clean()
        signals.check()

    def _clean(self) -> list[str]:
        """Remove the keys that are still there, and report those that could not be removed. Returns their targets."""
        self._http.close()  # the kept connection may still get the response to an interrupted request
        self._http.seconds = min(self._http.seconds, _CLEANING_EXCHANGE_SECONDS)
        left = self._client.clean()
        if left:
            targets = ", ".join(map(self._redactor.redact, left))
            sys.stderr.write(f"kvfake: {self._http.url} keeps what could not be removed: {targets}\n")
        return left

    def _finish(self) -> None:
        """The last line, and the files."""
        report = self._report
        if self._options.json:
            write_text(json.dumps(report.as_json(), indent=2) + "\n")
        elif report.stopped is None:
            self._print(report.summary())
        if self._options.junit is not None:
            try:
                Path(self._options.junit).write_bytes(report.as_junit(self._options.require == "all"))
            except OSError as failed:
                raise CommandError(f"cannot write {self._options.junit}: {failed.strerror}", DIFFERENT) from None

    def _print(self, *lines: str) -> None:
        if not self._options.json:
            write_text("".join(f"{line}\n" for line in lines))


# -------------------------------------------------------------------------------------------------------- is there a store at all


def check_store(client: ContractClient, service: str, who: Iterable[str], redactor: Redactor) -> None:
    """Raises `CommandError` where the server is no store of that service, or does not know the token of one of these roles, and
    `NoAnswer` where no response comes.
    """
    for one in who:
        response = probe(client, service, one)
        words = _shown(response.text.strip(), redactor)
        reason = no_store_reason(client.http, response, _HINTS[service], redactor)
        if response.status in _GATEWAY_ERRORS:
            reason = f"answers {response.status}, and nothing behind it does: {words}"
        elif not reason and response.status == 401:
            reason = f"does not know the token of {token_option(one)}: {words}"
        elif not reason and response.status >= 400 and not _takes_a_value(client, service, one):
            reason = f"answers {response.status}, and takes no value: {words} ({_HINTS[service]})"
        if reason:
            raise CommandError(f"{client.http.url} {reason}", UNREACHABLE)


def _takes_a_value(client: ContractClient, service: str, who: str) -> bool:
    """Whether a key can be set; it is removed again. To a get a store may answer 404, as any other server does."""
    response = client.request("PUT", client.new_target(service), '{"value":"v"}', who)  # both services take this body
    client.clean()
    return response.status < 300


def _shown(text: str, redactor: Redactor) -> str:
    return shortened(printable(redactor.redact_text(text)), _MAX_SHOWN_CHARACTERS)


def no_store_reason(http: HttpClient, response: CheckResponse, hint: str, redactor: Redactor) -> str:
    """Why the response comes from no store: it redirects, or is a page. Empty where it may come from one."""
    if 300 <= response.status < 400:
        location = _shown(_site_of_redirect(http, response), redactor)
        if location:
            return f"redirects to {location}: give that URL"
        return f"redirects (status {response.status}), and does not say where"
    if response.body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return f"answers HTML (status {response.status}), not the store: {hint}"
    return ""


def _site_of_redirect(http: HttpClient, response: CheckResponse) -> str:
    """The URL of the site to which the response redirects: without the part of the target below the site. Where the location is
    no URL: the location.
    """
    below, location = response.request.target.removeprefix(http.base), response.headers.get("location", "")
    try:
        return urljoin(http.url + below, location).removesuffix(below) if location else ""
    except ValueError:
        return location


def _profile_of(http: HttpClient) -> str:
    """The profile that a kvfake server has; the plugin's, where the server is none."""
    with suppress(ValueError, TypeError, LookupError, RecursionError):  # it is no kvfake
        health = json.loads(http.send(ClientRequest("GET", f"{http.base}/_kvfake/health", {})).body)
        if "kvfake" in health and health["profile"] in PROFILES:
            return str(health["profile"])
    return _PROFILE_OF_A_REAL_SERVER
