"""Exchanges without their tokens: in place of each a label, ``<token 1>`` and so on, in the order in which they were seen.

Law: what it gives out holds no token that it has seen, in whatever form, nor any header that no row speaks of. A label says
nothing of its token, and is the same wherever that was. Of what lies beside the stores, where passwords and sessions are made,
only the method, the path and the status are given out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_to_bytes

from kvfake.contract.replay.tape import Taped
from kvfake.services import go, mattermost, persist
from kvfake.services.mattermost import COOKIE, redact_query
from kvfake.services.messages import Request, Response

MAX_BODY_BYTES = 16 * 1024 * 1024  # a value is 256 KiB, a body of Persist's 2 MiB; an mget may be more
_LEAST_BYTES = 4  # a shorter token is hidden where it says who asks, and not wherever its few letters stand

_KEPT_OF_REQUESTS = (b"content-type", b"x-requested-with", b"mattermost-user-id", b"user-agent")
KEPT_OF_ANSWERS = ("content-type", "x-content-type-options", "location", "allow")
_SCHEMES = (b"bearer", b"token", b"basic")
_CREDENTIALS = re.compile(rb"([!-~]+)([ \t]+)(.+)", re.DOTALL)
_SET_COOKIE = re.compile(r"\s*(MMAUTHTOKEN|MMCSRF)=\"?([^;\"]+)")
_LABEL = re.compile(rb"<token \d+>")
_LONG_PART = re.compile(rb"[^/]{20,}")  # of a path: an id, which may be a secret, as a webhook's is


def is_beside(target: bytes) -> bool:
    """Whether it is none of the stores' business. Another plugin's store would lie where the store does."""
    path = target.partition(b"?")[0]
    decoded = unquote_to_bytes(path)
    paths = {path, decoded, go.clean(decoded)}
    return not any(_is_of_stores(path) for path in paths)


_OF_STORES = re.compile(
    b"(?:/plugins/[^/]+%b|%b)(?:/|\\Z)"
    % (re.escape(mattermost.KV.removeprefix(mattermost.APPS).encode()), b"|".join(map(re.escape, persist.PATHS)))
)


def _is_of_stores(path: bytes) -> bool:
    return _OF_STORES.match(path) is not None


class Redactor:
    """It remembers the tokens of one recording."""

    def __init__(self) -> None:
        self._labels: dict[bytes, bytes] = {}
        self._forms: dict[bytes, bytes] = {}  # how a token stands in a text: its label
        self._new: dict[bytes, bytes] = {}  # those of the last exchange

    def taped(self, number: int, request: Request, response: Response) -> Taped:
        """The exchange, as it can be kept."""
        self._new = {}
        headers = dict(self._headers(request))
        target = redact_query(request.target, self._of_query)
        self._see(response)
        if is_beside(request.target):
            path = _LONG_PART.sub(b"...", _hidden(target.partition(b"?")[0], self._forms))
            return Taped(number, Request(request.method, path, {}), Response(response.status), is_beside=True)
        answered = Response(response.status, tuple(self._kept(response)), response.body[:MAX_BODY_BYTES])
        asked = Request(request.method, target, headers, request.body[:MAX_BODY_BYTES])
        return _without(Taped(number, asked, answered, is_cut=len(response.body) > MAX_BODY_BYTES), self._forms)

    @property
    def has_seen_more(self) -> bool:
        """Whether the last exchange has shown a token for the first time."""
        return bool(self._new)

    def may_be_in(self, line: bytes) -> bool:
        """Whether a line that was kept before may hold such a token, at a glance."""
        return any(mark in line for mark in _MARKS) or any(not form.isascii() or _in_json(form) in line for form in self._new)

    def again(self, taped: Taped) -> Taped:
        """An exchange that was kept before, without the tokens that the last one has shown."""
        return _without(taped, self._new)

    # ----------------------------------------------------------------------------------------------- where tokens are said

    def _headers(self, request: Request) -> Iterator[tuple[bytes, bytes]]:
        """The headers that a row speaks of, with labels."""
        headers = request.headers
        if b"authorization" in headers:
            yield b"authorization", self._of_credentials(headers[b"authorization"])
        if b"proxy-authorization" in headers:
            self._of_credentials(headers[b"proxy-authorization"])
        cookie = go.cookie_value(headers.get(b"cookie", b""), COOKIE)
        if cookie is not None:
            yield b"cookie", COOKIE + b"=" + self.label(cookie)
        if b"x-csrf-token" in headers:
            yield b"x-csrf-token", self.label(headers[b"x-csrf-token"].strip(b" \t"))
        yield from ((name, headers[name]) for name in _KEPT_OF_REQUESTS if name in headers)

    def _of_credentials(self, value: bytes) -> bytes:
        said = _CREDENTIALS.fullmatch(value)
        if said is not None:
            return said[1] + said[2] + self.label(said[3])
        return value if value.lower() in _SCHEMES else self.label(value)

    def _of_query(self, value: bytes) -> bytes:
        try:
            return self.label(go.unescape(value.replace(b"+", b" ")))
        except go.BadEscape:
            return self.label(value)

    def _see(self, response: Response) -> None:
        """The tokens of an answer: of a session that begins."""
        for name, value in response.headers:
            begun = _SET_COOKIE.match(value) if name.lower() == "set-cookie" else None
            if begun is not None:
                self.label(begun[2].encode("latin-1"))
            elif name.lower() == "token":  # POST /api/v4/users/login
                self.label(value.strip().encode("latin-1"))

    def _kept(self, response: Response) -> Iterator[tuple[str, str]]:
        headers = {name.lower(): value for name, value in reversed(response.headers)}
        for name in KEPT_OF_ANSWERS:
            if name == "location" and name in headers:
                yield name, redact_query(headers[name].encode("latin-1"), self._of_query).decode("latin-1")
            elif name in headers:
                yield name, headers[name]

    def label(self, token: bytes) -> bytes:
        """What stands for it. Nothing stands for nothing."""
        if not token or _LABEL.fullmatch(token):
            return token
        if token not in self._labels:
            label = self._labels[token] = b"<token %d>" % (len(self._labels) + 1)
            if len(token) >= _LEAST_BYTES:
                forms = {_hidden(token, self._forms): label, token: label}  # one token may hold another
                self._forms |= forms
                self._new |= forms
        return self._labels[token]


# ----------------------------------------------------------------------------------------------------------------- hiding


def _without(taped: Taped, forms: Mapping[bytes, bytes]) -> Taped:
    request, response = taped.request, taped.response
    headers = {name: _hidden(value, forms) for name, value in request.headers.items()}
    asked = request.replace(target=_hidden(request.target, forms), headers=headers, body=_hidden(request.body, forms))
    said = tuple((name, _hidden(value.encode("latin-1"), forms).decode("latin-1")) for name, value in response.headers)
    return taped._replace(request=asked, response=response.replace(headers=said, body=_hidden(response.body, forms)))


def _hidden(data: bytes, forms: Mapping[bytes, bytes]) -> bytes:
    """The bytes, with a label for each token: as it is, or as a URL or a text in JSON may write it. The labels that are there
    already stay, unless one is the beginning of a longer token.
    """
    found = [form for form in forms if form in data]
    if b"%" in data or b"\\u" in data:
        decoded = _ESCAPE.sub(_unescaped, data)
        found += [form for form in forms if form in decoded and form not in found]
    if not found:
        return data
    found.sort(key=len, reverse=True)
    ways = [b"(%b)" % b"".join(map(_written, form)) for form in found]
    pattern = re.compile(b"|".join([*ways, _LABEL.pattern]))
    return pattern.sub(lambda match: forms[found[match.lastindex - 1]] if match.lastindex else match[0], data)


_MARKS = (b"%", b"\\u", b'_base64"')  # of a line in which something may be written otherwise
_ESCAPE = re.compile(rb"(?:%(?:25)*|\\u00)([0-9A-Fa-f]{2})")


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())


def _in_json(form: bytes) -> bytes:
    """As it stands in a text of JSON."""
    return json.dumps(form.decode("ascii"))[1:-1].encode()


def _written(byte: int) -> bytes:
    """Every way to write a byte of a token."""
    return rb"(?:%b|(?i:%%(?:25)*%02x|\\u00%02x))" % (re.escape(bytes([byte])), byte, byte)
