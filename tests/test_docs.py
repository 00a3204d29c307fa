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
from tests.support import suites
from tests.support.missing import tool

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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


def test_the_readme_is_short_and_in_the_order_of_a_newcomers_questions() -> None:
    """What it is, how to install it, pytest, a server, other languages, where to read on."""
    assert len(README.splitlines()) <= 120
    titles = re.findall(r"^#+ (.+)", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.MULTILINE)
    assert titles == ["kvfake", "Install", "In pytest", "Serve and run", "Node", "Go", "Links"]


def test_the_python_examples_run(pytester: pytest.Pytester) -> None:
    """Each block, as it stands; the tests are given a bot."""
    in_a_suite, plain = blocks("python")
    exec(compile(plain, "README.md", "exec"), {})
    pytester.makepyfile(BOT + in_a_suite)
    suites.run(pytester).assert_outcomes(passed=2)


def test_the_session_is_what_it_shows(double: Double, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Of curl and of kvfake, one after the other, but for the port and the moment of a set."""
    monkeypatch.setenv("KVFAKE_URL", double.url)
    (session,) = (block for block in blocks("console") if block.startswith("$ "))
    shown = re.findall(r"^\$ (curl|kvfake) (.*)\n([^$]*)", session, re.MULTILINE)
    assert [program for program, *_ in shown] == ["curl", "curl", "kvfake", "kvfake"]
    for program, words, expected in shown:
        if program == "curl":
            printed = run_curl(words, double.url)
        else:
            assert main(shlex.split(words)) == 0
            printed = capfd.readouterr().out
        assert _without_moment(printed) == _without_moment(expected)


def run_curl(words: str, url: str) -> str:
    command = [tool("curl"), "-sS", *shlex.split(words.replace("http://127.0.0.1:8065", url))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _without_moment(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{6}Z", "", text.strip())


def test_the_readme_names_the_two_commands_of_a_clone() -> None:
    """Which are all the set-up there is, and where the command then lies."""
    assert "make serve    #" in README
    assert "make test     #" in README
    assert "`.venv/bin/kvfake`" in README
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"serve", "test", "docs"} <= set(targets)


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    """Of the repository. The site's own links are checked by ``make docs``."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).is_file(), link


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
    lists = re.findall(r"^(?:dependencies|test|openapi|lint|docs) = \[(.*?)\](?: #[^\n]*)?$", project, re.DOTALL | re.MULTILINE)
    wanted = {name for names in lists for name in re.findall(r'(?<!= )"([a-z0-9-]+)', names)}
    assert {"httptools", "pytest", "ruff", "sphinx"} <= wanted
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert wanted <= set(pinned)
