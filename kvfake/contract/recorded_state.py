"""The state behind a recording: each operation, the owner of each token, and the values that were there before it began.

Law: recorded exchanges in, values out; nothing is replayed here. The services read the requests. Some things no answer shows, so
they are guessed:

* A token is known unless the first answer to it refuses it. A token that becomes known later counts as unknown.
* Two tokens have one owner where one reads a value that only the other has set, and no answer contradicts it. Two sessions of one
  owner that never read each other's values count as two owners; two owners that happen to have the same value at the same key
  count as one.
* A key that is read before it is set was there before the recording. Whether another client has set it meanwhile, no answer shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import ModuleType
from typing import Any, NamedTuple

from kvfake.contract.recording import RecordedExchange
from kvfake.services import go, mattermost, persist
from kvfake.services.jsontext import load_json
from kvfake.services.mattermost import COOKIE, CSRF_MARK
from kvfake.services.messages import Operation, Refusal, Request, Response
from kvfake.settings import PROJECT_MARK, parse_owner
from kvfake.stores import Namespace

_ANYBODY = "any/body"  # an owner that both services take
_VALID_BODIES = {mattermost.NAME: b"0", persist.NAME: b'{"value":""}'}

Place = tuple[Namespace, bytes]
Label = tuple[str, bytes]
"""A service, and a token as the recording shows it. The services do not know each other's tokens."""


class Standing(Enum):
    """What an answer shows of a token. ``PLAIN``: it is known, and its session belongs to no app (M12)."""

    KNOWN, PLAIN, UNKNOWN = range(3)


class Value(NamedTuple):
    """A value that an answer shows. ``updated`` is Persist's."""

    data: bytes
    updated: str | None = None


class Step(NamedTuple):
    """An exchange to replay. ``operation`` is ``None`` where the request is refused whatever its value, or its token is not known;
    ``standing`` is ``None`` where the answer shows nothing of the token.
    """

    exchange: RecordedExchange
    operation: Operation | None
    standing: Standing | None


class RecordedState:
    """``steps`` are the exchanges in their order; ``owners`` has the owner of each known token, in the form of ``--token``;
    ``values`` are the values that were there before.
    """

    def __init__(self, exchanges: Iterable[RecordedExchange]) -> None:
        steps = list(_with_csrf_tokens([_step(exchange) for exchange in exchanges]))
        self.owners = _owners(steps)
        self.steps = [_owned(step, self.owners) for step in steps]
        self.values = _values_before(self.steps)


# ---------------------------------------------------------------------------------------------------------------- operations


def service_of(target: bytes) -> ModuleType:
    return persist if unescaped(target.partition(b"?")[0]).startswith(persist.PATHS) else mattermost


def unescaped(path: bytes) -> bytes:
    """The path decoded; as it is where it has a bad escape."""
    try:
        return go.unescape(path)
    except go.BadEscape:
        return path


def label_of(request: Request) -> Label:
    """The service, and the token that it looks at; empty where there is none."""
    service = service_of(request.target)
    return service.NAME, service.token(_located(request))


def _located(request: Request) -> Request:
    """The request, with the location that the router would set: the recorded site lies at the root."""
    path, _, query = request.target.partition(b"?")
    return request.replace(path=path, query=query)


def token_sources(request: Request) -> int:
    """How many places of a request hold a token (M10). A recording keeps no cookie but that of the session."""
    headers = request.headers
    return (b"authorization" in headers) + (b"cookie" in headers) + (mattermost.redact_query(request.target) != request.target)


def _step(exchange: RecordedExchange) -> Step:
    """The exchange with its operation, read as if the owner were known and the value valid: ``None`` where that is refused, too."""
    request, response = _located(exchange.request), exchange.response
    service = service_of(request.target)
    readable = request if request.path.endswith(b"/mget") else request.replace(body=_VALID_BODIES[service.NAME])
    try:
        operation = service.read(readable, _ANYBODY)
    except Refusal:
        return Step(exchange, None, None)
    standing = Standing.KNOWN if is_done(response) or response.status in (400, 404) else None
    if response.status in (401, 403):
        standing = Standing.PLAIN if response.body == mattermost.NO_APP.body else Standing.UNKNOWN
    return Step(exchange, operation, standing)


def _owned(step: Step, owners: Mapping[Label, str]) -> Step:
    """The step with the owner of its token in the operation; without an operation where the token is not known."""
    name, operation = owners.get(label_of(step.exchange.request)), step.operation
    if name is None or operation is None:
        return step._replace(operation=None)
    service, owner = parse_owner(name)
    return step._replace(operation=operation.replace(owner=owner, namespace=(service, owner, operation.namespace[2])))


# -------------------------------------------------------------------------------------------------------- what an answer shows


def is_done(response: Response) -> bool:
    return response.status < 300


def values_after(request: Request, response: Response, operation: Operation) -> dict[bytes, Value | None]:
    """The values that are there after the exchange, as far as the answer shows, by key; ``None`` for a key that is not there."""
    verb, key, is_persist = operation.verb, operation.key, operation.namespace[0] == persist.NAME
    answer = json_of(response.body)
    if verb == "mget":
        records = answer if response.status == 200 and isinstance(answer, list) else []
        return {key: value_of_record(record) for key, record in zip(operation.keys, records, strict=False)}
    if verb == "get" and response.status in (200, 404):
        if is_persist:
            return {key: value_of_record(answer)}
        is_value = response.status == 200 and response.body not in mattermost.MISSING_BODIES and go.json_valid(response.body)
        return {key: Value(response.body) if is_value else None}
    if verb not in ("set", "delete") or not is_done(response):
        return {}
    if verb == "delete":
        return {key: None}
    sent, record = value_of_record(json_of(request.body)) if is_persist else Value(request.body), value_of_record(answer)
    return {key: Value(sent.data, record.updated if record else None)} if sent else {}


