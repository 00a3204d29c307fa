"""What a check is made of: actions, most of them steps, which are a request and what is expected of its response.

Law: the rows' own words, written here a second time; none is taken from the services, which are what is checked. A step that does
not get what it expects raises `Mismatch`.

Texts of a step may hold placeholders: ``{key}`` is the key of this run, which nobody else has; `_PLACEHOLDERS` has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol
from urllib.parse import quote

from kvfake.contract.checks.client import BOT, PREFIX, PROJECT, CheckResponse, ContractClient, Mismatch

_P = ParamSpec("_P")

LONG_PREFIX = "ABC"  # over two bytes: M15

_PLACEHOLDERS: dict[str, Callable[[ContractClient], str]] = {
    "{base}": lambda client: client.http.base,
    "{host}": lambda client: client.http.host,
    "{kv}": lambda client: client.kv_path,
    "{kv_parent}": lambda client: client.kv_path.rpartition("/")[0],
    "{persist}": lambda client: client.persist_path,
    "{token}": lambda client: client.token(BOT),
    "{quoted_token}": lambda client: quote(client.token(BOT), safe=""),
    "{escaped_token}": lambda client: "".join(f"%{byte:02X}" for byte in client.token(BOT).encode()),
    "{project_token}": lambda client: client.token(PROJECT),
    "{long_prefix}": lambda client: PREFIX if client.is_documented else LONG_PREFIX,  # a prefix that may be refused: M23
}


class Run:
    """One run of a check: a client, a new key, and the response to the step before."""

    previous: CheckResponse

    def __init__(self, client: ContractClient) -> None:
        self.client, self.key = client, client.key()

    def fill(self, value: Any) -> Any:
        """The value with what its placeholders stand for, also inside lists and objects of JSON."""
        if isinstance(value, str):
            value = value.replace("{key}", self.key).replace("{key_tail}", self.key[1:])
            for placeholder, content in _PLACEHOLDERS.items():
                if placeholder in value:
                    value = value.replace(placeholder, content(self.client))
            return value
        if isinstance(value, dict):
            return {name: self.fill(item) for name, item in value.items()}
        return type(value)(map(self.fill, value)) if isinstance(value, list | tuple) else value


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
        """Send the request, unless it is only for the plugin's profile; the last response."""
        if not (self.is_plugin_only and run.client.is_documented):
            response = run.client.request(self.method, run.fill(self.target), **run.fill(self.options))
            self.expected(response, run)
            run.previous = response
        return run.previous


class Check(NamedTuple):
    """A check of a row. ``name`` is the row's id, a hyphen, and what is checked. ``is_malformed``: it sends what an HTTP client
    would clean, and so must be asked for (``--raw``). ``is_below``: it looks at what lies below HTTP, and needs a plain socket.
    """

    name: str
    actions: tuple[Action, ...]
    is_malformed: bool = False
    is_below: bool = False

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
    """A check that an HTTP client can do."""
    return Check(name, actions, is_malformed)


# ------------------------------------------------------------------------------------------------------------- expectations


def expectation(check: Callable[Concatenate[CheckResponse, Run, _P], None]) -> Callable[_P, Expectation]:
    """Make of a check of a response, which takes arguments, a function of those arguments that makes an expectation."""
    return lambda *args, **kwargs: lambda response, run: check(response, run, *args, **kwargs)


def expect(holds: bool, expected: str, got: object) -> None:
    """`Mismatch`, in these words, where it does not hold."""
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
    """That status, that body to the byte, and those headers. A header of ``None`` is one that is not there; one that is not named
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
    """Whatever status of success."""
    if not 200 <= response.status < 300:
        raise Mismatch(f"expected success, got {response.status} with ", response.body)
