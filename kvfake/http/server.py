"""Sockets: bind, accept, read, carry out actions, stop. One loop on one thread, and worker threads for jobs.

Law: it knows bytes, actions and time, and nothing of HTTP or of a service. The loop never blocks: a job runs on a worker thread,
and its response comes back to the loop. Waiting uses the machine's monotonic clock, which no test moves.

The loop goes on whatever is raised: the connection at which it is raised ends, the others notice nothing. It is fair: what one
connection does in a turn is bounded, then all others have theirs. What clients keep here is bounded in number, time and bytes.
"""

from __future__ import annotations

import errno
import heapq
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from time import sleep

from kvfake.errors import log_exception
from kvfake.fork import keep_from_children
from kvfake.http.connection import SO_LINGER_RESET, Action, Close, Connection, Hang, Reset, Wait, Yield, message_of
from kvfake.http.poller import READ, WRITE, Poller, Timers
from kvfake.http.workers import WorkerPool
from kvfake.services.messages import UNEXPECTED, Job, Response

MAX_CONNECTIONS = 10_000
"""Open at a time; fewer where the process may open fewer files, of which connections take three quarters at most. Over it, and
where the system has no more, the connection that waits longest makes room for a new one.
"""

MAX_PEER_SECONDS = 300.0
"""For a whole request to come, for an answer to be taken, and between requests: ServiceSettings.ReadTimeout and WriteTimeout of
Mattermost, in config.json. Then the connection is closed.
"""

MAX_HELD_BYTES = 512 << 20
"""Of requests that have not come whole, or whose job is not done, of all connections. Over it the connection with the most of them
gets a 503. It is eight bodies of the greatest size.
"""

MAX_UNSENT_BYTES = 256 << 20
"""Of answers that clients do not take, of all connections. Over it the client that has taken nothing for longest is reset, unless
it is the only one.
"""

TURN_SECONDS = 0.002
"""After so long a connection with more requests lets the others go first."""

TURN_BYTES = 262_144
"""So much of an answer is sent before others have their turn."""

_BACKLOG = 1024
_FEW_BYTES, _MANY_BYTES = 4096, 65_536  # the buffer of one read: usually; after a read that filled it
_MAX_ACCEPTS_AT_ONCE = 64
_LINGER_SECONDS = 2.0  # how long a client may go on sending after its response
_SWEEP_SECONDS = 30.0  # between two looks for connections that waited for `MAX_PEER_SECONDS`
_ACCEPT_PAUSE_SECONDS = 0.1  # when no new connection can be had
_NEW_SECONDS = 1.0  # so long a client may take before its first request, or between two, and is not yet called idle
_MAX_VICTIMS = 64  # are looked for at once
_MAX_FAILURES = 20  # of the loop itself, one after the other, before it gives up
_FAILURE_PAUSE_SECONDS = 0.05
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_DATA = (bytes, memoryview)
_HUNG_UP = getattr(select, "POLLRDHUP", 0)  # what `poll` says of a client that has ended its side


