"""Suites in other languages, as their users run them: each of their files, or tests, has a world of its own, with one request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kvfake
from tests.clients.official import build, copied, download, output
from tests.support.missing import tool
from tests.support.process import KVFAKE

pytestmark = [pytest.mark.timeout(600), pytest.mark.once]

SERVERS_OWN = "the server's own"


@pytest.fixture(scope="session")
def node_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``suites/node``, with its modules beside it."""
    tool("node")
    npm = tool("npm")
    folder = copied("suites/node", tmp_path_factory.mktemp("node-suite"))
    download(npm, "ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund", folder=folder)
    return folder


@pytest.fixture(scope="session")
def go_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``suites/go``, built once."""
    go = tool("go")
    folder = copied("suites/go", tmp_path_factory.mktemp("go-suite"))
    download(go, "mod", "download", folder=folder)
    build(go, "vet", "./...", folder=folder)
    build(go, "test", "-run=^$", "./...", folder=folder)
    return folder


def run(folder: Path, *command: str) -> tuple[str, set[str]]:
    """Run a suite beside a double that knows nobody but its worlds: what it said, and the worlds that were asked for something."""
    said = output(*KVFAKE, "run", "--strict", "--journal", "journal.jsonl", "--", *command, folder=folder, env={})
    exchanges = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return said, {exchange["world"] if "-" in exchange["world"] else SERVERS_OWN for exchange in exchanges}


class TestNode:
    """Two files, at the same time, in processes of their own."""

    def test_node_test(self, node_suite: Path) -> None:
        """`node:test`."""
        said, worlds = run(node_suite, "node", "--test", "--test-reporter=tap", "--test-concurrency=2")
        assert "\n# pass 7\n# fail 0\n" in said, said
        assert len(worlds - {SERVERS_OWN}) == len(worlds) == 2

    def test_mocha(self, node_suite: Path) -> None:
        """Mocha, in parallel as its configuration says."""
        said, worlds = run(node_suite, "node_modules/.bin/mocha")
        assert "\n  7 passing " in said, said
        assert len(worlds - {SERVERS_OWN}) == len(worlds) == 2


class TestGo:
    """Tests at the same time, in one process; one of the five opens three worlds."""

    def test_go_test(self, go_suite: Path) -> None:
        """`go test`, with ``-count=1``."""
        said, worlds = run(go_suite, "go", "test", "-count=1", "-v", "./...")
        assert said.count("\n--- PASS: ") == 5, said
        assert len(worlds - {SERVERS_OWN}) == len(worlds) == 7

    def test_results_are_cached(self, go_suite: Path) -> None:
        """Without ``-count=1`` a server at the same address is not even asked the second time."""
        with kvfake.start() as double:
            first, second = (output("go", "test", "-run=Remember", "./...", folder=go_suite, env=double.env) for _ in range(2))
        assert "\t(cached)" not in first
        assert "\t(cached)" in second
