"""The plugin in a checkout and in an installation: both ways to load it, and a project's file of the same name."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USES_THE_FIXTURE = "def test_it(kvfake):\n    assert kvfake.url\n"

in_a_checkout = pytest.mark.skipif(not (ROOT / "conftest_plugin.py").exists(), reason="the wheel is tested: it has no such file")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite with one test that uses the fixture, in a process of its own beside this checkout."""
    pytester.makepyfile(USES_THE_FIXTURE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


@in_a_checkout
@pytest.mark.parametrize("is_installed_plugin_loaded", [True, False])
def test_a_checkout_is_named_on_the_command_line(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, is_installed_plugin_loaded: bool
) -> None:
    """Beside the installed plugin, which pytest loads by itself, and without it."""
    if not is_installed_plugin_loaded:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.runpytest_subprocess("-p", "conftest_plugin").assert_outcomes(passed=1)


@in_a_checkout
@pytest.mark.parametrize("is_installed_plugin_loaded", [True, False])
def test_a_checkout_is_named_in_a_conftest(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, is_installed_plugin_loaded: bool
) -> None:
    """In the same two cases."""
    if not is_installed_plugin_loaded:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.makeconftest('pytest_plugins = ["conftest_plugin"]')
    suite.runpytest_subprocess().assert_outcomes(passed=1)


@in_a_checkout
@pytest.mark.parametrize("other", ["kvfake", "kvfake.pytest_plugin"])
def test_a_checkout_that_is_named_twice(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """The plugin is registered once."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.runpytest_subprocess("-p", other, "-p", "conftest_plugin").assert_outcomes(passed=1)


def test_a_project_with_a_conftest_plugin_of_its_own_names_the_plugin_itself(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-p kvfake.pytest_plugin`` does what the file of the checkout would do."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.makepyfile(conftest_plugin="")
    suite.runpytest_subprocess("-p", "kvfake.pytest_plugin").assert_outcomes(passed=1)


@in_a_checkout
def test_a_plugin_that_is_switched_off_stays_off(suite: pytest.Pytester) -> None:
    """``-p no:kvfake`` is stronger than the name of the checkout."""
    suite.runpytest_subprocess("-p", "no:kvfake", "-p", "conftest_plugin").assert_outcomes(errors=1)


def test_a_project_may_have_a_conftest_plugin_of_its_own(pytester: pytest.Pytester) -> None:
    """It is loaded, and the installed plugin works beside it."""
    pytester.makepyfile(conftest_plugin="import pytest\n\n@pytest.fixture\ndef own():\n    return 'own'\n")
    pytester.makeconftest('pytest_plugins = ["conftest_plugin"]')
    pytester.makepyfile("def test_it(kvfake, own):\n    assert kvfake.url and own == 'own'\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    """Its plugin is called ``kvfake`` and lies inside the package; no top-level ``conftest_plugin`` comes with it."""
    assert [point.value for point in entry_points(group="pytest11") if point.name == "kvfake"] == ["kvfake.pytest_plugin"]
    elsewhere = subprocess.run([sys.executable, "-c", "import conftest_plugin"], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'conftest_plugin'" in elsewhere.stderr
