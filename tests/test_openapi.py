"""``kvfake openapi``: a description that is valid, whole, and true of the server under both profiles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

import kvfake
from kvfake.cli import main
from kvfake.contract.openapi.describing import description
from kvfake.control import app, powers, worlds
from kvfake.services import mattermost, persist
from kvfake.services.facts import ROWS
from tests.support.process import environment
from tests.support.troubled import SEVERS

EXCUSED = Path(__file__).parent / "support" / "excused.py"
METHODS = ("get", "post", "put", "delete")
BOUND_SECONDS = 100
CONTROL_TOKEN = "control"
LIMIT = mattermost.MAX_VALUE_BYTES

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method, operation."""
    for path, item in described["paths"].items():
        yield from ((path, method, item[method]) for method in METHODS if method in item)


# ------------------------------------------------------------------------------------------------------------- what is described


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on stdout, and nothing else; the same each time."""
    assert main(["openapi"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == description()
    assert printed.out.endswith("\n}\n")
    assert printed.err == ""


def test_it_is_valid() -> None:
    """OpenAPI 3.1."""
    assert description()["openapi"].startswith("3.1")
    assert description()["info"]["version"] == kvfake.__version__
    validate(description())


def test_all_of_control_is_described() -> None:
    """The very paths and methods of its table, and every name that a body may have."""
    described = description()
    base = "/_kvfake"
    control = {(path, method) for path, method, _ in operations(described) if path.startswith(base)}
    assert control == {
        (base + re.sub(r"<(?:int:)?(\w+)>", r"{\1}", path), verb.lower()) for path, verbs in app._TABLE.items() for verb in verbs
    }
    schemas = described["components"]["schemas"]
    for name in ("FaultOfAnswer", "FaultOfConnection", "FaultOfGarbage"):
        assert tuple(schemas[name]["properties"]) == powers._FAULT
    assert tuple(schemas["NewRoute"]["properties"]) == powers._ROUTE
    assert tuple(schemas["ClockMove"]["properties"]) == powers._MOVES
    assert tuple(schemas["WorldSettings"]["properties"]) == worlds._SETTINGS
    assert set(schemas["Fault"]["properties"]["sever"]["enum"]) == {None, *SEVERS}


def test_both_services_are_described() -> None:
    """Each with its methods, and with the limits of its code."""
    found = {(path, method) for path, method, _ in operations(description()) if not path.startswith("/_kvfake")}
    kv, api = mattermost.KV, persist.API + "/persist"
    assert found == {
        *[(kv + path, method) for path in ("/{key}", "/{prefix}/{key}") for method in METHODS],
        *[(api + "/kv/{key}", method) for method in ("get", "put", "delete")],
        (api + "/kv", "get"),
        (api + "/mget", "post"),
    }
    text = json.dumps(description())
    for limit in (mattermost.MAX_VALUE_BYTES, persist.MAX_VALUE_BYTES, persist.MAX_MGET_KEYS):
        assert str(limit) in text


def test_every_operation_has_a_name_and_every_row_is_told() -> None:
    """Names are unique; the services' operations say which rows they reproduce."""
    described = description()
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)
    for path, _, operation in operations(described):
        assert operation["summary"]
        assert path.startswith("/_kvfake") or re.search(r"^- [MP]\d\d: ", operation["description"], re.MULTILINE)
    text = json.dumps(described, ensure_ascii=False)
    assert [row for row in ROWS if f"- {row}: " not in text] == []


# ------------------------------------------------------------------------------------------------------------ whether it is true


