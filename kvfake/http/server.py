"""Sockets: bind, accept, read, carry out actions, stop. One loop on one thread, and worker threads for jobs.

Law: it knows bytes, actions and time, and nothing of HTTP or of a service. The loop never blocks: a job runs on a worker thread,
and its response comes back to the loop. Waiting uses the machine's monotonic clock, which no test moves.
"""

from __future__ import annotations

import heapq
import select
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any

from kvfake.errors import log_exception
from kvfake.http.connection import SO_LINGER_RESET, Action, Close, Connection, Hang, Reset, Wait, Yield
from kvfake.services.messages import UNEXPECTED, Job, Response
from kvfake.world.clock import machine_seconds

READ, WRITE = select.POLLIN, select.POLLOUT  # epoll's are the same numbers

_BEST: Callable[[], Any] = getattr(select, "epoll", select.poll)
_MILLISECONDS = 1000  # poll counts in these, epoll in seconds


class Poller:
    """Waits until file descriptors can be read or written, with epoll, or with poll where there is no epoll. The standard library's
    ``selectors`` does the same and takes twice the time.
    """

    def __init__(self, poller: Callable[[], Any] = _BEST) -> None:
        self._poller = poller()
        self._unit = _MILLISECONDS if poller is select.poll else 1
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, mask: int, call: Callable[[], None]) -> None:
        """From now on wait for `READ` or `WRITE` of the file descriptor; a mask of 0 ends that. `wait` returns ``call``."""
        if not mask:
            del self._calls[fd]
            self._poller.unregister(fd)
        elif fd in self._calls:
            self._poller.modify(fd, mask)
        else:
            self._poller.register(fd, mask)
            self._calls[fd] = call

    def wait(self, seconds: float | None) -> list[Callable[[], None]]:
        """The calls of the file descriptors that are ready, after so many seconds at most. One whose peer has closed is ready,
        too.
        """
        calls = self._calls
        return [calls[fd] for fd, _ in self._poller.poll(None if seconds is None else seconds * self._unit)]

    def close(self) -> None:
        self._calls.clear()
        if hasattr(self._poller, "close"):  # epoll has one, poll has none
            self._poller.close()


class Timers:
    """Calls at a later time, by the machine's monotonic clock, on one thread. ``moment`` is when `run` last read the clock."""

    _now = staticmethod(machine_seconds)

    def __init__(self) -> None:
        self.moment = 0.0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._added = 0  # orders two of the same time

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._added += 1
        heapq.heappush(self._waiting, (self._now() + seconds, self._added, call))

    def run(self) -> float | None:
        """Make the calls that are due. Returns the seconds until the next, ``None`` if there is none."""
        self.moment = self._now()
        while self._waiting and self._waiting[0][0] <= self.moment:
            heapq.heappop(self._waiting)[2]()
        return self._waiting[0][0] - self.moment if self._waiting else None


MAX_WORKERS = 64  # a function of a fault may send requests that are jobs themselves

Done = Callable[[Response], None]

_STOP_SECONDS = 0.1  # how long running jobs are waited for at the end


class WorkerPool:
    """Threads that run jobs. A thread is started if none is idle; no thread keeps the server or the process from ending. ``wake``
    is called, on any thread, when there is something to `deliver`.
    """

    _now = staticmethod(machine_seconds)

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._name, self._wake = name, wake
        self._waiting: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads: list[Thread] = []
        self._finished: deque[Callable[[], None]] = deque()

    def run(self, job: Job, done: Done) -> None:
        """Run the job on another thread; `deliver` passes its response to ``done``."""
        self._waiting.put((job, done))
        if not self._idle.acquire(blocking=False) and len(self._threads) < MAX_WORKERS:
            thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            job, done = waiting
            self._finished.append(partial(done, run_job(job)))
            self._wake()
            self._idle.release()

    def deliver(self) -> None:
        """Pass the responses of finished jobs to their ``done``, on the caller's thread."""
        while self._finished:
            self._finished.popleft()()

    def stop(self) -> None:
        """End the threads. Jobs that wait are dropped; a thread whose job still runs ends with its job, or with the process."""
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)
        end = self._now() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - self._now()))


