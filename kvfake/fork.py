"""What a forked child process gets of this process: locks that are free, and no part in the sockets of its servers.

Law: it knows locks and what to let go, and nothing of what they are for. A child has one thread, the one that forked. What the
other threads had begun nobody ends there, and what they held would be held for ever; so a fork waits until their locks are free.

This is shared by the whole process, because Python never forgets a hook of a fork. References are weak: what has ended is not kept.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from threading import RLock, get_ident
from typing import Any, Protocol
from weakref import WeakSet, WeakValueDictionary

from kvfake.machine import machine_seconds

MAX_FORK_SECONDS = 1.0
"""How long a fork waits for locks. One that is held for longer is free in the child all the same."""


class NotForChildren(Protocol):
    """Something that a child must not share with its parent."""

    def leave_to_parent(self) -> None:
        """Called in the child: let go of what was inherited, and leave the parent's undisturbed."""


class _Forks:
    _now = staticmethod(machine_seconds)

    def __init__(self) -> None:
        self.locks: WeakValueDictionary[int, RLock] = WeakValueDictionary()  # in the order in which they were made
        self.not_for_children: WeakSet[NotForChildren] = WeakSet()
        self._numbers = count()
        self._held: dict[int, list[RLock]] = {}  # by the thread that forks: there may be several

    def new_lock(self) -> RLock:
        lock = RLock()
        self.locks[next(self._numbers)] = lock
        return lock

    def before(self) -> None:
        end = self._now() + MAX_FORK_SECONDS
        locks = list(self.locks.values())
        self._held[get_ident()] = [lock for lock in locks if lock.acquire(timeout=max(0.0, end - self._now()))]

    def after_in_parent(self) -> None:
        for lock in self._held.pop(get_ident(), []):
            lock.release()

    def after_in_child(self) -> None:
        free: Any
        for free in set(self.locks.values()).difference(self._held.get(get_ident(), [])):
            free._at_fork_reinit()  # noqa: SLF001 - as the standard library's own hooks do
        self.after_in_parent()
        self._held.clear()
        for server in list(self.not_for_children):
            with suppress(Exception):
                server.leave_to_parent()


_forks = _Forks()
if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.after_in_child)

new_lock = _forks.new_lock
"""A new lock that no child inherits locked. One thread may take it several times. Where one thread takes two, it takes the older
one first: so does a fork.
"""

keep_from_children = _forks.not_for_children.add
"""Have `NotForChildren.leave_to_parent` called in every child."""
