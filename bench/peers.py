"""The servers that are measured beside each other: what starts each, and what it is asked.

Law: it knows commands, files of configuration and requests, and measures nothing. All of them answer the same 120 bytes; who
can, at the same paths.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.install import Place
from bench.process import NotHad
from bench.wire import Ask

GET, PUT, PERSIST_GET, PERSIST_PUT = "GET", "PUT", "Persist GET", "Persist PUT"
BIG_GET, BIG_PUT = "Persist GET of 256 KiB", "Persist PUT of 256 KiB"

KVFAKE, NGINX, HTTPSERVER, WIREMOCK = "kvfake", "nginx static", "pytest-httpserver", "WireMock"
OTHERS = ("beepboop-persist mock", "json-server", "miniflare KV", "moto S3")  # they set no goal

FLOORS = ("kvfake's doors, a constant answer", "bare Python, a constant answer")

MATTERMOST = "/plugins/com.mattermost.apps/api/v1/kv/"
PERSIST = "/api/v1/persist/kv/"
BOT = {"Authorization": "Bearer 3kx7wq5m6tbz1c9rj8dyfn4hoe"}
PROJECT = {"Authorization": "Bearer 5f0c7a9e2b8d4613a7c5e9f1b3d20846"}
JSON = {"Content-Type": "application/json"}
UPDATED = "2016-09-09T23:16:43.970809Z"

VALUES = tuple('"' + letter * 118 + '"' for letter in "ab")  # sent in turn, so that each PUT changes what is there
BIG = "x" * 262_144
BIG_JSON = json.dumps([{"name": "Ada", "text": "hello"}] * 7000)[
    :262_144
]  # what the official client stores is JSON: full of quotes

CHILDREN = Path(__file__).parent / "children"


def record(key: str, value: str) -> str:
    """What Persist answers."""
    return f'{{"key":{json.dumps(key)},"value":{json.dumps(value)},"updated":"{UPDATED}"}}'


def wrapped(*values: str) -> tuple[bytes, ...]:
    """What Persist is sent."""
    return tuple(json.dumps({"value": value}).encode() for value in values)


ASKS = {  # of those that answer at kvfake's paths; what is read and what is written are two keys, so that no server has to choose
    GET: Ask("GET", MATTERMOST + "read", BOT),
    PUT: Ask("PUT", MATTERMOST + "kept", {**BOT, **JSON}, tuple(value.encode() for value in VALUES)),
    PERSIST_GET: Ask("GET", PERSIST + "read", PROJECT),
    PERSIST_PUT: Ask("PUT", PERSIST + "kept", {**PROJECT, **JSON}, wrapped(VALUES[0][1:-1] + "..", VALUES[1][1:-1] + "..")),
}
BIG_ASKS = {
    BIG_GET: Ask("GET", PERSIST + "big", PROJECT),
    BIG_PUT: Ask("PUT", PERSIST + "bigger", {**PROJECT, **JSON}, wrapped(BIG)),
}
ANSWERS = {
    GET: VALUES[0],
    PUT: '{"changed":true}\n',
    PERSIST_GET: record("read", VALUES[0][1:-1] + ".."),
    PERSIST_PUT: record("kept", VALUES[0][1:-1] + ".."),
}


class Peer(NamedTuple):
    """``command`` makes the command for a port and a folder of its own. ``ready`` is asked until it answers, ``first`` then."""

    needs: str  # the name of what is installed for it; "" for nothing
    command: Callable[[Place, int, Path], list[str]]
    asks: dict[str, Ask]
    first: tuple[Ask, ...] = ()
    ready: Ask | None = None


def _kvfake(place: Place, port: int, folder: Path) -> list[str]:
    tokens = (f"{BOT['Authorization'].split()[1]}=app/bot", f"{PROJECT['Authorization'].split()[1]}=project:project")
    return [str(place.kvfake), "serve", "--port", str(port), "--token", tokens[0], "--token", tokens[1]]


def tool(name: str) -> str:
    """A program of the machine."""
    found = shutil.which(name)
    if found is None:
        raise NotHad(f"there is no {name} on the PATH")
    return found


def _nginx(place: Place, port: int, folder: Path) -> list[str]:
    def exactly(ask: Ask, answer: str) -> str:
        quoted = answer.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"location = {ask.target} {{ return 200 '{quoted}'; }}"

    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "files" / "big").write_text(record("big", BIG))
    temporary = "\n".join(f"{name}_temp_path temporary;" for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi"))
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log errors;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; open_file_cache max=8; default_type application/json;
    keepalive_requests 1000000000; keepalive_timeout 900; client_max_body_size 4m; client_body_buffer_size 1m;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        {" ".join(exactly(ASKS[name], answer) for name, answer in ANSWERS.items())}
        location = {PERSIST}big {{ alias files/big; }}
        location = {PERSIST}bigger {{ mirror /taken; error_page 405 =200 @taken; }}  # reads the body to its end, then answers
        location = /taken {{ internal; mirror off; return 204; }}
        location @taken {{ return 200 '{{"taken":true}}'; }}
    }}
}}
""")
    return [tool("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "errors"]


def _httpserver(place: Place, port: int, folder: Path) -> list[str]:
    answers = [{"method": ASKS[name].method, "path": ASKS[name].target, "body": body} for name, body in ANSWERS.items()]
    (folder / "answers.json").write_text(json.dumps(answers))
    return [str(place.python), str(CHILDREN / "httpserver.py"), str(port), str(folder / "answers.json")]


def _wiremock(place: Place, port: int, folder: Path) -> list[str]:
    (folder / "mappings").mkdir(exist_ok=True)
    for name, body in ANSWERS.items():
        request = {"method": ASKS[name].method, "urlPath": ASKS[name].target}
        mapping = {"request": request, "response": {"status": 200, "body": body, "headers": JSON}}
        (folder / "mappings" / f"{name}.json").write_text(json.dumps(mapping))
    jars = list(place.node("wiremock").rglob("wiremock-standalone-*.jar"))
    if not jars:
        raise NotHad("its package holds no jar")
    options = ["--port", str(port), "--bind-address", "127.0.0.1", "--disable-banner", "--root-dir", str(folder)]
    return [tool("java"), "-jar", str(jars[0]), *options, "--max-request-journal-entries", "1000"]  # as many as kvfake keeps


def _json_server(place: Place, port: int, folder: Path) -> list[str]:
    (folder / "values.json").write_text(json.dumps({"kv": [{"id": "bench", "value": VALUES[0]}]}))
    program = place.node("json-server") / "node_modules" / "json-server" / "lib" / "cli" / "bin.js"
    return [tool("node"), str(program), "--quiet", "--host", "127.0.0.1", "--port", str(port), str(folder / "values.json")]


def _moto(place: Place, port: int, folder: Path) -> list[str]:
    return [str(place.python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def _in_node(script: str, package: str) -> Callable[[Place, int, Path], list[str]]:
    return lambda place, port, folder: [tool("node"), str(CHILDREN / script), str(place.node(package)), str(port)]


def _floor(kind: str) -> Callable[[Place, int, Path], list[str]]:
    return lambda place, port, folder: [str(place.python), str(CHILDREN / "floor.py"), str(port), kind]


_AWS = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"}
_OCTETS = {"Content-Type": "application/octet-stream"}
_PLAIN = tuple(value.encode() for value in VALUES)
_MOCK = {name: ASKS[name]._replace(target=ASKS[name].target.removeprefix("/api/v1")) for name in (PERSIST_GET, PERSIST_PUT)}
_MOTO = {GET: Ask("GET", "/bench/key", _AWS), PUT: Ask("PUT", "/bench/key", {**_AWS, **_OCTETS}, _PLAIN)}
_KV = {GET: Ask("GET", "/bench"), PUT: Ask("PUT", "/bench", bodies=_PLAIN)}
_ROWS = {GET: Ask("GET", "/kv/bench"), PUT: Ask("PUT", "/kv/bench", JSON, wrapped(*VALUES))}


def _stored(asks: dict[str, Ask], name: str, target: str) -> Ask:
    """The first PUT, to where the GET will look."""
    return asks[name]._replace(target=target, bodies=asks[name].bodies[:1])


PEERS: dict[str, Peer] = {
    KVFAKE: Peer(
        "tools",
        _kvfake,
        {**ASKS, **BIG_ASKS},
        (
            _stored(ASKS, PUT, ASKS[GET].target),
            _stored(ASKS, PERSIST_PUT, ASKS[PERSIST_GET].target),
            _stored(BIG_ASKS, BIG_PUT, BIG_ASKS[BIG_GET].target),
        ),
    ),
    NGINX: Peer("", _nginx, {**ASKS, **BIG_ASKS}),
    HTTPSERVER: Peer("pytest-httpserver", _httpserver, ASKS),
    WIREMOCK: Peer("wiremock", _wiremock, ASKS),
    OTHERS[0]: Peer("beepboop-persist", _in_node("persist_mock.js", "beepboop-persist"), _MOCK, ready=_MOCK[PERSIST_PUT]),
    OTHERS[1]: Peer("json-server", _json_server, _ROWS),
    OTHERS[2]: Peer("miniflare", _in_node("miniflare.mjs", "miniflare"), _KV, ready=_KV[PUT]),
    FLOORS[0]: Peer("tools", _floor("doors"), {GET: ASKS[GET]}),
    FLOORS[1]: Peer("tools", _floor("bare"), {GET: ASKS[GET]}),
    OTHERS[3]: Peer("moto", _moto, _MOTO, (Ask("PUT", "/bench", _AWS), _stored(_MOTO, PUT, "/bench/key")), Ask("GET", "/", _AWS)),
}
PEERS[OTHERS[0]] = PEERS[OTHERS[0]]._replace(first=(_stored(_MOCK, PERSIST_PUT, _MOCK[PERSIST_GET].target),))
