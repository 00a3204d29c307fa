"""The site as a WSGI application, for any server: werkzeug's, gunicorn, waitress.

Law: it translates, and decides nothing. Chunks, connections and malformed heads are the affair of the server around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kvfake.doors.environ import StartResponse, base_of, reason, request_of
from kvfake.doors.site import Site
from kvfake.services.message import ROWS, Response


class WsgiApp:
    """The door. One call is one request; any number of threads may call."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        answer = self._site.answer(request_of(environ), base_of(environ))
        response = answer if isinstance(answer, Response) else answer()
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        if response.rows:
            headers.append((ROWS, ", ".join(response.rows)))
        start_response(f"{response.status} {reason(response.status)}", headers)
        return [response.body if environ["REQUEST_METHOD"] != "HEAD" else b""]
