"""Writes constraints.txt: the newest versions of all that a clone installs, such as go together, for every supported Python.

``make pins`` runs it. It needs each of these Pythons on this machine: a version may exist for some of them
only. What a distribution needs under another system than this one is not pinned.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = ROOT / "constraints.txt"
WANTED = ("pip", "setuptools", "--group", "test", "--group", "lint", "--group", "docs", "--editable", ".")
HEAD = """\
# What a clone installs, beside kvfake and for tests, lint and docs. `make pins` writes this file anew, with the newest versions.
"""


def resolved(python: str) -> dict[str, str]:
    """The name and the version of each distribution that pip would install for that Python into an empty environment."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", python]
    words = ["install", "--dry-run", "--ignore-installed", "--report", "-", *WANTED]
    done = subprocess.run([*pip, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = (item["metadata"] for item in json.loads(done.stdout)["install"])
    return {re.sub("[-_.]+", "-", item["name"]).lower(): item["version"] for item in found if item["name"] != "kvfake"}


def lines(pins: dict[str, dict[str, str]]) -> list[str]:
    """From what each Python installs: a line for each version of a distribution, with its Pythons where there are several."""
    found = []
    for name in sorted({name for of_one in pins.values() for name in of_one}):
        versions = {python: of_one[name] for python, of_one in pins.items() if name in of_one}
        for version in dict.fromkeys(versions.values()):
            where = " ".join(python for python in versions if versions[python] == version)
            found.append(f"{name}=={version}" + (f' ; python_version in "{where}"' if len(set(versions.values())) > 1 else ""))
    return found


def main() -> None:
    found = subprocess.run([ROOT / ".ci" / "pythons"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    pins = {}
    for python in found:
        version = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        pins[version] = resolved(python)
    lacking = {"3.10", "3.11", "3.12", "3.13"} - set(pins)  # 3.14 where there is one
    if lacking:
        sys.exit(f"make pins needs every supported Python; there is no {', '.join(sorted(lacking))}")
    FILE.write_text(HEAD + "\n".join(lines(pins)) + "\n")


if __name__ == "__main__":
    main()
