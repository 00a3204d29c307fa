"""What each service does, row by row: the facts that this double reproduces, and where each is known from.

Law: it reads ``facts.md`` beside it, and decides nothing. The services decide, and their tests show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

SAME = "does what it says"

SOURCES = {
    "doc": "the service's own documentation",
    "src": "its or its official client's published source",
    "use": "what public applications rely on",
    "recorded": "what the plugin's own handlers (v1.2.2) answered",
    "ours": "a choice where nothing is known",
}

_HEADING = re.compile(r"^(#+) (.*)\n", re.MULTILINE)
_FIELD = re.compile(r"^- ([a-z0-9.-]+): ", re.MULTILINE)


class Row(NamedTuple):
    """One fact of a service. ``documented`` and ``plugin`` say what the two profiles do, where the sentence leaves it open or they
    differ. ``mark`` is the row that a reply names which was kinder than the service, if there is one: under ``documented``, or,
    where both do the same, in a world that is not strict.
    """

    id: str
    service: str
    sentence: str
    source: str
    documented: str = SAME
    plugin: str = SAME
    mark: str | None = None


def _rows(text: str) -> Iterator[Row]:
    service = ""
    _, *parts = _HEADING.split(text)
    for level, title, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if level == "#":
            service = title
            continue
        sentence, *pairs = [" ".join(piece.split()) for piece in _FIELD.split(body)]
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        both = fields.get("both", SAME)
        documented, plugin = fields.get("documented", both), fields.get("plugin-1.2", both)
        yield Row(title, service, sentence, fields["source"], documented, plugin, fields.get("mark"))


ROWS = {row.id: row for row in _rows(files(__package__).joinpath("facts.md").read_text("utf-8"))}
