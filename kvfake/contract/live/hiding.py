"""What may be shown of a text that came from outside: no token, and nothing that a terminal would obey.

Law: texts in, texts out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

HIDDEN = "..."
_MARK = "\0"  # of what is hidden, as long as it could be taken for a cut
_LEAST_CHARACTERS = 5  # of the beginning of a token; fewer say so little that they may be shown
_LONGEST_FORM = 12  # characters, in which one may be written
_HALF = re.compile(r"%(?:25)*[0-9a-f]?|\\+(?:x[0-9a-f]?|u[0-9a-f]{0,3})?|&#?x?[0-9a-f]*", re.IGNORECASE)  # of an escape
_CUT = re.compile(r"""(?=['"]?\.\.\.)""")


class Hide:
    """A text without these tokens, however their characters are escaped; also one that was cut in the middle of a token."""

    def __init__(self, tokens: Iterable[str]) -> None:
        every = [[_form(character) for character in token] for token in sorted(tokens, key=len, reverse=True) if token]
        self._wholes = [re.compile("".join(forms), re.IGNORECASE) for forms in every]
        self._forms = [[re.compile(form, re.IGNORECASE) for form in forms] for forms in every]

    def __call__(self, text: str) -> str:
        for whole in self._wholes:
            text = whole.sub(_MARK, text)
        *cut, last = _CUT.split(text)
        return printable("".join([*map(self._without_beginning, cut), last]).replace(_MARK, HIDDEN))

    def _without_beginning(self, text: str) -> str:
        """The text before a cut, less what is a token's beginning there."""
        for forms in self._forms:
            for start in range(max(0, len(text) - len(forms) * _LONGEST_FORM), len(text)):
                if _count_to_end(forms, text, start) >= _LEAST_CHARACTERS:
                    text = text[:start]
                    break
        return text


def _count_to_end(forms: Sequence[re.Pattern[str]], text: str, start: int) -> int:
    """How many characters of a token stand there up to the end; 0 where something else does. The last may be half of one, and
    all of them never do: a whole token is hidden by then.
    """
    count = 0
    while start < len(text):
        found = forms[count].match(text, start)
        if found is None:
            return count if _HALF.fullmatch(text, start) else 0
        start, count = found.end(), count + 1
    return count


def _form(character: str) -> str:
    """Every way in which it may be written: as it is, or as an escape of URLs, of strings, of HTML."""
    number = ord(character)
    of_strings = rf"\\*{re.escape(character)}|\\+x{number:02x}|\\+u00{number:02x}"
    return rf"(?:{of_strings}|%(?:25)*{number:02x}|&#(?:{number}|x{number:02x});)"


def printable(text: str) -> str:
    """In one line, with escapes for what cannot be printed."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - len(HIDDEN)] + HIDDEN
