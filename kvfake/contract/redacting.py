"""Exchanges without their tokens: in place of each a label, ``<token 1>`` and so on, in the order in which they were seen.

Law: what it gives out holds no token that it has seen, in whatever form, nor any header that no row speaks of. A label says
nothing of its token, and is the same wherever that was. Of what lies beside the stores, where passwords and sessions are made,
only the method, the path and the status are given out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from kvfake.contract.tape import Taped
from kvfake.services import gorules, mattermost, persist
from kvfake.services.mattermost import COOKIE, without_token
from kvfake.services.message import Request, Response

MAX_BODY_BYTES = 16 * 1024 * 1024  # a value is 256 KiB, a body of Persist's 2 MiB; an mget may be more
_LEAST_BYTES = 4  # a shorter token is hidden where it says who asks, and not wherever its few letters stand

_KEPT_OF_REQUESTS = (b"content-type", b"x-requested-with", b"mattermost-user-id", b"user-agent")
KEPT_OF_ANSWERS = ("content-type", "x-content-type-options", "location", "allow")
_SCHEMES = (b"bearer", b"token", b"basic")
_CREDENTIALS = re.compile(rb"([!-~]+)([ \t]+)(.+)", re.DOTALL)
_SET_COOKIE = re.compile(r"\s*(MMAUTHTOKEN|MMCSRF)=\"?([^;\"]+)")
_LABEL = rb"<token \d+>"
_LONG_PART = re.compile(rb"[^/]{20,}")  # of a path: an id, which may be a secret, as a webhook's is


def is_beside(target: bytes) -> bool:
    """Whether it is none of the stores' business. Another plugin's store would lie where the store does."""
    path = target.partition(b"?")[0]
    decoded = unquote_to_bytes(path)
    paths = {path, decoded, gorules.clean(decoded)}
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
        self._plain = self._any = re.compile(_LABEL)
        self._all: list[bytes] = []  # the labels of the groups of both

    def __len__(self) -> int:
        """How many tokens were seen."""
        return len(self._labels)

    def taped(self, number: int, request: Request, response: Response) -> Taped:
        """The exchange, as it can be kept."""
        headers = dict(self._headers(request))
        target = without_token(request.target, self._of_query)
        self._see(response)
        if is_beside(request.target):
            path = _LONG_PART.sub(b"...", self.hide(target.partition(b"?")[0]))
            return Taped(number, Request(request.method, path, {}), Response(response.status), is_beside=True)
        answered = Response(response.status, tuple(self._kept(response)), response.body[:MAX_BODY_BYTES])
        asked = Request(request.method, target, headers, request.body[:MAX_BODY_BYTES])
        return self.hidden(Taped(number, asked, answered, is_cut=len(response.body) > MAX_BODY_BYTES))

    def hidden(self, taped: Taped) -> Taped:
        """The same, without the tokens that were seen since."""
        request, response = taped.request, taped.response
        headers = {name: self.hide(value) for name, value in request.headers.items()}
        request = request._replace(target=self.hide(request.target), headers=headers, body=self.hide(request.body))
        said = tuple((name, self.hide(value.encode("latin-1")).decode("latin-1")) for name, value in response.headers)
        return taped._replace(request=request, response=response._replace(headers=said, body=self.hide(response.body)))

    # ----------------------------------------------------------------------------------------------- where tokens are said

    def _headers(self, request: Request) -> Iterator[tuple[bytes, bytes]]:
        """The headers that a row speaks of, with labels."""
        headers = request.headers
        if b"authorization" in headers:
            yield b"authorization", self._of_credentials(headers[b"authorization"])
        if b"proxy-authorization" in headers:
            self._of_credentials(headers[b"proxy-authorization"])
        cookie = gorules.cookie_value(headers.get(b"cookie", b""), COOKIE)
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
            return self.label(gorules.unescape(value.replace(b"+", b" ")))
        except gorules.BadEscape:
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
                yield name, without_token(headers[name].encode("latin-1"), self._of_query).decode("latin-1")
            elif name in headers:
                yield name, headers[name]

    # ---------------------------------------------------------------------------------------------------------- the labels

    def label(self, token: bytes) -> bytes:
        """What stands for it. Nothing stands for nothing."""
        if not token or re.fullmatch(_LABEL, token):
            return token
        if token not in self._labels:
            self._labels[token] = b"<token %d>" % (len(self._labels) + 1)
            if len(token) >= _LEAST_BYTES:
                self._forms[self.hide(token)] = self._forms[token] = self._labels[token]  # one token may hold another
                self._compile()
        return self._labels[token]

    def _compile(self) -> None:
        """The labels come last: one may be the beginning of a longer token, as far as that is hidden already."""
        forms = sorted(self._forms, key=len, reverse=True)
        self._all = [self._forms[form] for form in forms]
        self._plain = re.compile(b"|".join([*map(re.escape, forms), _LABEL]))
        self._any = re.compile(b"|".join([*(b"(%b)" % b"".join(map(_written, form)) for form in forms), _LABEL]))

    def hide(self, data: bytes) -> bytes:
        """The bytes, with a label for each token that was seen: as it is, or as a URL or a text in JSON may write it."""
        if b"%" in data or b"\\u" in data:
            return self._any.sub(lambda found: self._all[found.lastindex - 1] if found.lastindex else found[0], data)
        return self._plain.sub(lambda found: self._forms.get(found[0], found[0]), data)


def _written(byte: int) -> bytes:
    """Every way to write a byte of a token."""
    return rb"(?:%b|(?i:%%%02x|\\u00%02x))" % (re.escape(bytes([byte])), byte, byte)
