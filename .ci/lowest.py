"""Prints the lowest version that pyproject.toml allows of each distribution that kvfake and its tests need, as pip installs it.

``.ci/run`` runs the tests on these: a bound that is too low is then seen. What these need in turn is not pinned. Groups that the
test group includes are left out: their tools need newer versions of the same distributions.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).parent.parent / "pyproject.toml"


def lowest(requirement: str) -> str:
    """``name>=1.2; marker`` with ``==``."""
    found = re.fullmatch(r"([A-Za-z0-9._\[\]-]+)>=([0-9.]+)( *;.*)?", requirement)
    if found is None:
        sys.exit(f"{FILE.name}: expected name>=version, and there is {requirement!r}")
    return f"{found[1]}=={found[2]}{found[3] or ''}"


def main() -> None:
    project: dict[str, Any] = tomllib.loads(FILE.read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    print("\n".join(lowest(one) for one in wanted if isinstance(one, str)))  # noqa: T201 - a table includes another group


if __name__ == "__main__":
    main()
