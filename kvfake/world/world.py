"""One isolated double of both services: its values, its tokens, its clock, its faults, its journal, its settings.

Law: what belongs to one world and to no other, and how that world is described to those who use it. It answers no request;
`kvfake.world.backend` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from kvfake.errors import is_refusal
from kvfake.fork import new_lock
from kvfake.services import mattermost, persist
from kvfake.services.messages import Pause, no_pause
from kvfake.stores import Store
from kvfake.stores.memory import MAX_CHECKPOINTS, MemoryStore
from kvfake.world.clock import Clock
from kvfake.world.faults import Faults, FaultsState
from kvfake.world.journal import Journal
from kvfake.world.routes import Routes
from kvfake.world.tokens import TokenTable, in_base_32

if TYPE_CHECKING:
    from kvfake.services.messages import Response
    from kvfake.world.matching import IncomingRequest

__tracebackhide__ = is_refusal

APP = "app"
BOT = APP + "/bot"
PROJECT = "project"

_MAX_SHOWN_MARKS = 5


class Executor(Protocol):
    """Has the operations of a world done somewhere else, such as on a real server. It may block."""

    def execute(self, service: ModuleType, request: IncomingRequest) -> Response:
        """The response from there, or the executor's own where it refuses the request."""

    def close(self) -> None:
        """The world has ended."""


_Checkpoint = tuple[tuple[int | None, int], FaultsState, tuple[int, int]]
"""What a checkpoint keeps beside the store's own: the states of the clock and the faults, the journal's mark."""


