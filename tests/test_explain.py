"""``kvfake explain``, and everything else that is made from the rows: it agrees with them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from kvfake.cli import main
from kvfake.contract.explain import shown_by
from kvfake.double import Double
from kvfake.services import facts, mattermost, persist
from kvfake.services.facts import ROWS, SAME, SOURCES, Row
from tests.rows.names import names_of_this_run
from tests.rows.page import page
from tests.support.process import KVFAKE, environment, kvfake

ROOT = Path(__file__).parent.parent
DIFFER = [row for row in ROWS.values() if row.documented != row.plugin]
OF_TOKENS = [ROWS[service.UNKNOWN_TOKEN_ROW] for service in (mattermost, persist)]

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def explain(capsysbinary: pytest.CaptureFixture[bytes], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsysbinary.readouterr().out.decode()


# ------------------------------------------------------------------------------------------------------------- the command


def test_every_row_is_explained(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """In the order of the services, each with its source, what both profiles do, and its tests; then the meaning of each source."""
    *rows, sources = explain(capsysbinary).split("\n\n")
    assert [row[:3] for row in rows] == list(ROWS)
    for text, row in zip(rows, ROWS.values(), strict=True):
        told = " ".join(text.split())
        for part in (row.sentence, f"source {row.source}", f"documented {row.documented}", f"plugin-1.2 {row.plugin}"):
            assert " ".join(part.replace("``", "`").split()) in told
        assert "shown by tests/test_" in told
    assert [line.split()[0] for line in sources.splitlines()] == ["Sources", *SOURCES]


def test_a_row_in_full() -> None:
    """In a pipe: 100 columns wide."""
    first, *others = shown_by()["M15"]
    assert kvfake("explain", "M15", COLUMNS="0").out == (
        'M15  A prefix over 2 bytes: 500, text, `prefix "ABC" is longer than the limit of 2 ASCII\n'
        "     characters`.\n"
        "     source      src Hashkey\n"
        "     documented  takes a prefix of any length\n"
        "     plugin-1.2  500 and the text\n"
        "     marked      Kvfake-Rows: M15 on a reply kinder than the service's; the journal names it too\n"
        f"     shown by    {first}\n" + "".join(f"                 {test}\n" for test in others)
    )


def test_rows_are_explained_in_the_order_given(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """In the order of the arguments, which may be in any case."""
    assert re.findall("^[MP][0-9]+", explain(capsysbinary, "p03", "M07", "m15"), re.MULTILINE) == ["P03", "M07", "M15"]


def test_an_unknown_row_is_reported() -> None:
    """The one line of the error says which rows there are; no row is printed."""
    ended = kvfake("explain", "M01", "m99", "x")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "kvfake: no row is called m99, x; there are M01 to M28 (Mattermost), P01 to P15 (Persist)\n"


@pytest.mark.parametrize("columns", [60, 72, 200])
def test_explain_is_as_wide_as_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """No line is longer, except for names of tests, which are not split."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = explain(capsysbinary).splitlines()
    assert not [line for line in lines if len(line) > columns and "::" not in line]
    assert max(len(line) for line in lines if "::" not in line) > columns - 12


