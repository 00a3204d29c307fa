"""Redaction: texts and bytes without the secrets in them, and texts in one line without control characters.

Law: it works on whole texts, before they are cut, in time that is linear in their length, however many tokens are known. It knows
by which names secrets go in headers, queries, forms and JSON. It does not know the answers of the services.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import accumulate, islice, takewhile
from threading import Lock
from typing import AnyStr

from kvfake.lines import printable
from kvfake.services import go
from kvfake.services.mattermost import COOKIE, redact_query
from kvfake.services.messages import Headers, RedactedHeaders

HIDDEN = "..."
MIN_HIDDEN_BYTES = 4  # of a token: a shorter one is not replaced elsewhere, since any word may hold its letters
MAX_HEADERS_BYTES = 65_536  # of the redacted headers of one message, as `header_bytes` counts them
HEADER_OVERHEAD_BYTES = 200  # of a header in a dict, beside its characters: two objects of 33 bytes, and its place
CUT_HEADER = "kvfake-cut"
"""Says how many headers of a message were not kept."""

_SHOWN_BYTES, _MIN_BYTES_TO_SHOW = 4, 12  # of a token
_FEW_TEXTS, _MANY_TEXTS = 16, 256
"""From that many on (the fewer, the shorter the data) one pass over the data costs less than a search for each of the texts."""
_CUT_MARGIN_BYTES = 4096  # a token at the place of a cut is found if it is written in as many bytes

SECRET_NAMES = {  # how the names of secrets end, in lower case and in every spelling; and where they are met
    "password": "a login; new_password of a Mattermost user",
    "passwd": "a login",
    "passphrase": "a private key",
    "token": "access_token (M10); bot_access_token and acting_user_access_token of a call; X-CSRF-Token; the Token of a login",
    "secret": "client_secret of OAuth",
    "api_key": "other services, behind the fallback",
    "api-key": "the same as a header",
    "apikey": "the same",
    "private_key": "other services",
    "authorization": "a header, also of a proxy, or a request that an application echoes",
    "cookie": "a session, both ways",
}
_OF_CREDENTIALS = (b"authorization", b"proxy-authorization")
_HIDDEN_HEADERS = (b"cookie", b"x-csrf-token", b"token")
_SCHEMES = (b"bearer", b"token", b"basic")
_CREDENTIALS = re.compile(rb"([!-~]+)([ \t]+)(.+)", re.DOTALL)
_SESSION_COOKIE = re.compile(r"\s*(?:MMAUTHTOKEN|MMCSRF)=\"?([^;\"]+)")
_LABEL = re.compile(rb"<token \d+>")

Replacement = Callable[[bytes, int], bytes]
"""What is shown of a token; the number tells it from others."""


def hidden(token: bytes, number: int) -> bytes:
    """Nothing."""
    return HIDDEN.encode()


def beginning(token: bytes, number: int = 0) -> bytes:
    """Its first characters, where the rest is too long to guess."""
    if token.endswith(b"...") and len(token) <= _SHOWN_BYTES + 3:
        return token  # it was replaced before
    return (token[:_SHOWN_BYTES] if len(token) >= _MIN_BYTES_TO_SHOW else b"") + b"..."


def shown_token(token: str) -> str:
    """The same for a token that may hold anything, as it stands in an error."""
    return beginning(token.encode("utf-8", "replace")).decode("utf-8", "replace") if token else '""'


def label(token: bytes, number: int) -> bytes:
    """Its number."""
    return b"<token %d>" % number


class Redactor:
    """Replaces the given ``tokens``, those that requests and responses name, and what goes by the name of a secret. A token is
    found however its characters are escaped. Threads may share it.
    """

    def __init__(self, tokens: Iterable[str] = (), replacement: Replacement = hidden) -> None:
        self._replacement = replacement
        self._lock = Lock()
        self._replacements: dict[bytes, bytes] = {}
        self._literal, self._unescaped = _Texts(), _Texts()  # each text that is replaced everywhere: as it is; without escapes
        self.learn(token.encode("utf-8", "surrogatepass") for token in tokens)

    def __len__(self) -> int:
        """The number of texts that are replaced so far: ``since`` of `redact_bytes` and `may_hold` is one of these numbers."""
        return len(self._literal)

    # ------------------------------------------------------------------------------------------------------------ whole texts

    def redact(self, text: str) -> str:
        """The text without tokens, in one printable line."""
        return printable(self.without_tokens(text))

    def without_tokens(self, text: str) -> str:
        return _in_bytes(text, self.redact_bytes)

    def redact_text(self, text: str) -> str:
        """The text without tokens, and without what goes by the name of a secret."""
        return _in_bytes(text, self.redact_message)

    def redact_bytes(self, data: bytes, since: int = 0) -> bytes:
        """The bytes without tokens, or without those that were learned ``since``. A label in them stays, unless it is a part of a
        token.
        """
        return _replaced(data, self._spans(data, since))

    def redact_message(self, data: bytes) -> bytes:
        """The bytes without tokens, and without what goes by the name of a secret: in JSON, in forms, in queries and in URLs."""
        return _replaced(data, [*self._spans(data, 0), *_named_spans(data)])

    def may_hold(self, text: bytes, since: int) -> bool:
        """Whether a text may hold a token that was learned ``since``. A token that is not ASCII may be there in any encoding."""
        return not self._literal.is_ascii(since) or any(self._spans(text, since))

    def cut(self, data: bytes, length: int) -> bytes:
        """The beginning of the bytes, at most so long, that does not end within a token."""
        start = max(0, length - _CUT_MARGIN_BYTES)
        for first, last, _ in self._spans(data[start : length + _CUT_MARGIN_BYTES], 0):
            if start + first < length < start + last:
                length = start + first
        return data[:length]

    def _spans(self, data: bytes, since: int) -> Iterator[tuple[int, int, bytes]]:
        """Start, end and replacement of each token, with escapes or without."""
        if len(self._literal) <= since:
            return
        yield from self._literal.spans(data.lower(), since)
        if _MAY_ESCAPE.search(data):
            unescaped = _Unescaped(data)
            for start, end, replacement in self._unescaped.spans(unescaped.text, since):
                yield *unescaped.written(start, end), replacement

    # ------------------------------------------------------------------------------------------ tokens of requests and responses

    def learn(self, tokens: Iterable[bytes]) -> None:
        """From now on these tokens are replaced everywhere."""
        for token in tokens:
            self.replace(token)

    def replace(self, token: bytes) -> bytes:
        """The replacement of a token. From now on the token is replaced everywhere."""
        if not token or _LABEL.fullmatch(token):
            return token
        with self._lock:
            known = self._replacements.get(token)
            return self._learn(token) if known is None else known

    def _learn(self, token: bytes) -> bytes:
        replacement = self._replacement(token, len(self._replacements) + 1)
        if len(token) >= MIN_HIDDEN_BYTES:
            # Where this token holds another one, that part of it may be replaced already.
            for form in {self.redact_bytes(token): 1, token: 1}:
                self._literal.add(form.lower(), replacement)
                self._unescaped.add(_Unescaped(form).text, replacement)
        self._replacements[token] = replacement
        return replacement

    def headers(self, headers: Mapping[bytes, bytes]) -> RedactedHeaders:
        """The headers of a request, as a journal keeps them: without credentials, and at most `MAX_HEADERS_BYTES` of them."""
        redacted = RedactedHeaders(headers)
        size = sum(map(len, headers)) + sum(map(len, headers.values())) + HEADER_OVERHEAD_BYTES * len(headers)
        if size > MAX_HEADERS_BYTES:
            redacted = RedactedHeaders(cut_headers(headers.items(), str.encode))
            size = header_bytes(redacted.items())
        redacted.size = size
        for name in _HIDDEN_HEADERS:
            if name in redacted:
                redacted[name] = b"..."
        for name in _OF_CREDENTIALS:
            if name in redacted:
                redacted[name] = _credentials(redacted[name])
        return redacted

    def header(self, name: bytes, value: bytes) -> bytes:
        """The value of a header, whose name is in lower case, that can be shown. What was redacted before stays as it is."""
        if name in _OF_CREDENTIALS:
            return _credentials(self.redact_bytes(value))
        return HIDDEN.encode() if _SECRET_NAME.search(name) else self.redact_message(value)

    def credentials(self, headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The headers of a request that hold credentials, with replacements. Of the cookies only that of the session stays."""
        found = {name: self._authorization(headers[name]) for name in _OF_CREDENTIALS if name in headers}
        cookie = go.cookie_value(headers.get(b"cookie", b""), COOKIE)
        if cookie is not None:
            found[b"cookie"] = COOKIE + b"=" + self.replace(cookie)
        if b"x-csrf-token" in headers:
            found[b"x-csrf-token"] = self.replace(headers[b"x-csrf-token"].strip(b" \t"))
        return found

    def shown_target(self, target: bytes) -> bytes:
        """The target of a request that can be shown: without secrets in its query, and without a password before its host."""
        path, mark, query = target.partition(b"?")
        path = self.redact_bytes(path) if path.startswith(b"/") else self.redact_message(path)
        return path + mark + self.redact_message(query) if mark else path

    def target(self, target: bytes) -> bytes:
        """The target of a request, or a URL, with a replacement for each ``access_token`` of its query, without other secrets."""
        path, mark, query = redact_query(target, self._query_value).partition(b"?")
        return path + mark + _replaced(query, _named_spans(query))

    def learn_from(self, headers: Headers) -> None:
        """Learn the tokens of a session from the response that begins it."""
        for name, value in headers:
            cookie = _SESSION_COOKIE.match(value) if name.lower() == "set-cookie" else None
            if cookie is not None:
                self.replace(cookie[1].encode("latin-1"))
            elif name.lower() == "token":  # POST /api/v4/users/login
                self.replace(value.strip().encode("latin-1"))

    def _authorization(self, value: bytes) -> bytes:
        parts = _CREDENTIALS.fullmatch(value)
        if parts is not None:
            return parts[1] + parts[2] + self.replace(parts[3])
        return value if value.lower() in _SCHEMES else self.replace(value)

    def _query_value(self, value: bytes) -> bytes:
        try:
            return self.replace(go.unescape(value.replace(b"+", b" ")))
        except go.BadEscape:
            return self.replace(value)


