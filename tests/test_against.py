"""``pytest --kvfake-against URL``: a suite that was written with the double, run against the real service."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kvfake
from kvfake.double import Double
from tests.support.strangers import dead_port, http, stranger, url_of
from tests.support.suites import run, run_process, text_of

BOT, USER, PROJECT = "bot-token-of-the-real-server", "user-token-of-the-real-server", "project-token-of-the-real-server"
OWNERS = {BOT: "real-app/bot", USER: "real-app/ada", PROJECT: "project:real-project"}
FOREIGN = "a key that no test made"


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """What stands for the real server: a strict double that knows three tokens, which are in the environment. Each of its owners
    has a value that is nobody's to touch.
    """
    for name, token in (("MATTERMOST_BOT_TOKEN", BOT), ("MATTERMOST_USER_TOKEN", USER), ("BEEPBOOP_TOKEN", PROJECT)):
        monkeypatch.setenv(name, token)
    with kvfake.start(profile="plugin-1.2", strict=True, token=OWNERS, site_path="/mattermost") as double:
        for values in (bot_of(double), user_of(double), project_of(double)):
            values.raw[FOREIGN] = b'"untouched"'
        yield double


def bot_of(real: Double):  # type: ignore[no-untyped-def]
    return real.mattermost.as_owner("real-app/bot")


def user_of(real: Double):  # type: ignore[no-untyped-def]
    return real.mattermost.as_owner("real-app/ada")


def project_of(real: Double):  # type: ignore[no-untyped-def]
    return real.persist.project("real-project")


def nothing_is_left(real: Double) -> bool:
    return all(list(values) == [FOREIGN] for values in (bot_of(real), user_of(real), project_of(real))) and not list(
        bot_of(real).with_prefix("p")
    )


def run_against(
    pytester: pytest.Pytester, real: Double | str, suite: str, *args: str, run: Callable[..., pytest.RunResult] = run
) -> pytest.RunResult:
    pytester.makepyfile("import pytest, requests\n" + re.sub(r"^        ", "", suite, flags=re.MULTILINE))
    url = real if isinstance(real, str) else real.url
    return run(pytester, "--kvfake-against", url, "-rs", *args)


# --------------------------------------------------------------------------------------------------------------- real by night


def test_the_app_and_the_test_meet_on_the_real_server(real: Double, pytester: pytest.Pytester) -> None:
    """What the app writes the test reads, and the other way round; what a test set is gone with its end, and nothing else is."""
    result = run_against(
        pytester,
        real,
        """
        def test_the_bot_remembers(kvfake):
            bot = kvfake.mattermost
            requests.post(bot.url_for("name"), json={"first": "Ada"}, headers=bot.headers)
            assert bot["name"] == {"first": "Ada"}
            bot["age"] = 36
            assert requests.get(bot.url_for("age"), headers=bot.headers).json() == 36
            assert "nothing" not in bot
            del bot["age"]
            assert bot.get("age") is None
            bot.with_prefix("p")["a key/with%"[:5]] = 1
            assert bot.with_prefix("p")["a key"] == 1
            kvfake.mattermost.as_user("ada")["name"] = "a user's"
            assert bot["name"] == {"first": "Ada"}

        def test_a_project_remembers(kvfake):
            project = kvfake.persist
            answer = requests.put(project.url_for("convo::42"), json={"value": "hello"}, headers=project.headers).json()
            assert project["convo::42"] == "hello"
            assert answer["updated"] == project.updated("convo::42").strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            project.json["a/é"] = {"step": 2}
            assert requests.get(project.url_for("a/é"), headers=project.headers).json()["value"] == '{"step":2}'
            assert "convo::42" in list(project) and len(project) == 3
            found = requests.post(project.url + "/persist/mget", json={"keys": ["convo::42", "no"]}, headers=project.headers).json()
            assert [one and one["value"] for one in found] == ["hello", None]
            with pytest.raises(KeyError):
                project["no"]

        def test_all_keys_are_deleted(kvfake):
            assert "name" not in kvfake.mattermost and "convo::42" not in kvfake.persist
        """,
    )
    result.assert_outcomes(passed=3)
    assert nothing_is_left(real)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_sigterm_leaves_no_keys(
    real: Double, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl-C, or a system that ends a job: the running test deletes what it set, and no other test begins."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage would listen for SIGTERM itself
    result = run_against(
        pytester,
        real,
        f"""
        import os, signal, time

        def test_that_is_interrupted(kvfake):
            kvfake.mattermost["name"] = "Ada"
            assert kvfake.mattermost["name"] == "Ada"
            os.kill(os.getpid(), {number})
            time.sleep(20)

        def test_that_never_begins(kvfake):
            pass
        """,
        run=run_process,
    )
    assert result.ret == {signal.SIGINT: pytest.ExitCode.INTERRUPTED, signal.SIGTERM: 128 + signal.SIGTERM}[number]
    assert [exchange.method for exchange in real.journal if exchange.key == "name"] == ["PUT", "GET", "DELETE"]
    assert nothing_is_left(real)


def test_a_double_says_of_itself_what_it_knows(real: Double, pytester: pytest.Pytester) -> None:
    """The text of a double and of its values does not ask the real server."""
    result = run_against(
        pytester,
        real,
        """
        def test_texts(kvfake):
            kvfake.mattermost["name"] = "Ada"
            assert repr(kvfake) == f"<kvfake.Double {kvfake.url}: 0 exchanges, 0 faults>"
            assert repr(kvfake.mattermost).endswith(": on the real server>")
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_server_of_the_session_answers_for_itself(real: Double, pytester: pytest.Pytester) -> None:
    """What belongs to no test, such as a request without a token at its root, does not go to the real server, faults or not."""
    result = run_against(
        pytester,
        real,
        """
        def test_it(kvfake):
            root = kvfake.url.partition("/~")[0]
            key = root + "/plugins/com.mattermost.apps/api/v1/kv/name"
            assert requests.get(key).status_code == 401
            requests.post(root + "/_kvfake/faults", json={"status": 503, "key": "another"}).raise_for_status()
            assert requests.get(key).status_code == 401
        """,
    )
    result.assert_outcomes(passed=1)
    assert not real.journal.filter(key="name")


