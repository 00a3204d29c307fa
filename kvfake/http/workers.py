"""Worker threads, which run jobs beside the loop of a server.

Law: it knows jobs, lanes and threads; nothing of sockets and bytes. Every job gets one response, whatever happens: its own, or one
that says what went wrong. Or it is followed by another job, which whoever gave it may run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from kvfake.errors import log_exception
from kvfake.machine import machine_seconds
from kvfake.services.messages import UNEXPECTED, Job, Lane, Response, error_response

MAX_WAITS = 64  # at a time; each has a thread
MAX_WORKERS = {  # threads of each lane, which has them for itself: no lane waits for another
    Lane.HEALTH: 2,
    Lane.CONTROL: 8,
    Lane.SERVICE: 2,  # they compute, and the loop waits for the interpreter behind each of them
    Lane.WAITING: MAX_WAITS,
    Lane.OTHER: 64,  # they wait for somebody else; a function of a fault may send requests that are jobs themselves
}
TOO_MANY_WAITS = error_response(429, f"there are {MAX_WAITS} waits: try again when one of them has ended")
NO_THREAD = error_response(503, "kvfake could not start a thread for this request: the system or the container allows no more")

Done = Callable[[Response | Job], None]

_STOP_SECONDS = 0.1  # how long running jobs are waited for at the end


class _Workers:
    """The threads of one lane, and the jobs that they were given."""

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.waiting: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self.threads: list[Thread] = []
        self.jobs = 0  # that are not delivered yet


class WorkerPool:
    """Runs jobs. A thread of a job's lane is started when all others are busy; none keeps the server or the process from ending.
    ``wake`` is called, on any thread, when there is something to `deliver`. Everything else is called on one thread.
    """

    _now = staticmethod(machine_seconds)

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lanes = {lane: _Workers(f"{name}-{lane.value}", limit) for lane, limit in MAX_WORKERS.items()}
        self._finished: deque[Callable[[], None]] = deque()

    def run(self, job: Job, done: Done) -> None:
        """Run the job on another thread; `deliver` passes its response, or the job that follows it, to ``done``. Where no thread
        can be started, the job waits for one of its lane; where the lane has none, the response is `NO_THREAD`. Beyond `MAX_WAITS`
        at a time the response to a wait is `TOO_MANY_WAITS`.
        """
        workers = self._lanes[job.lane]
        if job.lane is Lane.WAITING and workers.jobs >= workers.limit:
            self._finished.append(partial(done, TOO_MANY_WAITS))
            self._wake()
            return
        workers.jobs += 1
        if workers.jobs > len(workers.threads) < workers.limit:
            thread = Thread(target=self._work, args=[workers], name=f"{workers.name}-{len(workers.threads)}", daemon=True)
            try:
                thread.start()
                workers.threads.append(thread)
            except (RuntimeError, MemoryError, OSError):  # "can't start new thread"
                if not workers.threads:
                    self._finish(workers, done, NO_THREAD)
                    return
        workers.waiting.put((job, done))

    def _work(self, workers: _Workers) -> None:
        while (given := workers.waiting.get()) is not None:
            job, done = given
            self._finish(workers, done, run_job(job))
            del given, job, done  # what they hold is not kept until the next job

    def _finish(self, workers: _Workers, done: Done, answer: Response | Job) -> None:
        self._finished.append(partial(self._deliver, workers, done, answer))
        self._wake()

    def _deliver(self, workers: _Workers, done: Done, answer: Response | Job) -> None:
        workers.jobs -= 1
        done(answer)

    def deliver(self) -> None:
        """Pass the responses of finished jobs to their ``done``, on the caller's thread."""
        while self._finished:
            self._finished.popleft()()

    def stop(self) -> None:
        """End the threads. Jobs that wait are dropped; a thread whose job still runs ends with its job, or with the process."""
        for workers in self._lanes.values():
            with suppress(Empty):
                while True:
                    workers.waiting.get_nowait()
            for _ in workers.threads:
                workers.waiting.put(None)
        end = self._now() + _STOP_SECONDS
        for workers in self._lanes.values():
            for thread in workers.threads:
                thread.join(max(0.0, end - self._now()))


def run_job(job: Job) -> Response | Job:
    """The response of the job, or the job that follows it. Whatever it raises is written to stderr, and the response says so."""
    try:
        return job.call()
    except BaseException:  # also pytest's own, raised by a user's function: the client gets a response all the same
        log_exception()
        return UNEXPECTED
