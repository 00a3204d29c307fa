"""What the reference, the explanations and the page of promises show is so; `tests.test_docs_guides` is about the other pages."""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

import kvfake
from tests.support.missing import tool
from tests.support.process import KVFAKE, environment
from tests.support.suites import run
from tests.support.troubled import SEVERS

DOCS = Path(__file__).parent.parent / "docs"
PYTHON = (DOCS / "reference" / "python.md").read_text()
CONTRACT = (DOCS / "how-to" / "fake-by-day-real-by-night.md").read_text()
OURS = [page.read_text() for folder in ("reference", "explanation") for page in sorted((DOCS / folder).glob("*.md"))]
EXAMPLES = [example for page in OURS for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
SUITES = [example for example in EXAMPLES if "def test_" in example]


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if example not in SUITES], ids=lambda example: example.splitlines()[-1].strip()[:40]
)
def test_the_python_examples_run(example: str) -> None:
    """Each as it stands, alone."""
    exec(compile(example, "docs", "exec"), {})


@pytest.mark.parametrize("example", SUITES, ids=lambda example: example.splitlines()[-1].strip()[:40])
def test_the_suites_run(pytester: pytest.Pytester, example: str) -> None:
    """Each as it stands, as a suite of its own."""
    pytester.makepyfile("import pytest\n\n" + example)
    run(pytester).assert_outcomes(passed=example.count("def test_"))


WORLDS = (DOCS / "explanation" / "worlds.md").read_text()
SESSIONS = [session for page in OURS if page != WORLDS for session in re.findall(r"```console\n(\$ curl.*?)```", page, re.DOTALL)]
_VARYING = re.compile(r'"20[2-9]\d-.*Z"|"duration": .*|curl/[\w.]+|127\.0\.0\.1:\d+')


@pytest.mark.parametrize("session", SESSIONS, ids=range(len(SESSIONS)))
def test_the_curl_sessions_are_what_they_show(session: str) -> None:
    """But for the port, the version of curl, and what takes its time."""
    with kvfake.start() as double:
        for words, shown in re.findall(r"^\$ curl (.*)\n([^$]*)", session, re.MULTILINE):
            printed = curl(words, double.url)
            assert _VARYING.sub("", printed.strip()) == _VARYING.sub("", shown.strip())


def test_the_session_of_worlds_works() -> None:
    """What comes back has ids and addresses, which are never the same."""
    with kvfake.start() as double:
        opened, reset, health = (curl(words, double.url) for words in re.findall(r"^\$ curl (.*)", WORLDS, re.MULTILINE))
    for name in ("id", "address", "tokens", "env", "context"):
        assert f'"{name}"' in opened
    assert '"reset"' in reset
    assert '"ok"' in health


def curl(words: str, url: str) -> str:
    command = [tool("curl"), *shlex.split(words.replace("http://127.0.0.1:8065", url))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_sever_is_described() -> None:
    """In the table of what it does to a connection."""
    for sever in SEVERS:
        assert f'`"{sever}"`' in PYTHON


COMMANDS = [
    (command, shown)
    for block in re.findall(r"```console\n(.*?)```", CONTRACT, re.DOTALL)
    for command, shown in re.findall(r"^\$ kvfake (.*)\n([^$]*)", block, re.MULTILINE)
    if "https://" not in command and not command.startswith(("compare", "explain"))  # tests.test_docs_guides runs `explain`
]


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_the_commands_of_contracts_work(command: str, shown: str, tmp_path: Path) -> None:
    """Those that need no other server, as a shell runs them."""
    line = f"{shlex.join(KVFAKE)} {command}"
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=environment({"COLUMNS": "0"}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in ("", done.stdout)


def test_every_command_of_contracts_is_described() -> None:
    """With what is asked of another server too."""
    for command in ("verify --against", "explain", "openapi", "record --against", "compare"):
        assert f"$ kvfake {command} " in CONTRACT


RELIABILITY = (DOCS / "reliability.md").read_text()
BOUNDS = re.findall(r"^\| `(kvfake[\w.]+)\.(\w+)` \| ([\d,.]+)", RELIABILITY, re.MULTILINE)


@pytest.mark.parametrize(("module", "name", "value"), BOUNDS, ids=[name for _, name, _ in BOUNDS])
def test_a_bound_has_the_value_that_the_page_names(module: str, name: str, value: str) -> None:
    """The page of promises names each bound as the code does."""
    assert getattr(import_module(module), name) == float(value.replace(",", ""))


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", RELIABILITY))))
def test_a_promise_names_a_test_that_there_is(named: tuple[str, str]) -> None:
    """Whoever doubts a promise can run its test."""
    file, test = named
    assert f"def {test}(" in (DOCS.parent / file).read_text()
