"""A pytest-httpserver script, as a user would write one: the answers of a file, on a port.

    python httpserver.py PORT ANSWERS

Law: nothing that pytest-httpserver does not need; its start is measured.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from pytest_httpserver import HTTPServer

server = HTTPServer(host="127.0.0.1", port=int(sys.argv[1]))
for answer in json.loads(Path(sys.argv[2]).read_text()):
    handler = server.expect_request(answer["path"], method=answer["method"])
    handler.respond_with_data(answer["body"], content_type="application/json")
server.start()
signal.pause()
