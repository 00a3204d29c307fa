"""Reads a file of values: JSON of any length, a piece at a time.

Law: bytes in, Python values or `DataError` out; it knows how deep the values of a file lie, and nothing else of them. The upper
levels (file, service, owner, prefix, key) are read here, name by name, and each value by Python's decoder out of a bounded piece of
the document. So no single call takes long, for which other threads would wait; and a value that is not wanted yet takes no more
than its own bytes: as Python values ``[],[],...`` takes 30 times as much.
"""

from __future__ import annotations

import codecs
import re
from json import JSONDecodeError, JSONDecoder
from typing import Any, NoReturn

from kvfake.services import jsontext
from kvfake.services.go import json_levels, refuse_constant
from kvfake.services.jsontext import without_strings
from kvfake.services.messages import Pause, no_pause

MAX_LEVELS = jsontext.MAX_LEVELS + 4  # of a document: four levels are above a value: file, service, owner, prefix
MAX_NAMES = 2_000_000  # in the upper levels of a document
MAX_VALUE_BYTES = 2 * 1024 * 1024  # of one value, as it is written: the largest, 256 KiB, may be 1.5 MiB of escapes

_LEVELS = {"mattermost": 3, "persist": 2, "raw": 4, "tokens": 1}  # of objects below each member of a file, above the values
_FIRST_PIECE_BYTES, _PIECE_GROWTH = 2048, 8
_NAMES_BEFORE_A_PAUSE = 100
_BOM = codecs.BOM_UTF8

_MAX_BLANKS = 65_536  # of one match: no match may take long
_BLANKS = re.compile(rb"[ \t\n\r]{0,%d}" % _MAX_BLANKS)
_PLAIN_NAME = re.compile(rb'[ \t\n\r]{0,1024}"([ !#-\[\]-\x7f]{0,1024})"[ \t\n\r]{0,1024}:[ \t\n\r]{0,1024}')
_PLAIN_STRING = re.compile(rb'"([ !#-\[\]-\x7f]{0,1024})"')


class DataError(ValueError):
    """What is wrong with a document, and where."""


class JsonText(bytes):
    """An object or an array of a document, as it is written there."""

    def load(self) -> Any:
        """Its Python value."""
        return _DECODER.decode(self.decode())


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(_twice(name))
        found[name] = value
    return found


def _twice(name: str) -> str:
    return f"the name {name!r} stands twice in one object"


_DECODER = JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=refuse_constant)


def parse(data: bytes, name: str, *, is_compact: bool = False, pause: Pause = no_pause) -> Any:
    """The document, read strictly; ``name`` is that of its file, for errors. Raises `DataError`. ``is_compact``: values that are
    objects or arrays stay `JsonText`.
    """
    try:
        return _Reader(data, is_compact, pause).document()
    except JSONDecodeError as wrong:
        raise DataError(f"{name}: line {wrong.lineno}, column {wrong.colno}: {wrong.msg}") from None
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{name}: {wrong}") from None


