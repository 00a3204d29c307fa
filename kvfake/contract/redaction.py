"""What may be shown of a text that came from outside: no token, and nothing that a terminal would obey.

Law: texts in, texts out. A text is redacted whole, and cut afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "..."
_ESCAPES = frozenset("%\\&")  # one begins every escape of URLs, strings and HTML


class Redactor:
    """Takes these tokens out of texts."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = sorted(filter(None, tokens), key=len, reverse=True)
        self._patterns = [re.compile("".join(map(_forms, token)), re.IGNORECASE) for token in self._tokens]

    def redact(self, text: str) -> str:
        """The text with ``...`` for every token, in whatever case and however its characters are escaped."""
        lower = text.lower()
        is_escaped = not _ESCAPES.isdisjoint(text)
        for token, pattern in zip(self._tokens, self._patterns, strict=True):
            if is_escaped or token.lower() in lower:  # a quick look: a text may be large
                text = pattern.sub(HIDDEN, text)
        return printable(text)


def _forms(character: str) -> str:
    """Every way to write a character: as it is, or as an escape of URLs, of strings, of HTML."""
    number = ord(character)
    of_strings = rf"\\*{re.escape(character)}|\\+x{number:02x}|\\+u00{number:02x}"
    return rf"(?:{of_strings}|%(?:25)*{number:02x}|&#(?:{number}|x{number:02x});)"


def printable(text: str) -> str:
    """The text on one line, with escapes for what cannot be printed."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - len(HIDDEN)] + HIDDEN
