"""The pytest plugin beside other plugins: one small suite, and every companion that a real suite may have."""

from __future__ import annotations

import pytest

from tests.support.suites import BOUND_SECONDS

pytestmark = pytest.mark.once
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")  # pytest-asyncio may warn where it is not said
SUITE = """
    import pytest, requests

    @pytest.mark.parametrize("turn", range(6))
    def test_new_and_empty(kvfake, turn):
        assert not kvfake.mattermost
        requests.put(kvfake.mattermost.url_for("k"), headers=kvfake.mattermost.headers, json=turn, timeout=10)
        assert kvfake.mattermost == {"k": turn}

    def test_environment(kvfake, kvfake_env, kvfake_factory):
        import os

        with kvfake_factory() as other:
            other.persist["k"] = "v"
            found = requests.get(other.persist.url_for("k"), headers=other.persist.headers, timeout=10).json()
            assert found["value"] == "v"
        assert os.environ["KVFAKE_URL"] == kvfake.url and not kvfake.persist
"""


@pytest.fixture(autouse=True)
def _a_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KVFAKE_URL", "KVFAKE_PORT", "KVFAKE_PROFILE", "KVFAKE_STRICT", "KVFAKE_TOKEN", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]")
    pytester.makepyfile(test_suite=SUITE)


def run(pytester: pytest.Pytester, *args: str, beside: str = "") -> pytest.RunResult:
    """With kvfake's plugin and the plugins of these names: to load all that are installed takes four times as long."""
    names = [word for name in ("kvfake", *beside.split()) for word in ("-p", name)]
    scope = SCOPE if "asyncio" in beside else ()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_subprocess(*names, *scope, *args, timeout=BOUND_SECONDS)


