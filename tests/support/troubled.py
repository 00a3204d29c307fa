"""A double whose keys say what goes wrong with them, for servers in another process: ``gunicorn tests.support.troubled:app``."""

from __future__ import annotations

from typing import get_args

import kvfake
from kvfake.double import Double
from kvfake.world.faults import SeverWord

SEVERS: tuple[SeverWord, ...] = get_args(SeverWord)


def troubled() -> Double:
    double = kvfake.Double(token=["t=app/bot"])
    for sever in SEVERS:
        double.faults.add(sever=sever, key=sever, method="PUT", times=None)
    double.faults.add(delay=0.05, key="late", times=None)
    double.faults.add(delay={"over": 0.05}, key="slow", times=None)
    double.faults.add(delay={"over": 0.05}, sever="truncate", key="slowly truncated", times=None)
    double.faults.add(status=204, key="empty", times=None)
    double.faults.add(status=503, key="down", times=None)
    double.faults.add(before=_broken, key="broken", times=None)
    return double


def _broken() -> None:
    raise LookupError("the user's own mistake")


app = troubled().wsgi_app
