"""The truth: what the services and the powers do is what a few dicts do, under any sequence, and under load.

`python -m tests.soak` does the same for minutes.
"""

from __future__ import annotations

import random
from math import inf
from pathlib import Path

import httpx
import pytest

import kvfake
from tests.soak import fairness
from tests.soak.attacks import ATTACKS
from tests.support import load, machines
from tests.support.histories import DELETE, GET, SET, Operation, is_linearizable, is_linearizable_by_force

# --------------------------------------------------------------------------------------------------------------- any sequence


@pytest.mark.timeout(400)  # a sequence that differs is made short first
@pytest.mark.parametrize("way", machines.WAYS_IN)
def test_any_sequence_does_what_a_dict_does(way: str, tmp_path: Path) -> None:
    """Requests of several owners and worlds, faults, clocks, checkpoints, resets, dumps, loads and mappings, in whatever order:
    every answer, every store and every journal is the model's.
    """
    machines.run(way, tmp_path, examples=20, steps=30)


def test_what_is_rolled_back_was_not_dropped() -> None:
    """Also where the journal was cleared after the checkpoint: what came later is forgotten, and counts as never there."""
    double = kvfake.Double()
    url, headers = double.mattermost.url_for("k"), double.mattermost.headers
    with httpx.Client(transport=double.httpx_transport(), headers=headers) as client:
        client.get(url)
        mark = double.checkpoint()
        double.journal.clear()
        client.get(url)
    double.rollback(mark)
    assert (len(double.journal), double.journal.dropped, double.journal.seen) == (0, 0, 2)
    double.journal.assert_not_requested("GET")


# ------------------------------------------------------------------------------------------------------------------ histories


def test_a_value_that_was_set_before_is_not_read_after() -> None:
    """The first set had returned before the second was called: only the second can be read."""
    sets = [Operation(0, 1, SET, "old"), Operation(2, 3, SET, "new")]
    assert is_linearizable([*sets, Operation(4, 5, GET, "new")])
    assert not is_linearizable([*sets, Operation(4, 5, GET, "old")])


def test_two_readers_agree_on_the_order() -> None:
    """Both sets run at once, so either may be last; but who reads afterwards reads the same."""
    sets = [Operation(0, 9, SET, "a"), Operation(0, 9, SET, "b")]
    assert is_linearizable([*sets, Operation(1, 2, GET, "a"), Operation(3, 4, GET, "b")])
    assert not is_linearizable([*sets, Operation(10, 11, GET, "a"), Operation(12, 13, GET, "b")])


def test_what_got_no_answer_was_done_or_not() -> None:
    """It may be seen late, or never; but not undone."""
    lost = Operation(0, inf, SET, "lost")
    assert is_linearizable([lost, Operation(1, 2, GET), Operation(3, 4, GET, "lost")])
    assert is_linearizable([lost, Operation(1, 2, GET), Operation(3, 4, GET)])
    assert not is_linearizable([lost, Operation(1, 2, GET, "lost"), Operation(3, 4, GET)])


def test_the_checker_says_what_brute_force_says() -> None:
    """On small random histories, of which many are linearizable and many are not."""
    draw, verdicts = random.Random(20_161_231), {True: 0, False: 0}
    for _ in range(1500):
        history = [a_random_operation(draw) for _ in range(draw.randint(2, 5))]
        verdict = is_linearizable(history)
        assert verdict == is_linearizable_by_force(history), history
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 300


def a_random_operation(draw: random.Random) -> Operation:
    called = draw.randint(0, 12)
    kind = draw.choice([GET, GET, SET, DELETE])
    value = None if kind == DELETE or (kind == GET and draw.random() < 0.3) else draw.choice("ab")
    return Operation(called, inf if kind != GET and draw.random() < 0.1 else called + draw.randint(0, 6), kind, value)


# -------------------------------------------------------------------------------------------------------------- under load


@pytest.mark.parametrize("operations", [5_000, pytest.param(300_000, marks=[pytest.mark.once, pytest.mark.timeout(600)])])
def test_nothing_is_lost_or_mixed_under_load(operations: int) -> None:
    """64 threads of four processes set, get and delete keys of their own and keys that they share, while worlds come and go and the
    journal is read: every answer is the one that is due, what they saw of a shared key can be what one dict did, and in the end
    the server holds what was acknowledged last, and nothing else.
    """
    outcome = load.run(operations, seconds=300)
    assert not outcome.wrong, load.complaint(outcome.wrong)
    assert outcome.done >= operations
    assert outcome.histories == 16


# --------------------------------------------------------------------------------------------------------------- fairness

GENEROUS_P99_SECONDS, GENEROUS_HEALTH_SECONDS = 0.25, 2.0  # of any machine; those of docs/reliability.md are measured by the soak
SMALL = 0.02  # of the size that the soak has
QUICK = ("mget of 10,000 keys", "pipeline without end", "slow reader")  # the others take long together


@pytest.mark.parametrize("attack", [name if name in QUICK else pytest.param(name, marks=pytest.mark.once) for name in ATTACKS])
def test_one_client_does_not_keep_others_waiting(attack: str) -> None:
    """While it does the worst that it may, another's GET and the health are answered soon. The best of three tries counts: others
    may need the machine, too.
    """
    for _ in range(3):
        measured = fairness.measure(attack, seconds=0.7, scale=SMALL)
        assert not measured.wrong
        if measured.get.p99 <= GENEROUS_P99_SECONDS and measured.health.longest <= GENEROUS_HEALTH_SECONDS:
            return
    pytest.fail(f"others wait too long: {measured}")
