"""Those peers that run: each is started when it is first asked for, and ends with the run.

Law: it starts, remembers and ends; why a peer could not be had is remembered too, and said once.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from bench.install import Place
from bench.peers import GET, PEERS, Peer
from bench.process import NotHad, answers, free_port, process, wait_for
from bench.wire import Line, Message


class Server:
    """A peer that answers on a port of its own."""

    def __init__(self, name: str, peer: Peer, port: int) -> None:
        self.name, self.peer, self.port = name, peer, port
        self.line = Line(port)

    def messages(self, operation: str) -> list[Message]:
        return self.peer.asks[operation].messages()


class Running:
    """The peers of one run, in folders below ``folder``, which is this run's alone."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder = place, folder
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        self.left_out: dict[str, str] = {}

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def those(self, *names: str) -> list[Server]:
        """The servers of these names, without those that cannot be had: why stands in ``left_out``."""
        for name in names:
            if name not in self._servers and name not in self.left_out:
                try:
                    self._servers[name] = self._start(name, self._stack)
                except NotHad as why:
                    self.left_out[name] = str(why)
        return [self._servers[name] for name in names if name in self._servers]

    def anew(self, name: str, stack: ExitStack) -> Server:
        """Another one of that peer, on a port of its own, with no core chosen for it; it ends with the stack. Returns at its first
        answer. Raises `NotHad`.
        """
        return self._start(name, stack, as_server=False)

    def _start(self, name: str, stack: ExitStack, as_server: bool = True) -> Server:
        peer = PEERS[name]
        reason = self.place.reason(peer.needs) if peer.needs else None
        if reason is not None:
            raise NotHad(reason)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        server = Server(name, peer, free_port())
        child = stack.enter_context(process(peer.command(self.place, server.port, folder), folder, as_server=as_server))
        ready = peer.ready or (peer.first[0] if peer.first else peer.asks[GET])
        wait_for(answers(server.port, ready.messages()[0]), child, folder)
        if as_server:
            for ask in peer.first:
                server.line.ask(ask.messages()[0])
        return server
