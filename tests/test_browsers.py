"""What a page in the user's browser can do with a server on the user's machine: nothing, unless the server itself sent the page."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import kvfake
from kvfake.double import world_of
from kvfake.services.mattermost import KV
from tests.support.doors import SiteDoor, opened
from tests.support.process import Ended, asked
from tests.support.process import kvfake as kvfake_command

PERSIST = "/persist/kv"
STRANGER = {"Authorization": "Bearer of-its-own-making"}

FOREIGN = {  # headers of a request that a page of another site made the browser send
    "another site": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://localhost:3000"},
    "a sandboxed frame": {"Origin": "null"},
    "a request without Origin": {"Sec-Fetch-Site": "cross-site"},
    "a request of the same site": {"Sec-Fetch-Site": "same-site"},
    "DNS rebinding": {"Host": "evil.example:8065", "Origin": "http://evil.example:8065"},
}
OWN = {  # what is no page, or a page of this server
    "no page": {},
    "typed": {"Sec-Fetch-Site": "none"},
    "its own page": {"Origin": "http://localhost:8065", "Sec-Fetch-Site": "same-origin"},
}


@pytest.fixture(name="url")
def _url(no_settings_from_outside: None) -> Iterator[str]:
    with kvfake.start() as double:
        yield double.url


# ------------------------------------------------------------------------------------------------------------------- control


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_page_of_another_site_cannot_use_control(url: str, headers: dict[str, str]) -> None:
    """It can neither change anything nor read a token. The refusal is JSON, and no browser takes it for anything else."""
    for method, path in (("POST", "/_kvfake/reset"), ("GET", "/_kvfake/env"), ("GET", "/_kvfake/<script>")):
        reply = asked(url + path, method, headers=headers)
        assert reply.status == 403
        assert reply.json().keys() == {"error"}
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_what_is_no_page_of_another_site_can_use_control(url: str, headers: dict[str, str]) -> None:
    """Such as what a user types into the browser. No answer is taken for another type than its own."""
    reply = asked(url + "/_kvfake/env", headers={"Host": "localhost:8065", **headers})
    assert reply.status == 200
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/_kvfake/%zz", "/_kvfake/nothing", "/nothing", "/~nobody/x"])
def test_an_error_is_json(url: str, path: str) -> None:
    """Also where neither service and no route of control answers: no browser shows it as a page."""
    reply = asked(url + path)
    assert reply.json().keys() == {"error"}
    assert (reply.headers["Content-Type"], reply.headers["X-Content-Type-Options"]) == ("application/json", "nosniff")


@pytest.mark.parametrize(
    "kind", ["text/plain; charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_page_must_send_json(url: str, kind: str) -> None:
    """A page may send a form anywhere, but the browser asks before it sends JSON elsewhere. Without a page any type will do."""
    own = {"Host": "localhost:8065", "Origin": "http://localhost:8065"}
    fault = b'{"status": 503}'
    reply = asked(url + "/_kvfake/faults", "POST", fault, {**own, "Content-Type": kind})
    assert (reply.status, reply.json()["error"].endswith("as a form does: expected application/json")) == (403, True)
    assert asked(url + "/_kvfake/faults", "POST", fault, {**own, "Content-Type": "application/json"}).status == 201
    assert asked(url + "/_kvfake/faults", "POST", fault, {"Content-Type": kind}).status == 201


# -------------------------------------------------------------------------------------------------------------------- stores


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("door", ["site", "wsgi"])
def test_a_page_of_another_site_is_not_accepted_as_a_stranger(door: str, headers: dict[str, str]) -> None:
    """Its token is unknown, as it is to the real service. What it sends is nowhere."""
    with opened(door) as site:
        assert site.send("PUT", f"{KV}/k", {**STRANGER, **headers}, b"1").status == 401
        assert site.send("PUT", f"{PERSIST}/k", {**STRANGER, **headers}, b'{"value":"v"}').status == 401
        assert site.send("GET", f"{KV}/k", {**STRANGER, **headers}).status == 401
        assert world_of(site.double).holdings() == []
        assert {exchange.owner for exchange in site.double.journal} == {None}


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_others_are_accepted_as_strangers(headers: dict[str, str]) -> None:
    """Also a page of this server."""
    with opened("site") as site:
        assert site.send("PUT", f"{KV}/k", {"Host": "localhost:8065", **STRANGER, **headers}, b"1").status == 200


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_known_token_is_known_from_every_page(headers: dict[str, str]) -> None:
    """As at the real service. No answer has a CORS header, so no foreign page reads it."""
    with opened("site", token=["mine=app/bot"]) as site:
        reply = site.send("PUT", f"{KV}/k", {"Authorization": "Bearer mine", **headers}, b"1")
        assert reply.status == 200
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


# ------------------------------------------------------------------------------------------------------- other machines


def own_address() -> str:
    """An address at which other machines reach this one; a loopback address where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])


def status_at(address: str, **settings: Any) -> int:
    return SiteDoor(kvfake.Double(**settings)).send("GET", "/_kvfake/health", {"Host": address}).status


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "0::0"])
def test_a_server_on_all_addresses_answers_to_those_of_its_machine(bound: str) -> None:
    """It can be reached at each of them, and at no other. Names must be allowed."""
    for host in (f"{own_address()}:8065", "0.0.0.0:8065", "127.0.0.1", "localhost:8065", "[::1]:8065"):
        assert status_at(host, host=bound) == 200
    for host in ("192.0.2.1:8065", "[2001:db8::1]", "evil.example"):
        assert status_at(host, host=bound) == 403


def test_behind_a_forwarded_port_an_address_must_be_allowed() -> None:
    """As in a container, which does not know the address of its host. A control token allows every address, and no name."""
    error = SiteDoor(kvfake.Double(host="0.0.0.0")).send("GET", "/_kvfake/env", {"Host": "192.0.2.1"}).json()["error"]
    assert error.endswith("localhost, a loopback address, an address of this machine); --allow-host NAME adds one")
    assert status_at("192.0.2.1", host="0.0.0.0", allow_host=["192.0.2.1"]) == 200
    assert status_at("192.0.2.1", host="0.0.0.0", public_url="http://192.0.2.1:80") == 200
    assert status_at("192.0.2.1", host="0.0.0.0", control_token="secret") == 200
    assert status_at("evil.example", host="0.0.0.0", control_token="secret") == 403
    assert status_at("192.0.2.1", control_token="secret") == 403  # it is bound to one address


OPEN = (
    "kvfake: every machine that reaches this one can use this server, and /_kvfake/ gives its tokens to each; "
    "--control-token TOKEN protects /_kvfake/, --no-control switches it off\n"
)


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        (("--host", "0.0.0.0"), OPEN),
        (("--host", "0.0.0.0", "--control-token", "secret"), ""),
        (("--host", "0.0.0.0", "--no-control"), ""),
        (("--host", "127.0.0.1"), ""),
        (("--host", "localhost"), ""),
    ],
    ids=" ".join,
)
def test_a_server_for_other_machines_says_so(flags: tuple[str, ...], warning: str) -> None:
    """One line on stderr, once, and what to do. There is none where control is closed, or where nobody else reaches it."""
    assert kvfake_command("run", *flags, "--", "true") == Ended(0, "", warning)
