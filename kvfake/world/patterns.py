"""Regular expressions that are matched in time linear in the text, whatever the pattern.

Law: it says whether a pattern matches a text, yes or no, as `re` says it; it knows no requests. `re` tries one way after the other
and goes back, which takes for ever with ``^(a+)+$``, and no other thread runs meanwhile. Here the standard library parses the
pattern, and an automaton follows all ways at once (Thompson 1968). Sets of its nodes that were seen are kept, as a deterministic
automaton that grows as it is used, so that most characters cost one look-up in a dict.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from importlib import import_module
from itertools import chain, product
from typing import Any, NamedTuple

MAX_NODES = 4096  # of one pattern, its bounded repeats written out
_MAX_CACHED = 8192  # nodes and transitions that a pattern keeps; it then begins anew, which costs time and changes nothing

_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")  # the same module, moved
_FLAGS_OF_TYPE = re.ASCII | re.LOCALE | re.UNICODE
_FLAGS_OF_CHARACTERS = re.ASCII | re.IGNORECASE | re.DOTALL
_CATEGORIES = {
    _parser.CATEGORY_DIGIT: r"\d",
    _parser.CATEGORY_NOT_DIGIT: r"\D",
    _parser.CATEGORY_SPACE: r"\s",
    _parser.CATEGORY_NOT_SPACE: r"\S",
    _parser.CATEGORY_WORD: r"\w",
    _parser.CATEGORY_NOT_WORD: r"\W",
}
_NOT_REGULAR = {
    "ASSERT": "looks ahead or behind",
    "ASSERT_NOT": "looks ahead or behind",
    "FAILURE": "looks ahead or behind",  # (?!), in newer parsers
    "ATOMIC_GROUP": "has an atomic group",
    "GROUPREF": "refers back to a group",
    "GROUPREF_EXISTS": "asks whether a group matched",
    "POSSESSIVE_REPEAT": "has a possessive repeat",
}


class Place(Enum):
    """What stands before or after a position in a text."""

    EDGE = "nothing: the text begins or ends"
    LAST_NEWLINE = "a newline that ends the text"
    NEWLINE = "another newline"
    ASCII_WORD = "a character of a word"
    WORD = "a character of a word that is not ASCII"
    OTHER = "another character"


Context = tuple[Place, Place]
_CONTEXTS = tuple(product(Place, Place))
_BOUNDARY_OF_NOTHING = re.search(r"\B", "") is not None  # from Python 3.14 on

# What an automaton reads: the characters of a text, and these.
_END = ""
_LAST_NEWLINE = "\n$"


class Node(NamedTuple):
    """A step of an automaton to its ``exits``: over a character, or, between two characters, where the context is one of these.
    Without either the step is always possible.
    """

    exits: tuple[int, ...]
    character: Callable[[str], object] | None = None
    contexts: frozenset[Context] | None = None


_MATCHED = 0  # the number of the last node


class LinearPattern:
    """A compiled pattern of `re`, matched in linear time. Raises ``ValueError`` for one that is not regular, or too large."""

    __slots__ = ("fullmatch", "search", "size")

    def __init__(self, pattern: re.Pattern[str]) -> None:
        builder = _Builder(pattern)
        try:
            start = builder.start()
        except RecursionError:
            raise ValueError(f"{_shown(pattern)} is nested too deep") from None
        self.search = _Automaton(builder.nodes, start, is_search=True)
        """Whether it is found somewhere in a text."""
        self.fullmatch = _Automaton(builder.nodes, start, is_search=False)
        """Whether a whole text matches."""
        self.size = len(builder.nodes)
        """How many nodes it has: a character costs so many steps at most."""


class _State(dict[str, "_State"]):
    """Where an automaton may be: the nodes, and what stands before. As a dict, the states after the symbols that were seen."""

    __slots__ = ("automaton", "before", "is_last", "nodes")

    def __init__(self, automaton: _Automaton | None, nodes: frozenset[int], before: Place) -> None:
        self.automaton, self.nodes, self.before = automaton, nodes, before
        self.is_last = automaton is None

    def __missing__(self, symbol: str) -> _State:
        assert self.automaton is not None
        following = self[symbol] = self.automaton.step(self, symbol)
        return following


_FOUND, _LOST = (_State(None, frozenset(), Place.EDGE) for _ in range(2))


class _Automaton:
    """Says whether a text matches. It keeps the states that it was in."""

    __slots__ = ("_cached", "_is_search", "_nodes", "_start", "_states")

    def __init__(self, nodes: list[Node], start: int, is_search: bool) -> None:
        self._nodes, self._start, self._is_search = nodes, start, is_search
        self._states: dict[tuple[frozenset[int], Place], _State] = {}
        self._cached = 0

    def __call__(self, text: str) -> bool:
        symbols: Iterable[str] = chain(text[:-1], (_LAST_NEWLINE,)) if text[-1:] == "\n" else text
        state = self._state(frozenset((self._start,)), Place.EDGE)
        for symbol in symbols:
            state = state[symbol]
            if state.is_last:
                break
        else:
            state = state[_END]
        return state is _FOUND

    def step(self, state: _State, symbol: str) -> _State:
        """The state after the symbol."""
        after = _place(symbol)
        context = state.before, after
        character = symbol[:1]
        answers: dict[Callable[[str], object], object] = {}  # whether the character is one of these
        reached: set[int] = {self._start} if self._is_search else set()
        seen: set[int] = set()
        waiting = [*state.nodes]
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            exits, is_one, contexts = self._nodes[number]
            if is_one is None:
                if contexts is None or context in contexts:
                    waiting += exits
            elif character:
                if is_one not in answers:
                    answers[is_one] = is_one(character)
                if answers[is_one]:
                    reached.update(exits)
        self._cached += 1
        if _MATCHED in seen and (self._is_search or symbol == _END):
            return _FOUND
        if symbol == _END or not reached:
            return _LOST
        return self._state(frozenset(reached), Place.NEWLINE if after is Place.LAST_NEWLINE else after)

    def _state(self, nodes: frozenset[int], before: Place) -> _State:
        if self._cached > _MAX_CACHED:  # another thread may be on its way through the old states: they are left as they are
            self._states, self._cached = {}, 0
        state = self._states.get((nodes, before))
        if state is None:
            state = self._states[nodes, before] = _State(self, nodes, before)
            self._cached += len(nodes)
        return state


class _Builder:
    """Makes the nodes of a pattern, from its end to its beginning: whoever makes a node knows where it leads."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.nodes = [Node(())]
        self._characters: dict[tuple[str, int], Callable[[str], object]] = {}

    def start(self) -> int:
        """Make all nodes. Returns the number of the first."""
        flags = self._pattern.flags & ~re.DEBUG  # which has been printed
        return self._sequence(_parser.parse(self._pattern.pattern, flags), flags, _MATCHED)

    def _add(self, node: Node) -> int:
        if len(self.nodes) >= MAX_NODES:
            shown = _shown(self._pattern)
            raise ValueError(f"{shown} is too large: expected at most {MAX_NODES} nodes, with its repeats written out")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _sequence(self, items: Iterable[tuple[Any, Any]], flags: int, following: int) -> int:
        for kind, argument in reversed(list(items)):
            following = self._item(kind, argument, flags, following)
        return following

    def _item(self, kind: Any, argument: Any, flags: int, following: int) -> int:
        """Make the nodes of one item of the parser's; ``following`` is where they lead. Returns the number of the first."""
        if kind in (_parser.LITERAL, _parser.NOT_LITERAL, _parser.IN, _parser.ANY):
            return self._add(Node((following,), self._character(kind, argument, flags)))
        if kind is _parser.AT:
            return self._add(Node((following,), None, _contexts(argument, flags)))
        if kind is _parser.BRANCH:
            return self._add(Node(tuple(self._sequence(branch, flags, following) for branch in argument[1])))
        if kind is _parser.SUBPATTERN:
            _group, added, removed, items = argument
            kept = flags & ~_FLAGS_OF_TYPE if added & _FLAGS_OF_TYPE else flags
            return self._sequence(items, (kept | added) & ~removed, following)
        if kind in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
            least, most, items = argument
            return self._repeat(least, most, items, flags, following)
        raise ValueError(
            f"{_shown(self._pattern)} {_NOT_REGULAR.get(str(kind), f'has {kind}')}, which kvfake's linear matching cannot do; "
            "expected a pattern without that (in Python, a function says more: when=, or a comprehension over the journal)"
        )

    def _repeat(self, least: int, most: Any, items: Any, flags: int, following: int) -> int:
        if most is _parser.MAXREPEAT:
            again = self._add(Node((following,)))
            self.nodes[again] = Node((self._sequence(items, flags, again), following))
            start = again
        else:
            start = following
            for _ in range(most - least):
                once = self._sequence(items, flags, start)
                if once == start:  # there is nothing in it, so once is as good as often
                    break
                start = self._add(Node((once, following)))
        for _ in range(least):
            once = self._sequence(items, flags, start)
            if once == start:
                break
            start = once
        return start

    def _character(self, kind: Any, argument: Any, flags: int) -> Callable[[str], object]:
        """Whether a character is the one, or one of those, that the item stands for. `re` says so, a character at a time."""
        if kind is _parser.ANY:
            source = "."
        elif kind is _parser.IN:
            source = f"[{''.join(_in_set(*item) for item in argument)}]"
        else:
            source = f"[{'^' if kind is _parser.NOT_LITERAL else ''}{_escaped(argument)}]"
        key = source, flags & _FLAGS_OF_CHARACTERS
        if key not in self._characters:
            is_simple = kind is _parser.LITERAL and not flags & re.IGNORECASE
            self._characters[key] = chr(argument).__eq__ if is_simple else re.compile(*key).match
        return self._characters[key]


