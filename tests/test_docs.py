"""What the documentation shows is so."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvfake
from kvfake.cli import main
from kvfake.double import Double
from kvfake.settings import COMMAND, REAL, SERVER, WORLD, of
from tests.support import suites
from tests.support.missing import tool

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
POWERS = ("faults", "journal", "clock", "checkpoint", "rollback", "reset", "worlds", "respond")
CONTRACT = ("verify", "explain", "openapi", "record", "compare")
MADE = re.compile(r"(^|/)(\.(?!ci/|gitignore)[^/]+|node_modules|__pycache__|build|dist|[^/]+\.egg-info)/|\.(gz|sum|pyc)$")


@pytest.fixture
def double() -> Iterator[Double]:
    with kvfake.start() as started:
        yield started


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


BOT = """
import requests

class Bot:
    def __init__(self, site_url, token, attempts=1):
        self.url, self.headers = site_url + "/plugins/com.mattermost.apps/api/v1/kv/name", {"Authorization": f"Bearer {token}"}
        self.attempts = attempts

    def hear(self, text):
        answers = (requests.put(self.url, json=text.split()[-1], headers=self.headers) for _ in range(self.attempts))
        assert any(answer.ok for answer in answers)


"""


def test_the_python_examples_run(pytester: pytest.Pytester) -> None:
    """Each block, as it stands; the test is given a bot."""
    plain, *in_a_suite = blocks("python")
    exec(compile(plain, "README.md", "exec"), {})
    pytester.makepyfile(BOT + "\n\n".join(in_a_suite))
    suites.run(pytester).assert_outcomes(passed=2)


def test_the_curl_session_is_what_it_shows(double: Double) -> None:
    """But for the moment of a set, and the port."""
    session, worlds = (block for block in blocks("console") if block.startswith("$ curl"))
    for command, shown in re.findall(r"^\$ (curl .*)\n([^$]*)", session, re.MULTILINE):
        printed = run(command, double)
        stamp = r"\d{4}-\d\d-\d\dT[\d:]+\.\d{6}Z"
        assert re.sub(stamp, "", printed.strip()) == re.sub(stamp, "", shown.strip())
    opened, reset, health = (run(line[2:], double) for line in worlds.splitlines())
    assert '"address"' in opened
    assert '"reset"' in reset
    assert '"ok"' in health


def run(command: str, double: Double) -> str:
    words = shlex.split(command.replace("http://127.0.0.1:8065", double.url))
    return subprocess.run([tool(words[0]), "-sS", *words[1:]], capture_output=True, text=True, check=True).stdout


def test_the_commands_of_values_work(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as they stand, after what curl has set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVFAKE_URL", double.url)
    session, block, *_ = blocks("console")[1:]
    for command in re.findall(r"^\$ (curl .*)", session, re.MULTILINE):
        run(command, double)
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [main(words) for words in lines if words[0] != "run"] == [0] * (len(lines) - 1)
    printed = capfd.readouterr().out
    assert '{"name": "Ada"}hellomattermost\tanonymous-' in printed  # what curl has set, and whose it is
    assert '"name": "Ada"' in (tmp_path / "values.json").read_text()


def test_every_command_and_setting_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """In the README, and in ``--help``."""
    for command, settings in (("serve", of(SERVER, WORLD, COMMAND)), ("verify", of(REAL))):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        for setting in settings:
            assert f"| `{setting.name}` |" in README
            assert setting.flag in shown
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert commands == ["serve", "run", "env", "wait", "dump", "load", "ls", "get", "set", "del", *POWERS, *CONTRACT]
    for command in commands:
        assert f"kvfake {command}" in README or f"`{command}`" in README


def test_no_host_of_a_registry_and_no_path_of_a_machine_is_named() -> None:
    """The project works on any machine. Outside of git every file is looked at, but for what a tool made."""
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = git.stdout.split() or [f"{file.relative_to(ROOT)}" for file in ROOT.rglob("*")]
    files = [name for name in names if not MADE.search(name) and (ROOT / name).is_file()]
    assert "tests/test_docs.py" in files
    for name in files:
        text = (ROOT / name).read_text(errors="replace")
        assert not re.search(r"registry\.npmjs|pypi\.org|proxy\.golang|/root/|/work/", text) or name == "tests/test_docs.py", name


def test_everything_that_a_clone_installs_is_pinned() -> None:
    """``make pins`` adds what is new in pyproject.toml to constraints.txt."""
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|test|lint) = \[(.*?)\]$", project, re.DOTALL | re.MULTILINE)
    wanted = {name for names in lists for name in re.findall(r'"([a-z0-9-]+)', names)}
    assert {"httptools", "pytest", "ruff"} <= wanted
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert wanted <= set(pinned)
