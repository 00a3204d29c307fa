"""Jobs: what may block, run beside the loop.

Law: threads, and a queue back to the loop's own. It knows no sockets. A thread is started where no other is idle, and none keeps
a server or a process from ending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread

from kvfake.doors.actions import Job
from kvfake.doors.replies import UNEXPECTED
from kvfake.services.message import Response
from kvfake.trouble import show_traceback
from kvfake.world.clock import machine_seconds

MAX_JOBS_AT_ONCE = 64  # a function of a fault may send requests that are jobs themselves

Done = Callable[[Response], None]

_LAST_SECONDS = 0.1  # how long a job that runs is waited for at the end


class Jobs:
    """``ring`` is called, on any thread, when there is something to `deliver`."""

    _now = staticmethod(machine_seconds)

    def __init__(self, name: str, ring: Callable[[], None]) -> None:
        self._name, self._ring = name, ring
        self._waiting: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads: list[Thread] = []
        self._finished: deque[tuple[Done, Response]] = deque()

    def run(self, job: Job, done: Done) -> None:
        """Run the job on another thread; ``done`` gets its response from `deliver`."""
        self._waiting.put((job, done))
        if not self._idle.acquire(blocking=False) and len(self._threads) < MAX_JOBS_AT_ONCE:
            thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            job, done = waiting
            self._finished.append((done, answer_of(job)))
            self._ring()
            self._idle.release()

    def deliver(self) -> None:
        """Hand out what was finished, on the caller's thread."""
        while self._finished:
            done, response = self._finished.popleft()
            done(response)

    def stop(self) -> None:
        """End the threads. One whose job goes on is left alone: it ends with its job, or with the process."""
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)
        end = self._now() + _LAST_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - self._now()))


def answer_of(job: Job) -> Response:
    """Run it here. Whatever it raises is shown on stderr, and an answer all the same."""
    try:
        return job()
    except BaseException:  # such as pytest's own, raised by a user's function: the client is answered even so
        show_traceback()
        return UNEXPECTED