def _in_set(kind: Any, argument: Any) -> str:
    if kind is _parser.NEGATE:
        return "^"
    if kind is _parser.CATEGORY:
        return _CATEGORIES[argument]
    return "-".join(map(_escaped, argument)) if kind is _parser.RANGE else _escaped(argument)


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


def _contexts(kind: Any, flags: int) -> frozenset[Context]:
    """Where an anchor or a boundary of words holds."""
    places: tuple[Place, ...]
    if kind in (_parser.AT_BEGINNING, _parser.AT_BEGINNING_STRING):
        is_line = kind is _parser.AT_BEGINNING and flags & re.MULTILINE
        places = (Place.EDGE, Place.NEWLINE) if is_line else (Place.EDGE,)
        return frozenset(context for context in _CONTEXTS if context[0] in places)
    if kind in (_parser.AT_END, _parser.AT_END_STRING):
        places = (Place.EDGE,) if kind is _parser.AT_END_STRING else (Place.EDGE, Place.LAST_NEWLINE)
        places = (*places, Place.NEWLINE) if kind is _parser.AT_END and flags & re.MULTILINE else places
        return frozenset(context for context in _CONTEXTS if context[1] in places)
    word = (Place.ASCII_WORD,) if flags & re.ASCII else (Place.ASCII_WORD, Place.WORD)
    boundaries = frozenset(context for context in _CONTEXTS if (context[0] in word) != (context[1] in word))
    if kind is _parser.AT_BOUNDARY:
        return boundaries
    nothing = frozenset() if _BOUNDARY_OF_NOTHING else {(Place.EDGE, Place.EDGE)}
    return frozenset(_CONTEXTS) - boundaries - nothing


def _place(symbol: str) -> Place:
    if symbol == _END:
        return Place.EDGE
    if symbol == _LAST_NEWLINE:
        return Place.LAST_NEWLINE
    if symbol == "\n":
        return Place.NEWLINE
    if symbol.isalnum() or symbol == "_":
        return Place.ASCII_WORD if symbol.isascii() else Place.WORD
    return Place.OTHER


def _shown(pattern: re.Pattern[str]) -> str:
    shown = repr(pattern.pattern)
    return shown if len(shown) <= 100 else shown[:100] + "..."