def run_job(job: Job) -> Response:
    """The response of the job. Whatever it raises is written to stderr, and the response says so."""
    try:
        return job()
    except BaseException:  # also pytest's own, raised by a user's function: the client gets a response all the same
        log_exception()
        return UNEXPECTED


_BACKLOG = 1024
_FEW_BYTES, _MANY_BYTES = 4096, 262_144  # the buffer of one read: usually; after a read that filled it
_MAX_ACCEPTS_AT_ONCE = 64
_LINGER_SECONDS = 2.0  # how long a client may go on sending after its response
_MAX_IDLE_SECONDS = 300.0  # Mattermost's ServiceSettings.ReadTimeout and WriteTimeout
_SWEEP_SECONDS = 30.0
_ACCEPT_PAUSE_SECONDS = 0.1  # after the process has run out of file descriptors


class _Peer:
    """A client: its socket, its connection, and its pending actions, which wait for the socket, for a job or for time to pass.
    ``moment`` is when it was last active.
    """

    __slots__ = ("connection", "fd", "is_lingering", "mask", "moment", "pending", "read_bytes", "socket")

    def __init__(self, sock: socket.socket, connection: Connection, moment: float) -> None:
        self.socket, self.fd, self.connection, self.moment = sock, sock.fileno(), connection, moment
        self.pending: tuple[Action, ...] = ()
        self.mask, self.read_bytes, self.is_lingering = 0, _FEW_BYTES, False


