"""The pytest plugin, as suites of other people use it: each test writes a small suite and runs it."""

from __future__ import annotations

import re

import pytest

from tests.support.suites import BOUND_SECONDS, INI, QUIET, run, run_process, section_of, text_of


@pytest.fixture(autouse=True)
def _a_clean_shell(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of kvfake, no option of pytest, no plugin that speaks up because it has no ini option."""
    for name in ("KVFAKE_URL", "KVFAKE_PORT", "KVFAKE_PROFILE", "KVFAKE_STRICT", "KVFAKE_TOKEN", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makefile(".ini", pytest=INI)


# ------------------------------------------------------------------------------------------------------------------- fixtures


def test_a_test_gets_both_services(pytester: pytest.Pytester) -> None:
    """The examples of INTERFACE.md: what an app writes is read in Python, what a test writes is there for the app."""
    pytester.makepyfile("""
        from datetime import datetime, timedelta, timezone
        import requests

        def test_the_bot_remembers_a_name(kvfake):
            site_url, token = kvfake.mattermost.site_url, kvfake.mattermost.token
            url = f"{site_url}/plugins/com.mattermost.apps/api/v1/kv/name"
            requests.post(url, headers={"Authorization": f"Bearer {token}"}, json="Ada")
            assert kvfake.mattermost["name"] == "Ada"

        def test_it_resumes(kvfake):
            kvfake.persist.json["convo::42"] = {"step": 2}
            found = requests.get(kvfake.persist.url_for("convo::42"), headers=kvfake.persist.headers).json()
            assert found["value"] == '{"step":2}'
            assert list(kvfake.persist) == ["convo::42"]
            assert datetime.now(timezone.utc) - kvfake.persist.updated("convo::42") < timedelta(seconds=30)

        def test_the_journal_knows(kvfake):
            requests.get(kvfake.mattermost.url_for("k"), headers=kvfake.mattermost.headers)
            assert kvfake.journal[-1].status == 200
    """)
    run(pytester, "-W", "error").assert_outcomes(passed=3)


def test_every_test_has_a_world_of_its_own(pytester: pytest.Pytester) -> None:
    """One server, but another address, other tokens, empty stores, an empty journal, and settings of its own."""
    pytester.makepyfile("""
        import pytest, requests
        from urllib.parse import urlsplit

        SEEN = []

        @pytest.mark.parametrize("turn", range(3))
        def test_it_is_new(kvfake, turn):
            assert not kvfake.mattermost and not kvfake.persist and not kvfake.journal
            assert "mattermost 0 keys, persist 0 keys, 0 exchanges" in repr(kvfake)
            kvfake.mattermost["k"] = kvfake.persist["k"] = "v"
            kvfake.token("mine", "app/bot")
            mine = requests.get(kvfake.mattermost.url_for("k"), headers={"Authorization": "Bearer mine"})
            assert mine.text == '"v"' and len(kvfake.journal) == 1
            SEEN.append((kvfake.url, kvfake.mattermost.token, kvfake.persist.token))

        @pytest.mark.kvfake(strict=False, profile="plugin-1.2")
        def test_also_in_its_settings(kvfake):
            assert requests.get(kvfake.mattermost.url_for("k"), headers={"Authorization": "Bearer mine"}).status_code == 200

        def test_what_another_set_does_not_stay(kvfake):
            assert requests.get(kvfake.mattermost.url_for("k"), headers={"Authorization": "Bearer mine"}).status_code == 401

        def test_on_one_server():
            for column in zip(*SEEN):
                assert len(set(column)) == 3
            assert len({urlsplit(url).netloc for url, _, _ in SEEN}) == 1
    """)
    run(pytester).assert_outcomes(passed=6)


def test_a_request_without_the_worlds_address_is_refused(pytester: pytest.Pytester) -> None:
    """A request to the bare server belongs to the world of its token, else to nobody: it is refused, named tokens too."""
    pytester.makepyfile("""
        import pytest, requests

        def ask(double, method, token):
            origin = double.url.partition("/~")[0]
            url = f"{origin}/plugins/com.mattermost.apps/api/v1/kv/k"
            return requests.request(method, url, headers={"Authorization": f"Bearer {token}"}, data=b"1")

        @pytest.mark.parametrize("turn", range(2))
        def test_it_is_refused(kvfake, turn):
            assert ask(kvfake, "GET", "a-token-of-its-own").status_code == 401
            assert ask(kvfake, "PUT", "a-token-of-its-own").status_code == 401
            assert ask(kvfake, "PUT", "named").status_code == 401
            assert ask(kvfake, "PUT", kvfake.mattermost.token).status_code == 200
            assert kvfake.mattermost == {"k": 1}
            named = requests.get(kvfake.mattermost.url_for("k"), headers={"Authorization": "Bearer named"})
            assert named.text == "1"
    """)
    run(pytester, "--kvfake-token", "named=app/bot").assert_outcomes(passed=2)


def test_a_second_double_in_a_test(pytester: pytest.Pytester) -> None:
    """``kvfake_factory()`` makes it, with settings as keywords, on the same server."""
    pytester.makepyfile("""
        import pytest, requests

        def test_two(kvfake, kvfake_factory):
            with kvfake_factory(strict=False) as other:
                kvfake.mattermost["k"] = 1
                assert "k" not in other.mattermost and other.url != kvfake.url
                strange = {"Authorization": "Bearer strange"}
                assert requests.get(other.mattermost.url_for("k"), headers=strange).status_code == 200
                assert requests.get(kvfake.mattermost.url_for("k"), headers=strange).status_code == 401
            assert requests.get(other.mattermost.url_for("k"), headers=other.mattermost.headers).status_code == 410

        def test_wrong_settings_say_what_is_possible(kvfake_factory):
            with pytest.raises(TypeError, match="profile, strict, token, mattermost_missing"):
                kvfake_factory(port=1)
            with pytest.raises(ValueError, match="documented, plugin-1.2"):
                kvfake_factory(profile="newest")
    """)
    run(pytester).assert_outcomes(passed=2)


def test_doubles_of_wider_scopes(pytester: pytest.Pytester) -> None:
    """A fixture of a module or of the session asks ``kvfake_factory``: what it holds stays between tests."""
    pytester.makeconftest("""
        import pytest

        @pytest.fixture(scope="session")
        def store(kvfake_factory):
            return kvfake_factory()

        @pytest.fixture(scope="module")
        def notes(kvfake_factory):
            with kvfake_factory() as double:
                yield double
    """)
    story = """
        import requests

        def test_first(store, notes, kvfake):
            assert "mine" not in notes.persist
            store.mattermost[__name__] = notes.persist["mine"] = "v"

        def test_second(store, notes, kvfake):
            assert __name__ in store.mattermost and notes.persist["mine"] == "v" and not kvfake.mattermost
            assert requests.get(notes.persist.url_for("mine"), headers=notes.persist.headers).json()["value"] == "v"

        def test_third(store):
            print(sorted(store.mattermost))
    """
    pytester.makepyfile(test_a=story, test_b=story)
    result = run(pytester, "-rP")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["['test_a']", "['test_a', 'test_b']"])


def test_the_environment_of_a_test(pytester: pytest.Pytester) -> None:
    """``kvfake_env`` sets what an app reads, for this test; afterwards it is as it was."""
    pytester.makepyfile("""
        import os, requests

        def test_set(kvfake, kvfake_env):
            assert {name: os.environ[name] for name in kvfake_env} == kvfake.env == kvfake_env
            assert "127.0.0.1" in os.environ["NO_PROXY"] and os.environ["MATTERMOST_SITE_URL"] == kvfake.url
            url = os.environ["BEEPBOOP_PERSIST_URL"] + "/persist/kv/k"
            requests.put(url, headers={"Authorization": f"Bearer {os.environ['BEEPBOOP_TOKEN']}"}, json={"value": "v"})
            assert kvfake.persist["k"] == "v"

        def test_unset():
            assert "KVFAKE_URL" not in os.environ and "BEEPBOOP_TOKEN" not in os.environ
    """)
    run(pytester).assert_outcomes(passed=2)


def test_classes_of_unittest(pytester: pytest.Pytester) -> None:
    """An autouse fixture puts the double on ``self``; a failing one has its report."""
    pytester.makepyfile("""
        import unittest, pytest, requests

        class TestBot(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _double(self, kvfake):
                self.kvfake = kvfake

            def setUp(self):
                self.kvfake.mattermost["set-up"] = True

            def test_one(self):
                self.assertEqual(list(self.kvfake.mattermost), ["set-up"])
                self.kvfake.mattermost["one"] = 1

            def test_two(self):
                requests.get(self.kvfake.mattermost.url_for("asked"))
                self.assertEqual(list(self.kvfake.mattermost), ["nothing"])
    """)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    assert section_of(result)[-1] == "mattermost of app/bot holds 1: set-up"


def test_a_double_that_is_requested_late(pytester: pytest.Pytester) -> None:
    """``getfixturevalue`` and the setup of another fixture get the same one; also there a failure is told."""
    pytester.makepyfile("""
        import pytest, requests

        @pytest.fixture
        def app(kvfake):
            requests.get(kvfake.mattermost.url_for("in-setup"))
            return kvfake

        def test_by_name(request, app):
            double = request.getfixturevalue("kvfake")
            assert double is app
            raise RuntimeError

        @pytest.fixture
        def broken_setup(app):
            raise RuntimeError

        def test_setup(broken_setup):
            pass

        @pytest.fixture
        def broken_teardown(kvfake):
            yield
            requests.get(kvfake.mattermost.url_for("in-teardown"))
            raise RuntimeError

        def test_teardown(broken_teardown):
            pass
    """)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1, errors=2)
    assert text_of(result).count("refused or unmatched:") == 3
    result.stdout.fnmatch_lines(
        ["*kv/in-setup by no token: 401", "*kv/in-teardown by no token: 401", "*kv/in-setup by no token: 401"]
    )


# -------------------------------------------------------------------------------------------------------- threads that live on

LATE = """
    import threading, pytest, requests

    GO, GONE, FOUND = threading.Event(), threading.Event(), []

    def write(double):
        url, headers = double.mattermost.url_for("late"), double.mattermost.headers
        origin = url.replace(double.url, double.url.partition("/~")[0])
        assert GO.wait(20)
        FOUND.extend(requests.put(address, headers=headers, data=b"1").status_code for address in (url, origin))
        GONE.set()

    def test_begins(kvfake):
        threading.Thread(target=write, args=[kvfake]).start()

    def test_goes_on(kvfake, kvfake_factory):
        with kvfake_factory() as other:
            GO.set()
            assert GONE.wait(20)
            assert FOUND == [410, 410]
            assert all("mattermost 0 keys, persist 0 keys, 0 exchanges" in repr(double) for double in (kvfake, other))
"""


@pytest.mark.parametrize("workers", [(), ("-n2", "--dist=loadfile")], ids=["alone", "xdist"])
def test_a_thread_that_outlives_its_test_is_refused(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """With 410, at its address and by its token; nothing lands elsewhere, and the session's summary says so."""
    pytester.makepyfile(LATE)
    result = run(pytester, *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([
        "*= kvfake =*",
        "asked of doubles whose test had ended, and refused*",
        "  PUT /~*-1/plugins/com.mattermost.apps/api/v1/kv/late (world *-1)",
        "  PUT /plugins/com.mattermost.apps/api/v1/kv/late (world *-1)",
        "*2 passed*",
    ])  # fmt: skip


def test_a_test_that_fails_meanwhile_reports_it(pytester: pytest.Pytester) -> None:
    """Its report has what came too late for others while it ran."""
    pytester.makepyfile(LATE + "\n            assert not 'this fails'")
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    section = section_of(result)
    assert section[0] == "asked of doubles that had ended, and refused:"
    assert section[-1] == "no request came"


def test_many_late_requests_make_a_short_summary(pytester: pytest.Pytester) -> None:
    """Twenty are shown, the rest is counted."""
    pytester.makepyfile("""
        import requests

        def test_late(kvfake_factory):
            with kvfake_factory() as double:
                url = double.url
            for number in range(30):
                assert requests.get(f"{url}/{number}{'x' * 1000}?access_token=secret").status_code == 410
    """)
    result = run(pytester)
    result.stdout.fnmatch_lines(["  GET /~*/19xxx*...", "  (and 10 more)"])
    assert "secret" not in text_of(result)


# --------------------------------------------------------------------------------------------- for those who do not use it


def test_a_suite_that_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    """Neither a server's library nor a module of kvfake but the plugin and the settings that are its options."""
    pytester.makeconftest("""
        import sys

        def pytest_unconfigure():
            loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("kvfake", "werkzeug", "httptools"))
            print("loaded:", *loaded)
    """)
    pytester.makepyfile("def test_it(): pass")
    for args in (["--co"], []):
        loaded = "loaded: kvfake kvfake.pytest_plugin kvfake.settings"
        run_process(pytester, "-p", "no:pytest_httpserver", *args).stdout.fnmatch_lines([loaded])


# ----------------------------------------------------------------------------------------------------------------------- time

ASK = """
    import freezegun, pytest, requests, time_machine
    from datetime import datetime, timedelta, timezone

    def updated(double, key="k"):
        requests.put(double.persist.url_for(key), headers=double.persist.headers, json={"value": "v"}, timeout=10)
        sent = requests.get(double.persist.url_for(key), headers=double.persist.headers, timeout=10).json()["updated"]
        assert f"{double.persist.updated(key):%Y-%m-%dT%H:%M:%S.%fZ}" == sent
        return sent
"""


def test_freezegun_decides_the_time(pytester: pytest.Pytester) -> None:
    """As a decorator and around a block, at whole seconds, ticked and moved: over the wire and in the mapping."""
    pytester.makepyfile(ASK + """
    @freezegun.freeze_time("2016-09-09 23:16:43")
    def test_decorated(kvfake):
        assert updated(kvfake) == "2016-09-09T23:16:43.000000Z"
        assert kvfake.persist.updated("k") == datetime(2016, 9, 9, 23, 16, 43, tzinfo=timezone.utc)

    def test_around_a_block(kvfake):
        with freezegun.freeze_time("2016-09-09 23:16:43") as frozen:
            assert updated(kvfake) == "2016-09-09T23:16:43.000000Z"
            frozen.tick(timedelta(microseconds=970_809))
            assert updated(kvfake) == "2016-09-09T23:16:43.970809Z"
            frozen.move_to("2000-01-01")
            assert updated(kvfake) == "2000-01-01T00:00:00.000000Z"
        assert updated(kvfake, "now") > "2020"

    @pytest.fixture
    def frozen():
        with freezegun.freeze_time("1999-12-31") as frozen:
            yield frozen

    def test_before_the_double(frozen, kvfake):
        assert updated(kvfake) == "1999-12-31T00:00:00.000000Z"
    """)  # fmt: skip
    for args in ([], ["-k", "before"]):
        assert run(pytester, *args).ret == 0


def test_time_machine_decides_the_time(pytester: pytest.Pytester) -> None:
    """Likewise, with its decorator, its fixture and its marker's standing clock."""
    pytester.makepyfile(ASK + """
    @time_machine.travel("1999-12-31 23:59:59Z", tick=False)
    def test_decorated(kvfake):
        assert updated(kvfake) == "1999-12-31T23:59:59.000000Z"

    def test_moved(kvfake, time_machine):
        time_machine.move_to("2016-09-09 23:16:43Z", tick=False)
        assert updated(kvfake) == "2016-09-09T23:16:43.000000Z"
        time_machine.shift(1)
        assert updated(kvfake) == "2016-09-09T23:16:44.000000Z"
    """)  # fmt: skip
    run(pytester, "-p", "time_machine").assert_outcomes(passed=2)


# ------------------------------------------------------------------------------------------------------------------- settings

SHOW = """
    import pytest

    def settings_of(double):
        settings = double._world.settings
        return settings["profile"], settings["strict"], tuple(settings["token"])

    def test_show(kvfake):
        print("settings:", *settings_of(kvfake))
"""


def shown(pytester: pytest.Pytester, *args: str) -> str:
    result = run(pytester, "-rP", *args)
    assert result.ret == 0, text_of(result)
    return next(line for line in result.stdout.lines if line.startswith("settings: ")).removeprefix("settings: ")


def test_each_source_wins_over_the_next(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marker, flag, environment, ``kvfake_settings``, ini option, default, which is to be strict."""
    pytester.makepyfile(SHOW)
    assert shown(pytester) == "documented True ()"
    ini = (
        INI
        + "    kvfake_profile = plugin-1.2\n    kvfake_strict = no\n    kvfake_token =\n        a=app/bot\n        b=project:p\n"
    )
    pytester.makefile(".ini", pytest=ini)
    assert shown(pytester) == "plugin-1.2 False ('a=app/bot', 'b=project:p')"
    pytester.makeconftest("""
        import pytest

        @pytest.fixture(scope="session")
        def kvfake_settings():
            return {"profile": "documented", "token": {"c": "/user"}}
    """)
    assert shown(pytester) == "documented False ('c=/user',)"
    monkeypatch.setenv("KVFAKE_PROFILE", "plugin-1.2")
    monkeypatch.setenv("KVFAKE_TOKEN", "d=app/bot e=app/user")
    assert shown(pytester) == "plugin-1.2 False ('d=app/bot', 'e=app/user')"
    flags = ["--kvfake-profile=documented", "--kvfake-strict", "--kvfake-token", "f=a/b", "--kvfake-token", "g=a/b"]
    assert shown(pytester, *flags) == "documented True ('f=a/b', 'g=a/b')"
    assert shown(pytester, *flags, "--kvfake-no-strict") == "documented False ('f=a/b', 'g=a/b')"
    assert shown(pytester, *flags, "--no-kvfake-strict") == "documented False ('f=a/b', 'g=a/b')"
    pytester.makepyfile(SHOW.replace("def test_", "@pytest.mark.kvfake(strict=False, token=['h=a/b'])\n    def test_"))
    assert shown(pytester, *flags) == "documented False ('h=a/b',)"


def test_the_closest_marker_wins(pytester: pytest.Pytester) -> None:
    """Of a module, a class and a test; what one does not say the next one says."""
    pytester.makepyfile(SHOW.replace("print", "return print") + """
    pytestmark = pytest.mark.kvfake(profile="plugin-1.2", token=["m=a/b"])

    def test_module(kvfake):
        assert settings_of(kvfake) == ("plugin-1.2", True, ("m=a/b",))

    @pytest.mark.kvfake(strict=False, token=["c=a/b"])
    class TestClass:
        def test_class(self, kvfake):
            assert settings_of(kvfake) == ("plugin-1.2", False, ("c=a/b",))

        @pytest.mark.kvfake(profile="documented", strict=True)
        def test_test(self, kvfake):
            assert settings_of(kvfake) == ("documented", True, ("c=a/b",))
    """)  # fmt: skip
    run(pytester, "-k", "not show", "--strict-markers").assert_outcomes(passed=3, deselected=1)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (
            "profil='documented'",
            "'profil' is not a setting here; there are: profile, strict, token, mattermost_missing, ",
        ),
        (
            "port=1",
            "'port' is not a setting here; there are: profile, strict, token, mattermost_missing, ",
        ),
        ("profile='newest'", "profile: expected one of documented, plugin-1.2, got 'newest'"),
        ("token=['x']", "token: a text of 1 character is not TOKEN=OWNER, such as my-token=app/bot or my-token=project:project"),
        (
            "'plugin-1.2'",
            "takes settings by name (profile, strict, token, mattermost_missing, ",
        ),
    ],
)
def test_a_wrong_marker_is_an_error_that_says_what_is_possible(pytester: pytest.Pytester, marker: str, words: str) -> None:
    """In one line, without a traceback."""
    pytester.makepyfile(f"import pytest\n\n@pytest.mark.kvfake({marker})\ndef test_it(kvfake): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert words in text_of(result)
    assert "During handling" not in text_of(result)
    assert "pytest_plugin.py" not in text_of(result)


@pytest.mark.parametrize(
    ("args", "variable", "words"),
    [
        (["--kvfake-profile=x"], "", "kvfake: --kvfake-profile: expected one of documented, plugin-1.2, got 'x'"),
        (["--kvfake-token=x"], "", "kvfake: --kvfake-token: a text of 1 character is not TOKEN=OWNER"),
        ([], "KVFAKE_STRICT", "kvfake: KVFAKE_STRICT: expected one of 1, true, yes, on, 0, false, no, off, got 'x'"),
        (
            ["-o", "kvfake_mattermost_missing=x"],
            "",
            "kvfake: kvfake_mattermost_missing: expected one of object, null, 404, got 'x'",
        ),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_names_its_source(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, args: list[str], variable: str, words: str
) -> None:
    """Exit code 4, before a test is collected."""
    pytester.makepyfile(SHOW)
    if variable:
        monkeypatch.setenv(variable, "x")
    result = run(pytester, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in text_of(result)


def test_wrong_settings_of_a_conftest_name_their_source(pytester: pytest.Pytester) -> None:
    """``kvfake_settings`` is heard when the first test asks; every test that asks then says why it cannot run."""
    pytester.makeconftest("""
        import pytest

        @pytest.fixture(scope="session")
        def kvfake_settings():
            return {"profil": "documented"}
    """)
    pytester.makepyfile(SHOW)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert "kvfake_settings: 'profil' is not a setting here; there are: host, port," in text_of(result)


def test_the_header_has_a_line_only_when_something_was_set(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then it counts the tokens."""
    pytester.makepyfile(SHOW)
    assert "kvfake: " not in text_of(run(pytester))
    monkeypatch.setenv("KVFAKE_PORT", "1")
    assert "kvfake: " not in text_of(run(pytester))
    monkeypatch.setenv("KVFAKE_TOKEN", "secret-one=a/b secret-two=a/b")
    result = run(pytester, "--kvfake-profile=plugin-1.2", "--kvfake-strict")
    result.stdout.fnmatch_lines(["kvfake: profile=plugin-1.2, strict=True, token=2 declared"])
    assert "secret" not in text_of(result)


def test_pytest_shows_options_markers_and_fixtures(pytester: pytest.Pytester) -> None:
    """``--markers``, ``--help`` and ``--fixtures`` show signatures, values and sentences."""
    run(pytester, "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.kvfake(**settings): settings for the services of this test: profile, strict, token, mattermost_missing*."]
    )
    run(pytester, "--help").stdout.fnmatch_lines([
        "a double of the Mattermost Apps key-value store and of Beep Boop Persist:",
        "*--kvfake-profile=documented|plugin-1.2",
        "*--kvfake-strict*reject tokens*",
        "*--kvfake-no-strict, --no-kvfake-strict",
        "*--kvfake-token=TOKEN=OWNER",
        "*--kvfake-mattermost-missing=object|null|404",
        "*kvfake_profile (string):*",
        "*kvfake_token (linelist):*",
    ])  # fmt: skip
    run(pytester, "--fixtures").stdout.fnmatch_lines_random([
        "kvfake_settings [[]session scope[]] -- *",
        "kvfake_factory [[]session scope[]] -- *",
        "kvfake -- *",
        "    Each test that uses this fixture gets its own empty services*",
        "kvfake_env -- *",
    ])  # fmt: skip


# -------------------------------------------------------------------------------------------------------------------- reports

TALK = """
    import requests

    def talk(double):
        bot = double.mattermost
        requests.put(bot.url_for("name"), headers=bot.headers, data=b'"Ada"')
        requests.put(double.persist.url_for("k"), headers=double.persist.headers, json={"value": "v"})
        requests.get(double.persist.url_for("absent"), headers=double.persist.headers)
        requests.get(bot.url_for("name"))
        requests.get(bot.url_for("name"), headers={"Authorization": "Bearer a-token-of-another-project"})
        requests.get(bot.url_for("name") + "?access_token=" + bot.token)
        requests.get(bot.url_for("name"), headers={"Cookie": "MMAUTHTOKEN=" + bot.token})
        requests.get(double.url + "/api/v4/posts")
        requests.get(double.url.partition("/~")[0] + "/api/v4/users")

    def secrets(double):
        return [double.mattermost.token, double.persist.token, "a-token-of-another-project"]

    def leave(double):
        with open("secrets.txt", "w") as file:
            file.write(" ".join(secrets(double)))
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_failing_test_shows_its_requests(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """Refusals first, then every exchange in its order, then what the stores hold."""
    pytester.makepyfile(TALK + """
    def test_it(kvfake):
        talk(kvfake)
        leave(kvfake)
        raise AssertionError
    """)  # fmt: skip
    result = run(pytester, "--tb=short", *workers)
    result.assert_outcomes(failed=1)
    section = section_of(result)
    kv, persist = "/plugins/com.mattermost.apps/api/v1/kv", "/api/v1/persist/kv"
    path = re.search("/~[^)]*", "".join(section))[0]  # type: ignore[index]
    assert [line for line in section if not line.startswith("    ")] == [
        "refused or unmatched:",
        f"  GET {kv}/name by no token: 401",
        f"  GET {kv}/name by a token that is not known (Bearer a-to...): 401",
        "  GET /api/v4/posts by no token: 404",
        "mattermost refused a token that it does not know: give the app kvfake.mattermost.token, or declare its own with token= or "
        "--kvfake-token TOKEN=OWNER (strict=False accepts any)",
        "nothing answers these; to answer one, write:",
        '  kvfake.respond("GET", "/api/v4/posts", ...)',
        f"these requests missed this test: they lack the path of its site URL ({path}), and its tokens:",
        "  GET /api/v4/users by no token: 404",
        "5 other exchanges:",
        f"  PUT {kv}/name by app/bot: 200",
        f"  PUT {persist}/k by project: 200",
        f"  GET {persist}/absent by project: 404",
        f"  GET {kv}/name?access_token=... by app/bot: 200",
        f"  GET {kv}/name by app/bot: 200",
        "mattermost of app/bot holds 1: name",
        "persist of project holds 1: k",
    ]
    assert section[section.index(f"  PUT {kv}/name by app/bot: 200") + 1 :][:2] == ['    > "Ada"', '    < {"changed":true}']
    for secret in (pytester.path / "secrets.txt").read_text().split():
        assert secret not in text_of(result)


WRONG_TOKEN = """
    import kvfake as library
    import pytest, requests

    def ask(double, token="a-wrong-token"):
        bearer = {"Authorization": f"Bearer {token}"}
        return [requests.get(service.url_for("k"), headers=bearer).status_code for service in (double.mattermost, double.persist)]
"""


def test_a_wrong_token_fails_the_test_and_the_report_says_which(pytester: pytest.Pytester) -> None:
    """It gets the 401 of the services, from every double. The report shows its beginning, and says what to use."""
    pytester.makepyfile(WRONG_TOKEN + """
    def test_it(kvfake):
        assert ask(kvfake) == [200, 404]

    def test_a_double_of_the_factory(kvfake_factory):
        assert ask(kvfake_factory(profile="plugin-1.2")) == [401, 401]

    def test_named(kvfake):
        kvfake.token("a-wrong-token", "app/bot")
        assert ask(kvfake) == [200, 401]
    """)  # fmt: skip
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=2)
    section = section_of(result)
    assert section[1] == "  GET /plugins/com.mattermost.apps/api/v1/kv/k by a token that is not known (Bearer a-wr...): 401"
    for service in ("mattermost", "persist"):
        assert (
            f"{service} refused a token that it does not know: give the app kvfake.{service}.token, or declare its own with "
            "token= or --kvfake-token TOKEN=OWNER (strict=False accepts any)"
        ) in section


def test_the_report_says_where_an_unknown_token_was(pytester: pytest.Pytester) -> None:
    """In a cookie or in the query it is hidden whole. A request without a token gets no advice."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            url = kvfake.mattermost.url_for("k")
            requests.get(url, headers={"Cookie": "MMAUTHTOKEN=a-wrong-token"})
            requests.get(url + "?access_token=a-wrong-token")
            assert not kvfake.journal

        def test_without(kvfake):
            requests.get(kvfake.mattermost.url_for("k"))
            assert not kvfake.journal
    """)
    with_token, without = (run(pytester, "-k", name) for name in ("test_it", "test_without"))
    lines = section_of(with_token)
    assert [line.partition(" by ")[2] for line in lines if " by " in line][:2] == [
        "a token that is not known (a cookie): 401",
        "a token that is not known (access_token): 401",
    ]
    assert "a-wrong-token" not in "".join(lines)
    assert "refused a token" in "".join(lines)
    assert "refused a token" not in "".join(section_of(without))


def test_a_wrong_token_at_a_wrong_address_is_told(pytester: pytest.Pytester) -> None:
    """A request that no double got is shown, with what to use."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            root = kvfake.url.partition("/~")[0]
            path = kvfake.mattermost.url_for("k").removeprefix(kvfake.url)
            requests.get(root + path, headers={"Authorization": "Bearer a-wrong-token"})
            assert not kvfake.journal and False
    """)
    lines = section_of(run(pytester))
    assert lines[0].startswith("these requests missed this test: they lack the path of its site URL (/~")
    assert lines[1].endswith("by a token that is not known (Bearer a-wr...): 401")
    assert lines[3].startswith("mattermost refused a token that it does not know: give the app kvfake.mattermost.token")


@pytest.mark.parametrize("way", ["flag", "variable", "ini", "fixture", "marker"])
def test_a_suite_can_accept_any_token(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """By each form of the setting. Where one was accepted a warning names the row: the real services would have refused it."""
    pytester.makepyfile(WRONG_TOKEN + f"""
    @pytest.mark.kvfake({"strict=False" if way == "marker" else ""})
    def test_it(kvfake):
        assert ask(kvfake) == [200, 404]
        assert [exchange.rows for exchange in kvfake.journal] == [("M11",), ("P14",)]
    """)  # fmt: skip
    if way == "variable":
        monkeypatch.setenv("KVFAKE_STRICT", "0")
    if way == "ini":
        pytester.makefile(".ini", pytest=INI + "    kvfake_strict = no\n")
    if way == "fixture":
        pytester.makeconftest('import pytest\n@pytest.fixture(scope="session")\ndef kvfake_settings(): return {"strict": False}')
    result = run(pytester, *(["--kvfake-no-strict"] if way == "flag" else []))
    result.assert_outcomes(passed=1, warnings=2)
    text = "GET /plugins/com.mattermost.apps/api/v1/kv/k had an unknown token, which the service would have refused"
    assert f"FidelityWarning: M11: {text}" in text_of(result)
    assert "FidelityWarning: P14: GET /api/v1/persist/kv/k had an unknown token" in text_of(result)


def test_a_double_is_in_the_reports_of_the_tests_that_made_or_asked_it(pytester: pytest.Pytester) -> None:
    """And in no other, also where only its mappings were used before."""
    pytester.makepyfile("""
        import pytest, requests

        @pytest.fixture(scope="module")
        def shared(kvfake_factory):
            double = kvfake_factory()
            double.mattermost["name"] = "Ada"
            return double

        def test_makes(shared):
            assert shared.mattermost["name"] == "Eve"

        def test_another():
            assert False

        def test_asks(shared):
            requests.get(shared.mattermost.url_for("name"), headers=shared.mattermost.headers)
            assert False
    """)
    assert "mattermost of app/bot holds 1: name" in section_of(run(pytester, "-k", "makes"))
    result = run(pytester)
    result.assert_outcomes(failed=3)
    reports = text_of(result).partition("= FAILURES =")[2].split("___ test_")
    assert ["holds 1: name" in report for report in reports[1:]] == [True, False, True]


def test_the_double_of_a_wrong_fault_marker_ends(pytester: pytest.Pytester) -> None:
    """Its world is not there for the next test, nor in its report."""
    pytester.makepyfile("""
        import pytest, requests

        @pytest.mark.kvfake_fault(status="soon")
        def test_wrong(kvfake):
            pass

        def test_next(kvfake):
            worlds = requests.get(kvfake.url.partition("/~")[0] + "/_kvfake/worlds").json()["worlds"]
            assert [world["address"] for world in worlds[1:]] == [kvfake.url]
    """)
    run(pytester).assert_outcomes(errors=1, passed=1)


def test_a_report_is_of_one_test(pytester: pytest.Pytester) -> None:
    """What an earlier test asked, of its double or of none, is not in it."""
    pytester.makepyfile(TALK + """
    def test_first(kvfake):
        talk(kvfake)

    def test_second(kvfake):
        requests.get(kvfake.url + "/api/v4/teams")
        raise AssertionError
    """)  # fmt: skip
    result = run(pytester, "-p", "no:randomly", "--tb=short")
    result.assert_outcomes(passed=1, failed=1)
    asked = [line for line in section_of(result) if line.startswith(("  GET ", "  PUT "))]
    assert asked == ["  GET /api/v4/teams by no token: 404"]


def test_a_passing_test_prints_nothing(pytester: pytest.Pytester) -> None:
    """Not even when everything is shown."""
    pytester.makepyfile(TALK + "\n    def test_it(kvfake):\n        talk(kvfake)")
    result = run(pytester, "-rA")
    result.assert_outcomes(passed=1)
    assert "refused" not in text_of(result)
    assert "/~" not in text_of(result)


def test_a_report_is_bounded(pytester: pytest.Pytester) -> None:
    """Many exchanges, long bodies, long paths, long keys, many stores: a page, of lines that a terminal can show."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            headers = kvfake.mattermost.headers
            with requests.Session() as session:
                for number in range(100):
                    session.put(kvfake.mattermost.url_for(f"k{number}"), headers=headers, json="x" * 5000)
                    session.get(kvfake.mattermost.url_for("k" * 5000))
                session.put(kvfake.mattermost.url_for("e"), headers=headers, data=b'[\\n"\\x1b[31m\\xff"]\\n')
            for number in range(100):
                kvfake.persist.project(f"p{number}")["k"] = "v"
                kvfake.mattermost.as_user(f"u{number}")["k" * 40] = 1
            kvfake.persist["k" * 5000] = "v"
            raise AssertionError
    """)
    result = run(pytester)
    section = section_of(result)
    result.assert_outcomes(failed=1)
    assert "  (71 earlier ones)" in section
    assert "71 other exchanges:" not in section
    assert "100 other exchanges:" in section
    assert "  (70 earlier ones)" in section
    assert len(section) < 250
    assert max(map(len, section)) < 1000
    assert all(line.isprintable() for line in section)
    assert '    > [\\n"\\x1b[31m\\xff"]' in section
    assert section[-1].endswith("more stores)")


def test_a_failing_test_without_requests_says_so(pytester: pytest.Pytester) -> None:
    """An app that never came is the first thing to know."""
    pytester.makepyfile("def test_it(kvfake):\n    assert not kvfake")
    assert section_of(run(pytester)) == ["no request came"]


KIND = """
    import pytest, requests, threading

    def be_kind(double):
        for value in (b"1", b"1", b"1"):
            requests.put(double.mattermost.url_for("k"), headers=double.mattermost.headers, data=value)
        requests.put(double.mattermost.url + "/long/k", headers=double.mattermost.headers, data=b"1")

    def test_one(kvfake):
        be_kind(kvfake)

    def test_two(kvfake):
        be_kind(kvfake)
"""


def test_a_fidelity_warning_comes_once_for_each_row_and_test(pytester: pytest.Pytester) -> None:
    """At the place of the test, with what the plugin does and where to read on. A filter makes it an error of the test."""
    pytester.makepyfile(KIND)
    result = run(pytester)
    result.assert_outcomes(passed=2, warnings=4)
    for row in ("M15", "M17"):
        assert text_of(result).count(f"FidelityWarning: {row}: PUT ") == 2
    for line, test in ((8, "test_one"), (11, "test_two")):
        assert text_of(result).count(f".py:{line}: FidelityWarning: M") == text_of(result).count(f"  def {test}(kvfake):\n") == 2
    assert (
        "M17: PUT /plugins/com.mattermost.apps/api/v1/kv/k: the plugin answers otherwise: changed is true for every set that "
        "succeeds, also of an equal value; see kvfake explain M17; --kvfake-profile plugin-1.2 answers as it does"
    ) in text_of(result)
    strict = run(pytester, "-W", "error::kvfake.FidelityWarning")
    strict.assert_outcomes(failed=2)
    assert text_of(strict).count("[kinder than the service: M15]") == 2
    run(pytester, "-W", "error::kvfake.FidelityWarning", "--kvfake-profile=plugin-1.2").assert_outcomes(passed=2)
    ignoring = run(pytester, "-W", "ignore::kvfake.FidelityWarning")
    assert "FidelityWarning: M" not in text_of(ignoring)


def test_a_marker_may_make_fidelity_warnings_errors(pytester: pytest.Pytester) -> None:
    """``filterwarnings`` for one test, also under pytest-xdist."""
    forbid = '@pytest.mark.filterwarnings("error::kvfake.FidelityWarning")\n    def test_two'
    pytester.makepyfile(KIND.replace("def test_two", forbid))
    for workers in ([], ["-n2"]):
        run(pytester, *workers).assert_outcomes(passed=1, failed=1, warnings=2)


def test_a_test_may_expect_a_fidelity_warning(pytester: pytest.Pytester) -> None:
    """It comes before the answer does, so ``pytest.warns`` around the request sees it, and ``recwarn``."""
    pytester.makepyfile(KIND.partition("    def test_one")[0] + """
    import kvfake as library

    @pytest.fixture(scope="session")
    def shared(kvfake_factory):
        return kvfake_factory()

    def test_warns(shared):
        with pytest.warns(library.FidelityWarning, match="M17"), pytest.warns(library.FidelityWarning, match="M15"):
            be_kind(shared)

    def test_recwarn(shared, recwarn):
        be_kind(shared)
        assert [str(one.message)[:3] for one in recwarn] == ["M17", "M15"]
        assert {one.filename for one in recwarn} == {__file__}

    def test_in_a_thread(shared):
        thread = threading.Thread(target=be_kind, args=[shared])
        with pytest.warns(library.FidelityWarning, match="M17"):
            thread.start()
            thread.join()
    """)  # fmt: skip
    run(pytester).assert_outcomes(passed=3, warnings=1)


def test_an_app_gets_its_answer_where_a_fidelity_warning_is_an_error(pytester: pytest.Pytester) -> None:
    """The test fails at its end, and not the server's thread; in a teardown it is an error of the teardown."""
    pytester.makepyfile(KIND + """
    @pytest.fixture
    def kind_at_the_end(kvfake):
        yield
        be_kind(kvfake)

    def test_three(kvfake):
        be_kind(kvfake)
        assert kvfake.journal[-1].status == 200
        print("the end")

    def test_teardown(kind_at_the_end):
        pass
    """)  # fmt: skip
    result = run(pytester, "-W", "error::kvfake.FidelityWarning", "-k", "three or teardown")
    result.assert_outcomes(passed=1, failed=1, errors=1, deselected=2)
    result.stdout.fnmatch_lines(["the end"])
    assert "Traceback" not in text_of(result)


def test_between_two_tests_nobody_is_warned(pytester: pytest.Pytester) -> None:
    """What a thread asks then belongs to no test."""
    pytester.makeconftest("""
        import pytest, requests

        DOUBLES = []

        @pytest.fixture(scope="session")
        def shared(kvfake_factory):
            DOUBLES.append(kvfake_factory())
            return DOUBLES[0]

        def pytest_runtest_logfinish(nodeid):
            if nodeid.endswith("test_one"):
                store = DOUBLES[0].mattermost
                print("asked:", requests.put(store.url + "/long/k", headers=store.headers, data=b"1").status_code)
    """)
    pytester.makepyfile("def test_one(shared): pass\n\ndef test_two(shared): pass")
    result = run(pytester, "-s")
    result.assert_outcomes(passed=2, warnings=0)
    result.stdout.fnmatch_lines(["*asked: 200*"])


def test_a_marker_without_the_fixture_is_told(pytester: pytest.Pytester) -> None:
    """Once a test, at its place. One of a class or a module is for those of its tests that use the fixture."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kvfake_fault(status=503)
        @pytest.mark.kvfake(profile="plugin-1.2")
        def test_idle():
            pass

        @pytest.mark.kvfake_fault(status=503)
        def test_idle_and_fails():
            assert False

        @pytest.mark.kvfake(profile="plugin-1.2")
        def test_late(request):
            request.getfixturevalue("kvfake")

        @pytest.mark.kvfake(profile="plugin-1.2")
        class TestAll:
            def test_uses(self, kvfake): pass
            def test_does_not(self): pass
    """)
    result = run(pytester)
    result.assert_outcomes(passed=4, failed=1, warnings=2)
    text = "PytestWarning: @pytest.mark.kvfake has no effect: the test does not use the fixture kvfake"
    assert text_of(result).count(text) == 1
    run(pytester, "-W", "error::pytest.PytestWarning").assert_outcomes(passed=3, failed=2)


def test_the_report_says_how_to_answer_what_nothing_answers(pytester: pytest.Pytester) -> None:
    """Each request once, and with whose token it came."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            for headers in (kvfake.mattermost.headers, kvfake.mattermost.headers, kvfake.persist.headers):
                requests.post(kvfake.url + "/api/v4/posts?page=1", headers=headers)
            assert [exchange.owner for exchange in kvfake.journal] == []
    """)
    section = section_of(run(pytester))
    assert "  POST /api/v4/posts?page=1 by app/bot: 404" in section
    first = section.index("nothing answers these; to answer one, write:")
    assert section[first + 1 : first + 3] == [
        '  kvfake.respond("POST", "/api/v4/posts", ...)  # asked with the bot\'s token',
        '  kvfake.respond("POST", "/api/v4/posts", ...)  # asked with the token of project',
    ]


def test_the_report_of_what_nothing_answers_shows_no_token(pytester: pytest.Pytester) -> None:
    """A path may hold one, as that of a webhook does."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            requests.post(kvfake.url + "/hooks/" + kvfake.mattermost.token)
            assert False, f"the token is {kvfake.mattermost.token}"
    """)
    result = run(pytester)
    token = next(line.split()[-1] for line in result.outlines if "the token is" in line and "kvfake." not in line)
    assert len(token) == 26
    section = section_of(result)
    assert f'  kvfake.respond("POST", "/hooks/{token[:4]}...", ...)' in section
    assert token not in "".join(section)