class World:
    """Everything that one user of the double holds. ``url`` is its address, without a slash at the end."""

    def __init__(
        self,
        id: str,
        serial: int,
        url: str,
        settings: Mapping[str, Any],
        tokens: TokenTable,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Values are kept in a new store in memory, unless ``store`` is given; the services of this process do the operations,
        unless an ``executor`` has them done elsewhere.
        """
        self.id, self.serial, self.url, self.settings, self.tokens, self.executor = id, serial, url, settings, tokens, executor
        self.lock = new_lock()
        self.operation_lock: AbstractContextManager[Any] = self.lock if executor is None else nullcontext()
        """Held while an operation is done and recorded, so both have one order. With an executor no request waits for another."""
        self.store: Store = MemoryStore() if store is None else store
        self.clock = Clock() if clock is None else clock
        self.faults = Faults()
        self.journal = Journal(settings["journal_exchanges"], settings["journal_body_bytes"], self.lock, tokens.redactor)
        self.routes = Routes()
        self.profiles: dict[str, Any] = {
            mattermost.NAME: mattermost.profile(settings["profile"], settings["mattermost_missing"]),
            persist.NAME: None,
        }
        self._checkpoints: dict[int, _Checkpoint] = {}

    def keep_seed(self) -> None:
        """The values are those of the seed: `reset` brings them back, also where the file has changed since."""
        with self.lock:
            self.store.keep_seed()

    def reset(self, pause: Pause = no_pause) -> None:
        """The values are those of the seed again, or none; faults, journal and checkpoints are gone; the clock is the machine's.
        Tokens, routes and settings stay.
        """
        self._take(self.store.prepare_clear(), pause)
        with self.lock:
            dropped = self.store.clear()
            self.faults.clear()
            self.journal.clear()
            self.clock.resume()
            self._checkpoints.clear()
        for _ in dropped:
            pause()

    def checkpoint(self) -> int:
        """A mark for the values, clock, faults and journal as they are now. The newest `MAX_CHECKPOINTS` are kept."""
        with self.lock:
            mark = self.store.checkpoint()
            self._checkpoints[mark] = self.clock.state(), self.faults.state(), self.journal.mark()
            if len(self._checkpoints) > MAX_CHECKPOINTS:
                del self._checkpoints[next(iter(self._checkpoints))]
            return mark

    def rollback(self, mark: int, pause: Pause = no_pause) -> None:
        """Values, clock, faults and journal as they were at the mark; later marks are gone. ``ValueError`` for a mark that is not
        known.
        """
        self._take(self.store.prepare_rollback(mark), pause)
        with self.lock:
            if mark not in self._checkpoints:
                known = ", ".join(map(str, list(self._checkpoints)[-_MAX_SHOWN_MARKS:])) or "none"
                raise ValueError(f"{mark!r} is no checkpoint of this world, or was rolled back over; there are: {known}")
            clock, faults, journal = self._checkpoints[mark]
            dropped = self.store.rollback(mark)
            self.clock.restore(clock)
            self.faults.restore(faults)
            self.journal.rollback(journal)
            while next(reversed(self._checkpoints)) != mark:
                self._checkpoints.popitem()
        for _ in dropped:
            pause()

    def _take(self, steps: Iterator[None], pause: Pause) -> None:
        """Take the steps, and let others use the values between two of them."""
        is_done = False
        while not is_done:
            with self.lock:
                is_done = next(steps, steps) is steps
            pause()

    @property
    def checkpoints(self) -> list[int]:
        """The marks that can be rolled back to, oldest first."""
        return list(self._checkpoints)

    def holdings(self) -> list[tuple[str, str, list[str]]]:
        """What the store holds, sorted: service, owner (and prefix), keys. Nothing where another server holds the values."""
        if self.executor is not None:
            return []
        with self.lock:
            return [
                (
                    service,
                    f"{owner} below {_text(prefix.rstrip())!r}" if prefix.strip() else owner,
                    list(map(_text, self.store.keys((service, owner, prefix)))),
                )
                for service, owner, prefix in sorted(self.store.namespaces())
            ]

    def counts(self) -> dict[str, int]:
        """How many keys each service has, of all owners. Nothing where another server holds the values."""
        if self.executor is not None:
            return {}
        with self.lock:
            counts = dict.fromkeys((mattermost.NAME, persist.NAME), 0)
            for namespace in self.store.namespaces():
                counts[namespace[0]] += self.store.count(namespace)
        return counts

    def redact(self, text: str) -> str:
        """The text, with every token that this world knows truncated."""
        return self.tokens.redactor().without_tokens(text)

    def token(self, service: str, owner: str) -> str:
        """The token that this world issues to that owner."""
        with self.lock:
            return self.tokens.issue(service, owner).decode()

    @property
    def env(self) -> dict[str, str]:
        """What an app's environment needs to use this world (without ``NO_PROXY``, which depends on that environment)."""
        api = self.url + persist.API
        return {
            "KVFAKE_URL": self.url,
            "MATTERMOST_SITE_URL": self.url,
            "MATTERMOST_BOT_TOKEN": self.token(mattermost.NAME, BOT),
            "BEEPBOOP_PERSIST_URL": api,
            "BEEPBOOP_API_URL": api,
            "BEEPBOOP_TOKEN": self.token(persist.NAME, PROJECT),
        }

    def user_id(self, owner: str) -> str:
        """A Mattermost id (26 of a-z and 2-7) for an owner, the same at each call."""
        import hashlib

        return in_base_32(hashlib.blake2b(f"{self.id} {owner}".encode(), digest_size=16).digest()).decode()

    def context(self, app: str, acting_user: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
        """What Mattermost puts into a call request for an app (``apps.Context`` of mattermost-plugin-apps)."""
        bot = f"{app}/bot"
        context: dict[str, Any] = {
            "app_id": app,
            "app_path": f"{mattermost.APPS}/apps/{app}",
            "mattermost_site_url": self.url,
            "bot_user_id": self.user_id(bot),
            "bot_access_token": self.token(mattermost.NAME, bot),
        }
        if acting_user is not None:
            owner = f"{app}/{acting_user}"
            context["acting_user"] = {"id": self.user_id(owner), "username": acting_user}
            context["acting_user_access_token"] = self.token(mattermost.NAME, owner)
        return {**context, **more}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
