"""Keeping proxies away from a double: ``NO_PROXY``.

Law: names and texts of an environment; the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

_EVERYTHING = "*"  # counts for curl and urllib only where it stands alone


def no_proxy(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """``NO_PROXY``, and ``no_proxy`` where that is what counts, with this machine and the double's host added."""
    from urllib.parse import urlsplit

    wanted = dict.fromkeys(["127.0.0.1", urlsplit(url).hostname or "127.0.0.1"])
    found = {}
    for name in ("NO_PROXY", "no_proxy"):
        known = [part.strip() for part in environ.get(name, "").split(",") if part.strip()]
        if known == [_EVERYTHING]:
            found[name] = _EVERYTHING
        elif known or name == "NO_PROXY":
            found[name] = ",".join([*known, *(host for host in wanted if host not in known)])
    return found
