"""A kvfake server that holds much already: keys of its own world, and worlds beside it with a key each.

    python grown.py PORT KEYS WORLDS FILE

Law: it fills, writes what a client must know to FILE, which appears when all is there, and serves until it is ended.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from werkzeug.test import Client

import kvfake

KEY, VALUE = "key-%07d", b"%0120d"
STEP = 618_033_989  # a prime: so many keys come in no order, and each once

port, keys, worlds = (int(word) for word in sys.argv[1:4])
double = kvfake.start(port=port)
raw = double.persist.raw
for place in range(keys):
    number = place * STEP % keys
    raw[KEY % number] = VALUE % number
client = Client(double.wsgi_app)
opened = []
for _ in range(worlds):
    world: Any = client.post("/_kvfake/worlds").json
    headers = {"Authorization": f"Bearer {world['tokens']['persist']}"}
    path = "/" + world["address"].split("/", 3)[3]
    assert client.put(f"{path}/api/v1/persist/kv/key-0000000", json={"value": "x" * 120}, headers=headers).status_code == 200
    opened.append({"path": path, "token": world["tokens"]["persist"]})
file = Path(sys.argv[4])
file.with_suffix(".part").write_text(json.dumps({"token": double.persist.token, "worlds": opened}))
file.with_suffix(".part").rename(file)
signal.pause()
