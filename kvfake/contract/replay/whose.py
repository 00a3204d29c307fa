"""Whose the tokens of a recording are: an owner for each label that the real server knew.

Law: exchanges in, owners out. It goes by what the answers show, and that is not all:

* the first answer to a label says whether it is known, and whether its session belongs to an app; one that became known only later
  is not told from one that never was;
* two labels are one owner where one reads what the other alone has set, and nothing speaks against it. Two sessions of one owner
  that never read each other's values stay two owners; a value of one that comes up by chance at the same key of another makes them
  one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kvfake.contract.replay.asked import Value, got_value, is_done, place_of, service_of, set_value, token_of
from kvfake.contract.replay.tape import Taped
from kvfake.services import go, mattermost, persist
from kvfake.services.mattermost import COOKIE, CSRF_MARK, redact_query
from kvfake.services.messages import Request
from kvfake.settings import PROJECT_MARK

Label = tuple[str, bytes]
"""A service, and a token's label: what is known to one is not known to the other."""

_KNOWN, _PLAIN, _UNKNOWN = "known", "plain", "unknown"
_ANYBODY = "any/body"
_SOURCES = (b"authorization", b"cookie")


def owners_of(exchanges: Iterable[Taped]) -> dict[Label, str]:
    """The owner of each label that is known, as `kvfake.Double.token` takes it."""
    exchanges = list(exchanges)
    standing = _standings(exchanges)
    same = _merged(exchanges, standing)
    owners: dict[Label, str] = {}
    for label, how in standing.items():
        first = same.get(label, label)
        if how != _UNKNOWN and first not in owners:
            owners[first] = _owner(label[0], len(owners) + 1, how)
        if how != _UNKNOWN:
            owners[label] = owners[first]
    return owners


def _owner(service: str, number: int, how: str) -> str:
    if service == persist.NAME:
        return f"{PROJECT_MARK}{number}"
    return f"/user-{number}" if how == _PLAIN else f"app-{number}/user"


# ---------------------------------------------------------------------------------------------------------- who is known


def _standings(exchanges: list[Taped]) -> dict[Label, str]:
    """What each label is, in the order in which they come; one is known of which nothing says otherwise. A request with one label
    says more than one with several.
    """
    found: dict[Label, str] = {}
    for says_more in (False, True):
        said: dict[Label, str] = {}
        for taped in exchanges:
            label = label_of(taped.request)
            if label is not None:
                found.setdefault(label, _KNOWN)
                how = _standing(taped) if _has_one_source(taped.request) == says_more else None
                if how is not None:
                    said.setdefault(label, how)
        found |= said
    return found


def label_of(request: Request) -> Label | None:
    token = token_of(request)
    return (service_of(request.target).NAME, token) if token else None


def _has_one_source(request: Request) -> bool:
    sources = [name for name in _SOURCES if name in request.headers]
    return len(sources) + (redact_query(request.target) != request.target) < 2


def _standing(taped: Taped) -> str | None:
    """What the answer says of the label, if anything."""
    request, response = taped.request, taped.response
    if place_of(request, _ANYBODY) is None:
        return None
    if response.status in (401, 403):
        return _PLAIN if response.body == mattermost.NO_APP.body else _UNKNOWN
    if service_of(request.target) is persist:
        return _KNOWN if response.status in (200, 400, 404) else None
    return _KNOWN if response.status in (200, 201, 400) or response.body.startswith(b"prefix ") else None


# --------------------------------------------------------------------------------------------------------- who is the same


def _merged(exchanges: list[Taped], standing: dict[Label, str]) -> dict[Label, Label]:
    """For each label that is another's owner too: the first of them."""
    last: defaultdict[object, dict[Label, Value | None]] = defaultdict(dict)  # at a place: what each label has left there
    agree: set[tuple[Label, Label]] = set()
    disagree: set[tuple[Label, Label]] = set()
    for taped in exchanges:
        label = label_of(taped.request)
        place = place_of(taped.request, _ANYBODY)
        if label is None or place is None or standing.get(label) != _KNOWN:
            continue
        at = last[place.namespace, place.key]
        if place.verb == "set" and is_done(taped.response):
            at[label] = set_value(taped)
        elif place.verb == "delete" and is_done(taped.response):
            at[label] = None
        elif place.verb == "get" and label not in at and taped.response.status in (200, 404):
            got = got_value(taped)
            for other, value in at.items():
                if got is not None or value is not None:
                    (agree if got == value else disagree).add((other, label))
    same: dict[Label, Label] = {}
    for one, other in sorted(agree):
        if not {(one, other), (other, one)} & disagree:
            same[other] = same.get(one, one)
    return same


# ------------------------------------------------------------------------------------------------------------ CSRF tokens


def with_csrf(exchanges: Iterable[Taped]) -> list[Taped]:
    """The exchanges, with the CSRF tokens that the double's sessions have in place of those that the real server took: the first
    of a session is its own (M26), if it was never refused.
    """
    exchanges = list(exchanges)
    pairs = [_csrf(taped.request) for taped in exchanges]
    refused = {pair for pair, taped in zip(pairs, exchanges, strict=True) if taped.response.status in (401, 403)}
    right: dict[bytes, bytes] = {}
    for pair, taped in zip(pairs, exchanges, strict=True):
        if pair is not None and pair not in refused and taped.response.status in (200, 201, 400):
            right.setdefault(*pair)
    return [
        taped if pair is None or right.get(pair[0]) != pair[1] else _with_csrf_of(taped, pair[0])
        for pair, taped in zip(pairs, exchanges, strict=True)
    ]


def _csrf(request: Request) -> tuple[bytes, bytes] | None:
    """The cookie, and what should show that the app sent it knowingly, where that counts."""
    cookie = go.cookie_value(request.headers.get(b"cookie", b""), COOKIE)
    csrf = request.headers.get(b"x-csrf-token")
    return (cookie, csrf) if cookie and csrf and request.method != "GET" else None


def _with_csrf_of(taped: Taped, cookie: bytes) -> Taped:
    headers = {**taped.request.headers, b"x-csrf-token": CSRF_MARK.encode() + cookie}
    return taped._replace(request=taped.request.replace(headers=headers))
