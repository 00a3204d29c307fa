"""Redaction: texts and bytes without the tokens in them, and texts in one line without control characters.

Law: it works on whole texts, before they are cut, so that no part of a token is left over, and in time that is linear in their
length. It knows which headers and queries hold tokens. It does not know the answers of the services.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from kvfake.services import go
from kvfake.services.mattermost import COOKIE, redact_query
from kvfake.services.messages import Headers

HIDDEN, LABEL = "...", "<token {}>"
"""Replacements of a token: one that says nothing of it, and one that tells it from others, by its number."""
MIN_HIDDEN_BYTES = 4  # of a token in a request: a shorter one is not replaced elsewhere, since any word may hold its letters

_SCHEMES = (b"bearer", b"token", b"basic")
_CREDENTIALS = re.compile(rb"([!-~]+)([ \t]+)(.+)", re.DOTALL)
_SESSION_COOKIE = re.compile(r"\s*(?:MMAUTHTOKEN|MMCSRF)=\"?([^;\"]+)")
_LABEL = re.compile(rb"<token \d+>")


class Redactor:
    """Replaces the given ``tokens``, and those that requests and responses name, by the ``replacement``, which may hold a number.
    A token is found however its characters are escaped.
    """

    def __init__(self, tokens: Iterable[str] = (), replacement: str = HIDDEN) -> None:
        self._replacement, self._numbers = replacement, count(1)
        self._replacements: dict[bytes, bytes] = {}
        self._forms: dict[bytes, bytes] = {}  # each text that is replaced everywhere, the oldest first: the same without escapes
        for token in filter(None, tokens):
            self._learn(token.encode("utf-8", "surrogatepass"))

    def __len__(self) -> int:
        """The number of texts that are replaced so far: ``since`` of `redact_bytes` and `may_hold` is one of these numbers."""
        return len(self._forms)

    # ------------------------------------------------------------------------------------------------------------ whole texts

    def redact(self, text: str) -> str:
        """The text without tokens, in one printable line."""
        return printable(self.redact_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass"))

    def redact_bytes(self, data: bytes, since: int = 0) -> bytes:
        """The bytes without tokens, or without those that were learned ``since``. A label in them stays, unless it is a part of a
        token.
        """
        spans = list(self._spans(data, since))
        if not spans:
            return data
        spans += [(found.start(), found.end(), found[0]) for found in _LABEL.finditer(data)]
        parts, position = [], 0
        for start, end, replacement in sorted(spans, key=lambda span: (span[0], -span[1])):
            if start >= position:
                parts += [data[position:start], replacement]
                position = end
        return b"".join([*parts, data[position:]])

    def may_hold(self, text: bytes, since: int) -> bool:
        """Whether a text may hold a token that was learned ``since``. A token that is not ASCII may be there in any encoding."""
        return any(not form.isascii() for form in list(self._forms)[since:]) or any(self._spans(text, since))

    def _spans(self, data: bytes, since: int) -> Iterator[tuple[int, int, bytes]]:
        """Start, end and replacement of each token, with escapes or without."""
        text, unescaped = data.lower(), _Unescaped(data) if _MAY_ESCAPE.search(data) else None
        for form, without_escapes in list(self._forms.items())[since:]:
            replacement = self._replacements[form]
            yield from ((start, start + len(form), replacement) for start in _places(text, form.lower()))
            if unescaped is not None:
                for start in _places(unescaped.text, without_escapes):
                    first, last = unescaped.written_at(start), unescaped.written_at(start + len(without_escapes) - 1)
                    yield first[0], last[1], replacement

    # ------------------------------------------------------------------------------------------ tokens of requests and responses

    def replace(self, token: bytes) -> bytes:
        """The replacement of a token. From now on the token is replaced everywhere."""
        if not token or _LABEL.fullmatch(token):
            return token
        return self._replacements[token] if token in self._replacements else self._learn(token, MIN_HIDDEN_BYTES)

    def credentials(self, headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The headers of a request that hold credentials, with replacements. Of the cookies only that of the session stays."""
        found = {name: self._authorization(headers[name]) for name in (b"authorization", b"proxy-authorization") if name in headers}
        cookie = go.cookie_value(headers.get(b"cookie", b""), COOKIE)
        if cookie is not None:
            found[b"cookie"] = COOKIE + b"=" + self.replace(cookie)
        if b"x-csrf-token" in headers:
            found[b"x-csrf-token"] = self.replace(headers[b"x-csrf-token"].strip(b" \t"))
        return found

    def target(self, target: bytes) -> bytes:
        """The target of a request with a replacement for each ``access_token`` of its query."""
        return redact_query(target, self._query_value)

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

    def _learn(self, token: bytes, min_bytes: int = 0) -> bytes:
        replacement = self._replacements[token] = self._replacement.format(next(self._numbers)).encode()
        if len(token) >= min_bytes:
            # Where this token holds another one, that part of it may be replaced already.
            for form in (self.redact_bytes(token), token):
                self._forms[form], self._replacements[form] = _Unescaped(form).text, replacement
        return replacement


def _places(text: bytes, part: bytes) -> Iterator[int]:
    start = text.find(part)
    while part and start >= 0:
        yield start
        start = text.find(part, start + len(part))


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

    def written_at(self, position: int) -> tuple[int, int]:
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


def printable(text: str) -> str:
    """The text in one line, with escapes for characters that cannot be printed."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, characters: int) -> str:
    """The text, cut to that many characters."""
    return text if len(text) <= characters else text[: characters - len(HIDDEN)] + HIDDEN