class Server:
    """A listening socket and the loop that serves it. Raises ``OSError`` if the address cannot be bound."""

    def __init__(self, connect: Callable[[], Connection], host: str, port: int) -> None:
        self._connect = connect
        name = host.encode() if host.isascii() else host  # bytes, because a str would load the slow idna codec
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._listener = socket.socket(family, kind, protocol)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(_BACKLOG)
            self._listener.setblocking(False)
        except BaseException:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        self._waker_out, self._waker_in = socket.socketpair()  # a byte sent in wakes the loop
        self._waker_out.setblocking(False)
        self._waker_in.setblocking(False)
        self._poller = Poller()
        self._peers: set[_Peer] = set()
        self._timers = Timers()
        self._workers = WorkerPool(f"kvfake-{self.port}-job", self._wake_loop)
        self._is_serving = self._is_stopping = False
        self._thread: Thread | None = None

    # ------------------------------------------------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Serve on a thread of its own."""
        self._thread = Thread(target=self.serve, name=f"kvfake-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every connection and the loop; wait for the thread, if `start` made one. Safe in a signal handler."""
        self._is_stopping = True
        self._wake_loop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        elif not self._is_serving:
            self._close_everything()

    def _wake_loop(self) -> None:
        with suppress(OSError):  # it was woken already, or has stopped
            self._waker_in.send(b"\0")

    # ------------------------------------------------------------------------------------------------------------- the loop

    def serve(self) -> None:
        """Serve until `stop`."""
        self._is_serving = True
        try:
            if not self._is_stopping:
                self._listen()
                self._poller.watch(self._waker_out.fileno(), READ, self._woken)
                self._timers.after(_SWEEP_SECONDS, self._sweep)
            while not self._is_stopping:
                for call in self._poller.wait(self._timers.run()):
                    call()
        finally:
            self._close_everything()

    def _serve(self, peer: _Peer) -> None:
        """The socket can be read or written."""
        if peer.mask == WRITE:
            self._go_on(peer)
            return
        try:
            data = peer.socket.recv(peer.read_bytes)
            peer.read_bytes = _FEW_BYTES if len(data) < _FEW_BYTES else _MANY_BYTES
            if peer.is_lingering:
                if not data:
                    self._drop(peer)
                return
            self._carry_out(peer, peer.connection.receive(data) if data else peer.connection.eof())
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            self._drop(peer)

    def _carry_out(self, peer: _Peer, actions: tuple[Action, ...]) -> None:
        peer.moment = self._timers.moment
        while actions:
            for position, action in enumerate(actions):
                if isinstance(action, bytes):
                    sent = 0
                    try:
                        while sent < len(action):
                            sent += peer.socket.send(action[sent:] if sent else action)
                    except BlockingIOError:  # the socket takes no more now
                        peer.pending = (action[sent:], *actions[position + 1 :])
                        self._watch(peer, WRITE)
                        return
                elif isinstance(action, Close | Hang | Reset):
                    self._end(peer, action)
                    return
                else:
                    peer.pending = actions[position + 1 :]
                    self._watch(peer, 0)
                    if isinstance(action, Yield):
                        self._timers.after(0, partial(self._go_on, peer))
                    elif isinstance(action, Wait):
                        self._timers.after(action.seconds, partial(self._go_on, peer))
                    else:
                        self._workers.run(action, partial(self._job_done, peer))
                    return
            actions = peer.connection.advance()
        if peer.mask != READ:
            self._watch(peer, READ)

    def _watch(self, peer: _Peer, mask: int) -> None:
        if mask != peer.mask:
            self._poller.watch(peer.fd, mask, partial(self._serve, peer))
            peer.mask = mask

    # -------------------------------------------------------------------------------------------------- accepting and ending

    def _accept(self) -> None:
        for _ in range(_MAX_ACCEPTS_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._poller.watch(self._listener.fileno(), 0, self._accept)
                self._timers.after(_ACCEPT_PAUSE_SECONDS, self._listen)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = _Peer(sock, self._connect(), self._timers.moment)
            self._peers.add(peer)
            self._watch(peer, READ)

    def _listen(self) -> None:
        self._poller.watch(self._listener.fileno(), READ, self._accept)

    def _end(self, peer: _Peer, end: Close | Hang | Reset) -> None:
        """Close the socket, or read and drop what the client sends until it is gone or its time is over."""
        if isinstance(end, Reset):
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_RESET)
        if isinstance(end, Reset) or (isinstance(end, Close) and not end.linger):
            self._drop(peer)
            return
        peer.is_lingering = True
        if isinstance(end, Close):
            peer.socket.shutdown(socket.SHUT_WR)
        self._watch(peer, READ)
        self._timers.after(_LINGER_SECONDS if isinstance(end, Close) else end.seconds, partial(self._drop, peer))

    def _go_on(self, peer: _Peer) -> None:
        """Carry out the pending actions."""
        actions, peer.pending = peer.pending, ()
        try:
            self._carry_out(peer, actions)
        except OSError:  # the client is gone
            self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._watch(peer, 0)
            peer.socket.close()

    def _sweep(self) -> None:
        """Drop the clients that were idle for too long."""
        oldest = self._timers.moment - _MAX_IDLE_SECONDS
        for peer in [peer for peer in self._peers if peer.mask and peer.moment < oldest]:
            self._drop(peer)
        self._timers.after(_SWEEP_SECONDS, self._sweep)

    def _close_everything(self) -> None:
        self._poller.close()  # first: a socket that it knows takes longer to close
        for sock in [*(peer.socket for peer in self._peers), self._listener, self._waker_out, self._waker_in]:
            sock.close()
        self._peers.clear()
        self._workers.stop()

    # ---------------------------------------------------------------------------------------------------------------- jobs

    def _woken(self) -> None:
        """`_wake_loop` was called: jobs are finished, or the server is to stop."""
        with suppress(BlockingIOError):
            self._waker_out.recv(4096)
        self._workers.deliver()

    def _job_done(self, peer: _Peer, response: Response) -> None:
        peer.pending = peer.connection.job_done(response)
        self._go_on(peer)
