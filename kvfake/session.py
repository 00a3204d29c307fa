"""The doubles of one session of tests: on one server, and what each test asked of them.

Law: it knows doubles, their journals, and where one test ends and the next begins; nothing of a test runner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvfake import story
from kvfake.double import Double
from kvfake.settings import SERVER, WORLD, from_keywords, resolve
from kvfake.started import Started
from kvfake.trouble import NO_ADDRESS, cannot_listen
from kvfake.world.exchange import Exchange
from kvfake.world.fake import Fake

if TYPE_CHECKING:
    from kvfake.contract.real.worlds import RealService

_NOBODY = {"strict": True, "token": (), "seed": None, "fallback": None}


class Factory:
    """Makes doubles on one server, which the first of them starts. The server's own world is nobody's: it welcomes no token.

    It knows its doubles and how far each journal had come when the current test began, and so what that test asked.
    """

    def __init__(self, settings: dict[str, Any], real: RealService | None = None) -> None:
        """With a ``real`` service the doubles stand before it."""
        self._settings, self._real = settings, real
        self._started: Started | None = None
        self._seen: dict[Double, int] = {}
        self._late_seen = 0

    def __call__(self, **settings: Any) -> Double:
        """A double with a world of its own; world settings are keywords. It ends with the session, or when it is closed.

        Raises ``TypeError`` and ``ValueError`` for wrong settings, ``RuntimeError`` where the server cannot listen.
        """
        checked = from_keywords(settings, WORLD)
        if self._started is None:
            self._started = self._start()
        double = self._started.beside(checked)
        self._seen[double] = 0
        return double

    def _start(self) -> Started:
        values = resolve(_NOBODY, self._settings, {"port": 0}, scopes=(SERVER, WORLD))
        try:
            started = Started(values, resolve(self._settings, scopes=(WORLD,)), self._real.worlds if self._real else Fake)
        except NO_ADDRESS as failed:
            raise RuntimeError(f"{cannot_listen(values, failed)} (without a port each worker takes a free one)") from None
        started.server.start()
        return started

    @property
    def late(self) -> list[str]:
        """What was asked of doubles that had ended, as far as it is remembered."""
        return self._started.late_since(0) if self._started is not None else []

    def begin_test(self) -> None:
        """Forget the doubles that have ended; what comes from now on belongs to another test."""
        if self._started is not None:
            kept = [double for double in self._seen if not double.has_ended]
            self._seen = {double: double.journal.seen for double in kept}
            self._started.journal.clear()
            self._late_seen = self._started.late_count
        self.lacking.clear()

    @property
    def lacking(self) -> list[str]:
        """What the current test asked for, and the real service does not have."""
        return self._real.lacking if self._real is not None else []

    def exchanges(self) -> dict[Double, list[Exchange]]:
        """What this test asked of each double that it made or used."""
        found = {double: double.journal.since(seen) for double, seen in self._seen.items()}
        return {double: exchanges for double, exchanges in found.items() if exchanges or not self._seen[double]}

    def story(self) -> Iterator[str]:
        """Lines for the report of a test that failed; none where it asked for no double."""
        asked = self.exchanges()
        if self._started is None or not asked:
            return
        for double, exchanges in asked.items():
            yield from story.refusals_of(double, exchanges)
        yield from story.strays_of(self._started, list(self._started.journal))
        yield from story.late_ones("asked of doubles that had ended, and refused:", self._started.late_since(self._late_seen))
        for double, exchanges in asked.items():
            if len(asked) > 1:
                yield f"{double.url}:"
            yield from story.course_of(double, exchanges)
            yield from story.idle_faults_of(double)

    def close(self) -> None:
        """End every double, and then the server."""
        for double in self._seen:
            double.close()
        if self._started is not None:
            self._started.close()
