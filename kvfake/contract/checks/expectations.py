"""What a check is made of: steps, each of them a request and what is expected of its response.

Law: the rows' own words, written here a second time; none is taken from the services, which are what is checked. A step that does
not get what it expects raises `Mismatch`.

Texts of a step may hold placeholders: ``{key}`` is the key of this run, which nobody else has; `_PLACEHOLDERS` has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from kvfake.contract.checks.client import BOT, PREFIX, PROJECT, CheckResponse, ContractClient, Mismatch

LONG_PREFIX = "ABC"  # over two bytes: M15

_PLACEHOLDERS: dict[str, Callable[[ContractClient], str]] = {
    "{host}": lambda client: client.host,
    "{kv}": lambda client: client.kv_path,
    "{kv_parent}": lambda client: client.kv_path.rpartition("/")[0],
    "{persist}": lambda client: client.persist_path,
    "{token}": lambda client: client.token(BOT),
    "{quoted_token}": lambda client: quote(client.token(BOT), safe=""),
    "{escaped_token}": lambda client: "".join(f"%{byte:02X}" for byte in client.token(BOT).encode()),
    "{project_token}": lambda client: client.token(PROJECT),
    "{refused_last}": lambda client: PREFIX if client.is_documented else LONG_PREFIX,  # a prefix that may be refused: M23
}


class Run:
    """One run of a check: a client, and a new key."""

    def __init__(self, client: ContractClient) -> None:
        self.client, self.key = client, client.key()

    def fill(self, value: Any) -> Any:
        """The value with what its placeholders stand for, also inside lists and objects of JSON."""
        if isinstance(value, str):
            value = value.replace("{key}", self.key)
            for placeholder, content in _PLACEHOLDERS.items():
                if placeholder in value:
                    value = value.replace(placeholder, content(self.client))
            return value
        if isinstance(value, dict):
            return {name: self.fill(item) for name, item in value.items()}
        return type(value)(map(self.fill, value)) if isinstance(value, list | tuple) else value

    def run(self, *steps: Step) -> CheckResponse:
        """Run the steps; the response to the last."""
        for step in steps:
            if not (step.is_plugin_only and self.client.is_documented):
                response = step.send(self.client, step.method, self.fill(step.rest), **self.fill(step.options))
                step.expected(response, self)
        return response


Expectation = Callable[[CheckResponse, Run], None]
"""Raises `Mismatch` for a response that is not as expected."""


class Step(NamedTuple):
    """A request, and what is expected of the response. ``rest`` is the target below the store, ``options`` are those of `send`."""

    send: Callable[..., CheckResponse]
    method: str
    rest: str
    expected: Expectation
    options: dict[str, Any]
    is_plugin_only: bool = False


class Check(NamedTuple):
    """A check of a row. ``name`` is the row's id, a hyphen, and what is checked. ``is_malformed``: it sends what an HTTP client
    would clean, and so must be asked for (``--raw``). ``is_below``: it looks at what lies below HTTP, and needs a plain socket.
    """

    name: str
    do: Callable[[ContractClient], object]
    is_malformed: bool = False
    is_below: bool = False

    @property
    def row(self) -> str:
        return self.name.partition("-")[0]

    @property
    def title(self) -> str:
        return self.name.partition("-")[2]


def table(name: str, *steps: Step, is_malformed: bool = False) -> Check:
    """A check that is a sequence of steps."""
    return Check(name, lambda client: Run(client).run(*steps), is_malformed)


def sequence(row: str, is_malformed: bool = False, is_below: bool = False) -> Callable[[Callable[[Run], object]], Check]:
    """A check that is a function of a run; its name is what is checked."""

    def check(do: Callable[[Run], object]) -> Check:
        return Check(f"{row}-{do.__name__}", lambda client: do(Run(client)), is_malformed or is_below, is_below)

    return check


# ---------------------------------------------------------------------------------------------------------------- of any response


def expect(holds: bool, expected: str, got: object) -> None:
    """`Mismatch`, in these words, where it does not hold."""
    if not holds:
        raise Mismatch(f"expected {expected}, got ", got if isinstance(got, bytes) else str(got))


def status(code: int, body: bytes | str | None = None, headers: Mapping[str, str | None] | None = None) -> Expectation:
    """That status, that body to the byte, and those headers. A header of ``None`` is one that is not there; one that is not named
    may be there, since proxies add their own.
    """

    def check(response: CheckResponse, run: Run) -> None:
        if response.status != code:
            raise Mismatch(f"expected status {code}, got {response.status} with ", response.body)
        for name, value in (headers or {}).items():
            got, wanted = response.headers.get(name.lower()), run.fill(value)
            if got != wanted:
                expected = f"no {name}" if wanted is None else f"{name}: {wanted}"
                raise Mismatch(f"expected {expected}, got {'none' if got is None else repr(got)}")
        data = run.fill(body).encode() if isinstance(body, str) else body
        if data is not None and response.body != data:
            raise Mismatch("expected the body ", data, ", got ", response.body)

    return check


def success(response: CheckResponse, run: Run | None = None) -> None:
    """Whatever status of success."""
    if not 200 <= response.status < 300:
        raise Mismatch(f"expected success, got {response.status} with ", response.body)
