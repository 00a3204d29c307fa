"""What the pages below docs/ show is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvfake.services.message import SEVERS

POWERS = (Path(__file__).parent.parent / "docs" / "powers.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", POWERS, re.DOTALL)


SUITES = [example for example in EXAMPLES if "def test_" in example]


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if example not in SUITES], ids=lambda example: example.splitlines()[-1].strip()[:40]
)
def test_the_python_examples_run(example: str) -> None:
    """Each as it stands, alone."""
    exec(compile(example, "powers.md", "exec"), {})


@pytest.mark.parametrize("example", SUITES, ids=lambda example: example.splitlines()[-1].strip()[:40])
def test_the_suites_run(pytester: pytest.Pytester, example: str) -> None:
    """Each as it stands, as a suite of its own."""
    pytester.makepyfile("import pytest\n\n" + example)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio").assert_outcomes(passed=2)


def test_every_cut_is_described() -> None:
    """In the table of what happens."""
    for sever in SEVERS:
        assert f'"{sever}"' in POWERS
