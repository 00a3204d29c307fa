"""Two servers that cannot do less: the floors below kvfake. Both answer a constant, whatever is asked.

    python floor.py PORT bare|doors

Law: ``bare`` is a blocking loop over one connection, with no look at what came: nothing in Python is faster. ``doors`` is
kvfake's own loop and conversation, with nothing behind them: whoever wants to be faster has to change those.
"""

from __future__ import annotations

import signal
import socket
import sys

from kvfake.http.connection import Connection
from kvfake.http.server import Server
from kvfake.services.messages import Response

BODY = b'"' + b"a" * 118 + b'"'
MESSAGE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
RESPONSE = Response(200, (("Content-Type", "application/json"),), BODY)

port = int(sys.argv[1])
if sys.argv[2] == "doors":
    Server(lambda: Connection(lambda request: RESPONSE), "127.0.0.1", port).start()
    signal.pause()
listener = socket.create_server(("127.0.0.1", port))
while True:
    peer = listener.accept()[0]
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with peer:
        while peer.recv(65_536):
            peer.sendall(MESSAGE)
