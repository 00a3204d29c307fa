"""The reference has everything that a user can name: what is new in the code and not on its page fails here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import kvfake
from kvfake import pytest_plugin
from kvfake.cli import main
from kvfake.control.routes import PATHS
from kvfake.double import Double
from kvfake.settings import COMMAND, REAL, SERVER, TOKEN_OPTIONS, WORLD, of
from tests.test_docs_pages import curl

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = DOCS / "reference"
PYTHON = (REFERENCE / "python.md").read_text()


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """What ``make docs`` fills into the pages."""
    spec = spec_from_file_location("generated", DOCS / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def double() -> Iterator[Double]:
    with kvfake.start() as started:
        yield started


def page(generated: ModuleType, name: str) -> str:
    text: str = generated.filled(name, (DOCS / f"{name}.md").read_text())
    return text


def test_every_generated_page_has_its_place(generated: ModuleType) -> None:
    """One line of each page is replaced; another page is left as it is."""
    for name in generated.PAGES:
        text = page(generated, name)
        assert generated.MARK not in text
        assert len(text) > 500
    assert generated.filled("index", "a page") == "a page"
    with pytest.raises(ValueError, match=r"reference/settings.md: expected one line '% generated'"):
        generated.filled("reference/settings", "nothing")


def test_every_command_has_its_help(generated: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """With every option and subcommand, as a terminal shows it."""
    text = page(generated, "reference/commands")
    with pytest.raises(SystemExit):
        main(["--help"])
    help = capsys.readouterr().out
    words = list(generated.parsers())
    commands = [one.removeprefix("kvfake ") for one in words if one.count(" ") == 1]
    assert {"serve", "run", "env", "wait", "dump", "load", "ls", "get", "set", "del", "verify", "explain"} <= set(commands)
    for command in commands:
        assert re.search(rf"^ +{command}\b", help, re.MULTILINE)
    assert re.findall(r"^##+ (kvfake.*)", text, re.MULTILINE) == words
    for setting in of(SERVER, WORLD, COMMAND):
        assert setting.flag in section(text, "kvfake serve")
    for setting in of(REAL):
        assert setting.flag in section(text, "kvfake verify")


def section(text: str, title: str) -> str:
    """What stands under that heading."""
    return re.split(r"^##+ ", text.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_setting_is_in_a_table(generated: ModuleType) -> None:
    """With its default, variable and meaning."""
    text = page(generated, "reference/settings")
    for setting in of(SERVER, WORLD, COMMAND, REAL):
        (line,) = re.findall(rf"^\| `{setting.name}` \| .*", text, re.MULTILINE)
        assert setting.variable in line
    assert "| `port` | `8065` |" in text
    assert "| `control` | on |" in text


def test_every_variable_is_in_a_table(generated: ModuleType, double: Double) -> None:
    """Those that an app reads, and those with the tokens of a real server."""
    text = page(generated, "reference/variables")
    for name in [*double.env, *(variable for variable, _ in TOKEN_OPTIONS.values())]:
        assert f"| `{name}` |" in text


def test_every_path_of_control_is_described(generated: ModuleType) -> None:
    """With its methods, and what each takes."""
    text = page(generated, "reference/control")
    operations = {(method, path) for method, path, _ in generated.operations()}
    assert len(operations) == sum(map(len, PATHS.values()))
    for method, path in operations:
        assert f"| `{method} {path}` |" in text
        assert f"## {method} {path}\n" in text
    assert "| `times` | How often it strikes" in section(text, "POST /_kvfake/faults")
    assert "| `since` |" in section(text, "GET /_kvfake/journal")


def test_every_exported_name_is_described() -> None:
    """Each with what autodoc finds in its docstrings."""
    described = re.findall(r"auto(?:class|function|exception):: kvfake\.(\w+)", PYTHON)
    assert set(kvfake.__all__) <= {*described, "wsgi_app"}
    assert "`kvfake.wsgi_app`" in PYTHON
    for name in kvfake.__all__:
        assert getattr(kvfake, name).__doc__


def test_every_name_of_the_table_at_a_glance_is_in_the_code() -> None:
    """``double.faults.add`` and all the others."""
    double = kvfake.Double()
    names = re.findall(r"`double((?:\.\w+)+)", PYTHON.split("## A user's own values")[0])
    assert len(names) > 30
    for name in names:
        found: object = double
        for part in name[1:].split("."):
            assert hasattr(found, part), name
            found = getattr(found, part)
    for name in ("raw", "token", "headers", "url", "url_for", "owner"):
        for mapping in (double.mattermost, double.persist):
            assert hasattr(mapping, name)
        assert f"`.{name}" in PYTHON


def test_every_fixture_and_marker_is_described() -> None:
    """On the page of the plugin."""
    text = (REFERENCE / "pytest.md").read_text()
    source = Path(pytest_plugin.__file__).read_text()
    fixtures = re.findall(r"^@pytest\.fixture.*\ndef (\w+)", source, re.MULTILINE)
    assert {"kvfake", "kvfake_factory", "kvfake_env", "kvfake_settings"} <= set(fixtures)
    for name in fixtures:
        assert f"| `{name}` |" in text
    markers = set(re.findall(r'"(kvfake\w*)\(', source))
    assert {"kvfake", "kvfake_fault"} <= markers
    for name in markers:
        assert f"@pytest.mark.{name}(" in text


def test_the_file_of_values_can_be_loaded() -> None:
    """As the page shows it."""
    (shown,) = re.findall(r"```json\n(.*?)```", (REFERENCE / "file-of-values.md").read_text(), re.DOTALL)
    double = kvfake.Double()
    double.load(json.loads(shown))
    assert double.mattermost["name"] == "Ada"
    assert double.mattermost.with_prefix("p")["k"] == 1
    assert double.persist.json["convo::42"] == {"step": 2}
    assert double.persist.updated("old").year == 2016


def test_the_commands_for_a_running_server_work(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as they stand, after what the README's curl has set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVFAKE_URL", double.url)
    for words in re.findall(r"^\$ curl (.*)", (DOCS.parent / "README.md").read_text(), re.MULTILINE):
        curl(words, double.url)
    block = section((REFERENCE / "commands.md").read_text(), "Read and change a running server")
    lines = [shlex.split(line, comments=True)[1:] for line in re.findall(r"^kvfake .*", block, re.MULTILINE)]
    assert [main(words) for words in lines] == [0] * 7
    printed = capfd.readouterr().out
    assert '{"name": "Ada"}hellomattermost\tanonymous-' in printed  # what curl has set, and whose it is
    assert '"name": "Ada"' in (tmp_path / "values.json").read_text()


def test_every_term_that_a_page_uses_is_in_the_glossary() -> None:
    """So are the words that kvfake uses in its own way."""
    terms = re.findall(r"^(\w[\w ]*)\n  ", (REFERENCE / "glossary.md").read_text(), re.MULTILINE | re.IGNORECASE)
    assert {"double", "world", "owner", "row", "profile", "exchange", "neighbour", "checkpoint"} <= set(terms)
    for file in DOCS.rglob("*.md"):
        assert set(re.findall(r"{term}`([^`]*)`", file.read_text())) <= set(terms), file
