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

from kvfake.errors import is_refusal
from kvfake.services import jsontext
from kvfake.services.go import json_levels, refuse_constant
from kvfake.services.jsontext import without_strings
from kvfake.services.messages import Pause, no_pause
from kvfake.world.redaction import shown_token

__tracebackhide__ = is_refusal

MAX_LEVELS = jsontext.MAX_LEVELS + 4  # of a document: four levels are above a value: file, service, owner, prefix
MAX_NAMES = 2_000_000  # in the upper levels of a document
MAX_VALUE_BYTES = 4 * 1024 * 1024  # of one value, as it is written: 8 KiB, 500 levels deep, are 3.6 MB once they are indented
MAX_PARTS = 200_000  # of one value: brackets and commas
_MAX_PARTS_TO_STORE = 10_000  # of a value for a store: Mattermost takes 8 KiB, Persist a string

_OF_FILES = -1  # in place of levels: each member is a file
_LEVELS = {"mattermost": 3, "persist": 2, "raw": 4, "tokens": 1, "worlds": _OF_FILES}
"""Of objects below each member of a file, above the values."""
_PIECE_BYTES = 2048  # as most values have fewer
_NAMES_BEFORE_A_PAUSE = 100
_BOM = codecs.BOM_UTF8

_MAX_BLANKS = 65_536  # of one match: no match may take long
_BLANKS = re.compile(rb"[ \t\n\r]{0,%d}" % _MAX_BLANKS)
_PLAIN_NAME = re.compile(rb'[ \t\n\r]{0,1024}"([ !#-\[\]-\x7f]{0,1024})"[ \t\n\r]{0,1024}:[ \t\n\r]{0,1024}')
_BETWEEN = re.compile(rb'[^"\[\]{}]{1,65536}')
_IN_A_STRING = re.compile(rb'[^"\\]{0,65536}(?:\\.[^"\\]{0,64}){0,1000}', re.DOTALL)
_PLAIN_STRING = re.compile(rb'"([ !#-\[\]-\x7f]{0,1024})"')


class DataError(ValueError):
    """What is wrong with a document, and where."""


class JsonText(bytes):
    """An object or an array of a document, as it is written there."""

    __slots__ = ()  # without it the garbage collector would visit each

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


def _twice(name: str, is_token: bool = False) -> str:
    shown = shown_token(name) if is_token else repr(name)
    return f"the name {shown} stands twice in one object"


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
        self._most_parts = _MAX_PARTS_TO_STORE if is_compact else MAX_PARTS

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

    def _object(self, at: int, levels: int | None, of_tokens: bool = False) -> tuple[dict[str, Any], int]:
        """An object whose members are objects too, so many ``levels`` of them; ``None``: it is a file."""
        data, found = self._data, dict[str, Any]()
        at = self._after_blanks(at + 1)
        if data[at : at + 1] == b"}":
            return found, at + 1
        while True:
            name, at = self._name(at)
            if name in found:
                raise ValueError(_twice(name, of_tokens))
            inner = None if levels == _OF_FILES else _LEVELS.get(name, 0) if levels is None else levels - 1
            if inner != 0 and data[at : at + 1] == b"{":
                found[name], at = self._object(at, inner, name == "tokens" and levels is None)
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
        most_levels = MAX_LEVELS - levels_above
        piece = self._data[at : at + _PIECE_BYTES]
        if piece.count(b"[") + piece.count(b"{") > most_levels and json_levels(without_strings(piece)) > most_levels:
            raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
        text = self._text(piece, at, at + _PIECE_BYTES >= len(self._data))
        try:
            value, end = _DECODER.raw_decode(text)
            is_whole = end < len(text) - 2 or len(piece) < _PIECE_BYTES  # else it may be a number that goes on, as with ``e+``
        except JSONDecodeError as wrong:
            if len(piece) < _PIECE_BYTES:
                self._refuse(wrong.msg, at + len(text[: wrong.pos].encode()))
            is_whole = False
        if not is_whole:
            piece = self._data[at : self._end_of_long_value(at, most_levels)]
            text = self._text(piece, at, True)
            try:
                value, end = _DECODER.raw_decode(text)
            except JSONDecodeError as wrong:
                self._refuse(wrong.msg, at + len(text[: wrong.pos].encode()))
        after = at + (end if len(text) == len(piece) else len(text[:end].encode()))
        if self._is_compact and isinstance(value, list | dict):
            value = JsonText(self._data[at:after])
        return value, after

    def _end_of_long_value(self, at: int, most_levels: int) -> int:
        """Where the value ends if it is valid, else some place after what is wrong. Linear, and a piece at a time."""
        data, place, levels, parts = self._data, at, 0, 0
        while place < len(data):
            start, mark = place, data[place : place + 1]
            if mark == b'"':
                place = self._end_of_string(place)
            elif mark in b"[{":
                place, levels, parts = place + 1, levels + 1, parts + 1
            elif mark in b"]}":
                place, levels = place + 1, levels - 1
            else:
                between = _BETWEEN.match(data, place)
                assert between is not None  # it is none of the marks above
                place = between.end()
                parts += data.count(b",", start, place)
            if levels > most_levels:
                raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
            if parts > self._most_parts or place - at > MAX_VALUE_BYTES:
                line, column = self._place(at)
                most = f"{MAX_VALUE_BYTES} bytes or {self._most_parts} parts"
                raise ValueError(f"line {line}, column {column}: a value of more than {most}: nothing takes it")
            if levels <= 0 and place > start and mark in b'"]}':
                return place
            self._pause()
        return place

    def _end_of_string(self, at: int) -> int:
        data, place = self._data, at + 1
        while place < len(data):
            inside = _IN_A_STRING.match(data, place)
            assert inside is not None  # it also matches nothing
            place = inside.end()
            if data[place : place + 1] == b'"':
                return place + 1
            if place == inside.start() or place - at > MAX_VALUE_BYTES:  # a backslash at the end; or too long
                return len(data)
        return place

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
        try:
            raise wrong
        finally:
            del wrong  # else it holds this frame, which holds it, and the document

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column of a place; both begin with 1."""
        start = self._data.rfind(b"\n", 0, at) + 1
        line = self._data.count(b"\n", 0, at) + 1
        if start == 0 and self._data.startswith(_BOM):
            start = len(_BOM)
        return line, len(self._data[start:at].decode("utf-8", "replace")) + 1
