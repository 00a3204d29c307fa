"""What a check is made of: actions, most of them steps, which are a request and what is expected of its response.

Law: it states what the rows say, and takes no text or limit from the services, since they are what is checked. A step raises
`Mismatch` where the response is not as expected.

Texts of a step may hold the placeholders of `_PLACEHOLDERS`: ``{key}`` is the random key of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol
from urllib.parse import quote

from kvfake.contract.checks.client import BOT, PREFIX, PROJECT, CheckResponse, ContractClient, Mismatch

_P = ParamSpec("_P")

LONG_PREFIX = "ABC"  # longer than the two bytes that the plugin takes: M15


class Run:
    """One run of a check: its client, its key, and the response to the previous step."""

    previous: CheckResponse

    def __init__(self, client: ContractClient) -> None:
        self.client, self.key = client, client.key()

    def fill(self, value: Any) -> Any:
        """The value with its placeholders replaced, also inside lists and objects of JSON."""
        if isinstance(value, str):
            for placeholder, content in _PLACEHOLDERS.items():
                if placeholder in value:
                    value = value.replace(placeholder, content(self))
            return value
        if isinstance(value, dict):
            return {name: self.fill(item) for name, item in value.items()}
        return type(value)(map(self.fill, value)) if isinstance(value, list | tuple) else value


_PLACEHOLDERS: dict[str, Callable[[Run], str]] = {
    "{key}": lambda run: run.key,
    "{key_tail}": lambda run: run.key[1:],
    "{base}": lambda run: run.client.http.base,
    "{host}": lambda run: run.client.http.host,
    "{kv}": lambda run: run.client.kv_path,
    "{kv_parent}": lambda run: run.client.kv_path.rpartition("/")[0],
    "{persist}": lambda run: run.client.persist_path,
    "{token}": lambda run: run.client.token(BOT),
    "{quoted_token}": lambda run: quote(run.client.token(BOT), safe=""),
    "{escaped_token}": lambda run: "".join(f"%{byte:02X}" for byte in run.client.token(BOT).encode()),
    "{project_token}": lambda run: run.client.token(PROJECT),
    "{long_prefix}": lambda run: PREFIX if run.client.is_documented else LONG_PREFIX,  # M23: one that the plugin refuses
}


Expectation = Callable[[CheckResponse, Run], None]
"""Raises `Mismatch` for a response that is not as expected."""


class Action(Protocol):
    """A part of a check: a step, or a function. Raises `Mismatch`, `NotVerifiable` and `NoAnswer`."""

    def __call__(self, run: Run, /) -> object: ...


class Step(NamedTuple):
    """A request, and what is expected of the response. ``options`` are those of `ContractClient.request`."""

    method: str
    target: str
    expected: Expectation
    options: dict[str, Any]
    is_plugin_only: bool = False

    def __call__(self, run: Run) -> CheckResponse:
        """Send the request, unless it is for another profile, and check the response. Returns the last response."""
        if not (self.is_plugin_only and run.client.is_documented):
            response = run.client.request(self.method, run.fill(self.target), **run.fill(self.options))
            self.expected(response, run)
            run.previous = response
        return run.previous


class Check(NamedTuple):
    """A check of a row. ``name`` is the row's id, a hyphen, and what is checked. ``is_malformed``: it sends what other HTTP clients
    would clean, and runs only with ``--raw``. ``needs_socket``: it tests what lies below HTTP, and needs a plain socket.
    """

    name: str
    actions: tuple[Action, ...]
    is_malformed: bool = False
    needs_socket: bool = False

    @property
    def row(self) -> str:
        return self.name.partition("-")[0]

    @property
    def title(self) -> str:
        return self.name.partition("-")[2]

    def run(self, client: ContractClient) -> None:
        """Raises `Mismatch`, `NotVerifiable` and `NoAnswer`."""
        run = Run(client)
        for action in self.actions:
            action(run)


def table(name: str, *actions: Action, is_malformed: bool = False) -> Check:
    """A check with these actions, in their order."""
    return Check(name, actions, is_malformed)


# ------------------------------------------------------------------------------------------------------------- expectations


def expectation(check: Callable[Concatenate[CheckResponse, Run, _P], None]) -> Callable[_P, Expectation]:
    """Decorates a check of a response that takes further arguments: the result takes those alone, and returns an `Expectation`."""
    return lambda *args, **kwargs: lambda response, run: check(response, run, *args, **kwargs)


def expect(holds: bool, expected: str, got: object) -> None:
    """Raises `Mismatch` with these words unless ``holds``."""
    if not holds:
        raise Mismatch(f"expected {expected}, got ", got if isinstance(got, bytes) else str(got))


@expectation
def status(
    response: CheckResponse,
    run: Run,
    code: int,
    body: bytes | str | None = None,
    headers: Mapping[str, str | None] = MappingProxyType({}),
) -> None:
    """Exactly that status and that body, and those headers; ``None`` means that the header is absent. Headers that are not named
    may be there, since proxies add their own.
    """
    if response.status != code:
        raise Mismatch(f"expected status {code}, got {response.status} with ", response.body)
    for name, value in headers.items():
        got, wanted = response.headers.get(name.lower()), run.fill(value)
        if got != wanted:
            expected = f"no {name}" if wanted is None else f"{name}: {wanted}"
            raise Mismatch(f"expected {expected}, got {'none' if got is None else repr(got)}")
    data = run.fill(body).encode() if isinstance(body, str) else body
    if data is not None and response.body != data:
        raise Mismatch("expected the body ", data, ", got ", response.body)


def success(response: CheckResponse, run: Run | None = None) -> None:
    """Any status of success (2xx)."""
    if not 200 <= response.status < 300:
        raise Mismatch(f"expected success, got {response.status} with ", response.body)