def run_with_everything(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """With every plugin that is installed but one, which takes as long to load as all others."""
    return pytester.runpytest_subprocess("-p", "no:schemathesis", *SCOPE, *args, timeout=BOUND_SECONDS)


@pytest.mark.parametrize(
    "args", [[], ["-W", "error"], ["-n2", "-W", "error", "--dist=worksteal"]], ids=lambda args: " ".join(args) or "alone"
)
def test_a_suite_runs_beside_every_plugin(pytester: pytest.Pytester, args: list[str]) -> None:
    """They are loaded because they are installed, as kvfake's own is."""
    run_with_everything(pytester, *args).assert_outcomes(passed=7)


@pytest.mark.parametrize(
    ("beside", "args"),
    [
        ("", ["--strict-markers", "--strict-config"]),
        ("", ["-p", "no:cacheprovider"]),
        ("", ["-p", "kvfake"]),
        ("asyncio anyio hypothesispytest socket timeout time_machine xdist", ["-p", "no:randomly"]),
        ("randomly", ["--import-mode=importlib"]),
        ("timeout", ["--timeout=20"]),
        ("timeout", ["--timeout=20", "--timeout-method=thread"]),
        ("socket", ["--disable-socket", "--allow-hosts=127.0.0.1"]),
        ("socket xdist", ["--disable-socket", "--allow-hosts=127.0.0.1", "-n2"]),
        ("randomly xdist", ["-n2"]),
        ("asyncio", ["--asyncio-mode=auto"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_suite_runs_with(pytester: pytest.Pytester, beside: str, args: list[str]) -> None:
    """These options, and the plugins that know them."""
    run(pytester, *args, beside=beside).assert_outcomes(passed=7)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_any_order(pytester: pytest.Pytester, seed: int) -> None:
    """pytest-randomly shuffles modules, classes and tests, and seeds what is random: tokens stay different."""
    pytester.makepyfile(
        test_tokens="""
        import pytest

        SEEN = set()

        @pytest.mark.parametrize("turn", range(5))
        def test_tokens(kvfake, turn):
            assert kvfake.mattermost.token not in SEEN and kvfake.url not in SEEN
            SEEN.update([kvfake.mattermost.token, kvfake.url])
    """
    )
    run(pytester, f"--randomly-seed={seed}", beside="randomly").assert_outcomes(passed=12)


def test_xdist_with_variables_left_in_the_shell(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker has a server of its own on a free port, whatever ``KVFAKE_PORT`` and ``KVFAKE_URL`` say."""
    monkeypatch.setenv("KVFAKE_PORT", "8065")
    monkeypatch.setenv("KVFAKE_URL", "http://127.0.0.1:8065")
    pytester.makepyfile(
        test_ports="""
        import pytest
        from urllib.parse import urlsplit

        @pytest.mark.parametrize("turn", range(8))
        def test_port(kvfake, worker_id, turn):
            assert urlsplit(kvfake.url).port != 8065
            print(f"{worker_id} at {urlsplit(kvfake.url).netloc}")
    """
    )
    result = run(pytester, "-n2", "-rP", beside="xdist")
    result.assert_outcomes(passed=15)
    workers = {tuple(line.split(" at ")) for line in result.stdout.lines if line.startswith("gw") and " at 127" in line}
    assert len({worker for worker, _ in workers}) == len({address for _, address in workers}) == len(workers) == 2


ASYNC = """
    import asyncio, httpx, pytest, pytest_asyncio

    @{fixture}
    async def client(kvfake):
        async with httpx.AsyncClient(headers=kvfake.mattermost.headers, timeout=10) as client:
            yield client

    {mark}
    async def test_in_the_same_loop(kvfake, client):
        answers = await asyncio.gather(*(client.put(kvfake.mattermost.url_for(f"k{{n}}"), json=n) for n in range(20)))
        assert [answer.status_code for answer in answers] == [200] * 20
        assert kvfake.mattermost == {{f"k{{n}}": n for n in range(20)}}

    {mark}
    async def test_again(kvfake, client):
        assert (await client.get(kvfake.mattermost.url_for("k1"))).text == "{{}}"
"""


@pytest.mark.parametrize(
    ("mode", "fixture", "mark"),
    [("strict", "pytest_asyncio.fixture", "@pytest.mark.asyncio"), ("auto", "pytest.fixture", "")],
    ids=["strict", "auto"],
)
def test_pytest_asyncio(pytester: pytest.Pytester, mode: str, fixture: str, mark: str) -> None:
    """A sync fixture in async tests, and an async client in the same loop."""
    pytester.makepyfile(test_async=ASYNC.format(fixture=fixture, mark=mark))
    run(pytester, f"--asyncio-mode={mode}", "-W", "error", beside="asyncio").assert_outcomes(passed=9)


def test_anyio(pytester: pytest.Pytester) -> None:
    """Likewise, with anyio's own runner."""
    pytester.makeconftest("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
    """)
    pytester.makepyfile(test_async=ASYNC.format(fixture="pytest.fixture", mark="@pytest.mark.anyio"))
    run(pytester, "-W", "error", beside="anyio").assert_outcomes(passed=9)


def test_pytest_socket_refuses_other_hosts_still(pytester: pytest.Pytester) -> None:
    """The double is reached; nothing is opened for anybody else."""
    pytester.makepyfile(
        test_outside="""
        import pytest, pytest_socket, requests

        def test_outside(kvfake):
            with pytest.raises(pytest_socket.SocketConnectBlockedError):
                requests.get("http://192.0.2.1/", timeout=5)
            assert requests.get(kvfake.url + "/_kvfake/health", timeout=10).status_code == 200
    """
    )
    run(pytester, "--disable-socket", "--allow-hosts=127.0.0.1", beside="socket").assert_outcomes(passed=8)


def test_pytest_timeout_ends_a_test_and_not_the_double(pytester: pytest.Pytester) -> None:
    """The next test finds a new world on the same server; the report of the one that hung says what was asked."""
    pytester.makepyfile(
        test_hang="""
        import pytest, requests, time

        @pytest.mark.timeout(1)
        def test_hangs(kvfake):
            requests.get(kvfake.mattermost.url_for("before-it-hung"), timeout=10)
            time.sleep(30)
    """
    )
    result = run(pytester, beside="timeout")
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["*kv/before-it-hung by no token: 401"])


def test_switched_off(pytester: pytest.Pytester) -> None:
    """``-p no:kvfake``: no fixture of that name, no option, no marker."""
    words = [word for name in ("kvfake", "hypothesispytest", "anyio", "asyncio") for word in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess("-p", "no:schemathesis", *words, timeout=BOUND_SECONDS)
    result.assert_outcomes(errors=7)
    result.stdout.fnmatch_lines(["*fixture 'kvfake' not found*"])
    told = pytester.runpytest_subprocess("-p", "no:schemathesis", *words, "--help", timeout=BOUND_SECONDS).stdout.str()
    assert "--strict-markers" in told
    assert "kvfake" not in told.replace("no:kvfake", "")


def test_switched_on_by_name_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-p kvfake``, where plugins are not loaded on their own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (pytester.path / "tox.ini").unlink()
    pytester.runpytest_subprocess("-p", "kvfake", "-W", "error", timeout=BOUND_SECONDS).assert_outcomes(passed=7)
    pytester.runpytest_subprocess(timeout=BOUND_SECONDS).assert_outcomes(errors=7)


def test_classes_of_unittest_in_parallel(pytester: pytest.Pytester) -> None:
    """Each test method has its own double, also in workers."""
    pytester.makepyfile(
        test_classes="""
        import unittest, pytest

        @pytest.mark.usefixtures("kvfake_env")
        class TestBot(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _double(self, kvfake):
                self.kvfake = kvfake

            def test_one(self):
                self.assertFalse(self.kvfake.mattermost)
                self.kvfake.mattermost["k"] = 1

            test_two = test_three = test_one

        class TestAsync(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def _double(self, kvfake):
                self.kvfake = kvfake

            async def test_async(self):
                import httpx
                async with httpx.AsyncClient(timeout=10) as client:
                    url = self.kvfake.mattermost.url_for("k")
                    answer = await client.get(url, headers=self.kvfake.mattermost.headers)
                self.assertEqual(answer.text, "{}")
    """
    )
    run(pytester, "-W", "error").assert_outcomes(passed=11)
    run(pytester, "-W", "error", "-n2", beside="xdist").assert_outcomes(passed=11)


def test_a_double_in_a_doctest(pytester: pytest.Pytester) -> None:
    """``getfixture`` finds it there too."""
    pytester.makepyfile(
        module='''
        """
        >>> double = getfixture("kvfake")
        >>> double.mattermost["k"] = 1
        >>> double.mattermost.raw["k"]
        b'1'
        """
    '''
    )
    run(pytester, "--doctest-modules", "module.py").assert_outcomes(passed=1)
