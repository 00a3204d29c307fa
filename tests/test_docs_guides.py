"""What the tutorials and the how-to pages show is so: each block of them is run, or at least read by what would read it.

A block whose first line is ``# name.py`` (``// name.go``) is a file of the page's suite; with ``, continued`` it is added at the
end of that file. A Python block with tests and no name is a file of its own, and a Python block without tests is run alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]

from kvfake.cli.parser import parse
from kvfake.settings import REAL, SERVER, WORLD, of
from tests.support.missing import tool
from tests.support.process import KVFAKE, environment, served
from tests.support.suites import run, text_of
from tests.support.troubled import SEVERS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {
    f"{page.parent.name}/{page.stem}": page.read_text()
    for page in sorted(DOCS.glob("tutorial/*.md")) + sorted(DOCS.glob("how-to/*.md"))
}
DEFAULT_URL = "http://127.0.0.1:8065"


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that its first line names."""
        named = re.match(r"(?:#|//) ([\w./-]+\.\w+)(?:, continued)?\n", self.text)
        return named[1] if named else None

    @property
    def is_suite(self) -> bool:
        return self.language == "python" and bool(self.file or "def test_" in self.text)


def _blocks() -> Iterator[Block]:
    for page, text in PAGES.items():
        for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])


BLOCKS = list(_blocks())


def blocks(*languages: str) -> pytest.MarkDecorator:
    """Parametrize a test with the blocks in these languages."""
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=[f"{block.page}:{block.line}" for block in chosen])


def of_page(page: str) -> list[Block]:
    return [block for block in BLOCKS if block.page == page]


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "python" and not block.is_suite],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_an_example_runs(block: Block) -> None:
    """Each as it stands, alone."""
    exec(compile(block.text, f"{block.page}.md", "exec"), {})


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.is_suite}))
def test_the_suite_of_a_page_does_what_the_page_shows(pytester: pytest.Pytester, page: str) -> None:
    """Its files are written as a reader does it, from top to bottom; each ``$ pytest`` is run where it stands."""
    tests, shown_any = 0, False
    for block in of_page(page):
        if block.language == "console" and block.text.startswith("$ pytest"):
            command, *shown = block.text.splitlines()
            if "https://" not in command:
                output = text_of(run(pytester, *shlex.split(command)[2:]))
                assert_shown_in_order(shown, output)
                shown_any = True
        elif block.is_suite or block.file:
            write(pytester.path, block)
            tests += block.text.count("def test_")
    if not shown_any:
        result = run(pytester, "-W", "error")
        assert result.ret == 0, text_of(result)
        assert sum(result.parseoutcomes().values()) >= tests


def write(folder: Path, block: Block) -> None:
    file = folder / (block.file or f"test_line_{block.line}.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    first, rest = block.text.split("\n", 1)
    if first.endswith(", continued"):
        file.write_text(file.read_text() + "\n\n" + rest)
    else:
        file.write_text(block.text)


def assert_shown_in_order(shown: list[str], output: str) -> None:
    """Each line is part of a line of the output, and they come in this order; but for the seconds that it took."""
    left = re.sub(r" in [\d.]+s", " in", output)
    for line in (re.sub(r" in [\d.]+s", " in", line) for line in shown):
        assert line in left, f"{line!r} is not in:\n{output}"
        left = left.partition(line)[2]


def test_the_tutorials_end_with_ten_tests() -> None:
    """As their first lines promise."""
    for page in ("tutorial/mattermost-app", "tutorial/persist-bot"):
        console = [block.text for block in of_page(page) if block.language == "console"]
        assert re.fullmatch(r"\$ pytest -q\n10 passed in [\d.]+s\n", console[-1])


# ------------------------------------------------------------------------------------------------------------------- sessions

_RUN = re.compile(r"(curl|kvfake (?!serve|record|verify|compare)|eval |export |cat |echo |printf )")
_VARYING = re.compile(
    r'20[2-9]\d-[\d-]+T[\d:.]+Z|"duration": .*|curl/[\w.]+|127\.0\.0\.1:\d+'  # times, versions, addresses
)


def commands_of(session: str) -> list[tuple[str, str]]:
    """Each command of a console block and what is shown of its output; a line that ends with a backslash goes on."""
    return re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:[^$\n].*\n|\n)*)", session, re.MULTILINE)


def is_runnable(block: Block) -> bool:
    commands = [command for command, _ in commands_of(block.text) if not command.startswith("kvfake serve")]
    return bool(commands) and all(
        _RUN.match(one) and not re.search(r"https://| -- (?!curl|sh|env|true|python)|\.\.\.", one) for one in commands
    )


SESSIONS = [block for block in BLOCKS if block.language == "console" and is_runnable(block)]