def fuzzed(double: kvfake.Double, described: dict[str, Any], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """schemathesis, with every check, the same at each run; ``tests/support/excused.py`` says which failures are none."""
    (folder / "kvfake.json").write_text(json.dumps(described))
    tokens = {"mattermostBearer": double.mattermost.token, "persistBearer": double.persist.token, "controlToken": CONTROL_TOKEN}
    bearers = [f'{name} = {{ bearer = "{token}" }}' for name, token in tokens.items()]
    (folder / "schemathesis.toml").write_text("\n".join([f'hooks = "{EXCUSED}"', "[auth.openapi]", *bearers]))
    unmeasured = {name: value for name, value in environment({}).items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "kvfake.json"]
    bounded = ["--generation-deterministic", "--seed", "1", "--no-color"]
    return subprocess.run(
        [*command, "--url", double.url, *bounded, *options],
        cwd=folder,
        env={**unmeasured, "PYTHONPATH": os.fspath(EXCUSED.parents[2])},
        capture_output=True,
        text=True,
        timeout=BOUND_SECONDS,
        check=False,
    )


SERVICES = ("--include-tag", "Mattermost", "--include-tag", "Persist")
CONTROL = ("--include-tag", "Control")
COVERAGE = ("--phases", "examples,coverage")  # each value at its bounds and just outside, names missing, other methods
DRAWN = ("--phases", "fuzzing,stateful", "-n", "6")

each_profile = pytest.mark.parametrize(
    ("profile", "phases"), [("documented", DRAWN), ("plugin-1.2", COVERAGE)], ids=["documented", "plugin-1.2"]
)  # to ask everything under both takes twice as long, and their difference is in the excuses


@pytest.mark.timeout(BOUND_SECONDS)
@each_profile
@pytest.mark.once
def test_the_services_are_as_described(tmp_path: Path, profile: str, phases: tuple[str, ...]) -> None:
    """Whatever schemathesis asks, with a token and without, also with values at the limits; the profiles share a description."""
    described = description()
    for item in (
        described["paths"][mattermost.KV + "/{key}"]["post"],
        described["paths"][mattermost.KV + "/{prefix}/{key}"]["put"],
    ):
        values = {str(length): {"value": "x" * (length - len('""'))} for length in (LIMIT, LIMIT + 1)}
        item["requestBody"]["content"]["application/json"]["examples"] = values
    with kvfake.start(profile=profile, strict=True) as double:
        done = fuzzed(double, described, tmp_path, *SERVICES, *phases)
        assert done.returncode == 0, done.stdout + done.stderr
        assert double.journal.seen > 100
        assert profile == "documented" or {len(asked.request.body) for asked in double.journal} >= {LIMIT, LIMIT + 1}


@pytest.mark.timeout(BOUND_SECONDS)
@each_profile
@pytest.mark.once
def test_control_is_as_described(tmp_path: Path, profile: str, phases: tuple[str, ...]) -> None:
    """Also that it refuses, where it has a token, whoever does not bring it."""
    described = description()
    for _, _, operation in operations(described):
        if {"controlToken": []} in operation["security"]:
            operation["security"] = [{"controlToken": []}]  # it is optional only where the server has none
    with kvfake.start(profile=profile, control_token=CONTROL_TOKEN) as double:
        done = fuzzed(double, described, tmp_path, *CONTROL, *phases)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(BOUND_SECONDS)
@pytest.mark.once
def test_a_description_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """So the runs above do look: a status that is not described, a field of another type."""
    described = description()
    del described["paths"]["/api/v1/persist/kv/{key}"]["put"]["responses"]["401"]
    described["components"]["schemas"]["PersistRecord"]["properties"]["updated"] = {"type": "number"}
    with kvfake.start(strict=True) as double:
        done = fuzzed(double, described, tmp_path, "--include-operation-id", "persistSet", *COVERAGE, "--continue-on-failure")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Received: 401" in done.stdout
    assert "is not of type" in done.stdout


@pytest.mark.timeout(BOUND_SECONDS)
@pytest.mark.once
def test_a_server_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """What is excused is what the plugin's rows say and nothing else: a 500 with another text is a failure."""
    with kvfake.start(strict=True) as double:
        double.faults.add(status=418, method="GET", times=None)
        double.faults.add(status=500, body="another text", method="DELETE", times=None)
        double.faults.add(headers={"Content-Type": "text/html"}, method="POST", times=None)
        one_path = ("--include-path", mattermost.KV + "/{key}", "--phases", "fuzzing", "-n", "5")
        done = fuzzed(double, description(), tmp_path, *one_path, "--continue-on-failure")
    assert done.returncode == 1, done.stdout + done.stderr
    for told in ("Received: 418", "another text", "Received: text/html"):
        assert told in done.stdout


def test_a_description_is_the_callers_own() -> None:
    """Whoever changes one changes no other."""
    described = description()
    described["components"]["schemas"]["Error"].clear()
    assert description()["components"]["schemas"]["Error"]
