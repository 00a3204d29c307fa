"""Keeping proxies away from a double: ``NO_PROXY``.

Law: names and texts of an environment; the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

_THIS_MACHINE = "127.0.0.1"
_EVERYTHING = "*"  # counts for curl and urllib only where it stands alone


def no_proxy(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """``NO_PROXY``, and ``no_proxy`` where that is what counts, with this machine and the double's host added."""
    wanted = _wanted("/".join(url.split("/", 3)[:3]))
    found = {"NO_PROXY": ",".join(wanted)}
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in map(str.strip, environ.get(name, "").split(",")) if part]
        if known:
            found[name] = _EVERYTHING if known == [_EVERYTHING] else ",".join(dict.fromkeys([*known, *wanted]))
    return found


@lru_cache(maxsize=16)  # tests ask for every double of one server
def _wanted(origin: str) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    return tuple(dict.fromkeys([_THIS_MACHINE, urlsplit(origin).hostname or _THIS_MACHINE]))