def test_a_suites_own_sigterm_handler_stays(real: Double, pytester: pytest.Pytester) -> None:
    """Its handler stays."""
    result = run_against(
        pytester,
        real,
        """
        import os, signal
        heard = []
        signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))

        def test_it(kvfake):
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard
        """,
        run=run_process,
    )
    result.assert_outcomes(passed=1)


def test_journal_faults_and_routes_work_before_the_real_server(real: Double, pytester: pytest.Pytester) -> None:
    """They are this side's."""
    real.respond("GET", "/api/v4/users/me", json={"username": "real"})
    result = run_against(
        pytester,
        real,
        """
        import re

        def put(kvfake, key):
            return requests.put(kvfake.mattermost.url_for(key), json=1, headers=kvfake.mattermost.headers)

        def test_journal(kvfake):
            put(kvfake, "a")
            requests.get(kvfake.mattermost.url_for("a") + "?access_token=unknown")
            assert [(one.verb, one.key, one.owner, one.status) for one in kvfake.journal][0] == ("set", "a", "app/bot", 200)
            assert kvfake.journal[1].status == 401
            kvfake.journal.assert_requested("PUT", key="a", times=1)
            assert kvfake.journal[0].response.json() == {"changed": True}
            refused = requests.put(kvfake.mattermost.url_for("b"), data="no JSON", headers=kvfake.mattermost.headers)
            assert refused.status_code == kvfake.journal[-1].status == 400

        def test_faults(kvfake):
            kvfake.faults.add(status=503)
            assert [put(kvfake, "a").status_code for _ in range(2)] == [503, 200]
            with kvfake.faults.add(sever="before"), pytest.raises(requests.ConnectionError):
                put(kvfake, "b")
            with kvfake.faults.add(sever="after"), pytest.raises(requests.ConnectionError):
                put(kvfake, "c")
            kvfake.faults.add(status=200)
            assert put(kvfake, "d").json() == {"changed": True}
            kvfake.faults.add(status=202)
            refused = requests.put(kvfake.mattermost.url_for("d"), data="no JSON", headers=kvfake.mattermost.headers)
            assert refused.status_code == 202
            kvfake.faults.add(status=500, when=lambda asked: 1 / 0)
            assert put(kvfake, "e").status_code == 500
            assert [key for key in "abcde" if key in kvfake.mattermost] == ["a", "c"]

        def test_routes(kvfake):
            assert requests.get(kvfake.url + "/api/v4/users/me").json() == {"username": "real"}
            kvfake.respond("POST", "/api/v4/posts", status=201)
            assert requests.post(kvfake.url + "/api/v4/posts").status_code == 201

        def test_reset(kvfake):
            put(kvfake, "a")
            kvfake.reset()
            assert "a" not in kvfake.mattermost

        def test_a_suite_s_own_double(kvfake_factory):
            put(kvfake_factory(), "of-the-session")

        def test_no_transport_is_needed(kvfake):
            session = requests.Session()
            session.mount(kvfake.url, kvfake.requests_adapter())
            assert session.get(kvfake.mattermost.url_for("no"), headers=kvfake.mattermost.headers).text == "{}"

        def test_a_stray(kvfake):
            root = re.sub("/~.*", "", kvfake.url)
            assert requests.get(root + "/api/v1/persist/kv", headers={"Authorization": "Bearer stray"}).status_code == 401
        """,
    )
    result.assert_outcomes(passed=7)
    assert nothing_is_left(real)


