"""What kvfake itself answers, where neither a service nor a neighbour does.

Law: values; JSON with what was expected.
"""

from __future__ import annotations

import json

from kvfake.services.message import JSON, Response


def refusal(status: int, text: str) -> Response:
    """An answer of JSON with an ``error``."""
    return Response(status, JSON, json.dumps({"error": text}, ensure_ascii=False).encode())


UNEXPECTED = refusal(500, "unexpected error in kvfake: its traceback is on stderr")