class _Reader:
    """One document. Its methods take a place in it, in bytes, and return the place after what they have read."""

    def __init__(self, data: bytes, is_compact: bool, pause: Pause) -> None:
        self._data, self._is_compact, self._pause = data, is_compact, pause
        self._names = 0

    def document(self) -> Any:
        start = self._after_blanks(len(_BOM) if self._data.startswith(_BOM) else 0)
        if self._data[start : start + 1] == b"{":
            value, end = self._object(start, None)
        else:
            value, end = self._value(start, 0)
        end = self._after_blanks(end)
        if end < len(self._data):
            self._refuse("Extra data", end)
        return value

    def _object(self, at: int, levels: int | None) -> tuple[dict[str, Any], int]:
        """An object whose members are objects too, so many ``levels`` of them; ``None``: it is the file."""
        data, found = self._data, dict[str, Any]()
        at = self._after_blanks(at + 1)
        if data[at : at + 1] == b"}":
            return found, at + 1
        while True:
            name, at = self._name(at)
            if name in found:
                raise ValueError(_twice(name))
            inner = _LEVELS.get(name, 0) if levels is None else levels - 1
            if inner and data[at : at + 1] == b"{":
                found[name], at = self._object(at, inner)
            else:
                found[name], at = self._value(at, 4)
            at = self._after_blanks(at)
            mark = data[at : at + 1]
            at += 1
            if mark == b"}":
                return found, at
            if mark != b",":
                self._refuse("Expecting ',' delimiter", at - 1)

    def _name(self, at: int) -> tuple[str, int]:
        """The name of a member, and where its value begins."""
        self._names += 1
        if not self._names % _NAMES_BEFORE_A_PAUSE:
            self._pause()
            if self._names > MAX_NAMES:
                raise ValueError(f"it holds more than {MAX_NAMES} names: expected fewer, in several files")
        plain = _PLAIN_NAME.match(self._data, at)
        if plain is not None:
            return plain[1].decode(), self._after_blanks(plain.end())
        at = self._after_blanks(at)
        if self._data[at : at + 1] != b'"':
            self._refuse("Expecting property name enclosed in double quotes", at)
        name, at = self._value(at, 0)
        at = self._after_blanks(at)
        if self._data[at : at + 1] != b":":
            self._refuse("Expecting ':' delimiter", at)
        return name, self._after_blanks(at + 1)

    def _value(self, at: int, levels_above: int) -> tuple[Any, int]:
        """What Python's decoder makes of the value there."""
        plain = _PLAIN_STRING.match(self._data, at)
        if plain is not None:
            return plain[1].decode(), plain.end()
        size = _FIRST_PIECE_BYTES
        while True:
            piece = self._data[at : at + size]
            is_last, is_longest = at + size >= len(self._data), size >= MAX_VALUE_BYTES
            text = self._text(piece, at, is_last)
            most = MAX_LEVELS - levels_above
            if piece.count(b"[") + piece.count(b"{") > most and json_levels(without_strings(piece)) > most:
                raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
            try:
                value, end = _DECODER.raw_decode(text)
                if end < len(text) or is_last:  # else it may be a number that goes on
                    break
            except JSONDecodeError as wrong:
                if is_last or (is_longest and not _is_cut(wrong, text)):
                    self._refuse(wrong.msg, at + len(text[: wrong.pos].encode()))
            if is_longest:
                line, column = self._place(at)
                raise ValueError(f"line {line}, column {column}: a value of more than {MAX_VALUE_BYTES} bytes: no service takes it")
            size *= _PIECE_GROWTH
        after = at + (end if len(text) == len(piece) else len(text[:end].encode()))
        if self._is_compact and isinstance(value, list | dict):
            value = JsonText(self._data[at:after])
        return value, after

    def _text(self, piece: bytes, at: int, is_last: bool) -> str:
        try:
            return codecs.utf_8_decode(piece, "strict", is_last)[0]
        except UnicodeDecodeError as wrong:
            raise UnicodeDecodeError("utf-8", self._data, at + wrong.start, at + wrong.end, wrong.reason) from None

    def _after_blanks(self, at: int) -> int:
        while True:
            blanks = _BLANKS.match(self._data, at)
            assert blanks is not None  # it also matches none
            if blanks.end() < at + _MAX_BLANKS:
                return blanks.end()
            at = blanks.end()

    def _refuse(self, message: str, at: int) -> NoReturn:
        line, column = self._place(at)
        wrong = JSONDecodeError(message, "", 0)
        wrong.lineno, wrong.colno = line, column
        raise wrong

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column of a place; both begin with 1."""
        start = self._data.rfind(b"\n", 0, at) + 1
        line = self._data.count(b"\n", 0, at) + 1
        if start == 0 and self._data.startswith(_BOM):
            start = len(_BOM)
        return line, len(self._data[start:at].decode("utf-8", "replace")) + 1


def _is_cut(wrong: JSONDecodeError, text: str) -> bool:
    """Whether the error may come from the end of the piece, not from what is written."""
    return wrong.msg.startswith("Unterminated string") or wrong.pos > len(text) - 16
