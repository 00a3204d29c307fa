"""Which sockets have something to read, or room to write, now.

Law: file descriptors and those who wait for them, on the system's own call: epoll, or poll where there is none. It reads nothing.

=====

What is to be done later, by real time.

Law: it knows the machine's monotonic clock, and nothing of a world's. One thread uses it.

=====

Jobs: what may block, run beside the loop.

Law: threads, and a queue back to the loop's own. It knows no sockets. A thread is started where no other is idle, and none keeps
a server or a process from ending.

=====

The line that an exchange leaves on stderr, where somebody asked for it.

Law: it shows no token, however it is written in a query.

=====

Sockets: bind, accept, carry out what the conversations ask for, stop.

Law: one thread, and forty lines of it that matter; it knows bytes, actions and time, and nothing of HTTP or of a service. What may
block runs on other threads, and its result is carried back. Waiting uses the real monotonic clock.
"""

from __future__ import annotations

import heapq
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any, Generic, TypeVar

from kvfake.errors import log_exception
from kvfake.http.connection import RESET_AT_ONCE, Action, Close, Connection, Hang, Job, Reset, Wait
from kvfake.services.mattermost import redact_query
from kvfake.services.messages import UNEXPECTED, Response
from kvfake.world.clock import machine_seconds

READ, WRITE = select.POLLIN, select.POLLOUT  # epoll's are the same numbers

_MILLISECONDS = 1000  # in which poll counts; epoll counts seconds
_BEST: Callable[[], Any] = getattr(select, "epoll", select.poll)

Waiter = TypeVar("Waiter")


class Poller(Generic[Waiter]):
    """Who waits for which file descriptor. The standard library's ``selectors`` does the same, and takes twice the time."""

    def __init__(self, poller: Callable[[], Any] = _BEST) -> None:
        self._poller = poller()
        self._unit = _MILLISECONDS if poller is select.poll else 1
        self._waiters: dict[int, Waiter] = {}

    def watch(self, fd: int, mask: int, waiter: Waiter) -> None:
        """From now on the waiter waits for one of `READ` and `WRITE`, or for nothing."""
        if not mask:
            del self._waiters[fd]
            self._poller.unregister(fd)
        elif fd in self._waiters:
            self._poller.modify(fd, mask)
        else:
            self._poller.register(fd, mask)
            self._waiters[fd] = waiter

    def wait(self, seconds: float | None) -> list[Waiter]:
        """Those whose time has come, after so many seconds at most; also those whose other side is gone."""
        waiters = self._waiters
        return [waiters[fd] for fd, _ in self._poller.poll(None if seconds is None else seconds * self._unit)]

    def close(self) -> None:
        self._waiters.clear()
        if self._unit == 1:
            self._poller.close()


class Timers:
    """Calls that wait for their time. ``moment`` is when `run` last looked at the clock."""

    _now = staticmethod(machine_seconds)

    def __init__(self) -> None:
        self.moment = 0.0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0  # tells two of the same time apart

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._waiting, (self._now() + seconds, self._made, call))

    def run(self) -> float | None:
        """Do what is due; the seconds until the next, or ``None`` where nothing waits."""
        self.moment = self._now()
        while self._waiting and self._waiting[0][0] <= self.moment:
            heapq.heappop(self._waiting)[2]()
        return self._waiting[0][0] - self.moment if self._waiting else None


MAX_JOBS_AT_ONCE = 64  # a function of a fault may send requests that are jobs themselves

Done = Callable[[Response], None]

_LAST_SECONDS = 0.1  # how long a job that runs is waited for at the end


class WorkerPool:
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
        log_exception()
        return UNEXPECTED


def write_line(method: str, target: bytes, status: int, size: int) -> None:
    """Method, target, status, bytes of the answer's body."""
    print(f"{method} {redact_query(target).decode('ascii', 'backslashreplace')} {status} {size}", file=sys.stderr, flush=True)


_BACKLOG = 1024
_FEW_BYTES, _MANY_BYTES = 4096, 262_144  # to read at once: of most requests; of one that goes on. The room is made at each call
_MAX_ACCEPTS_AT_ONCE = 64
_LINGER_SECONDS = 2.0  # how long a client that was answered early may go on speaking
_MAX_IDLE_SECONDS = 300.0  # Mattermost's ServiceSettings.ReadTimeout and WriteTimeout
_SWEEP_SECONDS = 30.0
_ACCEPT_PAUSE_SECONDS = 0.1  # after the system has run out of file descriptors


class _Peer:
    """One connection: its socket, its conversation, and the actions that the socket could not take yet."""

    __slots__ = ("connection", "fd", "is_lingering", "left", "mask", "moment", "room", "socket")

    def __init__(self, sock: socket.socket, connection: Connection, moment: float) -> None:
        self.socket, self.fd, self.connection, self.moment = sock, sock.fileno(), connection, moment
        self.left: tuple[Action, ...] = ()
        self.mask, self.room = READ, _FEW_BYTES
        self.is_lingering = False