def test_the_report_tells_of_an_app_that_drops_the_path_of_its_site_url(pytester: pytest.Pytester) -> None:
    """Its token finds the world, so it works here; a real Mattermost below a path would not answer."""
    pytester.makepyfile("""
        import requests

        def test_it(kvfake):
            root = kvfake.url.partition("/~")[0]
            for path in (kvfake.mattermost.url_for("k").removeprefix(kvfake.url), "/api/v4/posts"):
                requests.get(root + path, headers=kvfake.mattermost.headers)
            assert not kvfake.journal, kvfake.url

        def test_that_keeps_it(kvfake):
            requests.get(kvfake.mattermost.url_for("k"), headers=kvfake.mattermost.headers)
            assert not kvfake.journal
    """)
    told = "requests came without /~*-1, the path of the site URL: a real Mattermost below a path refuses them"
    result = run(pytester, "-k", "it and not keeps")
    result.stdout.fnmatch_lines([told])
    assert "requests came without" not in text_of(run(pytester, "-k", "keeps"))


def test_the_report_names_a_proxy_where_no_request_came(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its variable, without its value; not where NO_PROXY has the double's host, as ``kvfake_env`` sets it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy.example")
    pytester.makepyfile("def test_it(kvfake): assert 0\n\ndef test_with_env(kvfake, kvfake_env): assert 0")
    result = run(pytester, "-k", "test_it")
    told = "HTTP_PROXY is set: requests may have gone there; the fixture kvfake_env sets NO_PROXY, or unset HTTP_PROXY"
    assert section_of(result) == ["no request came", told]
    assert "secret" not in text_of(result)
    assert section_of(run(pytester, "-k", "with_env")) == ["no request came"]


def test_a_fixture_of_wider_scope_is_pointed_to_the_factory(pytester: pytest.Pytester) -> None:
    """Pytest's own error, and beside it a section that names what to ask for."""
    pytester.makepyfile("""
        import pytest

        @pytest.fixture(scope="session")
        def store(kvfake):
            return kvfake

        @pytest.fixture(scope="module")
        def variables(kvfake_env):
            return kvfake_env

        @pytest.fixture(scope="module")
        def other(tmp_path):
            return tmp_path

        def test_store(store): pass
        def test_variables(variables): pass
        def test_other(other): pass
    """)
    result = run(pytester)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        ["ScopeMismatch: You tried to access the function scoped fixture kvfake with a session scoped request*", "*- kvfake -*"]
    )
    assert text_of(result).count("for a wider scope use the fixture kvfake_factory") == 2