class _Peer:
    """A client: its socket, its connection, and its pending actions, which wait for the socket, a turn, a job or a time.

    ``since`` is when its present wait began: for a request, for the rest of one, or for an answer to be taken; ``moved`` is when it
    last took bytes. ``is_waiting``: for a job, or for a time. ``held`` and ``unsent`` are the bytes that are counted for it.
    """

    __slots__ = (
        "connection", "fd", "held", "is_lingering", "is_waiting", "mask", "moved", "pending", "read_bytes", "since", "socket",
        "unsent",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, connection: Connection, moment: float) -> None:
        self.socket, self.fd, self.connection, self.since, self.moved = sock, sock.fileno(), connection, moment, moment
        self.pending: tuple[Action | memoryview, ...] = ()
        self.mask, self.read_bytes, self.is_lingering, self.is_waiting = 0, _FEW_BYTES, False, False
        self.held = self.unsent = 0


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
        self._max_connections = min(MAX_CONNECTIONS, _max_open_files() * 3 // 4)
        self._victims: dict[_Peer, tuple[int, float]] = {}  # those that `_make_room` would drop, and why
        self._has_made_room = False  # for a connection that could not be accepted yet
        self._ready: deque[_Peer] = deque()  # had their turn, and have more to do
        self._held = self._unsent = 0  # bytes, of all peers
        self._timers = Timers()
        self._workers = WorkerPool(f"kvfake-{self.port}-job", self._wake_loop)
        self._is_serving = self._is_stopping = self._is_closed = False
        self._thread: Thread | None = None
        self.failure: BaseException | None = None
        """Why the loop ended by itself, if it did."""
        self.on_failure: Callable[[], object] | None = None
        """Called on the thread of the loop when that happens. Without it the failure is written to stderr."""
        keep_from_children(self)

    # ------------------------------------------------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Serve on a thread of its own. Raises ``RuntimeError`` where there is no thread to be had; then all is closed."""
        self._thread = Thread(target=self.serve, name=f"kvfake-{self.port}", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._thread = None
            self.stop()
            raise

    def stop(self) -> None:
        """End every connection and the loop; wait for the thread, if `start` made one. Safe in a signal handler."""
        self._is_stopping = True
        self._wake_loop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        elif not self._is_serving:
            self._close_everything()

    def leave_to_parent(self) -> None:
        """In a forked child this server has ended. Its sockets are the parent's: they are closed, but not shut down, as that would
        end what the parent serves.
        """
        self._is_stopping, self._is_serving, self._thread = True, False, None
        self._close_everything(in_child=True)

    def _wake_loop(self) -> None:
        with suppress(OSError):  # it was woken already, or has stopped
            self._waker_in.send(b"\0")

    # ------------------------------------------------------------------------------------------------------------- the loop

    def serve(self) -> None:
        """Serve until `stop`, on a thread that is not the main one."""
        self._is_serving = True
        try:
            if not self._is_stopping:
                self._poller.watch(self._waker_out.fileno(), READ, self._woken)
                self._listen()
                self._sweep()
                self._loop()
        except BaseException as failure:
            self.failure = failure
            if self.on_failure is None:
                log_exception()
        finally:
            self._close_everything()
        if self.failure is not None and self.on_failure is not None:
            self.on_failure()

    def _loop(self) -> None:
        """Let each have its turn. What a turn raises ends no more than that turn. Where the clock or the poller fails, it is tried
        again, for a while.
        """
        failures = 0
        while not self._is_stopping:
            try:
                calls = self._poller.wait(0 if self._ready else self._timers.seconds)
                self._timers.run()
            except BaseException:
                failures += 1
                if failures == _MAX_FAILURES:
                    raise
                sleep(_FAILURE_PAUSE_SECONDS)
                continue
            failures = 0
            for call in calls:
                try:
                    call()
                except BaseException:
                    log_exception()
            if self._ready:
                self._go_on(self._ready.popleft())

    def _serve(self, peer: _Peer) -> None:
        """The socket can be read or written."""
        if peer.mask == WRITE:
            self._go_on(peer)
            return
        try:
            try:
                data = peer.socket.recv(peer.read_bytes)
            except BlockingIOError:
                return
            except OSError:  # the client is gone
                self._drop(peer)
                return
            peer.read_bytes = _FEW_BYTES if len(data) < _FEW_BYTES else _MANY_BYTES
            if peer.is_lingering:
                if not data:
                    self._drop(peer)
                return
            self._carry_out(peer, peer.connection.receive(data) if data else peer.connection.eof())
        except BaseException:
            self._fail(peer)

    def _go_on(self, peer: _Peer) -> None:
        """Carry out the pending actions, or those for what was received before."""
        if peer not in self._peers:  # it was dropped while it waited
            return
        actions, peer.pending, peer.is_waiting = peer.pending, (), False
        self._unsent -= peer.unsent
        peer.unsent = 0
        try:
            self._carry_out(peer, actions or peer.connection.advance())
        except BaseException:
            self._fail(peer)

    def _fail(self, peer: _Peer) -> None:
        """The exception that is being handled came at this peer, and is no matter of its socket: answer so, and end it."""
        log_exception()
        try:
            if peer.is_lingering or peer.pending or peer not in self._peers:  # no answer can follow
                self._drop(peer)
            else:
                message = message_of(UNEXPECTED, UNEXPECTED.body, keep_alive=False)
                self._carry_out(peer, (message, Close(linger=True)))
        except BaseException:
            log_exception()
            self._drop(peer)

    def _carry_out(self, peer: _Peer, actions: tuple[Action | memoryview, ...]) -> None:
        end_of_turn = 0.0
        if not actions:  # a part of a request came: at least a byte, wherever it is kept
            self._watch(peer, READ)
            self._count_held(peer, max(1, peer.connection.held_bytes))
            return
        while actions:
            for position, action in enumerate(actions):
                if not isinstance(action, _DATA):
                    peer.pending = actions[position + 1 :]
                    self._act(peer, action)
                    return
                size = len(action)
                try:
                    sent = peer.socket.send(action if size <= TURN_BYTES else memoryview(action)[:TURN_BYTES])
                except BlockingIOError:
                    sent = 0
                except OSError:  # the client is gone
                    self._drop(peer)
                    return
                if sent < size:
                    self._keep_rest(peer, action, sent, actions[position + 1 :])
                    return
                peer.since = self._timers.moment
            actions = peer.connection.advance()
            if actions:  # for the next request, which the client sent before it had this answer
                now = self._timers.now()
                end_of_turn = end_of_turn or now + TURN_SECONDS
                if now >= end_of_turn:
                    peer.pending = actions
                    self._let_others_go_first(peer)
                    return
        if peer.mask != READ:
            self._watch(peer, READ)
        if peer.held:
            self._count_held(peer, peer.connection.held_bytes)

    def _act(self, peer: _Peer, action: Job | Wait | Yield | Close | Hang | Reset) -> None:
        """End the peer, or go on with it when that is over."""
        if isinstance(action, Close | Hang | Reset):
            self._end(peer, action)
        elif isinstance(action, Yield):
            self._let_others_go_first(peer)
        elif isinstance(action, Wait):
            self._watch(peer, 0)
            peer.is_waiting, peer.since = True, self._timers.moment
            self._timers.after(action.seconds, partial(self._go_on, peer))
            self._count_unsent(peer)
        else:
            self._watch(peer, 0)
            peer.is_waiting, peer.since = True, self._timers.moment
            self._count_held(peer, max(peer.held, peer.connection.held_bytes))  # the body is the job's now, and counts
            self._workers.run(action, partial(self._job_done, peer))

    def _keep_rest(self, peer: _Peer, action: bytes | memoryview, sent: int, after: tuple[Action | memoryview, ...]) -> None:
        """Send the rest when the socket takes more; if it does already, when the others had their turn."""
        if isinstance(action, bytes):  # this was its first piece
            peer.since = peer.moved = self._timers.moment
        elif sent:
            peer.moved = self._timers.moment
        peer.pending = (memoryview(action)[sent:], *after)
        if sent == TURN_BYTES:
            self._let_others_go_first(peer)
        else:
            self._watch(peer, WRITE)
        self._count_held(peer, peer.connection.held_bytes)
        self._count_unsent(peer)

    def _count_unsent(self, peer: _Peer) -> None:
        """What is pending waits to be sent. Where all of that is too much, the client that has taken nothing for longest pays."""
        if peer not in self._peers:
            return
        peer.unsent = sum(_kept_bytes(one) for one in peer.pending)
        self._unsent += peer.unsent
        if self._unsent > MAX_UNSENT_BYTES:
            waiting = [other for other in self._peers if other.unsent and (other.mask == WRITE or other.is_waiting)]
            if len(waiting) > 1:  # alone it may have an answer of any size
                self._reset(min(waiting, key=lambda other: other.moved))

    def _let_others_go_first(self, peer: _Peer) -> None:
        self._watch(peer, 0)
        self._ready.append(peer)

    def _count_held(self, peer: _Peer, held: int) -> None:
        """So many bytes are kept of this peer's request. Where all are too many, the one that has most and is not at work pays."""
        if peer not in self._peers:
            return
        if not peer.held:
            peer.since = self._timers.moment
        self._held += held - peer.held
        peer.held = held
        while self._held > MAX_HELD_BYTES:
            refusable = [other for other in self._peers if other.held and other.mask == READ]
            if not refusable:
                return
            most = max(refusable, key=lambda other: other.held)
            try:
                self._carry_out(most, most.connection.overloaded())
            except BaseException:
                self._fail(most)

    def _watch(self, peer: _Peer, mask: int) -> None:
        if mask != peer.mask and peer in self._peers:
            peer.mask = mask
            try:
                self._poller.watch(peer.fd, mask, partial(self._serve, peer))
            except BaseException:  # the system has no memory for it
                log_exception()
                self._drop(peer)

    # -------------------------------------------------------------------------------------------------- accepting and ending

    def _accept(self) -> None:
        """Accept the connections that wait. Where there is no room, each comes in place of another."""
        for _ in range(_MAX_ACCEPTS_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except BaseException as failed:
                is_out_of_resources = isinstance(failed, OSError) and failed.errno in _OUT_OF_RESOURCES
                if not is_out_of_resources:
                    log_exception()
                if is_out_of_resources and not self._has_made_room and self._make_room():
                    self._has_made_room = True  # the next turn tries again
                else:
                    self._listen_later()
                return
            self._has_made_room = False
            if len(self._peers) < self._max_connections or self._make_room():
                self._welcome(sock)
            else:
                with suppress(BaseException):
                    sock.close()

    def _welcome(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = _Peer(sock, self._connect(), self._timers.moment)
        except BaseException as failed:
            if not isinstance(failed, OSError):  # else the client is gone
                log_exception()
            with suppress(BaseException):
                sock.close()
            return
        self._peers.add(peer)
        self._watch(peer, READ)

    def _make_room(self) -> bool:
        """Drop the peer that can best be missed; says whether there was one that waits."""
        while True:
            if not self._victims:
                going = [peer for peer in self._peers if peer.mask] or [peer for peer in self._peers if self._can_go(peer)]
                waiting = [(self._rank(peer), peer.fd, peer) for peer in going]
                self._victims = {peer: rank for rank, _, peer in heapq.nsmallest(_MAX_VICTIMS, waiting)}
                if not waiting:
                    return False
            peer, rank = next(iter(self._victims.items()))
            del self._victims[peer]
            if self._can_go(peer) and self._rank(peer) == rank:
                self._drop(peer)
                return True

    def _can_go(self, peer: _Peer) -> bool:
        """Whether its connection may be closed to make room for another. One that is at work may not, unless it takes long."""
        return bool(peer.mask) or (peer.is_waiting and peer.since < self._timers.moment - _NEW_SECONDS)

    def _rank(self, peer: _Peer) -> tuple[int, float]:
        """First those that are idle, then those whose request does not come whole, those that do not take their answer, those that
        have just come or were just answered, those that take an answer, and those whose answer is not ready; of each the one that
        waits longest.
        """
        if peer.is_waiting:
            return 5, peer.since
        recent = self._timers.moment - _NEW_SECONDS
        if peer.mask == WRITE:
            return 2 if peer.moved < recent else 4, peer.since
        if peer.held:
            return 1, peer.since
        return 0 if peer.is_lingering or peer.since < recent else 3, peer.since

    def _listen(self) -> None:
        """Accept connections, from now on."""
        try:
            self._poller.watch(self._listener.fileno(), READ, self._accept)
        except BaseException:
            log_exception()
            self._listen_later()

    def _listen_later(self) -> None:
        self._has_made_room = False
        with suppress(BaseException):
            self._poller.watch(self._listener.fileno(), 0, self._accept)
        self._timers.after(_ACCEPT_PAUSE_SECONDS, self._listen)

    def _end(self, peer: _Peer, end: Close | Hang | Reset) -> None:
        """Close the socket, or read and drop what the client sends until it is gone or its time is over."""
        if isinstance(end, Reset):
            self._reset(peer)
            return
        if isinstance(end, Close) and not end.linger:
            self._drop(peer)
            return
        self._count_held(peer, 0)
        peer.is_lingering, peer.since = True, self._timers.moment
        del peer.connection  # what it keeps is not kept for so long
        if isinstance(end, Close):
            try:
                peer.socket.shutdown(socket.SHUT_WR)
            except OSError:  # the client is gone
                self._drop(peer)
                return
        self._watch(peer, READ)
        self._timers.after(_LINGER_SECONDS if isinstance(end, Close) else end.seconds, partial(self._drop, peer))

    def _reset(self, peer: _Peer) -> None:
        with suppress(OSError):  # the client is gone
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_RESET)
        self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        """Close the socket, and forget the peer. It raises nothing."""
        if peer not in self._peers:
            return
        self._peers.discard(peer)
        self._victims.pop(peer, None)
        self._held -= peer.held
        self._unsent -= peer.unsent
        peer.held = peer.unsent = peer.mask = 0
        peer.pending = ()
        with suppress(BaseException):
            self._poller.watch(peer.fd, 0, self._accept)
        with suppress(BaseException):
            peer.socket.close()

    def _sweep(self) -> None:
        """Drop the peers that have waited too long."""
        self._timers.after(_SWEEP_SECONDS, self._sweep)
        oldest = self._timers.moment - MAX_PEER_SECONDS
        for peer in [peer for peer in self._peers if peer.since < oldest and (peer.mask or peer.unsent)]:
            self._drop(peer)

    def _close_everything(self, in_child: bool = False) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(BaseException):
            self._poller.close()  # first: a socket that it knows takes longer to close
        for sock in [self._listener, *(peer.socket for peer in self._peers), self._waker_out, self._waker_in]:
            if not in_child:
                with suppress(BaseException):  # so that it ends, also where a child of this process has it, too
                    sock.shutdown(socket.SHUT_RDWR)
            with suppress(BaseException):
                sock.close()
        self._peers.clear()
        self._ready.clear()
        if not in_child:
            self._workers.stop()

    # ---------------------------------------------------------------------------------------------------------------- jobs

    def _woken(self) -> None:
        """`_wake_loop` was called: jobs are finished, or the server is to stop."""
        with suppress(OSError):
            self._waker_out.recv(4096)
        try:
            self._workers.deliver()
        except BaseException:
            log_exception()
            self._timers.after(_FAILURE_PAUSE_SECONDS, self._wake_loop)  # what is left is delivered then

    def _job_done(self, peer: _Peer, answer: Response | Job) -> None:
        try:
            if isinstance(answer, Response):
                peer.pending = peer.connection.job_done(answer)
                self._go_on(peer)
            elif _is_there(peer.socket):
                self._workers.run(answer, partial(self._job_done, peer))
            else:
                self._drop(peer)
        except BaseException:
            self._fail(peer)


def _is_there(client: socket.socket) -> bool:
    """Whether the client is still connected. For one that has gone, or has ended its side, no other job is begun: ``net/http``
    cancels such a request.
    """
    try:
        return client.recv(1, socket.MSG_PEEK) != b"" and not _has_hung_up(client)
    except BlockingIOError:
        return True
    except OSError:  # also where it was dropped meanwhile
        return False


def _has_hung_up(client: socket.socket) -> bool:
    """Whether the client has closed its side after a next request, which the server has not read yet. Only Linux can tell."""
    if not _HUNG_UP:
        return False
    poll = select.poll()
    poll.register(client, _HUNG_UP)
    return bool(poll.poll(0))


def _kept_bytes(action: Action | memoryview) -> int:
    """What an action keeps: of a view, all that it is a view of."""
    if isinstance(action, memoryview):
        return memoryview(action.obj).nbytes
    return len(action) if isinstance(action, bytes) else 0


def _max_open_files() -> int:
    """How many files this process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
