"""What becomes of the answer to a request that meets a fault.

Law: it checks what was asked for, and makes a response of it; it neither counts nor chooses, and it does not wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from random import Random
from typing import Any

from kvfake.services.message import GARBAGE, SEVERS, TRUNCATE, Mishap, Response
from kvfake.world.answers import WITHOUT_BODY, body_of, checked_number, headers_of, merged

MAX_DELAY_SECONDS = 300.0
_RETRY_AFTER_SECONDS = "1"
_NOTHING_DONE = ("before", "reset", "silence", GARBAGE)
_GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"


class Misfortune:
    """What a fault does. Raises ``ValueError`` for what is not possible."""

    def __init__(
        self, status: int | None, delay: Any, sever: str | None, seed: int, body: Any, headers: Any, does_nothing: bool
    ) -> None:
        if status is not None:
            checked_number("status", status, int, 200, 599)
        if sever is not None and (not isinstance(sever, str) or sever not in SEVERS):
            raise ValueError(f"sever: expected one of {', '.join(SEVERS)}, got {sever!r}")
        self.status, self._sever, self._delay = status, sever or "", _delay(delay)
        self._body, kind = body_of(body)
        self._headers = headers_of(headers, kind)
        self.random = Random(checked_number("seed", seed, int, -math.inf))
        is_slow = isinstance(delay, Mapping) and "over" in delay
        is_seen = status is not None or headers or is_slow or (body is not None and sever != GARBAGE)
        if self._sever not in ("", TRUNCATE) and is_seen:
            raise ValueError(f"sever={sever!r} lets no answer out: status, body, headers and delay over would not be seen")
        if status in WITHOUT_BODY and (self._body or sever == TRUNCATE):
            raise ValueError(f"status: an answer of {status} has no body")
        if does_nothing and (status, sever, body) == (None, None, None) and not headers and not delay:
            raise ValueError("this fault does nothing: expected a status, delay, sever, body, headers or before")

    @property
    def acknowledges(self) -> bool:
        """Whether it answers what the service would, and nothing is done."""
        return self.status is not None and self.status < 300

    @property
    def is_done(self) -> bool:
        """Whether the service does what was asked."""
        return self.status is None and self._sever not in _NOTHING_DONE

    def answer(self, response: Response | None, failure: Callable[[int, str], Response]) -> Response:
        """What goes out instead of ``response``; ``None`` is where the service was not asked."""
        if self.status is not None and (response is None or not self.acknowledges):
            response = failure(self.status, _reason(self.status))
        elif response is None:
            response = Response(500, body=_GARBAGE)
        elif self.status is not None:
            response = response.replace(status=self.status)
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            response = response.replace(headers=merged(response.headers, (("Retry-After", _RETRY_AFTER_SECONDS),)))
        if self._body is not None:
            response = response.replace(body=self._body)
        if response.status in WITHOUT_BODY:
            response = response.replace(body=b"")
        seconds, over = self._delay(self.random)
        mishap = Mishap(min(seconds, MAX_DELAY_SECONDS), over, self._sever)
        return response.replace(headers=merged(response.headers, self._headers), mishap=mishap)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return f"status {status}"


def _delay(delay: Any) -> Callable[[Random], tuple[float, float]]:
    """Draws the seconds before the first byte, and those from it to the last."""
    if isinstance(delay, Mapping) and set(delay) == {"over"}:
        over = checked_number("delay over", delay["over"], float, 0, MAX_DELAY_SECONDS)
        return lambda random: (0.0, over)
    if isinstance(delay, Mapping) and set(delay) == {"median", "sigma"}:
        median = checked_number("delay median", delay["median"], float, 0, MAX_DELAY_SECONDS)
        sigma = checked_number("delay sigma", delay["sigma"], float, 0, 10)
        return lambda random: (median * random.lognormvariate(0, sigma), 0.0)
    if isinstance(delay, tuple | list) and len(delay) == 2:
        least, most = (checked_number("delay", seconds, float, 0, MAX_DELAY_SECONDS) for seconds in delay)
        if least > most:
            raise ValueError(f"delay: expected (least, most), got {delay!r}")
        return lambda random: (random.uniform(least, most), 0.0)
    if isinstance(delay, Mapping | tuple | list):
        raise ValueError(
            f'delay: expected seconds, (least, most), {{"median": seconds, "sigma": s}} or {{"over": seconds}}, got {delay!r}'
        )
    seconds = checked_number("delay", delay, float, 0, MAX_DELAY_SECONDS)
    return lambda random: (seconds, 0.0)


def checked_function(name: str, function: Any) -> Any:
    """The function, or ``None``; ``ValueError`` for what cannot be called, or would be awaited."""
    if function is not None:
        import inspect

        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ValueError(f"{name}: expected a function that is not async, got {function!r}")
    return function


def takes_an_argument(function: Callable[..., object]) -> bool:
    """Whether it must be called with one."""
    import inspect

    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # some builtin functions do not say
        return False
    return False
