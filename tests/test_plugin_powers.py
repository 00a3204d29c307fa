"""What a test can let happen through the pytest plugin, and how its report tells of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support.suites import INI, run, section_of, text_of

APP = """
    import pytest
    import requests

    def put(double, key, value):
        return requests.put(double.mattermost.url_for(key), headers=double.mattermost.headers, json=value).status_code
"""


@pytest.fixture(autouse=True)
def _an_ini_file(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KVFAKE_URL", "KVFAKE_PORT", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makefile(".ini", pytest=INI)


def suite(pytester: pytest.Pytester, tests: str) -> None:
    pytester.makepyfile(APP + tests)


def test_the_store_is_down(pytester: pytest.Pytester) -> None:
    """The third example of INTERFACE.md: the next two requests; another test knows nothing of it."""
    suite(pytester, """
    def test_the_store_is_down(kvfake):
        kvfake.faults.add(status=503, times=2)
        assert [put(kvfake, "k", 1) for _ in range(3)] == [503, 503, 200]
        assert kvfake.journal[-1].status == 200

    def test_it_is_not(kvfake):
        assert put(kvfake, "k", 1) == 200
    """)  # fmt: skip
    run(pytester).assert_outcomes(passed=2)


def test_a_fault_as_a_marker(pytester: pytest.Pytester) -> None:
    """As many as are wanted, those of the class first; as ``faults.add`` takes them."""
    suite(pytester, """
    @pytest.mark.kvfake_fault(status=500)
    class TestApp:
        @pytest.mark.kvfake_fault(503, key="k")
        @pytest.mark.kvfake(profile="plugin-1.2")
        def test_both(self, kvfake):
            assert [put(kvfake, "k", 1) for _ in range(3)] == [500, 503, 200]

        def test_one(self, kvfake):
            assert [put(kvfake, "k", 1) for _ in range(2)] == [500, 200]
    """)  # fmt: skip
    run(pytester, "--strict-markers").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("", "this fault does nothing"),
        ("status=99", "status: expected a whole number from 200 to 599, got 99"),
        ("stat=500", "stat"),
        ("sever='sometimes'", "sever: expected one of before, after, reset,"),
    ],
)
def test_a_wrong_fault_marker_says_what_is_possible(pytester: pytest.Pytester, marker: str, words: str) -> None:
    """In one line, without a traceback."""
    suite(pytester, f"""
    @pytest.mark.kvfake_fault({marker})
    def test_it(kvfake):
        pass
    """)  # fmt: skip
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert "@pytest.mark.kvfake_fault: " in text_of(result)
    assert words in text_of(result)
    assert "pytest_plugin.py" not in text_of(result)


def test_the_markers_are_described(pytester: pytest.Pytester) -> None:
    """With every argument of ``faults.add``."""
    result = run(pytester, "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.kvfake_fault(status=None, *, delay=0, sever=None, times=1, after=0,*"])


def test_the_marker_takes_what_faults_add_takes(pytester: pytest.Pytester) -> None:
    """No argument is missing in what ``--markers`` says."""
    from kvfake.world.faults import FaultArguments

    shown = text_of(run(pytester, "--markers"))
    line = next(line for line in shown.splitlines() if line.startswith("@pytest.mark.kvfake_fault"))
    assert line.partition("(")[2].partition("):")[0].replace("*, ", "") == ", ".join(
        f"{k}={v!r}" for k, v in FaultArguments._field_defaults.items()
    )


def test_the_report_shows_faults(pytester: pytest.Pytester) -> None:
    """Which exchange met which, what was never answered, and which faults no request met."""
    suite(pytester, """
    def test_it(kvfake):
        kvfake.faults.add(status=503)
        kvfake.faults.add(sever="after", method="PUT")
        kvfake.faults.add(status=401, key="another")
        kvfake.respond("POST", "/api/v4/posts", 201, json={"id": "x"})
        assert put(kvfake, "k", 1) == 503
        with pytest.raises(requests.ConnectionError):
            put(kvfake, "k", 2)
        requests.post(kvfake.url + "/api/v4/posts", json={})
        requests.get(kvfake.url + "/api/v4/users")
        assert kvfake.mattermost["k"] == 3
    """)  # fmt: skip
    result = run(pytester)
    lines = section_of(result)
    path = "/plugins/com.mattermost.apps/api/v1/kv/k"
    assert lines[:2] == ["refused or unmatched:", "  GET /api/v4/users by no token: 404"]
    assert f"  PUT {path} by app/bot: 503 [fault: on any request: answer 503, once]" in lines
    assert f"  PUT {path} by app/bot: no answer [fault: on PUT: lose the acknowledgement, once]" in lines
    assert "  POST /api/v4/posts by no token: 201" in lines
    assert lines[-2:] == ["faults that never struck:", "  on any request, key='another': answer 401, once"]


def test_a_report_of_many_faults_is_bounded(pytester: pytest.Pytester) -> None:
    """Twenty are shown, the others counted."""
    suite(pytester, """
    def test_it(kvfake):
        for number in range(25):
            kvfake.faults.add(status=503, key=str(number))
        assert kvfake.mattermost == 1
    """)  # fmt: skip
    lines = section_of(run(pytester))
    assert lines[-2:] == ["  on any request, key='19': answer 503, once", "  (and 5 more)"]


def test_a_failed_test_shows_fidelity_warnings_too(pytester: pytest.Pytester) -> None:
    """As a warning; where it is an error, the test's own failure is what is reported."""
    suite(pytester, """
    def test_it(kvfake):
        assert requests.put(kvfake.mattermost.with_prefix("my-app").url_for("k"), headers=kvfake.mattermost.headers, json=1).ok
        assert put(kvfake, "k", 1) == "mine"
    """)  # fmt: skip
    run(pytester).assert_outcomes(failed=1, warnings=1)
    result = run(pytester, "-W", "error::kvfake.FidelityWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *'mine'"])