def test_a_project_is_emptied_where_a_test_says_so(real: Double, pytester: pytest.Pytester) -> None:
    """All of it, also what others have put there: that is what ``clear()`` means."""
    result = run_against(
        pytester,
        real,
        """
        def test_clear(kvfake):
            kvfake.persist["k"] = "v"
            kvfake.persist.clear()
            assert list(kvfake.persist) == []
        """,
    )
    result.assert_outcomes(passed=1)
    assert list(project_of(real)) == []


@pytest.mark.parametrize(
    ("power", "reason"),
    [
        ("kvfake.clock.freeze()", "clock cannot be set"),
        ("kvfake.clock.move_to(0)", "clock cannot be set"),
        ("kvfake.clock.shift(1)", "clock cannot be set"),
        ("kvfake.checkpoint()", "no checkpoints"),
        ("list(kvfake._world.store.prepare_rollback(1)) or kvfake._world.store.rollback(1)", "no checkpoints"),
        ("kvfake._world.keep_seed()", "not show all values of one moment"),
        ("kvfake._world.store.snapshot(('persist', 'project', b''))", "not show all values of one moment"),
        ("list(kvfake.mattermost)", "no request lists Mattermost's keys"),
        ("kvfake.dump()", "no request lists whose values there are"),
        ("kvfake.token('another', 'app/bot')", "knows its own tokens alone"),
        ("kvfake.mattermost.as_user('bob')['k'] = 1; kvfake.mattermost.as_user('ada')['k'] = 1", "MATTERMOST_USER_TOKEN"),
        ("kvfake.persist.project('other')['k'] = 'v'", "BEEPBOOP_TOKEN"),
        ("user = kvfake.mattermost.as_user; user('bob').token; "
         "assert requests.get(user('ada').url_for('k'), headers=user('ada').headers).ok", "MATTERMOST_USER_TOKEN"),
    ],
)  # fmt: skip
def test_an_unsupported_call_skips_the_test(real: Double, pytester: pytest.Pytester, power: str, reason: str) -> None:
    """With that reason; what the test had set is deleted even so."""
    result = run_against(
        pytester,
        real,
        f"""
        def test_power(kvfake):
            kvfake.mattermost["before"] = 1
            {power}
            raise AssertionError("not skipped")
        """,
    )
    result.assert_outcomes(skipped=1)
    assert reason in text_of(result)
    assert nothing_is_left(real)


