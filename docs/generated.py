"""The parts of the reference that are made from the code, as Markdown: they cannot differ from what kvfake does.

Law: each function reads one table of kvfake and writes one text; ``conf.py`` puts it in place of a page's line ``% generated``.
"""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, HelpFormatter, _SubParsersAction
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kvfake.cli import parser as cli
from kvfake.control import openapi
from kvfake.control.routes import ROUTES
from kvfake.settings import COMMAND, REAL, SERVER, TOKEN_OPTIONS, WORLD, Setting, of

ROOT = Path(__file__).parent.parent
MARK = "% generated\n"  # a comment of MyST
_COLUMNS = 100
_SCOPES = {
    SERVER: (
        "Settings of a server",
        "These work for `serve`, `run`, `kvfake.start()`, `kvfake.Double()` and the server of a pytest session.",
    ),
    WORLD: (
        "Settings of a world",
        "These work for all of these, and also for `@pytest.mark.kvfake(...)`, `kvfake_factory(...)` and (except `seed`) "
        "`POST /_kvfake/worlds`.",
    ),
    COMMAND: ("Settings of `serve` and `run`", "These work only for these two commands."),
    REAL: ("Settings for a real server", "These work for the commands that use a real server, and for a pytest session."),
}


# ------------------------------------------------------------------------------------------------------------- command line


def parsers() -> dict[str, ArgumentParser]:
    """Every command and subcommand by its words, such as ``kvfake faults add``."""
    return dict(_below("kvfake", cli._parser()))


def _below(words: str, parser: ArgumentParser) -> Iterator[tuple[str, ArgumentParser]]:
    yield words, parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, inner in action.choices.items():
                yield from _below(f"{words} {name}", inner)


def commands() -> str:
    """The help of every command."""
    return "\n".join(
        f"{'##' if words.count(' ') < 2 else '###'} {words}\n\n```text\n{_help(parser)}```\n" for words, parser in parsers().items()
    )


def _help(parser: ArgumentParser) -> str:
    formatter: Callable[..., HelpFormatter] = parser.formatter_class
    parser.formatter_class = partial(formatter, width=_COLUMNS)  # else it depends on the terminal of whoever builds
    return parser.format_help()


# ---------------------------------------------------------------------------------------------------------------- settings


def settings() -> str:
    """A table for each scope."""
    return "\n".join(_scope(scope) for scope in _SCOPES)


def _scope(scope: str) -> str:
    title, where = _SCOPES[scope]
    lines = [
        f"## {title}",
        "",
        where,
        "",
        "| setting | default | variable | meaning |",
        "|---|---|---|---|",
    ]
    for setting in of(scope):
        cells = (f"`{setting.name}`", _default(setting), f"`{setting.variable}`", setting.meaning)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _default(setting: Setting) -> str:
    if setting.is_switch:
        return "on" if setting.default else "off"
    return "" if setting.default in (None, (), "") else f"`{setting.default}`"


def tokens() -> str:
    """The variables with the tokens of a real server."""
    lines = ["| variable | option | meaning |", "|---|---|---|"]
    lines += [f"| `{variable}` | `{option}` | {_cell(meaning)} |" for option, (variable, meaning) in TOKEN_OPTIONS.items()]
    return "\n".join(lines) + "\n"


# ----------------------------------------------------------------------------------------------------------------- control


def description() -> dict[str, Any]:
    """What ``kvfake openapi`` prints."""
    return openapi.description(ROUTES)


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The method, path and description of every operation of `/_kvfake/`."""
    for path, item in description()["paths"].items():
        if path.startswith("/_kvfake"):
            yield from ((method.upper(), path, one) for method, one in item.items() if method != "parameters")


def control() -> str:
    """A table of all operations, and what each takes."""
    lines = ["| request | what it does |", "|---|---|"]
    lines += [f"| `{method} {path}` | {_cell(one['summary'])} |" for method, path, one in operations()]
    schemas = description()["components"]["schemas"]
    for method, path, one in operations():
        lines += ["", f"## {method} {path}", "", f"{one['summary']}. {one.get('description', '')}".strip()]
        fields = {parameter["name"]: parameter for parameter in one.get("parameters", ())}
        lines += _fields("query parameter", fields)
        if "requestBody" in one:
            schema = one["requestBody"]["content"]["application/json"]["schema"]
            lines += _fields("field of the body", _properties(schema, schemas))
        done = ", ".join(f"`{status}`" for status in one["responses"] if status < "300")
        refused = ", ".join(f"`{status}`" for status in one["responses"] if status >= "300")
        lines += ["", f"Answers {done}; refuses with {refused}." if refused else f"Answers {done}."]
    return "\n".join(lines) + "\n"


def _properties(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object; of one of several kinds, the fields of all."""
    if "$ref" in schema:
        return _properties(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    found: dict[str, Any] = {}
    for kind in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), schema):
        own = {name: {} if field is True else field for name, field in kind.get("properties", {}).items() if field is not False}
        inner = own if kind is schema else _properties(kind, schemas)
        for name, field in inner.items():
            if len(str(field.get("description", ""))) >= len(str(found.get(name, {}).get("description", ""))):
                found[name] = field
    return found


def _fields(title: str, fields: Mapping[str, Any]) -> list[str]:
    if not fields:
        return []
    rows = [f"| `{name}` | {_cell(field.get('description', ''))} |" for name, field in fields.items()]
    return ["", f"| {title} | meaning |", "|---|---|", *rows]


def _cell(text: str) -> str:
    """The text as a cell of a table. A bar does not end the cell, and a bracket outside of code begins no HTML."""
    parts = " ".join(text.replace("``", "`").replace("|", r"\|").split()).split("`")
    return "`".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))


# ------------------------------------------------------------------------------------------------------------------- pages

_LINK = re.compile(r"\]\((?:\.\./)*(CHANGELOG|CONTRIBUTING|SECURITY)\.md\)")


def _of_root(name: str) -> str:
    """A file of the repository's top folder, whose links to ``docs/`` stay right."""
    return (ROOT / name).read_text("utf-8").replace("](docs/", "](/")


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands": commands,
    "reference/settings": settings,
    "reference/variables": tokens,
    "reference/control": control,
    "project/changelog": partial(_of_root, "CHANGELOG.md"),
    "project/contributing": partial(_of_root, "CONTRIBUTING.md"),
    "project/security": partial(_of_root, "SECURITY.md"),
}
"""The function that makes the generated part of each page."""


def filled(page: str, text: str) -> str:
    """The page's text with its generated part, in which a link to a file of the repository is one to its page."""
    if page in PAGES:
        if text.count(MARK) != 1:
            raise ValueError(f"{page}.md: expected one line {MARK.strip()!r}")
        text = text.replace(MARK, PAGES[page]())
    return _LINK.sub(lambda link: f"](/project/{link[1].lower()}.md)", text)


if __name__ == "__main__":
    sys.stdout.write(PAGES[sys.argv[1]]())
