"""The house keeps its order: imports go down the floors, every file states its law, importing costs nearly nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import kvfake
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes

ROOT = Path(kvfake.__file__).parent
FLOORS = (  # from the ground up; a folder or file imports from the floors below its own
    ("kvfake.machine",),
    ("kvfake.lines",),
    ("kvfake.errors", "kvfake.fork", "kvfake.stores"),
    ("kvfake.settings",),
    ("kvfake.services",),
    ("kvfake.world",),
    ("kvfake.files", "kvfake.http_client", "kvfake.signals"),
    ("kvfake.control",),
    ("kvfake.http",),
    ("kvfake.double",),
    ("kvfake.session",),
    ("kvfake.contract", "kvfake.explore"),
    ("kvfake.cli", "kvfake.pytest_plugin"),
    ("kvfake.__main__",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))
MAX_FILES = 75  # without drivers/ and explore/
MAX_LINES_OF_A_FILE = 600

JOURNEY_OF_A_PUT = {  # the modules that a PUT on a kept connection enters, and why
    "kvfake.http.poller": "says which sockets are ready",
    "kvfake.http.server": "reads the bytes, sends the answer",
    "kvfake.http.connection": "cuts the bytes into requests",
    "kvfake.http.parser": "reads the head of a request",
    "kvfake.services.messages": "the request, the operation",
    "kvfake.http.router": "finds what the path leads to",
    "kvfake.world.backend": "has it answered and recorded",
    "kvfake.services.mattermost": "reads the request, answers the operation",
    "kvfake.services.go": "says whether the body is JSON",
    "kvfake.world.tokens": "knows the owner of the token",
    "kvfake.world.clock": "says what time it is",
    "kvfake.stores": "makes the entry",
    "kvfake.stores.memory": "keeps it",
    "kvfake.world.journal": "records the exchange",
}


def module_of(file: Path) -> str:
    parts = ("kvfake", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_in(module: str, source: str) -> set[str]:
    """The modules of kvfake that a source imports, in whatever form and also inside functions."""
    found: set[str] = set()
    package = module if MODULES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        found |= {name for name in names if name.partition(".")[0] == "kvfake"}
    return found


def imports_of(module: str) -> set[str]:
    return imports_in(module, MODULES[module].read_text())


def wrong_ways(module: str, imports: set[str]) -> list[str]:
    """The imports that do not go down."""
    own = folder_of(module)
    others = {other for other in imports if folder_of(other) not in (own, "kvfake")}
    return [f"{module} imports {other}" for other in sorted(others) if FLOOR_OF[folder_of(other)] >= FLOOR_OF[own]]


def test_imports_go_down_the_floors() -> None:
    """A file imports from the floors below it and from its own folder, never from above or from beside."""
    assert [wrong for module in MODULES if module != "kvfake" for wrong in wrong_ways(module, imports_of(module))] == []


@pytest.mark.parametrize(
    "source",
    ["import kvfake.http.server", "from kvfake.http import server", "from kvfake import http", "from ..http.server import Server"],
)
def test_an_import_that_goes_up_is_seen_in_every_form(source: str) -> None:
    """The check itself sees each way in which an import can be written."""
    assert wrong_ways("kvfake.stores.memory", imports_in("kvfake.stores.memory", source))


def test_no_folder_imports_in_circles() -> None:
    """Inside a folder, too, there is an order."""
    graph = {module: imports_of(module) - {module} for module in MODULES if module != "kvfake"}
    while graph:
        leaves = [module for module, needs in graph.items() if not needs & graph.keys()]
        assert leaves, f"these import each other: {sorted(graph)}"
        for leaf in leaves:
            del graph[leaf]


def test_only_the_command_and_the_plugin_load_what_few_runs_need() -> None:
    """``contract`` and ``explore`` are loaded by the command line and by the pytest plugin, when they are asked for."""
    rare = {"kvfake.contract", "kvfake.explore"}
    users = {folder_of(module) for module in MODULES if {folder_of(other) for other in imports_of(module)} & rare}
    assert users <= {*rare, "kvfake.cli", "kvfake.pytest_plugin"}


def test_every_file_opens_with_its_law() -> None:
    """Whoever opens a file reads first what it does and what it may not know."""
    for file in FILES:
        law = ast.get_docstring(ast.parse(file.read_text())) or ""
        assert "Law: " in law or (law and file.name in ("__init__.py", "__main__.py")), f"{file.name} states no law"


def test_the_files_are_few_and_not_long() -> None:
    """A file holds one concept, whole; a reader can find it among few, and can read it in one sitting."""
    counted = [module for module in MODULES if folder_of(module) not in ("kvfake.drivers", "kvfake.explore")]
    assert len(counted) <= MAX_FILES
    assert [module for module, file in MODULES.items() if len(file.read_text().splitlines()) > MAX_LINES_OF_A_FILE] == []


@pytest.fixture
def entered() -> Iterator[dict[str, int]]:
    """How often each module of kvfake was entered by threads that were started since, counted by the interpreter itself."""
    counts: dict[str, int] = {}

    def count(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] == "kvfake":
            counts[module] = counts.get(module, 0) + 1

    threading.setprofile(count)
    yield counts
    threading.setprofile(None)


def test_a_put_on_a_kept_connection_enters_few_modules(entered: dict[str, int]) -> None:
    """From the bytes of the socket to the store, the journal and back: the way is known, and no step of it is there unseen."""
    with kvfake.start() as double, Wire(server_of(double).port) as wire:
        path = double.mattermost.url_for("key").removeprefix(double.url)
        put = request_bytes("PUT", path, double.mattermost.headers, b"1")
        wire.ask(put)
        entered.clear()
        assert wire.ask(put).status == 200
        assert wire.ask(put).status == 200  # by now all of the one before is done, what follows its answer too
        assert set(entered) == set(JOURNEY_OF_A_PUT)


PUBLIC_NAMES = [  # they are promises
    *("Clock", "Double", "DoubleFactory", "Exchange", "Fault", "Faults", "FidelityWarning", "Journal", "Mattermost", "Persist"),
    *("start", "wsgi_app"),
]


def test_the_public_names_are_few_and_sorted() -> None:
    """What is exported is what the documentation names, and each name loads. ``dir`` shows them, and nothing else."""
    assert kvfake.__all__ == sorted(kvfake.__all__) == PUBLIC_NAMES
    assert dir(kvfake) == sorted([*PUBLIC_NAMES, "__version__"])
    for name in kvfake.__all__:
        code = f"import kvfake; assert kvfake.{name} is kvfake.{name}; from kvfake import {name}"
        assert "kvfake" in loaded_after(code)


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
    assert not loaded & {"werkzeug", "sortedcontainers", "concurrent.futures", "dataclasses", "http.client", "random"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="nothing"):
        kvfake.nothing  # type: ignore[attr-defined]  # noqa: B018
