"""A WSGI application behind werkzeug's own server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


@contextmanager
def werkzeug_server(app: Any, handler: type[WSGIRequestHandler] = QuietHandler) -> Iterator[int]:
    """The port on which it answers."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