def test_an_unsupported_call_in_a_fixture_or_a_marker_skips_too(real: Double, pytester: pytest.Pytester) -> None:
    """Whoever asks; a test that does without in the end has passed."""
    result = run_against(
        pytester,
        real,
        """
        @pytest.fixture
        def frozen(kvfake):
            kvfake.clock.freeze()

        def test_fixture(frozen): ...

        @pytest.mark.kvfake(token=["a=b/c"])
        def test_token(kvfake): ...

        @pytest.mark.kvfake(profile="documented")
        def test_profile(kvfake): ...

        @pytest.mark.kvfake(mattermost_missing="null")
        def test_missing(kvfake): ...

        @pytest.mark.kvfake(profile="plugin-1.2")
        def test_the_plugin_it_is(kvfake): ...

        def test_does_without(kvfake):
            with pytest.raises(Exception, match="clock"):
                kvfake.clock.freeze()

        def test_another_failure(kvfake):
            assert 0
        """,
    )
    result.assert_outcomes(skipped=4, passed=2, failed=1)


# ------------------------------------------------------------------------------------------------------- what can go wrong


def test_tokens_are_needed(real: Double, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a bot or of a project; a test that needs the other is skipped."""
    monkeypatch.delenv("MATTERMOST_BOT_TOKEN")
    suite = """
        def test_project(kvfake):
            kvfake.persist["k"] = "v"

        def test_bot(kvfake):
            kvfake.mattermost["k"] = "v"
        """
    result = run_against(pytester, real, suite)
    result.assert_outcomes(passed=1, skipped=1)
    assert "MATTERMOST_BOT_TOKEN" in text_of(result)
    monkeypatch.delenv("BEEPBOOP_TOKEN")
    result = run_against(pytester, real, suite)
    result.assert_outcomes(errors=2)
    assert "a real server knows real tokens alone: set MATTERMOST_BOT_TOKEN, BEEPBOOP_TOKEN or both" in text_of(result)
    assert "Traceback" not in text_of(result)


def test_workers_side_by_side_need_tokens_of_their_own(
    real: Double, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they are refused before the first test."""
    suite = """
        @pytest.mark.parametrize("number", range(4))
        def test_mine(kvfake, number):
            assert "k" not in kvfake.persist
            kvfake.persist["k"] = "v"
        """
    result = run_against(pytester, real, suite, "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "each needs tokens of its own; set MATTERMOST_BOT_TOKEN_GW0, BEEPBOOP_TOKEN_GW0 or both" in text_of(result)
    for worker in ("GW0", "GW1"):
        real.token(f"token-of-{worker}", f"project:{worker}")
        monkeypatch.setenv(f"BEEPBOOP_TOKEN_{worker}", f"token-of-{worker}")
    run_against(pytester, real, suite, "-n2").assert_outcomes(passed=4)
    assert {one.owner for one in real.journal if one.verb == "set"} == {"GW0", "GW1"}


def test_a_key_that_cannot_be_deleted_is_reported(real: Double, pytester: pytest.Pytester) -> None:
    """In one line, without a traceback: the key, and what the server answered."""
    real.faults.add(method="DELETE", status=503, times=None)
    result = run_against(
        pytester,
        real,
        """
        def test_left(kvfake):
            kvfake.mattermost["left"] = 1

        def test_of_the_session(kvfake_factory):
            kvfake_factory().mattermost["left-too"] = 1
        """,
    )
    result.assert_outcomes(passed=2, errors=2)
    assert re.search(r"1 keys may be left: DELETE /plugins/.*/kv/left was answered 503", text_of(result))


def test_a_mapping_says_what_the_real_server_answered(real: Double, pytester: pytest.Pytester) -> None:
    """Where it was not what the service answers."""
    real.faults.add(method="PUT", key="refused", status=503)
    real.faults.add(service="persist", method="GET", key="broken", status=200, body="no record", times=None)
    real.faults.add(service="persist", method="GET", status=200, body='{"no": "list"}', times=None)
    result = run_against(
        pytester,
        real,
        """
        def test_refused(kvfake):
            with pytest.raises(ValueError, match='prefix "ABC" is longer than the limit'):
                kvfake.mattermost.with_prefix("ABC")["k"] = 1
            with pytest.raises(RuntimeError, match="PUT .*/kv/refused was answered 503"):
                kvfake.mattermost["refused"] = 1
            with pytest.raises(RuntimeError, match="expected a record of Persist's, got 200 'no record'"):
                kvfake.persist["broken"]
            with pytest.raises(RuntimeError, match="expected a list of keys, got 200"):
                list(kvfake.persist)
        """,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(b"<!DOCTYPE html><html>Mattermost</html>"), "HTML"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/login\r\nContent-Length: 0\r\n\r\n", "elsewhere.example"),
        (b"220 ready\r\n", "HTTP"),
        (http(b"user ID is required: unauthorized\n", b"401 Unauthorized"), "token"),
        (http(b"", b"503 Service Unavailable"), "503"),
    ],
)
def test_a_server_that_is_no_store_is_reported_in_one_line(
    real: Double, pytester: pytest.Pytester, answer: bytes, words: str
) -> None:
    """Before the first test asks it anything, and without a traceback."""
    with stranger(answer) as url:
        result = run_against(pytester, url, "def test_it(kvfake): ...")
    result.assert_outcomes(errors=1)
    text = text_of(result)
    assert "Traceback" not in text
    assert re.search(rf"^E +.*{re.escape(url)}.*{words}|kvfake: .*{words}", text, re.MULTILINE), text


def test_a_dead_server_is_reported_in_one_line(real: Double, pytester: pytest.Pytester) -> None:
    """Likewise."""
    with url_of(dead_port()) as url:
        result = run_against(pytester, url, "def test_it(kvfake): ...")
    result.assert_outcomes(errors=1)
    assert "Connection refused" in text_of(result)
    assert "Traceback" not in text_of(result)


def test_wrong_settings_are_usage_errors(real: Double, pytester: pytest.Pytester, tmp_path: Path) -> None:
    """A URL that is none, a file that is none."""
    result = run_against(pytester, "not a url", "def test_it(kvfake): ...")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--kvfake-against: expected http(s)://host" in text_of(result)
    nothing = tmp_path / "nothing.pem"
    result = run_against(pytester, "https://127.0.0.1:1", "def test_it(kvfake): ...", "--kvfake-ca-file", str(nothing))
    result.assert_outcomes(errors=1)
    assert f"cannot take certificates from {nothing}: No such file" in text_of(result)


def test_the_header_says_what_is_real(real: Double, pytester: pytest.Pytester) -> None:
    """And shows no token."""
    result = run_against(pytester, real, "def test_it(kvfake): ...")
    assert f"against={real.url}" in text_of(result)
    assert BOT not in text_of(result)


def test_every_test_of_an_unsupported_fixture_is_skipped(real: Double, pytester: pytest.Pytester) -> None:
    """Not its first alone: pytest keeps what a fixture of a wider scope failed with."""
    result = run_against(
        pytester,
        real,
        """
        @pytest.fixture(scope="module")
        def double(kvfake_factory):
            double = kvfake_factory()
            double.clock.freeze()
            return double

        def test_first(double): ...

        def test_second(double): ...
        """,
    )
    result.assert_outcomes(skipped=2)
    assert text_of(result).count("clock cannot be set") >= 1
