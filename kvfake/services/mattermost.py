"""The Mattermost Apps key-value store, as pure functions over a store: read a request, answer the operation.

Law: the service's routes, limits, texts and order of refusals; nothing of sockets, worlds, clocks or settings. What a profile
decides comes in as an argument. Rows (M01...) are those of `kvfake.services.facts`; the source of a text stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from kvfake.errors import is_refusal
from kvfake.services import go
from kvfake.services.go import http_error
from kvfake.services.messages import JSON, Operation, Refusal, Request, Response
from kvfake.stores import Entry, Namespace, StoreReader

__tracebackhide__ = is_refusal

NAME = "mattermost"
PLUGINS = b"/plugins/"
APPS = "/plugins/com.mattermost.apps"
KV = APPS + "/api/v1/kv"  # M01
COOKIE = b"MMAUTHTOKEN"  # model.SessionCookieToken
UNKNOWN_TOKEN_ROW = "M11"  # named by an answer to a token that is accepted though it is not known
CSRF_MARK = "csrf-"  # M26: what it really is cannot be known from outside

MAX_VALUE_BYTES = 8192  # M14: httpin.MaxKVStoreValueLength
MAX_PREFIX_BYTES = 2  # M15, M25: store.Hashkey

_BASE = KV.encode() + b"/"
_PLAIN = re.compile(re.escape(_BASE) + rb"(?:([^/%.\n]+)/)?([^/%.\n]+)")  # nothing to decode, to clean, or to refuse
_QUERY_NAME = b"access_token"  # M10
_VERBS = {"GET": "get", "POST": "set", "PUT": "set", "DELETE": "delete"}  # M02, M03, M05


class Profile(NamedTuple):
    """What profiles differ in. ``is_lenient``: answer what the documentation says where the plugin refuses or differs (M15, M17);
    ``missing``: the answer for a key that is not there (M07).
    """

    is_lenient: bool
    missing: Response


NOT_FOUND = http_error(404, "404 page not found")  # M20
NOT_ALLOWED = Response(405)  # M22
NO_TOKEN = http_error(401, "user ID is required: unauthorized")  # M11
NO_APP = http_error(401, "not an app session: unauthorized")  # M12
NOT_JSON = http_error(400, "payload is not valid json: invalid input")  # M13
TOO_LARGE = http_error(500, "size limit of 8Kb exceeded")  # M14

_MISSING = {"object": Response(200, JSON, b"{}"), "null": Response(200, JSON, b"null\n"), "404": NOT_FOUND}  # M07
MISSING_BODIES = tuple(response.body for response in _MISSING.values() if response.status == 200)
"""M07: bodies that stand for a missing key. A key that holds the same bytes cannot be told from one that is not there."""
_CHANGED = Response(200, JSON, b'{"changed":true}\n')  # M04
_UNCHANGED = Response(200, JSON, b'{"changed":false}\n', rows=("M17",))
_DELETED = Response(200)  # M05


def profile(name: str, missing: str | None = None) -> Profile:
    """The profile of that name; ``missing`` (``object``, ``null``, ``404``) wins over what it would answer for no value."""
    return Profile(name == "documented", _MISSING[missing or "object"])


# ------------------------------------------------------------------------------------------------------------------- reading


def token(request: Request) -> bytes:
    """The token of a request, or nothing. Only the first source that is present counts (M10, M26, M27)."""
    headers = request.headers
    authorization = headers.get(b"authorization", b"").strip(b" \t")
    scheme = authorization[:7].lower()
    if scheme == b"bearer ":
        return authorization[7:]
    if scheme[:6] == b"token ":
        return authorization[6:]
    cookie = go.cookie_value(headers[b"cookie"], COOKIE) if b"cookie" in headers else None
    if cookie is None:
        return go.query_value(request.query, _QUERY_NAME) if request.query else b""
    if request.method == "GET":
        return cookie
    sent = headers.get(b"x-csrf-token", b"").strip(b" \t")
    if sent:
        return cookie if sent == CSRF_MARK.encode() + cookie else b""
    return cookie if headers.get(b"x-requested-with") == b"XMLHttpRequest" else b""


def redact_query(target: bytes, replacement: Callable[[bytes], bytes] = lambda token: b"...") -> bytes:
    """A target that can be shown: each value of ``access_token`` is replaced, however the name is written. ``replacement`` makes
    what is shown out of the value.
    """
    path, mark, query = target.partition(b"?")
    if _QUERY_NAME not in query and b"%" not in query:  # as in most, which is quick to see
        return target

    def hide(pair: re.Match[bytes]) -> bytes:
        return b"&" + pair[1] + (pair[2] or b"") + replacement(pair[3] or b"")

    return path + mark + go.query_pairs(_QUERY_NAME).sub(hide, b"&" + query)[1:]


def read(request: Request, owner: str | None) -> Operation:
    """The operation that the request asks for. Raises `Refusal`, for the first reason in the service's own order (M23)."""
    plain = _PLAIN.fullmatch(request.path)
    prefix, key = plain.groups(b"") if plain else _route(request)
    verb = _VERBS.get(request.method)
    if verb is None:
        raise Refusal(NOT_ALLOWED)
    if verb == "set":
        if len(request.body) > MAX_VALUE_BYTES:  # before `body_error`: the plugin reads one byte more than the limit and no further
            raise Refusal(TOO_LARGE)
        if request.body_error:
            raise Refusal(http_error(500, request.body_error))  # M28
    if owner is None:
        raise Refusal(NO_TOKEN)
    if not belongs_to_app(owner):
        raise Refusal(NO_APP)
    if verb != "set":
        return Operation(verb, owner, namespace(owner, prefix), key)
    if not go.json_valid(request.body):
        raise Refusal(NOT_JSON)
    return Operation(verb, owner, namespace(owner, prefix), key, request.body)


