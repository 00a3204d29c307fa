"""The register of checks: which function looks at which row.

Law: names and functions; it asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvfake.contract.caller import Caller

Do = Callable[["Caller"], None]


class Check(NamedTuple):
    """``is_malformed``: it sends what an HTTP client would clean, and so is asked for (``--raw``). ``is_below``: it also looks at
    what lies below HTTP, and needs a plain socket.
    """

    row: str
    do: Do
    is_malformed: bool = False
    is_below: bool = False

    @property
    def name(self) -> str:
        return f"{self.row}-{self.do.__name__}"


CHECKS: list[Check] = []

UNSEEABLE = {"P11": "nothing that is asked from outside makes an unexpected error"}
"""Rows that no check can look at, and why."""


def row(id: str, *, is_malformed: bool = False, is_below: bool = False) -> Callable[[Do], Do]:
    """Say which row of `kvfake.services.facts` a check is for."""

    def register(do: Do) -> Do:
        CHECKS.append(Check(id, do, is_malformed or is_below, is_below))
        return do

    return register
