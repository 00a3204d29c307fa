"""Worlds whose two services are a real server's: the same suite, fake by day and real by night.

Law: what a request asks for is read as the double reads it, so that journal and faults know it; what is answered is the real
server's. Tokens are the real ones. Whatever a world sets there it deletes when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, NoReturn

from kvfake.contract.real.store import Lacking, Made, RealClock, RealStore
from kvfake.http_client import HttpClient
from kvfake.services import mattermost, persist
from kvfake.services.message import Response
from kvfake.settings import TOKEN_OPTIONS
from kvfake.world.exchange import Asked
from kvfake.world.fake import Fake
from kvfake.world.owners import Mint, Owners
from kvfake.world.world import APP, BOT, PROJECT, World

BOT_TOKEN, USER_TOKEN, PROJECT_TOKEN = (TOKEN_OPTIONS[flag][0] for flag in ("--bot-token", "--user-token", "--project-token"))
"""The variables that hold a session's tokens."""

_ONE_OF = {BOT_TOKEN: "bot", USER_TOKEN: "user", PROJECT_TOKEN: "project"}
_UNREAL = {  # settings that a real server does not take from a test
    "token": "the real service knows its own tokens alone",
    "seed": "the real service begins with what it holds",
    "mattermost_missing": "the real service answers a missing key in its own way",
}


class Tokens(Owners):
    """Who is known: those whose tokens were given. One user's token stands for the first user that a test names."""

    __slots__ = ("_given", "_lacks")

    def __init__(self, mint: Mint, serial: int, given: Mapping[str, str], lacks: Callable[[str], NoReturn]) -> None:
        super().__init__(mint, serial, (), strict=False)
        self._given, self._lacks = dict(given), lacks
        self._take(mattermost.NAME, BOT, BOT_TOKEN)
        self._take(persist.NAME, PROJECT, PROJECT_TOKEN)

    def _take(self, service: str, owner: str, variable: str) -> None:
        token = self._given.pop(variable, "").encode()
        if token:
            self._issued[service, owner] = token
            self._owners.setdefault(token, {})[service] = owner

    def issue(self, service: str, owner: str) -> bytes:
        """A real token, or one that nobody knows: it is told when it is used."""
        if service == mattermost.NAME and owner.startswith(f"{APP}/") and owner != BOT and (service, owner) not in self._issued:
            self._take(service, owner, USER_TOKEN)
        return super().issue(service, owner)

    def real(self, service: str, owner: str) -> bytes:
        """The real token of that owner. Raises `Lacking` where there is none."""
        token = self.issue(service, owner)
        self.check(service, owner, token)
        return token

    def check(self, service: str, owner: str, token: bytes) -> None:
        """`Lacking` for a token that was made here."""
        if self._mint.serial_of(token) is not None:
            variable = PROJECT_TOKEN if service == persist.NAME else BOT_TOKEN if owner == BOT else USER_TOKEN
            self._lacks(f"no real token of {owner} was given: {variable} is for one {_ONE_OF[variable]}")

    def name(self, token: str, owner: str) -> None:
        self._lacks(_UNREAL["token"])


class RealService:
    """The real server of a session, and the tokens for it. ``lacking`` is what its worlds were asked for and could not give."""

    def __init__(self, upstream: HttpClient, given: Mapping[str, str]) -> None:
        self.upstream, self.given = upstream, given
        self.lacking: list[str] = []

    def lacks(self, what: str) -> NoReturn:
        self.lacking.append(what)
        raise Lacking(what)

    def worlds(self, url: str, settings: Mapping[str, Any], beside: Mapping[str, Any] | None) -> Fake:
        """What is behind the session's server."""
        return RealWorlds(self, url, settings, beside)


class RealWorld(World):
    """One test's view of the real server."""

    __slots__ = ("made", "tokens")
    is_elsewhere = True

    def __init__(self, id: str, serial: int, url: str, mint: Mint, settings: Mapping[str, Any], real: RealService) -> None:
        fallback = settings["fallback"] or real.upstream.url
        super().__init__(id, serial, url, mint, {**settings, "token": (), "fallback": fallback, "profile": "plugin-1.2"})
        self.made = Made(real.upstream.forward)
        self.owners = self.tokens = Tokens(mint, serial, real.given, real.lacks)
        self.store = RealStore(self.made, self.tokens.real, real.lacks)
        self.clock = RealClock(real.lacks)

    def holdings(self) -> list[tuple[str, str, list[str]]]:
        return []  # the real server's values are not this test's to show


class RealWorlds(Fake):
    """The worlds of a session that runs against a real server; the server's own world stays what it is."""

    def __init__(self, real: RealService, url: str, settings: Mapping[str, Any], beside: Mapping[str, Any] | None) -> None:
        self._real = real
        super().__init__(url, settings, beside)

    def _empty_world(self, id: str, serial: int, url: str, settings: Mapping[str, Any]) -> World:
        if serial == 0:
            return super()._empty_world(id, serial, url, settings)
        return RealWorld(id, serial, url, self._mint, settings, self._real)

    def open(self, settings: Mapping[str, Any]) -> World:
        """A world with these settings. Raises `Lacking` for one that a real server does not take."""
        for name, why in _UNREAL.items():
            if settings.get(name):
                self._real.lacks(why)
        if settings.get("profile") == "documented":
            self._real.lacks("the real service answers as it does, not as its documentation says")
        return super().open({**settings, "seed": None})

    def end(self, world: World) -> None:
        """Delete what it set, and refuse from now on. Raises `RealError` where something may be left."""
        super().end(world)
        assert isinstance(world, RealWorld)
        world.made.delete()

    def _in_order(self, world: World) -> AbstractContextManager[Any]:
        return nullcontext() if world.is_elsewhere else super()._in_order(world)  # nobody waits for another's answer

    def _done(self, service: ModuleType, asked: Asked, refused: Response | None, world: World) -> Response:
        if not isinstance(world, RealWorld):
            return super()._done(service, asked, refused, world)
        _, operation, owner, request, path, query = asked.parts
        try:
            if operation is not None:
                world.tokens.check(service.NAME, owner or "", service.token(request, query))
        except Lacking as lacking:
            return Response(501, body=f"kvfake: {lacking}\n".encode())
        return world.made.send(request, path + b"?" + query if query else path)