def test_an_expensive_set_up_is_shared(pytester: pytest.Pytester) -> None:
    """A session-scoped double fills once; each test begins from there, whatever the one before has done."""
    suite(pytester, """
    @pytest.fixture(scope="session")
    def filled(kvfake_factory):
        double = kvfake_factory()
        for number in range(100):
            double.mattermost[f"k{number}"] = number
        return double, double.checkpoint()

    @pytest.fixture
    def double(filled):
        double, mark = filled
        double.rollback(mark)
        return double

    @pytest.mark.parametrize("turn", range(3))
    def test_it(double, turn):
        assert len(double.mattermost) == 100
        assert len(double.journal) == len(double.faults) == 0
        double.faults.add(status=500, times=None)
        assert put(double, "k1", "changed") == 500
        double.mattermost.clear()
        double.clock.move_to("2016-12-31T23:59:59Z")
        assert turn < 2
    """)  # fmt: skip
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    fault = "[fault: on any request: answer 500, until removed]"
    assert f"  PUT /plugins/com.mattermost.apps/api/v1/kv/k1 by app/bot: 500 {fault}" in section_of(result)


def test_a_seed_of_the_ini_file_lies_beside_it(pytester: pytest.Pytester) -> None:
    """Wherever pytest is started; every test begins with it."""
    pytester.makefile(".ini", pytest=INI + "    kvfake_seed = data.json\n")
    (pytester.path / "data.json").write_text(json.dumps({"kvfake": 1, "mattermost": {"app/bot": {"": {"name": "Ada"}}}}))
    below = pytester.mkdir("below")
    (below / "test_it.py").write_text(
        "def test_one(kvfake):\n    assert kvfake.mattermost.pop('name') == 'Ada'\n\n"
        "def test_two(kvfake):\n    assert dict(kvfake.mattermost) == {'name': 'Ada'}\n"
    )
    pytester.chdir()
    run(pytester, str(below)).assert_outcomes(passed=2)
    (pytester.path / "data.json").unlink()
    result = run(pytester, str(below))
    result.assert_outcomes(errors=2)
    assert f"seed: cannot read {Path(pytester.path) / 'data.json'}: No such file or directory" in text_of(result)


def test_a_switch_of_the_ini_file(pytester: pytest.Pytester) -> None:
    """Also where it says no; a wrong one is a usage error."""
    suite(pytester, """
    def test_it(kvfake):
        assert requests.get(kvfake.mattermost.url_for("k"), headers={"Authorization": "Bearer x"}).status_code == STATUS
    """.replace("STATUS", "401"))  # fmt: skip
    run(pytester, "-o", "kvfake_strict=yes").assert_outcomes(passed=1)
    run(pytester, "-o", "kvfake_strict=no").assert_outcomes(failed=1)
    result = run(pytester, "-o", "kvfake_strict=perhaps")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "kvfake: kvfake_strict: expected one of 1, true, yes, on, 0, false, no, off, got 'perhaps'" in text_of(result)


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="this pytest has no TOML files of its own")
def test_the_ini_options_are_texts(pytester: pytest.Pytester) -> None:
    """Also in a TOML file of pytest's own kind; anything else is a usage error that names the option."""
    (pytester.path / "pytest.ini").unlink()
    pytester.makefile(".toml", pytest="[pytest]\nkvfake_strict = true\n")
    suite(pytester, "")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "config option 'kvfake_strict' expects a string" in text_of(result)


def test_a_port_that_is_taken_says_so(pytester: pytest.Pytester) -> None:
    """As for the second worker of pytest-xdist, where a port was asked for."""
    suite(pytester, """
    def test_it(kvfake):
        pass
    """)  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(pytester, f"--kvfake-port={port}")
    result.assert_outcomes(errors=1)
    assert f"kvfake: cannot listen on 127.0.0.1:{port}: Address already in use (without a port each worker" in text_of(result)


def test_a_host_that_cannot_be_a_name_says_so(pytester: pytest.Pytester) -> None:
    """It is the server that cannot listen, and no setting of the test."""
    suite(pytester, """
    def test_it(kvfake):
        pass
    """)  # fmt: skip
    result = run(pytester, f"--kvfake-host={'a' * 70}")
    result.assert_outcomes(errors=1)
    assert f"kvfake: cannot listen on {'a' * 70}:0: " in text_of(result)


def test_the_header_hides_the_control_token(pytester: pytest.Pytester) -> None:
    """It is a secret as any other."""
    suite(pytester, "")
    result = run(pytester, "--kvfake-control-token=a-secret-of-mine")
    result.stdout.fnmatch_lines(["kvfake: control_token=given"])
    assert "a-secret-of-mine" not in text_of(result)


def test_late_requests_of_a_long_session_are_in_the_report_of_the_test_that_fails(pytester: pytest.Pytester) -> None:
    """Also when more came before than are remembered."""
    suite(pytester, """
    def test_first(kvfake):
        global ended
        ended = kvfake

    def test_many(kvfake):
        for _ in range(120):
            put(ended, "k", 1)

    def test_fails(kvfake):
        put(ended, "last", 1)
        assert put(kvfake, "k", 1) == 0
    """)  # fmt: skip
    lines = section_of(run(pytester))
    assert lines[0] == "asked of doubles that had ended, and refused:"
    assert "/kv/last (world " in lines[1]
    assert lines[2] == "1 exchange:"