class Server:
    """A listening socket and the loop that serves it. Raises ``OSError`` where it cannot bind, in the caller's thread."""

    def __init__(self, connect: Callable[[], Connection], host: str, port: int) -> None:
        self._connect = connect
        name = host.encode() if host.isascii() else host  # a text is encoded by a codec that takes long to load
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
        self._alarm, self._bell = socket.socketpair()  # ringing the bell wakes the loop
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._readiness: Poller[_Peer | Callable[[], None]] = Poller()
        self._peers: set[_Peer] = set()
        self._timers = Timers()
        self._jobs = WorkerPool(f"kvfake-{self.port}-job", self._ring)
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
        self._ring()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        elif not self._is_serving:
            self._close_everything()

    def _ring(self) -> None:
        with suppress(OSError):  # rung enough, or stopped already
            self._bell.send(b"\0")

    # ------------------------------------------------------------------------------------------------------------- the loop

    def serve(self) -> None:
        """Serve until `stop`."""
        self._is_serving = True
        try:
            if not self._is_stopping:
                self._readiness.watch(self._listener.fileno(), READ, self._accept)
                self._readiness.watch(self._alarm.fileno(), READ, self._wake)
                self._timers.after(_SWEEP_SECONDS, self._sweep)
            while not self._is_stopping:
                for ready in self._readiness.wait(self._timers.run()):
                    if isinstance(ready, _Peer):
                        self._serve(ready)
                    else:
                        ready()
        finally:
            self._close_everything()

    def _serve(self, peer: _Peer) -> None:
        try:
            if peer.mask == WRITE:
                actions, peer.left = peer.left, ()
                self._carry_out(peer, actions)
                return
            data = peer.socket.recv(peer.room)
            peer.room = _FEW_BYTES if len(data) < _FEW_BYTES else _MANY_BYTES
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
            for place, action in enumerate(actions):
                if isinstance(action, bytes):
                    sent = self._send(peer.socket, action)
                    if sent < len(action):
                        peer.left = (action[sent:], *actions[place + 1 :])
                        self._watch(peer, WRITE)
                        return
                elif isinstance(action, Wait):
                    peer.left = actions[place + 1 :]
                    self._watch(peer, 0)
                    self._timers.after(action.seconds, partial(self._go_on, peer))
                    return
                elif isinstance(action, Close | Hang | Reset):
                    self._end(peer, action)
                    return
                else:
                    self._watch(peer, 0)
                    self._jobs.run(action, partial(self._answered, peer))
                    return
            actions = peer.connection.advance()
        if peer.mask != READ:
            self._watch(peer, READ)

    @staticmethod
    def _send(sock: socket.socket, data: bytes) -> int:
        """As much as the socket takes now."""
        sent = 0
        try:  # not `suppress`: it takes as long as a call
            while sent < len(data):
                sent += sock.send(data[sent:] if sent else data)
        except BlockingIOError:
            pass
        return sent

    def _watch(self, peer: _Peer, mask: int) -> None:
        if mask != peer.mask:
            self._readiness.watch(peer.fd, mask, peer)
            peer.mask = mask

    # ------------------------------------------------------------------------------------------------------- coming and going

    def _accept(self) -> None:
        for _ in range(_MAX_ACCEPTS_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._readiness.watch(self._listener.fileno(), 0, self._accept)
                self._timers.after(_ACCEPT_PAUSE_SECONDS, self._resume_accepting)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = _Peer(sock, self._connect(), self._timers.moment)
            self._peers.add(peer)
            self._readiness.watch(peer.fd, READ, peer)

    def _resume_accepting(self) -> None:
        self._readiness.watch(self._listener.fileno(), READ, self._accept)

    def _end(self, peer: _Peer, end: Close | Hang | Reset) -> None:
        if isinstance(end, Reset):
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
        if isinstance(end, Reset) or (isinstance(end, Close) and not end.linger):
            self._drop(peer)
            return
        peer.is_lingering = True
        if isinstance(end, Close):
            peer.socket.shutdown(socket.SHUT_WR)
        self._watch(peer, READ)
        self._timers.after(_LINGER_SECONDS if isinstance(end, Close) else end.seconds, partial(self._drop, peer))

    def _go_on(self, peer: _Peer) -> None:
        """Carry out what waited."""
        actions, peer.left = peer.left, ()
        self._try_to_carry_out(peer, actions)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._watch(peer, 0)
            peer.socket.close()

    def _sweep(self) -> None:
        oldest = self._timers.moment - _MAX_IDLE_SECONDS
        for peer in [peer for peer in self._peers if peer.mask and peer.moment < oldest]:
            self._drop(peer)
        self._timers.after(_SWEEP_SECONDS, self._sweep)

    def _close_everything(self) -> None:
        self._readiness.close()  # first: a socket that it knows takes longer to close
        for peer in self._peers:
            peer.socket.close()
        self._peers.clear()
        self._listener.close()
        self._alarm.close()
        self._bell.close()
        self._jobs.stop()

    # ---------------------------------------------------------------------------------------------------------- jobs

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._alarm.recv(4096)
        self._jobs.deliver()

    def _answered(self, peer: _Peer, response: Response) -> None:
        self._try_to_carry_out(peer, peer.connection.answered(response))

    def _try_to_carry_out(self, peer: _Peer, actions: tuple[Action, ...]) -> None:
        try:
            self._carry_out(peer, actions)
        except OSError:  # the client is gone
            self._drop(peer)