def body_bytes(request: Request) -> int:
    """How many bytes of the body the plugin reads: those of a set up to one more than the limit, before it looks at anything else
    (M23); of another request none.
    """
    if _VERBS.get(request.method) != "set":
        return 0
    try:
        _route(request)
    except Refusal:
        return 0
    return MAX_VALUE_BYTES + 1


def _route(request: Request) -> tuple[bytes, bytes]:
    """Prefix and key (M06, M20). A path that is not clean once it is decoded is redirected (M21)."""
    try:
        path = go.unescape(request.path)
    except go.BadEscape:
        raise Refusal(go.BAD_REQUEST) from None
    if not go.is_clean(path):
        _, mark, query = request.target.partition(b"?")  # the redirect keeps the query, an empty one too
        location = request.base + go.escape(go.clean(path)) + mark + query
        raise Refusal(Response(301, (("Location", location.decode("latin-1")),)))
    if path.startswith(_BASE) and b"\n" not in path:
        parts = path[len(_BASE) :].split(b"/")
        if len(parts) == 1 and parts[0]:
            return b"", parts[0]
        if len(parts) == 2 and parts[0] and parts[1]:
            return parts[0], parts[1]
    raise Refusal(NOT_FOUND)


def belongs_to_app(owner: str) -> bool:
    """M12: ``/user`` is a user's session that belongs to no app."""
    return not owner.startswith("/")


def namespace(owner: str, prefix: bytes) -> Namespace:
    """The namespace of that owner's values (M09); a prefix is padded with blanks (M25)."""
    return NAME, owner, prefix.ljust(MAX_PREFIX_BYTES)


# ----------------------------------------------------------------------------------------------------------------- answering


def answer(operation: Operation, store: StoreReader, profile: Profile, moment: int) -> Response:
    """Do the operation. ``moment`` is kept with what is set."""
    where = operation.namespace
    rows: tuple[str, ...] = ()
    if len(where[2]) > MAX_PREFIX_BYTES:
        if not profile.is_lenient:
            return http_error(500, prefix_too_long(where[2]))
        rows = ("M15",)
    if operation.verb == "get":
        entry = store.get(where, operation.key)
        response = profile.missing if entry is None else Response(200, JSON, entry.value)
    elif operation.verb == "set":
        response = _CHANGED
        if profile.is_lenient:
            before = store.get(where, operation.key)
            if before is not None and before.value == operation.value:
                response = _UNCHANGED
        store.set(where, operation.key, Entry(operation.value, moment))
    else:
        store.delete(where, operation.key)
        response = _DELETED
    return response.replace(rows=rows + response.rows) if rows else response


def prefix_too_long(prefix: bytes) -> str:
    """M15, in the words of ``store.Hashkey``."""
    return f"prefix {go.quoted(prefix)} is longer than the limit of {MAX_PREFIX_BYTES} ASCII characters"


_ERRORS = {400: NOT_JSON, 401: NO_TOKEN, 404: NOT_FOUND, 405: NOT_ALLOWED}


def error_for(status: int, reason: str) -> Response:
    """The service's error of that status; with the text ``reason`` where the service has none of its own."""
    return _ERRORS.get(status) or http_error(status, reason)


# ---------------------------------------------------------------------------------- checks of values that are set without a request


def check_key(key: bytes) -> None:
    """``ValueError`` for a key that no request can name."""
    if not key or b"/" in key or b"\n" in key or key in (b".", b".."):
        raise ValueError(f"404 page not found: no request can name the key {go.quoted(key)}; expected one part of a path")


def check_prefix(prefix: bytes, profile: Profile) -> None:
    """``ValueError`` for a prefix that the profile refuses, or that no request can name."""
    if b"/" in prefix or b"\n" in prefix or prefix in (b".", b".."):
        raise ValueError(f"404 page not found: no request can name the prefix {go.quoted(prefix)}")
    if len(prefix) > MAX_PREFIX_BYTES and not profile.is_lenient:
        raise ValueError(prefix_too_long(prefix))


def check_value(value: bytes) -> None:
    """``ValueError`` for bytes that a set refuses, in the service's words."""
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(TOO_LARGE.body.decode().strip())
    if not go.json_valid(value):
        raise ValueError(NOT_JSON.body.decode().strip())
