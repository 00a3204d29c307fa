"""``kvfake openapi``: a description that is valid, whole, and true of the server under both profiles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, find
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import NoSuchExample, Unsatisfiable
from openapi_spec_validator import validate

import kvfake
from kvfake.cli import main
from kvfake.cli.parser import DEFAULT_URL
from kvfake.control import openapi
from kvfake.control.handlers import CLOCK_FIELDS, FAULT_ACTIONS, FAULT_FIELDS, ROUTE_FIELDS, SENTENCE_FIELDS, WORLD_FIELDS
from kvfake.control.routes import ROUTES
from kvfake.services import go, mattermost, persist
from kvfake.services.facts import ROWS
from kvfake.services.jsontext import json_text
from kvfake.services.messages import FIDELITY_HEADER, Response, Sever
from kvfake.settings import PROJECT_MARK, Profile
from kvfake.world.backend import WORLD_MARK
from kvfake.world.clock import FIRST, LAST
from kvfake.world.faults import MAX_DELAY_SECONDS, FaultArguments
from kvfake.world.routes import FRAMING_HEADERS, RESERVED_PATHS, WITHOUT_BODY
from kvfake.world.turns import MAX_LIMIT, MAX_PER_SECONDS
from tests.support import excused
from tests.support.process import environment

HOOKS = Path(excused.__file__)
OPENAPI = Path(kvfake.__file__).parent / "control" / "openapi.json"
METHODS = ("get", "post", "put", "delete")
BOUND_SECONDS = 100
CONTROL_TOKEN = "control"
LIMIT = mattermost.MAX_VALUE_BYTES

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def description() -> dict[str, Any]:
    return openapi.description(ROUTES)


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each operation."""
    for path, item in described["paths"].items():
        yield from ((path, method, item[method]) for method in METHODS if method in item)


# ------------------------------------------------------------------------------------------------------------- what is described


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout has the JSON and nothing else."""
    assert main(["openapi"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == description()
    assert printed.out.endswith("\n}\n")
    assert printed.err == ""


def test_it_is_served() -> None:
    """The same, byte for byte, also below the address of a world: for whoever has a server and no command."""
    with kvfake.start() as double:
        world = httpx.post(f"{double.url}/_kvfake/worlds").json()["address"]
        for url in (double.url, world):
            served = httpx.get(f"{url}/_kvfake/openapi.json")
            assert (served.status_code, served.headers["Content-Type"]) == (200, "application/json")
            assert served.text == json_text(description())
            assert "/_kvfake/openapi.json" in served.json()["paths"]


def test_it_is_valid() -> None:
    """As OpenAPI 3.1, with kvfake's version."""
    assert description()["openapi"].startswith("3.1")
    assert description()["info"]["version"] == kvfake.__version__
    validate(description())


def test_all_of_control_is_described() -> None:
    """Exactly the paths and methods of its table, and every name that a body may have."""
    described = description()
    base = "/_kvfake"
    control = {(path, method) for path, method, _ in operations(described) if path.startswith(base)}
    assert control == {(base + re.sub(r"<(?:int:)?(\w+)>", r"{\1}", route.path), route.method.lower()) for route in ROUTES}
    schemas = described["components"]["schemas"]
    for name in ("FaultOfAnswer", "FaultOfConnection", "FaultOfGarbage"):
        assert tuple(schemas[name]["properties"]) == FAULT_FIELDS
    assert tuple(schemas["FaultSentence"]["properties"]) == SENTENCE_FIELDS
    assert [one["required"][0] for one in schemas["FaultSentence"]["anyOf"]] == list(FAULT_ACTIONS)
    assert tuple(schemas["NewRoute"]["properties"]) == ROUTE_FIELDS
    assert tuple(schemas["ClockMove"]["properties"]) == CLOCK_FIELDS
    assert tuple(schemas["WorldSettings"]["properties"]) == WORLD_FIELDS
    assert set(schemas["Fault"]["properties"]["sever"]["enum"]) == {None, *(sever.value for sever in Sever)}
    assert set(schemas["Fault"]["properties"]) == {"id", "hits", "active", "text", *FaultArguments._fields}
    for sever in Sever:
        assert f"{sever.value}: {sever.meaning}" in schemas["Fault"]["properties"]["sever"]["description"]


def test_both_services_are_described() -> None:
    """All their paths and methods."""
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


