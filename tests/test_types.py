"""The types that users' checkers see: what is right passes, and each mistake is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import typing
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.settings import SERVER, WORLD, Settings, WorldSettings, of
from tests.clients.official import download
from tests.support.missing import tool, unavailable

HERE = Path(__file__).parent / "typing"
CHECK_SECONDS = 240
Check = Callable[[str], dict[int, str]]


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a user wrote. In its environment ``.venv`` kvfake is installed, beside all that is installed here."""
    folder = tmp_path_factory.mktemp("typing")
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=folder, check=True)
    (packages,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    shutil.copytree(Path(kvfake.__file__).parent, packages / "kvfake", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def output(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CHECK_SECONDS)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: there are errors
    return done.stdout


@pytest.fixture(scope="session")
def mypy(user: Path) -> Check:
    """The errors that ``mypy --strict`` finds in a file, by line."""
    if find_spec("mypy") is None:
        unavailable("mypy is not installed: make test-all installs it")

    def errors(name: str) -> dict[int, str]:
        command: list[str | Path] = [sys.executable, "-m", "mypy", "--strict"]
        command += ["--python-executable", user / ".venv" / "bin" / "python"]
        found = [json.loads(line) for line in output(user, *command, "--output=json", "--no-error-summary", name).splitlines()]
        assert {error["file"] for error in found} <= {name}
        return {error["line"]: error["message"] for error in found if error["severity"] == "error"}

    return errors


@pytest.fixture(scope="session")
def pyright(user: Path) -> Check:
    """The errors that pyright finds in a file where it is as strict as it can be, by line."""
    node, npm = tool("node"), tool("npm")
    download(npm, "ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund", folder=user)
    (user / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "venvPath": ".", "venv": ".venv"}))

    def errors(name: str) -> dict[int, str]:
        found = json.loads(output(user, node, "node_modules/pyright/index.js", "--outputjson", name))["generalDiagnostics"]
        return {error["range"]["start"]["line"] + 1: error["message"] for error in found if error["severity"] == "error"}

    return errors


@pytest.fixture(params=["mypy", "pyright"])
def check(request: pytest.FixtureRequest) -> Check:
    checker: Check = request.getfixturevalue(request.param)
    return checker


@pytest.mark.once
@pytest.mark.timeout(600)
def test_nothing_is_found_in_what_is_right(check: Check) -> None:
    """A typed conftest and its tests."""
    assert check("good.py") == {}


@pytest.mark.once
@pytest.mark.timeout(600)
def test_each_mistake_is_found(check: Check) -> None:
    """A name, a setting, an argument, a field that is not there; a value that is not possible."""
    wrong = [number for number, line in enumerate((HERE / "bad.py").read_text().splitlines(), 1) if line.endswith("# error")]
    assert sorted(check("bad.py")) == wrong


@pytest.mark.parametrize(("scopes", "keywords"), [((WORLD,), WorldSettings), ((SERVER, WORLD), Settings)])
def test_the_types_of_settings_are_those_of_the_table(scopes: tuple[str, ...], keywords: Any) -> None:
    """Every setting is a keyword, and no keyword is more; its choices are the same; each may be ``None``, which is not given."""
    hints = {name: typing.get_args(hint) for name, hint in typing.get_type_hints(keywords).items()}
    assert sorted(hints) == sorted(setting.name for setting in of(*scopes))
    for setting in of(*scopes):
        choices = [choice for hint in hints[setting.name] for choice in typing.get_args(hint) if isinstance(choice, str)]
        assert choices == list(setting.choices)
        assert type(None) in hints[setting.name]
        assert (bool in hints[setting.name]) == setting.is_switch
