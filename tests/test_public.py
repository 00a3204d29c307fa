"""What a user meets in a session of Python or in a failed test: the names of an object, its text, the end of a traceback."""

from __future__ import annotations

import re

import pytest

import kvfake
from tests.support.doors import WsgiDoor
from tests.support.suites import INI, run, text_of

NAMES_OF_A_DOUBLE = [
    *(
        "FidelityWarning",
        "checkpoint",
        "clock",
        "close",
        "dump",
        "env",
        "faults",
        "httpx_transport",
        "is_closed",
        "journal",
        "load",
    ),
    *("mattermost", "mount", "persist", "requests_adapter", "reset", "respond", "rollback", "token", "url", "wsgi_app"),
]
NAMES_OF_VALUES = [
    *(
        "as_owner",
        "as_user",
        "call",
        "clear",
        "context",
        "csrf_token",
        "get",
        "headers",
        "items",
        "keys",
        "owner",
        "pop",
        "popitem",
    ),
    *("prefix", "raw", "setdefault", "site_url", "token", "update", "url", "url_for", "values", "with_prefix"),
]


def public(thing: object) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def test_dir_of_a_double_shows_what_a_user_may_use() -> None:
    """And nothing of what is behind it, also where it has a server."""
    assert public(kvfake.Double()) == NAMES_OF_A_DOUBLE
    with kvfake.start() as double:
        assert isinstance(double, kvfake.Double)
        assert public(double) == NAMES_OF_A_DOUBLE


def test_dir_of_its_values() -> None:
    """What every mapping has, and how an app reaches them."""
    assert public(kvfake.Double().mattermost) == NAMES_OF_VALUES


def test_a_double_says_what_is_in_it() -> None:
    """Its address, and how much it has of all: keys of every owner, exchanges, faults."""
    double = kvfake.Double(public_url="http://kv.example")
    assert repr(double) == "<kvfake.Double http://kv.example: mattermost 0 keys, persist 0 keys, 0 exchanges, 0 faults>"
    double.mattermost["a"] = double.mattermost.as_user("ada")["b"] = double.persist["c"] = "v"
    double.faults.add(status=503)
    assert repr(double) == "<kvfake.Double http://kv.example: mattermost 2 keys, persist 1 key, 0 exchanges, 1 fault>"


def test_faults_and_journal_say_what_is_in_them() -> None:
    """The first faults, and the newest exchange."""
    double = kvfake.Double()
    assert (repr(double.faults), repr(double.journal)) == ("<kvfake.Faults none>", "<kvfake.Journal of 0, 0 older ones dropped>")
    double.faults.add(status=503, key="k")
    assert repr(double.faults) == f"<kvfake.Faults {double.faults.active[0]!r}>"
    for _ in range(6):
        double.faults.add(status=500)
    assert repr(double.faults).endswith("and 2 more>")
    WsgiDoor(double).send("GET", "/elsewhere", {}, b"")
    assert repr(double.journal) == "<kvfake.Journal of 1, 0 older ones dropped, the newest <GET /elsewhere by None: 404>>"


# ---------------------------------------------------------------------------------------------------------------- in a failed test


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makefile(".ini", pytest=INI)
    return pytester


def test_the_warning_is_reachable_through_the_fixture(suite: pytest.Pytester) -> None:
    """In a test that has it, ``kvfake`` is the fixture and not the module."""
    suite.makepyfile("""
        import warnings
        import pytest

        def test_the_fixture(kvfake):
            with pytest.warns(kvfake.FidelityWarning):
                warnings.warn("kinder", kvfake.FidelityWarning)

        def test_it_is_the_same():
            import kvfake
            assert kvfake.Double.FidelityWarning is kvfake.FidelityWarning
    """)
    run(suite).assert_outcomes(passed=2)


REFUSALS = (
    "kvfake.persist['k']",
    "kvfake.persist.pop('k')",
    "kvfake.persist.updated('k')",
    "kvfake.persist['k'] = 'v' * 10_000_000",
    "kvfake.persist['k'] = 5",
    "kvfake.mattermost['k'] = {1, 2}",
    "kvfake.mattermost[''] = 1",
    "kvfake.mattermost.call({'dish': 1})",
    "kvfake.mattermost.with_prefix('a/b')",
    "kvfake.journal[5]",
    "kvfake.journal.filter(key=re.compile('(a)(?=b)'))",
    "kvfake.journal.assert_requested('PUT')",
    "kvfake.faults.add(status=503) and kvfake.faults.assert_all_used()",
    "kvfake.faults.add(status=1)",
    "kvfake.faults.add(key=re.compile('(a)(?=b)'), status=503)",
    "kvfake.clock.move_to('noon')",
    "kvfake.token('mine', 'nobody')",
    "kvfake.respond('GET', '/plugins/com.mattermost.apps/api/v1/kv/k')",
    "kvfake.rollback(5)",
    "kvfake.load({'kvfake': 2})",
    "kvfake.load({'kvfake': 1, 'persist': {'project': {'k': 5}}})",
    "kvfake.load('nowhere.json')",
    "kvfake.load(__file__)",
    "kvfake_factory(prot=1)",
    "kvfake_factory(profile='nope')",
    "kvfake_factory(token=['mine'])",
)
OWN_FRAME = r"kvfake/\S+\.py:\d+"


@pytest.mark.parametrize("style", ["long", "short"])
def test_a_refusal_ends_at_the_line_of_the_test(suite: pytest.Pytester, style: str) -> None:
    """Frames of kvfake are not shown; with ``--full-trace`` they are."""
    tests = [f"def test_{number}(kvfake, kvfake_factory):\n    {line}\n" for number, line in enumerate(REFUSALS)]
    suite.makepyfile("import re\n" + "\n".join(tests))
    shown, full = (run(suite, f"--tb={style}", *options) for options in ((), ("--full-trace",)))
    shown.assert_outcomes(failed=len(REFUSALS))
    assert [line for line in REFUSALS if line not in text_of(shown)] == []
    assert re.findall(OWN_FRAME, text_of(shown)) == []
    assert len(re.findall(OWN_FRAME, text_of(full))) > len(REFUSALS)


def test_a_mistake_inside_kvfake_is_shown_where_it_is(suite: pytest.Pytester) -> None:
    """An exception that is no refusal keeps its whole traceback. So does one of a user's function that kvfake calls."""
    suite.makepyfile("""
        def test_inside(kvfake, monkeypatch):
            monkeypatch.setattr("kvfake.world.world.World.checkpoint", lambda world: world.nothing)
            kvfake.checkpoint()

        def test_outside(kvfake):
            class Value(dict):
                def items(self):
                    raise ValueError("mine")
            kvfake.mattermost["k"] = Value(a=1)
    """)
    shown = text_of(run(suite))
    assert "kvfake/double.py" in shown
    assert 'raise ValueError("mine")' in shown