def test_every_operation_has_a_name_and_every_row_is_described() -> None:
    """Names are unique. Each operation of a service has the rows that it reproduces; every row is somewhere."""
    described = description()
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)
    for path, _, operation in operations(described):
        assert operation["summary"]
        assert path.startswith("/_kvfake") or re.search(r"^- [MP]\d\d: ", operation["description"], re.MULTILINE)
    text = json.dumps(described, ensure_ascii=False)
    assert [row for row in ROWS if f"- {row}: " not in text] == []


def texts(node: Any, *place: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every summary and description with its place, except those of settings, which ``--help`` shows too."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name in ("summary", "description") and isinstance(inner, str) and "WorldSettings" not in place:
                yield (*place, name), inner
            yield from texts(inner, *place, name)
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from texts(inner, *place, str(number))


def test_what_it_says_is_whole_sentences() -> None:
    """A summary is a line that begins with a capital; a description ends as a sentence does."""
    for place, text in texts(description()):
        is_good = re.fullmatch(r"[A-Z].*[a-z`]", text) if place[-1] == "summary" else not text or re.search(r"[.:]\Z", text)
        assert is_good, (place, text)
    answers = {text for place, text in texts(description()) if "responses" in place}
    assert answers >= {"It was made.", "It was done."}


TEXTS: dict[str, tuple[Response, ...]] = {  # the refusals whose texts the description lists
    "Mattermost400": (go.BAD_REQUEST,),
    "MattermostSet400": (mattermost.NOT_JSON, go.BAD_REQUEST),
    "Mattermost401": (mattermost.NO_TOKEN, mattermost.NO_APP),
    "Mattermost404": (mattermost.NOT_FOUND,),
    "Persist401": (persist.NO_TOKEN, persist.UNKNOWN_TOKEN),
    "Persist404": (persist.NOT_FOUND,),
}


@pytest.mark.parametrize("name", TEXTS)
def test_refusals_have_the_texts_of_the_services(name: str) -> None:
    """Content type, body, and the headers that every one of them has."""
    described = description()["components"]["responses"][name]
    ((kind, content),) = described["content"].items()
    headers = {name: header["schema"]["const"] for name, header in described.get("headers", {}).items()}
    bodies = [response.body.decode() for response in TEXTS[name]]
    assert content["schema"]["enum"] == ([json.loads(body) for body in bodies] if kind == "application/json" else bodies)
    for response in TEXTS[name]:
        assert dict(response.headers)["Content-Type"].partition(";")[0] == kind
    assert headers.items() == set.intersection(
        *({(name, value) for name, value in response.headers if name != "Content-Type"} for response in TEXTS[name])
    )


def test_limits_are_those_of_the_code() -> None:
    """All that the description names."""
    described = description()
    responses, schemas = described["components"]["responses"], described["components"]["schemas"]
    prefixed = responses["Mattermost500"]["content"]["text/plain"]["schema"]
    too_large = responses["MattermostSet500"]["content"]["text/plain"]["schema"]
    assert re.search(prefixed["pattern"], mattermost.prefix_too_long(b"ABC") + "\n")
    assert too_large == {"anyOf": [{"enum": [mattermost.TOO_LARGE.body.decode()]}, prefixed]}
    limits = re.findall("more than ([0-9]+) bytes", responses["MattermostSet500"]["description"])
    assert limits == [str(mattermost.MAX_VALUE_BYTES), str(mattermost.MAX_PREFIX_BYTES)]
    value = schemas["PersistRecord"]["properties"]["value"]
    assert value["maxLength"] == persist.MAX_VALUE_BYTES
    assert f"At most {persist.MAX_VALUE_BYTES} bytes" in value["description"]
    assert described["components"]["securitySchemes"]["mattermostCookie"]["name"] == mattermost.COOKIE.decode()
    assert [server["url"] for server in described["servers"]] == [DEFAULT_URL, f"{DEFAULT_URL}{WORLD_MARK}{{id}}"]
    paths = described["paths"]
    prefixed_path, record_path = paths[mattermost.KV + "/{prefix}/{key}"], paths[persist.API + "/persist/kv/{key}"]
    assert f" takes {mattermost.MAX_PREFIX_BYTES} bytes at most" in prefixed_path["parameters"][0]["description"]
    for method in ("put", "post"):
        assert f"at most {mattermost.MAX_VALUE_BYTES} bytes" in prefixed_path[method]["requestBody"]["description"]
    body = record_path["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["value"] == value
    body = paths[persist.API + "/persist/mget"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["properties"]["keys"]["maxItems"] == persist.MAX_MGET_KEYS
    assert f"At most {persist.MAX_MGET_KEYS} keys" in body["description"]


def test_the_paths_of_mattermost_differ_in_the_prefix_alone() -> None:
    """In the ids of the operations, the path parameter and the rows."""
    services = json.loads(OPENAPI.read_bytes())["paths"]
    plain, prefixed = services[mattermost.KV + "/{key}"], services[mattermost.KV + "/{prefix}/{key}"]
    assert prefixed["parameters"][1:] == plain["parameters"]
    for method in METHODS:
        assert list(plain[method]["responses"]["200"]["headers"]) == [FIDELITY_HEADER]
        text = json.dumps(plain[method]).replace('"M20", "M21"', '"M06", "M15", "M20", "M21", "M25"')
        text = re.sub('("operationId": "[^"]*)', r"\1Prefixed", text)
        text = text.replace('{"key": "$request.path.key"}', '{"prefix": "$request.path.prefix", "key": "$request.path.key"}')
        assert prefixed[method] == json.loads(text)


def cases() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Path, schema of the body, body, and whether it is valid. The cases are at limits and names that the code has too."""
    for seconds, is_good in ((MAX_DELAY_SECONDS, True), (MAX_DELAY_SECONDS + 1, False)):
        for delay in (seconds, [0, seconds], {"median": seconds, "sigma": 1}, {"over": seconds}):
            yield "/faults", "NewFault", {"delay": delay}, is_good
        yield "/faults", "NewFault", {"sever": "before", "delay": seconds}, is_good
        yield "/faults", "NewFault", {"sever": "garbage", "delay": seconds}, is_good
    for status in WITHOUT_BODY:
        for path, schema, body in (("/faults", "NewFault", {}), ("/routes", "NewRoute", {"path": "/p"})):
            yield path, schema, {**body, "status": status}, True
            yield path, schema, {**body, "status": status, "body": "b"}, False
    yield from faults_of_several_words()
    for name in (*FRAMING_HEADERS, *(name.title() for name in FRAMING_HEADERS)):
        yield "/faults", "NewFault", {"headers": {name: "1"}}, False
        yield "/faults", "NewFault", {"headers": {f"x-{name}": "1"}}, True
        yield "/routes", "NewRoute", {"path": "/p", "headers": {name: "1"}}, False
        yield "/routes", "NewRoute", {"path": "/p", "headers": {f"{name}-x": "1"}}, True
    for path in RESERVED_PATHS:
        yield "/routes", "NewRoute", {"path": path}, False
        yield "/routes", "NewRoute", {"path": f"{path}/below"}, False
        yield "/routes", "NewRoute", {"path": f"/beside{path}"}, True
        yield "/routes", "NewRoute", {"path": f"{path}beside"}, path != WORLD_MARK
    for seconds in (int(FIRST.timestamp()), int(LAST.replace(microsecond=0).timestamp())):
        yield "/clock", "ClockMove", {"move_to": seconds}, True
        yield "/clock", "ClockMove", {"freeze": seconds}, True
    for seconds in (int(FIRST.timestamp()) - 1, int(LAST.timestamp()) + 1):
        yield "/clock", "ClockMove", {"move_to": seconds}, False
        yield "/clock", "ClockMove", {"freeze": seconds}, False
    for token, is_good in ((f"t={PROJECT_MARK}p", True), (f"t={PROJECT_MARK}", False), ("t=app/user", True), ("t=app", False)):
        yield "/worlds", "WorldSettings", {"token": token}, is_good
        yield "/worlds", "WorldSettings", {"token": [token]}, is_good


def faults_of_several_words() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Quotas, stale answers, owners and sentences, of which one word allows or forbids another."""
    for good in (
        {"limit": 1, "per": 0.001},
        {"limit": MAX_LIMIT, "per": MAX_PER_SECONDS, "times": None, "sever": "before"},
        {"status": 503, "limit": None, "per": None, "start": None, "end": "2026-01-01"},
        {"stale": True, "delay": 1, "sever": "truncate"},
        {"status": 503, "service": "mattermost", "owner": "ada"},
        {"status": 503, "service": "persist", "owner": "a/b/c"},
        {"on": "PUT", "answer": {"status": 204, "body": ""}, "times": None},
        {"on": None, "nth": 2, "times": 2, "hang": True, "start": 0},
        {"limit": 1, "per": 1, "on": "PUT", "times": 1},
        {"rate": 0.5, "seed": 1, "cut": True},
    ):
        yield "/faults", "NewFault", good, True
    for bad in (
        {"limit": 1},
        {"per": 1},
        {"status": 503, "per": 1},
        {"limit": MAX_LIMIT + 1, "per": 1},
        {"limit": 1, "per": MAX_PER_SECONDS + 1},
        {"limit": 1, "per": 0},
        {"limit": 1, "per": 1, "times": 2},
        {"stale": True, "status": 200},
        {"stale": True, "body": 1},
        {"stale": True, "limit": 1, "per": 1},
        {"stale": True, "sever": "before"},
        {"stale": True, "sever": "garbage"},
        {"stale": None},
        {"status": 503, "start": "soon"},
        {"status": 503, "owner": ""},
        {"status": 503, "service": "mattermost", "owner": "a/b/c"},
        {"on": "PUT"},
        {"on": "PUT", "cut": True, "hang": True},
        {"on": "PUT", "cut": False},
        {"on": "PUT", "status": 503},
        {"on": "PUT", "answer": 199},
        {"on": "PUT", "answer": {"body": "b"}},
        {"on": "PUT", "answer": {"status": 204, "body": "b"}},
        {"on": "PUT", "nth": 2, "every": 2, "cut": True},
        {"on": "PUT", "nth": 2, "after": 2, "cut": True},
        {"on": "PUT", "seed": 1, "cut": True},
        {"on": "PUT", "per": 1, "cut": True},
        {"on": "PUT", "limit": 1},
    ):
        yield "/faults", "NewFault", bad, False


@pytest.mark.parametrize(("path", "schema", "body", "is_good"), list(cases()), ids=repr)
def test_the_description_and_control_agree(path: str, schema: str, body: dict[str, Any], is_good: bool) -> None:
    """Control accepts a body that fits the description, and refuses one that does not."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": description()["components"]}
    assert jsonschema_rs.Draft202012Validator(whole).is_valid(body) is is_good
    double = kvfake.Double()
    with httpx.Client(transport=double.httpx_transport(), trust_env=False) as client:
        response = client.post(f"{double.url}/_kvfake{path}", json=body)
    assert response.is_success is is_good, response.text
    assert is_good or response.status_code == 400


# --------------------------------------------------------------------------------------------------- whether it can be satisfied


FEW_EXAMPLES = hypothesis_settings(
    phases=[Phase.generate], max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def succeeds(described: dict[str, Any], path: str, method: str) -> bool:
    """Whether a new double answers one of the first valid requests with a 2xx. It has what the path names."""

    def is_success(case: Any) -> bool:
        double = kvfake.Double()
        double._backend.own_world.settings = {**double._backend.own_world.settings, "export": os.devnull}
        double.persist["known"] = "value"
        known = {"key": "known", "id": double._backend.open({}).id, "mark": double.checkpoint()}
        known["number"] = double.faults.add(503, after=1).number
        tokens = {"Mattermost": double.mattermost.token, "Persist": double.persist.token, "Control": "none"}
        headers = {"Authorization": f"Bearer {tokens[described['paths'][path][method]['tags'][0]]}"}
        if not path.startswith(mattermost.KV):  # which answers with 2xx also for a key that is not there
            case.path_parameters = {name: known[name] for name in case.path_parameters or ()}
        request = case.as_transport_kwargs(base_url=double.url)
        sent = {name: request[name] for name in ("params", "json") if name in request}
        with httpx.Client(transport=double.httpx_transport(), trust_env=False) as client:
            return client.request(request["method"], request["url"], headers=headers, **sent).is_success

    try:
        find(schemathesis.openapi.from_dict(described)[path][method].as_strategy(), is_success, settings=FEW_EXAMPLES)
    except (NoSuchExample, Unsatisfiable):
        return False
    return True


def test_every_operation_has_a_valid_request() -> None:
    """A request that fits the description gets a 2xx."""
    described = description()
    assert [found[:2] for found in operations(described) if not succeeds(described, *found[:2])] == []


def narrowed(described: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """For each part of the request and each kind of value: the description requires it, and its name is yielded."""
    for parameter in operation.get("parameters", ()):
        parameter["required"] = True
        yield parameter["name"]
        parameter["required"] = False
    if "requestBody" not in operation:
        return
    content = operation["requestBody"]["content"]["application/json"]
    schemas = described["components"]["schemas"]
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    kinds = [kind["$ref"].rpartition("/")[2] for kind in schemas[name].get("anyOf", ())] if name else []
    for kind in kinds or [name] * bool(name):
        content["schema"] = {"$ref": f"#/components/schemas/{kind}"}
        whole = schemas[kind]
        for field, schema in whole["properties"].items():
            types = [{**schema, "type": type} for type in schema["type"]] if isinstance(schema.get("type"), list) else [schema]
            for alternative in schema.get("anyOf", types):
                required = sorted({*whole.get("required", ()), field})
                schemas[kind] = {**whole, "required": required, "properties": {**whole["properties"], field: alternative}}
                yield f"{kind}.{field}: {json.dumps(alternative)}"
        schemas[kind] = whole
    content["schema"] = {"$ref": f"#/components/schemas/{name}"} if name else content["schema"]


def without_waits(described: dict[str, Any]) -> None:
    """Drop what makes ``GET /_kvfake/journal`` wait: it would take too long, and in vain where the journal is empty."""
    operation = described["paths"]["/_kvfake/journal"]["get"]
    operation["parameters"] = [one for one in operation["parameters"] if one["name"] not in ("wait", "times")]


def test_every_part_of_a_request_can_be_given() -> None:
    """Each parameter, each name of a body, and each kind of value that it may have is in some valid request."""
    described = description()
    without_waits(described)
    wrong = [
        (path, method, part)
        for path, method, operation in operations(described)
        for part in narrowed(described, operation)
        if not succeeds(deepcopy(described), path, method)
    ]
    assert wrong == []


# ------------------------------------------------------------------------------------------------------------ whether it is true


def fuzzed(
    double: kvfake.Double, described: dict[str, Any], folder: Path, run: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """A deterministic run of schemathesis with every check. ``tests/support/excused.py`` has the failures that are excused."""
    (folder / "kvfake.json").write_text(json.dumps(described))
    tokens = {"mattermostBearer": double.mattermost.token, "persistBearer": double.persist.token, "controlToken": CONTROL_TOKEN}
    bearers = [f'{name} = {{ bearer = "{token}" }}' for name, token in tokens.items()]
    (folder / "schemathesis.toml").write_text("\n".join([f'hooks = "{HOOKS}"', "[auth.openapi]", *bearers]))
    unmeasured = {name: value for name, value in environment({}).items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "kvfake.json"]
    bounded = ["--generation-deterministic", "--seed", "1", "--no-color"]
    return subprocess.run(
        [*command, "--url", double.url, *bounded, *options],
        cwd=folder,
        env={**unmeasured, "PYTHONPATH": os.fspath(HOOKS.parents[2]), excused.RUN: run},
        capture_output=True,
        text=True,
        timeout=BOUND_SECONDS,
        check=False,
    )


def needed_excuses(folder: Path) -> list[str]:
    """The excuses without which the run would have failed."""
    return sorted(set((folder / excused.USED).read_text().splitlines()))


SERVICES = ("--include-tag", "Mattermost", "--include-tag", "Persist")
CONTROL = ("--include-tag", "Control")
COVERAGE = ("--phases", "examples,coverage")  # each value at its bounds and just outside, names missing, other methods
DRAWN = ("--phases", "fuzzing,stateful", "-n", "6")

each_profile = pytest.mark.parametrize(
    ("profile", "phases"), [("documented", DRAWN), ("plugin-1.2", COVERAGE)], ids=["documented", "plugin-1.2"]
)  # all phases under both profiles would take twice as long; the profiles differ only in what is excused


@pytest.mark.timeout(BOUND_SECONDS)
@each_profile
@pytest.mark.once
def test_the_services_are_as_described(tmp_path: Path, profile: Profile, phases: tuple[str, ...]) -> None:
    """With and without tokens, also for values at the limits. Both profiles have the same description."""
    described = description()
    for item in (
        described["paths"][mattermost.KV + "/{key}"]["post"],
        described["paths"][mattermost.KV + "/{prefix}/{key}"]["put"],
    ):
        values = {str(length): {"value": "x" * (length - len('""'))} for length in (LIMIT, LIMIT + 1)}
        item["requestBody"]["content"]["application/json"]["examples"] = values
    with kvfake.start(profile=profile, strict=True) as double:
        done = fuzzed(double, described, tmp_path, f"services {profile}", *SERVICES, *phases)
        assert done.returncode == 0, done.stdout + done.stderr
        assert needed_excuses(tmp_path) == sorted(excuse.why for excuse in excused.excuses(f"services {profile}"))
        assert double.journal.seen > 100
        assert profile == "documented" or {len(asked.request.body) for asked in double.journal} >= {LIMIT, LIMIT + 1}


@pytest.mark.timeout(BOUND_SECONDS)
@each_profile
@pytest.mark.once
def test_control_is_as_described(tmp_path: Path, profile: Profile, phases: tuple[str, ...]) -> None:
    """Also that a server with a control token refuses requests without it."""
    described = description()
    for _, _, operation in operations(described):
        if {"controlToken": []} in operation["security"]:
            operation["security"] = [{"controlToken": []}]  # it is optional only where the server has none
    without_waits(described)
    with kvfake.start(profile=profile, control_token=CONTROL_TOKEN) as double:
        done = fuzzed(double, described, tmp_path, f"control {profile}", *CONTROL, *phases)
        assert done.returncode == 0, done.stdout + done.stderr


NEEDS_AN_EXCUSE: dict[str, tuple[str, str, str | None, Any]] = {
    "what no schema of a file can state": ("POST", "/data", "FileOfValues", {"kvfake": 1, "tokens": {"one": ["app/a", "app/b"]}}),
    "an end is later than its start": ("POST", "/faults", "NewFault", {"status": 503, "start": 2, "end": 1}),
    "where a clock may go depends on where it is": ("POST", "/clock", "ClockMove", {"shift": 1.5e11}),
    "a world ends once": ("DELETE", "/worlds/ID", None, None),
}


@pytest.mark.parametrize("excuse", excused.excuses("control documented"), ids=lambda excuse: excuse.why)
def test_each_excuse_of_control_is_needed(excuse: excused.Excuse) -> None:
    """The description allows a request that is refused, here the second time."""
    method, path, schema, body = NEEDS_AN_EXCUSE[excuse.why]
    whole = {"$ref": f"#/components/schemas/{schema}", "components": description()["components"]}
    assert schema is None or jsonschema_rs.Draft202012Validator(whole).is_valid(body)
    double = kvfake.Double()
    with httpx.Client(transport=double.httpx_transport(), base_url=double.url + "/_kvfake", trust_env=False) as client:
        path = path.replace("ID", client.post("/worlds").json()["id"])
        for _ in range(2):
            response = client.request(method, path, json=body)
    assert response.status_code == excuse.status
    assert re.search(excuse.path, path)
    assert re.search(excuse.body, response.text)


@pytest.mark.timeout(BOUND_SECONDS)
@pytest.mark.once
def test_a_description_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """The runs above would fail for a missing status and for a field of another type."""
    described = description()
    del described["paths"]["/api/v1/persist/kv/{key}"]["put"]["responses"]["401"]
    described["components"]["schemas"]["PersistRecord"]["properties"]["updated"] = {"type": "number"}
    with kvfake.start(strict=True) as double:
        one_operation = ("--include-operation-id", "persistSet", *COVERAGE, "--continue-on-failure")
        done = fuzzed(double, described, tmp_path, "services documented", *one_operation)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Received: 401" in done.stdout
    assert "is not of type" in done.stdout


@pytest.mark.timeout(BOUND_SECONDS)
@pytest.mark.once
def test_a_server_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """Only what the rows of the plugin say is excused: a 500 with another text is a failure."""
    with kvfake.start(strict=True) as double:
        double.faults.add(status=418, method="GET", times=None)
        double.faults.add(status=500, body="another text", method="DELETE", times=None)
        double.faults.add(headers={"Content-Type": "text/html"}, method="POST", times=None)
        one_path = ("--include-path", mattermost.KV + "/{key}", "--phases", "fuzzing", "-n", "5")
        done = fuzzed(double, description(), tmp_path, "services plugin-1.2", *one_path, "--continue-on-failure")
    assert done.returncode == 1, done.stdout + done.stderr
    for told in ("Received: 418", "another text", "Received: text/html"):
        assert told in done.stdout


def test_a_description_is_the_callers_own() -> None:
    """A caller who changes one does not change the next."""
    described = description()
    described["components"]["schemas"]["Error"].clear()
    assert description()["components"]["schemas"]["Error"]