# ------------------------------------------------------------------------------------------------------------ when it is over


def test_a_session_leaves_nothing_behind(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread, no open socket, no warning; kept-alive connections of a client included."""
    pytester.makeconftest("""
        import gc, socket, threading

        def pytest_unconfigure():
            gc.collect()
            print("threads:", [thread.name for thread in threading.enumerate()])
            print("sockets:", [one for one in gc.get_objects() if isinstance(one, socket.socket) and one.fileno() != -1])
    """)
    pytester.makepyfile("""
        import pytest, requests

        @pytest.fixture(scope="session")
        def session():
            with requests.Session() as session:
                yield session

        @pytest.mark.parametrize("turn", range(5))
        def test_it(kvfake, kvfake_factory, session, turn):
            assert session.get(kvfake.mattermost.url_for("k"), headers=kvfake.mattermost.headers).status_code == 200
            assert session.get(kvfake.url + "/_kvfake/health").status_code == 200
            kvfake_factory()
    """)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.run(
        *(pytester._getpytestargs()[0], "-X", "dev", "-W", "error", "-m", "pytest", "-p", "kvfake", *QUIET, "-W", "error"),
        timeout=BOUND_SECONDS,
    )
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["threads: [[]'MainThread'[]]", "sockets: [[][]]"])
    assert result.stderr.str() == ""


@pytest.mark.once
def test_a_thousand_tests_leave_memory_where_it_was(pytester: pytest.Pytester) -> None:
    """What a test stored and asked goes with it."""
    pytester.makepyfile("""
        import gc, resource, pytest, requests, weakref

        HELD, DOUBLES = {}, weakref.WeakSet()

        @pytest.fixture(scope="session")
        def session():
            with requests.Session() as session:
                yield session

        @pytest.mark.parametrize("turn", range(1000))
        def test_it(kvfake, kvfake_env, kvfake_factory, session, turn):
            for number in range(3):
                kvfake.mattermost[f"k{number}"] = "x" * 8000
                kvfake.persist[f"k{number}"] = "x" * 8000
            session.get(kvfake.mattermost.url_for("k0"), headers=kvfake.mattermost.headers)
            with kvfake_factory() as other:
                other.persist["k"] = "x" * 8000
            DOUBLES.update([kvfake, other])
            if turn in (100, 999):
                gc.collect()
                HELD[turn] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                assert len(DOUBLES) < 10

        def test_memory():
            grown = HELD[999] - HELD[100]
            assert grown < 15, f"{grown} MB more: all together they stored 56"
    """)
    result = run_process(pytester, "-q")
    result.assert_outcomes(passed=1001)


# ------------------------------------------------------------------------------------------------- doubles of a wider scope

SHARED = """
    import pytest, requests

    @pytest.fixture(scope="session")
    def shared(kvfake_factory):
        with kvfake_factory(token=["named-token-of-a-user=app/bot"]) as double:
            yield double

    def put(double, value, prefix="p"):
        requests.put(double.mattermost.with_prefix(prefix).url_for("k"), json=value, headers=double.mattermost.headers)

    def test_before(shared):
        put(shared, "before")

    def test_fails(shared, kvfake_factory):
        put(shared, {"mine": shared.mattermost.token, "its": "named-token-of-a-user"})
        second = kvfake_factory()
        second.close()
        assert 0

    def test_is_kind(shared):
        put(shared, 1, "my-app")

    def test_after():
        assert 0
"""


def test_a_shared_double_is_in_the_report_of_the_test_that_used_it(pytester: pytest.Pytester) -> None:
    """With what that test asked, and no token whole, also in a body; a test that asked nothing has no section."""
    pytester.makepyfile(SHARED)
    result = run(pytester, "-k", "not kind")
    result.assert_outcomes(passed=1, failed=2, deselected=1)
    section = "\n".join(section_of(result))
    assert "before" not in section
    assert "1 exchange:" in section
    assert "named-token-of-a-user" not in section
    assert '"its": "name..."' in section
    assert "no request came" in section  # of the second double


def test_a_shared_double_warns_too(pytester: pytest.Pytester) -> None:
    """The test that relied on kindness, and no other."""
    pytester.makepyfile(SHARED)
    result = run(pytester, "-k", "kind or before", "-W", "error::kvfake.FidelityWarning")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*kvfake.FidelityWarning: M15: PUT *"])