@pytest.mark.parametrize("block", SESSIONS, ids=[f"{block.page}:{block.line}" for block in SESSIONS])
def test_a_session_is_what_it_shows(block: Block, tmp_path: Path) -> None:
    """In one shell, against a server of its own; but for the port, versions, names that are drawn, and what takes its time."""
    tool("curl")
    commands = [(command, shown) for command, shown in commands_of(block.text) if not command.startswith("kvfake serve")]
    with served() as (_, url):
        outputs = in_a_shell([command.replace(DEFAULT_URL, url) for command, _ in commands], tmp_path, {"KVFAKE_URL": url})
    for (command, shown), output in zip(commands, outputs, strict=True):
        if command.startswith("kvfake explain"):
            assert_shown_in_order(shown.splitlines(), output)
        elif shown:
            assert _VARYING.sub("", output.strip()) == _VARYING.sub("", shown.strip()), command


def in_a_shell(commands: list[str], folder: Path, more: Mapping[str, str]) -> list[str]:
    """What each printed. One that fails ends the shell, and the test."""
    mark = "-- the next command --"
    (folder / "kvfake").write_text(f'#!/bin/sh\nexec {shlex.join(KVFAKE)} "$@"\n')
    (folder / "kvfake").chmod(0o755)
    script = "set -e\n" + f"\necho; echo '{mark}'\n".join(commands)
    env = environment({"PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "500", **more})
    done = subprocess.run(["sh", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(mark)


PROGRAMS = [block for block in BLOCKS if block.language in ("js", "go", "java")]


@pytest.mark.once
@pytest.mark.parametrize("program", PROGRAMS, ids=[block.language for block in PROGRAMS])
def test_a_program_in_another_language_runs(program: Block, tmp_path: Path) -> None:
    """By the command that stands below it, with nothing but what its language brings along."""
    page = of_page(program.page)
    command = page[page.index(program) + 1].text.removeprefix("$ ")
    tool(shlex.split(command)[shlex.split(command).index("--") + 1])
    write(tmp_path, program)
    (tmp_path / "go.mod").write_text("module bot\n\ngo 1.20\n")
    in_a_shell([command], tmp_path, {"GOFLAGS": "-mod=mod", "GOPROXY": "off"})


# ------------------------------------------------------------------------------------------- what only another machine can run


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_kvfake_is_one(page: str) -> None:
    """The command's own parser takes each, wherever it stands: in a session, a file of a CI system, a Dockerfile, or a sentence."""
    for words in kvfake_lines(page):
        parse([word for word in words if word != "--help"])  # which would print, and end here


def kvfake_lines(page: str) -> Iterator[list[str]]:
    text = PAGES[page].replace("\\\n", " ")
    for found in re.findall(r'\["kvfake", .*?\]', text):
        yield json.loads(found)[1:]
    shells = [block.text for block in of_page(page) if block.language in ("console", "sh", "yaml", "dockerfile")]
    sentences = re.findall(r"`(kvfake [^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    for line in "\n".join([*shells, *sentences]).replace("\\\n", " ").splitlines():
        for command in re.findall(r"(?:^|[$(:&-] ?)\s*(kvfake [a-z].*)", line):
            lexer = shlex.shlex(command.split(")")[0], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in lexer:
                if re.fullmatch(r"[;&|<>()]+", word):
                    break
                words.append(word)
            yield words[1:]


def test_every_variable_option_and_ini_name_is_one() -> None:
    """Of the settings, as a page writes them."""
    settings = of(SERVER, WORLD, REAL)
    flags = {"--kvfake-" + one.flag[2:] for one in settings} | {"--kvfake-no-" + one.flag[2:] for one in settings if one.is_switch}
    for page, text in PAGES.items():
        assert set(re.findall(r"--kvfake-[a-z-]*[a-z]", text)) <= flags, page
        assert set(re.findall(r"KVFAKE_[A-Z_]+", text)) <= {one.variable for one in settings} | {"KVFAKE_URL"}, page
        assert set(re.findall(r"^(kvfake_\w+) =", text, re.MULTILINE)) <= {one.ini for one in settings}, page


@blocks("yaml")
def test_a_file_of_yaml_is_one(block: Block) -> None:
    """Each is an object, as GitHub, GitLab and Compose want it."""
    assert isinstance(yaml.safe_load(block.text), dict)


@blocks("json")
def test_a_file_of_json_is_one(block: Block) -> None:
    """Each can be read."""
    json.loads(block.text)


def test_every_sever_is_described() -> None:
    """In the table of what happens."""
    for sever in SEVERS:
        assert f'"{sever}"' in PAGES["how-to/inject-faults"]


def test_no_link_leads_nowhere() -> None:
    """To another of these pages; the site checks the rest."""
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([\w./-]+\.md)", text):
            target = (DOCS / page).parent / link
            if "tutorial" in target.resolve().parts or "how-to" in target.resolve().parts:
                assert target.exists(), f"{page}: {link}"