def test_a_narrow_terminal_is_not_a_failure(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """The text is then 40 columns wide."""
    monkeypatch.setenv("COLUMNS", "1")
    assert explain(capsysbinary, "M28").startswith("M28  Below HTTP (")


def test_explain_escapes_what_the_encoding_lacks() -> None:
    """A character that the encoding of stdout does not have is an escape, as in Python."""
    ended = kvfake("explain", "M25", PYTHONIOENCODING="ascii")
    assert (ended.code, ended.err) == (0, "")
    assert r"`\u20ac` is three and is refused" in " ".join(ended.out.split())


def test_explain_can_be_piped_to_head() -> None:
    """As in ``kvfake explain | head``: the exit code is 1, and stderr is empty."""
    process = subprocess.Popen([*KVFAKE, "explain"], env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


# --------------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.once
def test_the_names_of_the_tests_are_those_that_pytest_collects(pytestconfig: pytest.Config) -> None:
    """``make names`` would change nothing: the names that ``explain`` tells are tests, and all of them."""
    assert shown_by() == (names_of_this_run(pytestconfig) or names_of_another_run())


def names_of_another_run() -> Any:
    """What ``make names`` would write."""
    env = {name: value for name, value in environment({}).items() if not name.startswith(("COVERAGE", "PYTEST"))}
    words = [sys.executable, "-m", "tests.rows.names"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_row_has_a_test() -> None:
    """One of them is in ``test_rows.py``, which has a test for each row alone."""
    assert list(shown_by()) == list(ROWS)
    for id, tests in shown_by().items():
        assert any(test.startswith("tests/test_rows.py::") for test in tests), id


# ---------------------------------------------------------------------------------------------------------------- the rows


def test_the_rows_are_the_fact_list() -> None:
    """Word for word, apart from the marks for bold letters and code."""
    facts = re.findall(
        r"^\| ([MP]\d\d) \| (.*) \| (.*?) \|$", (ROOT / "tests" / "rows" / "facts_as_found.md").read_text(), re.MULTILINE
    )
    assert [(row.id, row.sentence.replace("``", "`"), row.source) for row in ROWS.values()] == [
        (id, sentence.replace("**", ""), {"–": "ours"}.get(source, source.replace("`", ""))) for id, sentence, source in facts
    ]


def test_every_source_is_one_of_those_that_are_explained() -> None:
    """A row may have several."""
    for row in ROWS.values():
        assert {word for part in re.split("[,;] ", row.source) for word in part.split()[:1]} & set(SOURCES), row.id


def test_the_page_of_rows_is_up_to_date() -> None:
    """``make names`` would write ``docs/fidelity.md`` as it is."""
    assert (ROOT / "docs" / "fidelity.md").read_text() == page()


# --------------------------------------------------------------------------------------------------------------- the marks


def test_a_row_has_a_mark_where_the_profiles_differ() -> None:
    """And so has what both say of an unknown token; no other row. A row that is a mark has itself as its mark."""
    assert [row for row in ROWS.values() if row.mark is not None and row not in OF_TOKENS] == DIFFER
    assert [row.mark for row in OF_TOKENS] == ["M11", "P14"]
    for row in DIFFER:
        assert row.mark is not None
        assert ROWS[row.mark].mark == row.mark
        assert SAME not in (row.documented, ROWS[row.mark].plugin)


def test_the_services_mark_what_the_rows_say() -> None:
    """Their code names exactly the rows that are marks; comments do not count."""
    files = [file for file in Path(facts.__file__).parent.glob("*.py") if file.name != "facts.py"]
    named = {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[MP]\d\d", node.value)
    }
    assert named == {row.mark for row in (*DIFFER, *OF_TOKENS)}


KINDER = {  # a request for which `documented` is kinder, at the latest when it is repeated
    "M15": ("GET", "ABC/key", ""),
    "M16": ("GET", "my-app/my-key", ""),
    "M17": ("PUT", "key", "1"),
    "M23": ("DELETE", "ABC/key", ""),
    "M25": ("GET", "%E2%82%AC/key", ""),
}


@pytest.mark.parametrize("row", DIFFER, ids=lambda row: row.id)
def test_a_kinder_answer_is_marked(row: Row) -> None:
    """In its header and in the journal. The response of the plugin's profile differs, and has no mark."""
    documented, plugin = Double(), Double(profile="plugin-1.2")
    kind, strict = answered(documented, *KINDER[row.id]), answered(plugin, *KINDER[row.id])
    assert (kind.status_code, kind.content) != (strict.status_code, strict.content)
    assert (kind.headers.get("Kvfake-Rows"), documented.journal[-1].rows) == (row.mark, (row.mark,))
    assert (strict.headers.get("Kvfake-Rows"), plugin.journal[-1].rows) == (None, ())


def answered(double: Double, method: str, rest: str, body: str) -> httpx.Response:
    """The response to the second of two equal requests."""
    with httpx.Client(transport=double.httpx_transport(), trust_env=False) as client:
        for _ in range(2):
            answer = client.request(method, f"{double.mattermost.url}/{rest}", content=body, headers=double.mattermost.headers)
    return answer
