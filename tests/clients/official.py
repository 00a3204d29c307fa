"""The official clients: what they are built from, where they are built, how one of their stories is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.missing import tool, unavailable

HERE = Path(__file__).parent

# Together they are less than the timeout of the test that is the first to need a client.
DOWNLOAD_SECONDS = 330
BUILD_SECONDS = 240


def copied(name: str, where: Path) -> Path:
    """The folder of that name, where node_modules and the like do no harm."""
    return shutil.copytree(HERE / name, where / name, ignore=shutil.ignore_patterns("node_modules"))


def download(*command: str, folder: Path) -> None:
    """Get what a lock file names; where that is not possible the stories are not either."""
    shown = " ".join([Path(command[0]).name, *command[1:]])
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        unavailable(f"{shown} took too long")
    if done.returncode != 0:
        unavailable(f"{shown} failed: {'; '.join((done.stderr or done.stdout).splitlines()[:4])}")


def build(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def output(*command: str | Path, folder: Path, env: Mapping[str, str]) -> str:
    """What a story said; its exit code is 0."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class GoStories:
    """``go/driver_test.go``, built once."""

    def __init__(self, where: Path) -> None:
        go = tool("go")
        self._folder = copied("go", where)
        self._program = where / "stories"
        download(go, "mod", "download", folder=self._folder)
        build(go, "test", "-c", "-o", str(self._program), ".", folder=self._folder)

    def tell(self, story: str, env: Mapping[str, str]) -> None:
        said = output(self._program, "-test.v", f"-test.run=^{story}$", folder=self._folder, env=env)
        assert f"--- PASS: {story} " in said, said


class NodeStories:
    """``node/persist.test.js``, with its modules beside it."""

    def __init__(self, where: Path) -> None:
        self._node = tool("node")
        npm = tool("npm")
        self._folder = copied("node", where)
        download(npm, "ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund", folder=self._folder)

    def tell(self, story: str, env: Mapping[str, str]) -> None:
        options = ["--test", "--test-reporter=tap", f"--test-name-pattern=^{story}$"]
        said = output(self._node, *options, "persist.test.js", folder=self._folder, env=env)
        assert "\n# pass 1\n" in said, said
