"""Jobs: what may block, run beside the loop.

Law: threads, and a queue back to the loop's own. It knows no sockets; the thread pool is loaded with the first job.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvfake.doors.actions import Job
from kvfake.services.message import Response

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

MAX_JOBS_AT_ONCE = 64  # a function of a fault may send requests that are jobs themselves

Done = Callable[[Response], None]


class Jobs:
    """``ring`` is called, on any thread, when there is something to `deliver`."""

    def __init__(self, name: str, ring: Callable[[], None]) -> None:
        self._name, self._ring = name, ring
        self._pool: ThreadPoolExecutor | None = None
        self._finished: deque[tuple[Done, Response]] = deque()

    def run(self, job: Job, done: Done) -> None:
        """Run the job on another thread; ``done`` gets its response from `deliver`."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(MAX_JOBS_AT_ONCE, thread_name_prefix=self._name)

        def finish(future: Future[Response]) -> None:
            if not future.cancelled():
                self._finished.append((done, future.result()))
                self._ring()

        self._pool.submit(_run, job).add_done_callback(finish)

    def deliver(self) -> None:
        """Hand out what was finished, on the caller's thread."""
        while self._finished:
            done, response = self._finished.popleft()
            done(response)

    def stop(self) -> None:
        """Wait for those that run, forget the others."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _run(job: Job) -> Response:
    try:
        return job()
    except BaseException:  # such as pytest's own, raised by a user's function: the client is answered even so
        traceback.print_exc()
        return Response(500, body=b"unexpected error in kvfake: its traceback is on stderr\n")
