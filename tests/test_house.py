"""The house keeps its order: imports go down the floors, every file states its law, importing costs nearly nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvfake

ROOT = Path(kvfake.__file__).parent
FLOORS = {
    "kvfake": -1,  # the package itself: a version, and names that are loaded when they are asked for
    "kvfake.settings": 0,
    "kvfake.proxies": 0,
    "kvfake.trouble": 0,
    "kvfake.plain": -1,  # below the ground, as its stores are made of it
    "kvfake.stores": 0,
    "kvfake.services": 1,
    "kvfake.world": 2,
    "kvfake.control": 3,
    "kvfake.doors": 4,
    "kvfake.double": 5,
    "kvfake.started": 6,
    "kvfake.story": 6,
    "kvfake.contract": 7,
    "kvfake.session": 8,
    "kvfake.ledger": 5,
    "kvfake.asking": 5,
    "kvfake.parser": 5,
    "kvfake.values": 6,
    "kvfake.running": 5,
    "kvfake.cli": 9,
    "kvfake.__main__": 10,
}
FILES = sorted(ROOT.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = ("kvfake", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_of(file: Path) -> set[str]:
    """The modules of kvfake that a file imports, also inside functions."""
    known = {module_of(other) for other in FILES}
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kvfake":
            found |= {f"{node.module}.{name.name}" if f"{node.module}.{name.name}" in known else node.module for name in node.names}
    return found


def test_imports_go_down_the_floors() -> None:
    """A file imports from the floors below it and from its own folder, never from above or from beside."""
    wrong = [
        f"{module_of(file)} imports {other}"
        for file in FILES
        if module_of(file) != "kvfake"
        for other in imports_of(file)
        if folder_of(other) != folder_of(module_of(file)) and FLOORS[folder_of(other)] >= FLOORS[folder_of(module_of(file))]
    ]
    assert wrong == []


def test_no_folder_imports_in_circles() -> None:
    """Inside a folder, too, there is an order."""
    graph = {module_of(file): imports_of(file) - {module_of(file)} for file in FILES if module_of(file) != "kvfake"}
    while graph:
        leaves = [module for module, needs in graph.items() if not needs & graph.keys()]
        assert leaves, f"these import each other: {sorted(graph)}"
        for leaf in leaves:
            del graph[leaf]


def test_every_file_opens_with_its_law_and_is_short() -> None:
    """Whoever opens a file reads first what it does and what it may not know."""
    for file in FILES:
        text = file.read_text()
        law = ast.get_docstring(ast.parse(text)) or ""
        assert law, f"{file.name} has no law"
        assert "Law: " in law or file.name in ("__init__.py", "__main__.py"), f"{file.name} states no law"
        assert len(text.splitlines()) <= 600 or file.name == "fidelity.py", f"{file.name} is long: do two rooms want to part?"


def test_a_request_travels_through_five_files() -> None:
    """From the socket to the store: server, connection, site, fake, a service."""
    way = ["kvfake.doors.server", "kvfake.doors.connection", "kvfake.doors.site", "kvfake.world.fake", "kvfake.services.persist"]
    assert {module_of(file) for file in FILES} >= set(way)
    assert "kvfake.world.fake" in imports_of(ROOT / "doors" / "site.py")
    assert "kvfake.services.persist" in imports_of(ROOT / "world" / "fake.py")


def test_the_public_names_are_few_and_sorted() -> None:
    """What is exported is what the documentation names."""
    assert kvfake.__all__ == sorted(kvfake.__all__) == ["Double", "FidelityWarning", "start", "wsgi_app"]
    for name in kvfake.__all__:
        assert getattr(kvfake, name) is not None


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=unmeasured)
    return set(done.stdout.split())


def test_importing_kvfake_loads_nothing() -> None:
    """``import kvfake`` costs next to nothing."""
    loaded = loaded_after("import kvfake")
    assert not (loaded - loaded_after("pass")) & {"werkzeug", "httptools", "sortedcontainers", "kvfake.double", "socket", "typing"}


def test_serving_loads_no_werkzeug() -> None:
    """werkzeug is loaded when control is first asked for; the sorted lists when something is first listed."""
    loaded = loaded_after("import kvfake; kvfake.start().close()")
    assert "httptools" in loaded
    assert not loaded & {"werkzeug", "sortedcontainers", "concurrent.futures", "dataclasses", "http.client"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="nothing"):
        kvfake.nothing  # noqa: B018
