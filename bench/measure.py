"""Rounds, medians, ratios, and the table.

Law: it knows numbers and how to show them, and nothing of what was measured. Subjects are measured in turn, round after round,
and what is compared is compared within a round: what a shared machine does to one it does to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

Section = Iterator["Row | str"]
"""What a part of the bench finds: rows, and lines about what could not be had."""


class Scale(NamedTuple):
    """How much is measured. ``quick`` is for seeing that it works, and for a first guess."""

    quick: bool = False
    rounds: int = 15
    requests: int = 800  # of one subject in a round
    round_seconds: float = 0.25  # after which there are no more of them
    load_seconds: float = 2.0  # of one subject under eight connections, in a round
    warm_up_seconds: float = 10.0
    starts: int = 9
    pairs: int = 21
    keys: int = 1_000_000
    worlds: int = 10_000


QUICK = Scale(True, 5, 300, 0.1, 1.0, 3.0, 3, 5, 1_000_000, 2_000)


class Goal(NamedTuple):
    """A limit for a figure."""

    limit: float
    unit: str = ""
    at_least: bool = False

    def holds(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}{' ' + self.unit if self.unit else ''}"


class Row(NamedTuple):
    """One line of the table."""

    what: str
    ours: str
    peer: str = ""
    theirs: str = ""
    ratio: str = ""
    goal: str = ""
    verdict: str = ""


def in_turn(subjects: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """A figure of each subject from each round; every second round goes the other way."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds):
        names = list(subjects)
        for name in reversed(names) if turn % 2 else names:
            found[name].append(subjects[name]())
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of each round."""
    return median(own / other for own, other in zip(ours, theirs, strict=True))


def compare(
    what: str,
    ours: Sequence[float],
    peer: str,
    theirs: Sequence[float],
    goal: Goal | None = None,
    show: Callable[[float], str] | None = None,
) -> Row:
    """A row that sets one subject's rounds beside another's."""
    shown, figure = show or duration, ratio(ours, theirs)
    return Row(what, shown(median(ours)), peer, shown(median(theirs)), f"{figure:.2f}", *_judged(figure, goal))


def alone(what: str, figure: float, shown: str, goal: Goal | None = None) -> Row:
    """A row with one figure, in the goal's unit."""
    return Row(what, shown, goal=_judged(figure, goal)[0], verdict=_judged(figure, goal)[1])


def _judged(figure: float, goal: Goal | None) -> tuple[str, str]:
    return ("", "") if goal is None else (str(goal), "holds" if goal.holds(figure) else "MISSES")


def percentile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us" if abs(seconds) >= 1e-5 else f"{seconds * 1e6:.2f} us"


def per_second(count: float) -> str:
    return f"{count:,.0f}/s"


def table(found: Iterable[Row | str], say: Callable[[str], None]) -> list[Row]:
    """Show what was found, as a table that Markdown knows too, and below it what could not be had."""
    found = list(found)
    rows = [one for one in found if isinstance(one, Row)]
    heads = Row("what", "median", "beside", "its median", "ratio", "goal", "")
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    if rows:
        for row in (heads, None, *rows):
            cells = (
                ["-" * width for width in widths] if row is None else [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
            )
            say("| " + " | ".join(cells) + " |")
    for note in (one for one in found if isinstance(one, str)):
        say(f"* {note}")
    return rows