def value_of_record(record: Any) -> Value | None:
    """The value in a record of Persist's; ``None`` where it is no such record."""
    value, updated = (record.get("value"), record.get("updated")) if isinstance(record, dict) else (None, None)
    return Value(bytes_of(value), updated if isinstance(updated, str) else None) if isinstance(value, str) else None


def listed(response: Response) -> list[str]:
    """The keys in the answer to a list."""
    keys = json_of(response.body)
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def json_of(body: bytes) -> Any:
    """The value of a body of JSON; ``None`` where it is none."""
    try:
        return load_json(body)
    except (ValueError, RecursionError):
        return None


def bytes_of(text: str) -> bytes:
    """UTF-8; ``?`` for a lone surrogate, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace")


# -------------------------------------------------------------------------------------------------------------------- tokens


def _with_csrf_tokens(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps with the double's CSRF tokens in place of the real server's. The CSRF token of a session is the first that was
    accepted with its cookie (M26) and never refused.
    """
    pairs = [_cookie_and_csrf(step.exchange.request) for step in steps]
    refused = {pair for pair, step in zip(pairs, steps, strict=True) if step.standing is Standing.UNKNOWN}
    csrf_tokens: dict[bytes, bytes] = {}
    for pair, step in zip(pairs, steps, strict=True):
        if pair is not None and pair not in refused and step.standing is not None:
            csrf_tokens.setdefault(*pair)
    for pair, step in zip(pairs, steps, strict=True):
        if pair is not None and csrf_tokens.get(pair[0]) == pair[1]:
            request = step.exchange.request
            request = request.replace(headers={**request.headers, b"x-csrf-token": CSRF_MARK.encode() + pair[0]})
            step = step._replace(exchange=step.exchange._replace(request=request))
        yield step


def _cookie_and_csrf(request: Request) -> tuple[bytes, bytes] | None:
    """The cookie and the CSRF token of a request that needs both."""
    cookie = go.cookie_value(request.headers.get(b"cookie", b""), COOKIE)
    csrf = request.headers.get(b"x-csrf-token")
    return (cookie, csrf) if cookie and csrf and request.method != "GET" else None


def _owners(steps: Sequence[Step]) -> dict[Label, str]:
    """The owner of each token that is known."""
    standings = _standings(steps)
    first = _equal_owners(steps, standings)
    owners: dict[Label, str] = {}
    for label, standing in standings.items():
        if standing is not Standing.UNKNOWN:
            number = len(owners) + 1
            of_mattermost = f"/user-{number}" if standing is Standing.PLAIN else f"app-{number}/user"
            name = f"{PROJECT_MARK}{number}" if label[0] == persist.NAME else of_mattermost
            owners[label] = owners.setdefault(first.get(label, label), name)
    return owners


def _standings(steps: Iterable[Step]) -> dict[Label, Standing]:
    """What is known of each token: by the first answer to a request that named it alone, else by the first to any request."""
    shown: defaultdict[Label, dict[bool, Standing]] = defaultdict(dict)
    for step in steps:
        label = label_of(step.exchange.request)
        if label[1]:
            of_label = shown[label]
            if step.standing is not None:
                of_label.setdefault(token_sources(step.exchange.request) == 1, step.standing)
    return {label: of_label.get(True, of_label.get(False, Standing.KNOWN)) for label, of_label in shown.items()}


def _equal_owners(steps: Iterable[Step], standings: Mapping[Label, Standing]) -> dict[Label, Label]:
    """For each token that has the same owner as another: the first token of that owner."""
    left: defaultdict[Place, dict[Label, Value | None]] = defaultdict(dict)  # the value that each token's last change has left
    equal: set[tuple[Label, Label]] = set()
    different: set[tuple[Label, Label]] = set()
    for exchange, operation, _ in steps:
        label = label_of(exchange.request)
        if operation is None or operation.verb == "mget" or standings.get(label) is not Standing.KNOWN:
            continue
        at = left[operation.namespace, operation.key]
        for value in values_after(exchange.request, exchange.response, operation).values():
            if operation.verb != "get":
                at[label] = value
            elif label not in at:
                for other, theirs in at.items():
                    if theirs != value:
                        different |= {(other, label), (label, other)}
                    elif value is not None:
                        equal.add((other, label))
    first: dict[Label, Label] = {}
    for one, other in sorted(equal - different):
        first[other] = first.get(one, one)
    return first


# -------------------------------------------------------------------------------------------------------- values from before

_UNREAD = Value(b"")  # for a key that was listed and never read


def _values_before(steps: Iterable[Step]) -> dict[Place, Value]:
    values: dict[Place, Value] = {}
    known: set[Place] = set()  # places whose value an earlier answer has shown
    shown: set[tuple[Namespace, str]] = set()  # the same, as a list shows their keys
    for exchange, operation, _ in steps:
        if operation is None:
            continue
        namespace, response = operation.namespace, exchange.response
        for key, value in values_after(exchange.request, response, operation).items():
            if (namespace, key) not in known:
                known.add((namespace, key))
                shown.add((namespace, persist.shown(key)))
                was_there = operation.verb in ("get", "mget") or is_unchanged(response)
                if was_there and value is not None:
                    values[namespace, key] = value
        for text in listed(response) if operation.verb == "list" else ():
            if (namespace, text) not in shown:
                values.setdefault((namespace, bytes_of(text)), _UNREAD)
    return values


def is_unchanged(response: Response) -> bool:
    """Whether the answer to a set says that the value was there before (M17, as documented)."""
    answer = json_of(response.body)
    return isinstance(answer, dict) and answer.get("changed") is False
