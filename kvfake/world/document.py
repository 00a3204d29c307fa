"""A JSON document: its places, its text and its file.

Law: it reads strictly, says of what is wrong where it is, and writes whole or not at all. Of a file of values it knows how deep
they lie; what they mean is `kvfake.world.datafile`'s.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from kvfake.services import gorules
from kvfake.services.payload import kind_of, without_strings

MAX_LEVELS = 504  # what `views.load_json` shows of a value, and the four above it: file, service, owner, prefix


class DataError(ValueError):
    """What is wrong with a file of values, and where."""


# ---------------------------------------------------------------------------------------------------------- places in a document


def leaves(data: object, checks: tuple[Callable[[str], None], ...], *place: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The places below that one, as deep as there are checks of a name, and what stands there."""
    for name, inner in members(data, *place).items():
        with at(*place, name):
            checks[0](name)
        if len(checks) > 1:
            yield from leaves(inner, checks[1:], *place, name)
        else:
            yield (*place, name), inner


def members(data: object, *place: str, only: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The object that must stand there: its names are texts, or those that are possible."""
    with at(*place):
        if not isinstance(data, Mapping):
            raise ValueError(f"it is {kind_of(data)}: expected an object")
        for name in data:
            if not isinstance(name, str) or (only and name not in only):
                raise ValueError(f"{name!r} is not known here: expected {', '.join(only) or 'a text'}")
        return data


@contextmanager
def at(*place: str) -> Iterator[None]:
    """What is wrong inside is told with the place."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as wrong:
        raise DataError(f"{' / '.join(map(_shown, place)) or 'the data'}: {wrong}") from None


def _shown(name: str) -> str:
    return name if name.isprintable() and name.strip() == name != "" else json.dumps(name)


# -------------------------------------------------------------------------------------------------------------- files and texts


def read(path: str | os.PathLike[str]) -> object:
    """What the file holds. Raises `DataError` for what is no JSON, ``OSError`` for what cannot be read."""
    return parse(Path(path).read_bytes(), os.fspath(path))


def parse(data: bytes, name: str) -> object:
    """What the bytes hold, strictly; ``name`` is that of the file. Raises `DataError`."""
    if data.count(b"[") + data.count(b"{") > MAX_LEVELS and gorules.json_levels(without_strings(data)) > MAX_LEVELS:
        raise DataError(f"{name}: it is nested more than {MAX_LEVELS} levels deep")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse)
    except json.JSONDecodeError as wrong:
        raise DataError(f"{name}: line {wrong.lineno}, column {wrong.colno}: {wrong.msg}") from None
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{name}: {wrong}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r} stands twice in one object")
        found[name] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of(data: Mapping[str, Any]) -> str:
    """The text of a file: indented, with names sorted; only inside a value they keep the order in which it was stored."""
    return json_text({name: _sorted(data[name], 4 if name == "raw" else 3) for name in sorted(data)})


def json_text(data: Mapping[str, Any]) -> str:
    """JSON for people and machines: indented, in whatever language, a lone surrogate as its escape."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2)
    return _SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text) + "\n"


def _sorted(data: Any, levels: int) -> Any:
    if not levels or not isinstance(data, Mapping):
        return data
    return {name: _sorted(data[name], levels - 1) for name in sorted(data)}


def write(path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
    """Put the text there, whole or not at all: what is there stays until the new file can take its place."""
    content = text_of(data).encode()
    if Path(path).exists() and not Path(path).is_file():  # /dev/stdout, a pipe; a folder refuses
        Path(path).write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as file:
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
