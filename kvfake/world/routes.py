"""What else lies on a world's site, beside the stores: single answers, and whole applications below a path.

Law: a table. It finds who answers a path, and runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kvfake.services import mattermost, persist
from kvfake.services.message import Response
from kvfake.world.matching import Wanted, checked, shown

MAX_ROUTES = 1000

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Route(NamedTuple):
    """One answer. ``method`` is ``None`` for any; ``path`` is exact, or a pattern that must match the whole path."""

    method: str | None
    path: Wanted
    response: Response

    def meets(self, method: str, path: str) -> bool:
        if self.method not in (None, method):
            return False
        return self.path.fullmatch(path) is not None if isinstance(self.path, re.Pattern) else path == self.path

    def __str__(self) -> str:
        return f"{self.method or 'any method'} {self.path if isinstance(self.path, str) else shown(self.path)}"


class Routes:
    """The neighbours of one world."""

    __slots__ = ("mounts", "routes")

    def __init__(self) -> None:
        self.routes: tuple[Route, ...] = ()
        self.mounts: dict[str, Application] = {}

    def respond(self, route: Route) -> None:
        """Of two that meet a request, the later answers. Raises ``ValueError`` for a path of the stores, or too many."""
        if isinstance(checked("path", route.path), str):
            _check_path(route.path)
        others = [other for other in self.routes if other[:2] != route[:2]]
        if len(others) >= MAX_ROUTES:
            raise ValueError(f"there are {MAX_ROUTES} routes: mount a WSGI application instead")
        self.routes = (route, *others)

    def mount(self, path: str, app: Application) -> None:
        """The application answers whatever lies at or below the path. Raises ``ValueError`` for a path of the stores."""
        if not callable(app):
            raise ValueError(f"expected a WSGI application, got {app!r}")
        _check_path(path)
        path = path.rstrip("/")
        self.mounts = dict(sorted({**self.mounts, path: app}.items(), key=lambda pair: -len(pair[0])))

    def clear(self) -> None:
        """Nothing lies beside the stores."""
        self.routes, self.mounts = (), {}

    def answer(self, method: str, path: str) -> Response | None:
        """The single answer for the path, which is decoded."""
        return next((route.response for route in self.routes if route.meets(method, path)), None)

    def mounted(self, path: str) -> tuple[str, Application] | None:
        """The application with the longest path that the request lies at or below, and that path."""
        return next(((at, app) for at, app in self.mounts.items() if path == at or path.startswith(at + "/")), None)


OURS = (mattermost.KV, *(path.decode() for path in persist.PATHS), "/_kvfake", "/~")


def _check_path(path: object) -> None:
    if not isinstance(path, str) or not path.startswith("/") or set(path) & set("?#"):
        raise ValueError(f"path: expected one that begins with / and has no query, got {path!r}")
    for ours in OURS:
        if path == ours or path.startswith(ours if ours == "/~" else ours + "/"):
            raise ValueError(f"path: {path} belongs to kvfake; faults.add(body=...) changes what a store answers")
