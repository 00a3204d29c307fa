"""How much memory keys and worlds take: prints bytes each, as JSON.

    python memory.py keys N | worlds N | doubles N

Law: a process of its own, which weighs itself by what the system says it holds; beyond the keys and values themselves.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from werkzeug.test import Client

import kvfake
from kvfake.session import DoubleFactory

VALUE = b"%0120d"
KEY = "key-%07d"
STEP = 618_033_989  # a prime: so many keys come in no order, and each once


def held() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def keys(count: int) -> float:
    """Bytes a key, beyond key and value, after a list."""
    double = kvfake.Double()
    client = Client(double.wsgi_app)

    def listed() -> Any:
        return client.get("/api/v1/persist/kv?begins=key-000001", headers=double.persist.headers).json

    double.persist["key-0000010"] = "x"
    assert listed() == ["key-0000010"]  # everything that a list loads is loaded
    before = held()
    raw = double.persist.raw
    for place in range(count):
        number = place * STEP % count
        raw[KEY % number] = VALUE % number
    assert len(listed()) == 10
    return (held() - before) / count - len(KEY % 0) - len(VALUE % 0)


def worlds(count: int) -> float:
    """Bytes a world that was opened over HTTP, with the tokens that were issued to it."""
    client = Client(kvfake.Double().wsgi_app)
    client.post("/_kvfake/worlds")
    before = held()
    for _ in range(count):
        assert client.post("/_kvfake/worlds").status_code == 201
    return (held() - before) / count


def doubles(count: int) -> float:
    """Bytes a double of a test, which nothing was asked of."""
    factory = DoubleFactory({})
    kept = [factory()]
    before = held()
    kept += [factory() for _ in range(count)]
    found = (held() - before) / count
    factory.close()
    return found


print(json.dumps({"keys": keys, "worlds": worlds, "doubles": doubles}[sys.argv[1]](int(sys.argv[2]))))
