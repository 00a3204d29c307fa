"""Any bytes: streams of requests, well-formed and damaged, get the same answers whole and cut, and one each."""

from __future__ import annotations

import pytest

from tests.support.streams import StreamChecker, streams


@pytest.mark.parametrize("seed", range(4))
def test_streams_whole_and_cut(seed: int) -> None:
    """500 streams of each seed. ``make soak`` takes many more."""
    checker = StreamChecker()
    for stream, cuts in streams(seed, 500):
        checker.check(stream, cuts)


def test_the_checker_sees_what_is_wrong() -> None:
    """A stream that is cut differently from what it says is another stream."""
    checker = StreamChecker()
    get = b"GET /persist/kv HTTP/1.1\r\nHost: x\r\n\r\n"
    checker.check(get, [3, 9])
    with pytest.raises(AssertionError):
        checker.check(get, [9, 3])
