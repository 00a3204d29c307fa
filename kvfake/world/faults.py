"""The faults of one world, and which of them a request meets.

Law: it keeps and chooses; what a fault means and does is `kvfake.world.fault`'s, loaded with the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvfake.world.exchange import Asked
    from kvfake.world.fault import Before, Fault, When
    from kvfake.world.matching import Wanted

MAX_FAULTS = 1000
_MAX_GONE = 1000  # how many are remembered of those that strike no more


FaultsState = list[tuple["Fault", tuple[Any, ...]]]


class Faults:
    """The faults of one world. A request meets the first of them whose turn it is; each counts every request that it means."""

    __slots__ = ("_gone", "_lock", "_made", "active")

    def __init__(self) -> None:
        self._lock = Lock()
        self.active: tuple[Fault, ...] = ()  # those that can still strike, oldest first
        self._made = 0
        self._gone: list[Fault] = []

    def add(
        self,
        status: int | None = None,
        *,
        delay: float | tuple[float, float] | Mapping[str, float] = 0,
        sever: str | None = None,
        times: int | None = 1,
        after: int = 0,
        every: int = 1,
        rate: float = 1,
        seed: int = 0,
        service: str | None = None,
        method: Wanted | None = None,
        key: Wanted | None = None,
        owner: Wanted | None = None,
        when: When | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        before: Before | None = None,
    ) -> Fault:
        """Let requests to the services go wrong.

        What happens. ``status`` answers in place of the service, in its form, and nothing is done: a 2xx is what it would have
        answered. ``body`` and ``headers`` stand in place of what would be sent. ``delay`` holds the answer back: seconds,
        ``(least, most)``, ``{"median": seconds, "sigma": s}`` (lognormal), or ``{"over": seconds}``: its bytes come over that
        time. ``sever`` cuts it: one of `kvfake.services.message.SEVERS`. ``before`` is called at that moment, before anything is
        done; it may take the request.

        Which requests. ``service``; ``method``, ``key``, ``owner``: exact, or a compiled pattern; ``when`` is asked with the
        request.

        When. The first ``times`` (``None``: until it is removed), not before ``after`` of them came, each ``every``-th, at a
        ``rate`` of 0 to 1; what is drawn repeats with ``seed``.

        Raises ``ValueError`` for what is not possible, or does nothing.
        """
        given = locals()
        from kvfake.world.fault import DEFAULTS, Fault

        with self._lock:
            if len(self.active) >= MAX_FAULTS:
                raise ValueError(f"there are {MAX_FAULTS} faults: remove some, or faults.clear()")
            fault = Fault(self.remove, self._made + 1, {name: given[name] for name in DEFAULTS})
            self._made += 1
            self.active = (*self.active, fault)
        return fault

    @property
    def call_out(self) -> bool:
        """Whether one of them calls a user's function, which may take its time."""
        return any(fault.when is not None or fault.before is not None for fault in self.active)

    def due(self, asked: Asked) -> Fault | None:
        """The fault that the request meets, counted."""
        struck: Fault | None = None
        meant = [fault for fault in self.active if fault.means(asked)]  # a user's function may use the world: no lock
        with self._lock:
            for fault in meant:
                if fault in self.active and fault.comes_due() and struck is None:
                    struck = fault
            if struck is not None:
                struck.hits += 1
                if struck.hits == struck.times:
                    self._take_out(struck)
        return struck

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._take_out(fault)

    def _take_out(self, fault: Fault) -> None:
        if fault in self.active:
            self.active = tuple(other for other in self.active if other is not fault)
            self._gone = [*self._gone[1 - _MAX_GONE :], fault]

    def clear(self) -> None:
        """Remove them all, and forget them."""
        with self._lock:
            self.active = ()
            self._gone.clear()

    def state(self) -> FaultsState:
        """For `restore`."""
        return [(fault, fault.state()) for fault in self.active]

    def restore(self, state: FaultsState) -> None:
        """Those that could strike then can strike again, and have counted what they had; all others are forgotten."""
        with self._lock:
            for fault, counted in state:
                fault.restore(counted)
            self.active = tuple(fault for fault, _ in state)
            self._gone.clear()

    @property
    def known(self) -> list[Fault]:
        """Those that strike no more, as far as they are remembered, and those that can."""
        return [*self._gone, *self.active]

    @property
    def never_struck(self) -> list[Fault]:
        """Those that no request met, also those that were removed."""
        return [fault for fault in self.known if not fault.hits]

    def assert_all_used(self) -> None:
        """``AssertionError``, with their names, where a fault never struck."""
        unused = self.never_struck
        if unused:
            raise AssertionError("these faults never struck:\n" + "\n".join(f"  {fault}" for fault in unused))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.active)

    def __len__(self) -> int:
        return len(self.active)