def _credentials(value: bytes) -> bytes:
    """Of ``Authorization``: a known scheme, and the beginning of the token."""
    scheme, _, token = value.partition(b" ")
    return scheme + b" " + beginning(token) if scheme.lower() in _SCHEMES else HIDDEN.encode()


def header_bytes(headers: Iterable[tuple[AnyStr, AnyStr]]) -> int:
    """What headers take in memory, about."""
    return sum([len(name) + len(value) + HEADER_OVERHEAD_BYTES for name, value in headers])


def cut_headers(headers: Collection[tuple[AnyStr, AnyStr]], written: Callable[[str], AnyStr]) -> list[tuple[AnyStr, AnyStr]]:
    """The first headers, as many as are kept, and one that says how many are not. ``written`` makes a name or value of a text."""
    sizes = accumulate((header_bytes([header]) for header in headers), initial=2 * HEADER_OVERHEAD_BYTES)
    count = sum(1 for _ in takewhile(lambda size: size <= MAX_HEADERS_BYTES, sizes)) - 1
    said = f"{len(headers) - count} of {len(headers)} headers are not kept"
    kept = list(islice(headers, count))
    kept.append((written(CUT_HEADER), written(said)))
    return kept


def _in_bytes(text: str, redact: Callable[[bytes], bytes]) -> str:
    return redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _replaced(data: bytes, found: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The data with a replacement for each span. What overlaps with the span before it is left out."""
    spans = list(found)
    if not spans:
        return data
    spans += [(label.start(), label.end(), label[0]) for label in _LABEL.finditer(data)]
    parts, position = [], 0
    for start, end, replacement in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= position:
            parts += [data[position:start], replacement]
        position = max(position, end)
    return b"".join([*parts, data[position:]])


# -------------------------------------------------------------------------------------------------------------- many texts at once


class _Texts:
    """Texts to be found in another one, in one pass however many they are."""

    def __init__(self) -> None:
        self._order: list[bytes] = []
        self._found: dict[bytes, tuple[int, bytes]] = {}  # a text: its place in the order, its replacement
        self._lengths: dict[bytes, list[int]] = {}  # how texts begin: the lengths of those, the longest first

    def __len__(self) -> int:
        return len(self._order)

    def add(self, text: bytes, replacement: bytes) -> None:
        self._found.setdefault(text, (len(self._order), replacement))
        self._order.append(text)
        if len(text) >= MIN_HIDDEN_BYTES:
            lengths = self._lengths.get(text[:MIN_HIDDEN_BYTES], [])
            self._lengths[text[:MIN_HIDDEN_BYTES]] = sorted({len(text), *lengths}, reverse=True)

    def is_ascii(self, since: int) -> bool:
        """Whether every text that was added ``since`` is ASCII."""
        return all(text.isascii() for text in islice(self._order, since, None))

    def spans(self, data: bytes, since: int) -> Iterator[tuple[int, int, bytes]]:
        """Start, end and replacement of each text that was added ``since``."""
        if len(self._order) - since <= min(_MANY_TEXTS, max(_FEW_TEXTS, len(data) // 16)):
            for text in self._order[since:]:
                if len(text) >= MIN_HIDDEN_BYTES:
                    yield from ((start, start + len(text), self._found[text][1]) for start in _places(data, text))
            return
        lengths, size = self._lengths, MIN_HIDDEN_BYTES
        for start in [at for at in range(len(data) - size + 1) if data[at : at + size] in lengths]:
            for length in lengths[data[start : start + size]]:
                number, replacement = self._found.get(data[start : start + length], (-1, b""))
                if number >= since:
                    yield start, start + length, replacement
                    break


def _places(text: bytes, part: bytes) -> Iterator[int]:
    start = text.find(part)
    while start >= 0:
        yield start
        start = text.find(part, start + len(part))


# ---------------------------------------------------------------------------------------------------- what goes by a secret's name

_NAMES = b"|".join(re.escape(name.encode()) for name in SECRET_NAMES)
_SECRET_NAME = re.compile(rb"(?:%b)\Z" % _NAMES)
_NAMED = re.compile(rb"(?:%b)[\"'\]]{0,2}[ \t\r\n]*([:=])[ \t\r\n]*" % _NAMES)
_MAY_BE_NAMED = re.compile(rb"[:=%\\]|&#")
_USERINFO = re.compile(rb"/\\?/([^/?#\s\"<>\\]+)@")  # RFC 3986: user:password@host; either may be a token
_USERINFO_OF_URL = re.compile(rb"//[^/?#\s]+@")
_ESCAPED_USERINFO = re.compile(  # the same in the query of a URL, where the escapes of the user and the password are escaped again
    rb"%2f%2f((?:[^/?#\s\"<>\\&%]|%(?!2f|3f|23|20|22|40))+)%40", re.IGNORECASE
)
_QUOTE = re.compile(rb"(\\*)([\"'])")
_BRACKETS = re.compile(rb"\"(?:[^\"\\]|\\.?)*(?:\"|\Z)|([\[{])|([\]}])", re.DOTALL)
_NO_SECRET = re.compile(rb"(?:null|true|false)(?![\w.])")
_END_OF_FORM = re.compile(rb"[&\r\n]")
_END_IN_TEXT = re.compile(rb"[&\s\"'<>\\]")  # of a query in JSON, HTML, a header
_END_OF_MEMBER = re.compile(rb"[,}\]\r\n]")
_END_OF_LINE = re.compile(rb"[\r\n]")
_PART = re.compile(  # of multipart/form-data: the line between two parts, or the header that names one
    rb"^(?:(--[^\s]+)|content-disposition[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_SECRET_PARAMETER = re.compile(rb"(?:%b)[\]\"' \t\r\n]*(?:;|\Z)" % _NAMES)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_OPENING = (b"{", b"[", b"<", b'"', b"'")


def _named_spans(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and replacement of each value with the name of a secret, and of each password of a URL."""
    if not _MAY_BE_NAMED.search(data):
        return
    text = _Unescaped(data)
    position = 0
    for found in _NAMED.finditer(text.text):
        start = text.written(found.end(), found.end() + 1)[0] if found.end() < len(text.text) else len(data)
        if start < position or _LABEL.match(data, start):
            continue
        start, position, replacement = _value_span(data, start, found[1] == b":")
        if position > start:
            yield start, position, replacement
    for found in _USERINFO.finditer(text.text):
        yield *text.written(*found.span(1)), HIDDEN.encode()
    for pattern in (_USERINFO, _ESCAPED_USERINFO):  # an escape may stand for what would end it
        for found in pattern.finditer(data):
            yield *found.span(1), HIDDEN.encode()
    yield from _part_spans(data)


def _part_spans(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The same of each part of multipart/form-data that has the name of a secret. It ends where the line stands again before it."""
    delimiter, position = b"", 0
    for found in _PART.finditer(data):
        if found.start() < position:
            continue
        if found[1] is not None:
            delimiter = found[1]
        elif _SECRET_PARAMETER.search(_Unescaped(found[0]).text):
            blank = _BLANK_LINE.search(data, found.end())
            if blank is None:
                return
            end = data.find(b"\n" + delimiter, blank.end()) if delimiter else -1
            position = len(data) if end < 0 else max(end - (data[end - 1 : end] == b"\r"), blank.end())
            yield blank.end(), position, HIDDEN.encode()


def shown_url(text: str) -> str:
    """The URL, or a text with one, without the user and the password before the host."""
    return _in_bytes(text, lambda data: _USERINFO_OF_URL.sub(b"//...@", data))


def _value_span(data: bytes, start: int, is_member: bool) -> tuple[int, int, bytes]:
    """Start, end and replacement of the value that begins there: ``is_member`` of an object, else of a form or a query."""
    quote = _QUOTE.match(data, start)
    if quote is not None:
        return quote.end(), _end_of_string(data, quote), HIDDEN.encode()
    is_document = data.startswith(_OPENING)
    if not is_member or data[start : start + 1] == b"%":
        end = (_END_IN_TEXT if is_document else _END_OF_FORM).search(data, start)
        return start, end.start() if end else len(data), HIDDEN.encode()
    if _NO_SECRET.match(data, start):
        return start, start, b""
    shown = b'"%b"' % HIDDEN.encode() if is_document else HIDDEN.encode()
    if data[start : start + 1] in (b"{", b"["):
        return start, _end_of_brackets(data, start), shown
    end = (_END_OF_MEMBER if is_document else _END_OF_LINE).search(data, start)
    return start, end.start() if end else len(data), shown


def _end_of_string(data: bytes, quote: re.Match[bytes]) -> int:
    """Where a string ends that this quote begins. In a string of JSON in another one, each quote has a backslash before it."""
    before, start = len(quote[1]), quote.end()
    end = data.find(quote[2], start)
    while end >= 0:
        part = data[start:end]
        if (len(part) - len(part.rstrip(b"\\"))) % (2 * before + 2) == before:
            return end - before
        start, end = end + 1, data.find(quote[2], end + 1)
    return len(data)


def _end_of_brackets(data: bytes, start: int) -> int:
    depth = 0
    for found in _BRACKETS.finditer(data, start):
        depth += (found[1] is not None) - (found[2] is not None)
        if depth <= 0:
            return found.end()
    return len(data)


# ------------------------------------------------------------------------------------------------------------------------ escapes

_MAY_ESCAPE = re.compile(rb"[%\\]|&#")
_ESCAPE = re.compile(
    rb"%(?:25)*([0-9A-Fa-f]{2})"  # of URLs, encoded once or more
    rb"|\\+(?:(?:x|u00)([0-9A-Fa-f]{2})|([^\\]))?"  # of strings in JSON, Go, Python
    rb"|&#(?:[xX]0*([0-9A-Fa-f]{2})|0*(\d{1,3}));"  # of HTML
)


class _Unescaped:
    """A text in lower case without escapes, and the place of each of its bytes in the original."""

    def __init__(self, data: bytes) -> None:
        parts, length, end = [], 0, 0
        self._escapes: list[tuple[int, int, int, int]] = []  # position and length in the text, start and end in the data
        for match in _ESCAPE.finditer(data):
            parts += [data[end : match.start()], _unescaped(match)]
            length += len(parts[-2])
            self._escapes.append((length, len(parts[-1]), *match.span()))
            length += len(parts[-1])
            end = match.end()
        self.text = b"".join([*parts, data[end:]]).lower()

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Start and end, in the original, of what stands for these bytes of the text, of which there is at least one."""
        return self._written_at(start)[0], self._written_at(end - 1)[1]

    def _written_at(self, position: int) -> tuple[int, int]:
        """Start and end, in the original, of the characters that stand for the byte at this position of the text."""
        index = bisect_right(self._escapes, position, key=lambda escape: escape[0])
        at, length, start, end = self._escapes[index - 1] if index else (0, 0, 0, 0)
        literal = end + position - at - length
        return (start, end) if position < at + length else (literal, literal + 1)


def _unescaped(match: re.Match[bytes]) -> bytes:
    of_url, of_string, character, of_html, decimal = match.groups()
    if of_url is not None:
        return bytes.fromhex(of_url.decode())
    if of_string is not None or of_html is not None:
        return chr(int(of_string or of_html, 16)).encode()
    return chr(int(decimal)).encode() if decimal is not None else character or b""


# --------------------------------------------------------------------------------------------------------------------- one line


def shortened(text: str, characters: int) -> str:
    """The text, cut to that many characters."""
    return text if len(text) <= characters else text[: characters - len(HIDDEN)] + HIDDEN


BY_NAME = Redactor()
"""Knows no token: it redacts what goes by the name of a secret."""
