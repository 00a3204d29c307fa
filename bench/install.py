"""Installs kvfake, as a wheel, and each peer into a folder of the bench's own, once a version.

    python bench/install.py FOLDER

Law: the standard library only, and nothing outside that folder is written. A peer that cannot be had stops nothing: why is kept
in a file, which the table shows in its place.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

SECONDS = 300  # for one installation
LEAST_PYTHON = (3, 10)
TOOLS = ("pip>=24", "setuptools>=77", "wheel")  # what kvfake's wheel is built with
SOURCES = ("kvfake", "pyproject.toml", "README.md", "LICENSE")

PYTHON_PEERS = {
    "pytest-httpserver": ("pytest>=8.2", "pytest-httpserver>=1.1"),
    "httpx": ("httpx>=0.28",),
    "requests": ("requests>=2.32",),
    "respx": ("respx>=0.22",),
    "responses": ("responses>=0.25",),
    "requests-mock": ("requests-mock>=1.12",),
    "moto": ("moto[s3]>=5", "flask>=3", "flask-cors>=5"),
}
NODE_PEERS = {
    "wiremock": ("wiremock@3.13.2",),
    "beepboop-persist": ("beepboop-persist@1.0.0", "restify@4.3.4"),  # the restify that its mock server was written for
    "json-server": ("json-server@0.17.4",),
    "miniflare": ("miniflare@4.20260426.0",),
}


class Place:
    """Where things lie in the bench's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.python = self.folder / "venv" / "bin" / "python"
        self.kvfake = self.folder / "venv" / "bin" / "kvfake"

    def node(self, name: str) -> Path:
        return self.folder / "node" / name

    def stamp(self, name: str) -> Path:
        """Is there once that peer is installed, and says what of it."""
        return self.folder / "stamps" / name

    def why_not(self, name: str) -> Path:
        """Is there while that peer cannot be had, and says why."""
        return self.folder / "stamps" / f"{name}.failed"

    def reason(self, name: str) -> str | None:
        """Why a peer is not there; ``None`` where it is."""
        if self.stamp(name).exists():
            return None
        failed = self.why_not(name)
        return failed.read_text() if failed.exists() else "it is not installed: make bench does that"


def main(folder: Path) -> None:
    place = Place(folder)
    (place.folder / "stamps").mkdir(parents=True, exist_ok=True)
    if not place.python.exists():
        venv.create(place.folder / "venv", with_pip=True)
    _once(place, "tools", TOOLS, _pip(place, *TOOLS))
    failed = _install_kvfake(place)
    if failed:
        sys.exit(f"bench: kvfake's wheel cannot be built or installed: {failed}")
    for name, requirements in PYTHON_PEERS.items():
        _once(place, name, requirements, _pip(place, *requirements))
    npm = shutil.which("npm")
    for name, requirements in NODE_PEERS.items():
        where = place.node(name)
        where.mkdir(parents=True, exist_ok=True)
        (where / "package.json").write_text('{"private": true}\n')
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--prefix", str(where))
        _once(place, name, requirements, [npm, "install", *quiet, *requirements] if npm else None)


def _pip(place: Place, *words: str) -> list[str]:
    return [str(place.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]


def _install_kvfake(place: Place) -> str:
    """Build from a copy, so that the checkout stays as it is; always anew, as pip does for a folder. Why it failed, or nothing."""
    source = place.folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    return _run(_pip(place, str(source), "--no-build-isolation"))


def _once(place: Place, name: str, requirements: Sequence[str], command: Sequence[str] | None) -> None:
    stamp, wanted = place.stamp(name), "\n".join(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"bench: installing {name} ...", flush=True)
    stamp.unlink(missing_ok=True)
    failed = _run(command) if command else "there is no npm on the PATH"
    if failed:
        print(f"bench: {name} cannot be had: {failed}", flush=True)
        place.why_not(name).write_text(failed)
    else:
        place.why_not(name).unlink(missing_ok=True)
        stamp.write_text(wanted)


def _run(command: Sequence[str]) -> str:
    """Why it failed, in a line; nothing where it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as failed:
        return f"{Path(command[0]).name}: {type(failed).__name__}"
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[0] if Path(command[0]).name == "npm" else lines[-1]  # npm says the reason first, pip last


ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    if sys.version_info < LEAST_PYTHON:
        sys.exit("kvfake needs Python 3.10 or newer: make bench PYTHON=python3.12")
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".bench"))
