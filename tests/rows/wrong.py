"""Services that are wrong on purpose, one or more in each row. A check that passes on its wrong service sees nothing.

A wrong service is the right one with something done to what it hears (`hears`) or says (`says`), or, below HTTP, to the
bytes themselves (`wire`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kvfake.doors.actions import Action, End, Job
from kvfake.doors.connection import Answer, Connection
from kvfake.services.message import Request, Response

Hears = Callable[[Request], "Request | Response"]
Says = Callable[[Request, Response], Response]


class Wrong(NamedTuple):
    row: str
    what: str
    answer: Callable[[Answer], Answer] | None = None
    wire: Callable[[Answer], Connection] | None = None


WRONG: list[Wrong] = []


def hears(row: str, what: str) -> Callable[[Hears], Hears]:
    """Registers a service that takes a request for another one, or answers it by itself."""

    def register(change: Hears) -> Hears:
        def wrap(answer: Answer) -> Answer:
            def wrongly(request: Request) -> Response | Job:
                changed = change(request)
                return changed if isinstance(changed, Response) else answer(changed)

            return wrongly

        WRONG.append(Wrong(row, what, wrap))
        return change

    return register


def says(row: str, what: str) -> Callable[[Says], Says]:
    """Registers a service that says something else than it should."""

    def register(change: Says) -> Says:
        def wrap(answer: Answer) -> Answer:
            def wrongly(request: Request) -> Response | Job:
                response = answer(request)
                assert isinstance(response, Response)
                return change(request, response)

            return wrongly

        WRONG.append(Wrong(row, what, wrap))
        return change

    return register


def wire(row: str, what: str) -> Callable[[type[Connection]], type[Connection]]:
    """Registers a conversation that goes wrong."""

    def register(kind: type[Connection]) -> type[Connection]:
        WRONG.append(Wrong(row, what, wire=kind))
        return kind

    return register


OK = (("Content-Type", "application/json"),)
CHANGED = Response(200, OK, b'{"changed":true}\n')


def is_kv(request: Request) -> bool:
    return b"/api/v1/kv" in request.target


def is_persist(request: Request) -> bool:
    return b"/persist/" in request.target


def is_set(request: Request) -> bool:
    return request.method in ("PUT", "POST") and is_kv(request)


def without(request: Request, *names: bytes) -> Request:
    return request._replace(headers={name: value for name, value in request.headers.items() if name not in names})


def with_header(request: Request, name: bytes, value: bytes) -> Request:
    return request._replace(headers={**request.headers, name: value})


def mapped(response: Response, change: Callable[[Any], Any]) -> Response:
    """The JSON of a response, changed."""
    return response._replace(body=json.dumps(change(json.loads(response.body))).encode()) if response.body else response


# ------------------------------------------------------------------------------------------------------------------ Mattermost


@hears("M01", "any plugin's path is the store's")
def any_plugin(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"com.mattermost.other", b"com.mattermost.apps"))


@says("M02", "JSON is written anew")
def rewritten(request: Request, response: Response) -> Response:
    return mapped(response, lambda value: value) if request.method == "GET" and is_kv(request) else response


@hears("M03", "POST is not allowed")
def no_post(request: Request) -> Request | Response:
    return Response(405) if request.method == "POST" and is_kv(request) else request


@hears("M03", "PUT is not allowed")
def no_put(request: Request) -> Request | Response:
    return Response(405) if request.method == "PUT" and is_kv(request) else request


@says("M04", "no newline after changed")
def no_newline(request: Request, response: Response) -> Response:
    return response._replace(body=response.body.strip()) if is_set(request) else response


@says("M04", "changed is said in plain text")
def changed_in_text(request: Request, response: Response) -> Response:
    return response._replace(headers=(("Content-Type", "text/plain"),)) if is_set(request) else response


@says("M05", "delete answers {}")
def delete_says_something(request: Request, response: Response) -> Response:
    return response._replace(body=b"{}") if request.method == "DELETE" and is_kv(request) else response


@hears("M06", "the prefix is ignored")
def no_prefix(request: Request) -> Request:
    return request._replace(target=re.sub(rb"/kv/[a-z]/", b"/kv/", request.target))


@says("M07", "a missing key is a 404")
def missing_is_404(request: Request, response: Response) -> Response:
    return Response(404) if request.method == "GET" and is_kv(request) and response.body == b"{}" else response


@says("M07", "a missing key is null")
def missing_is_null(request: Request, response: Response) -> Response:
    return response._replace(body=b"null\n") if request.method == "GET" and response.body == b"{}" else response


@says("M08", "get has no content type")
def no_type(request: Request, response: Response) -> Response:
    return response._replace(headers=()) if request.method == "GET" and is_kv(request) else response


@hears("M09", "a bot and a user share their values")
def shared(request: Request) -> Request:
    if request.headers.get(b"authorization") == b"Bearer user-token":
        return with_header(request, b"authorization", b"Bearer bot-token")
    return request


@hears("M10", "only the word Bearer is known")
def only_bearer(request: Request) -> Request:
    return (
        request if request.headers.get(b"authorization", b"Bearer ").startswith(b"Bearer ") else without(request, b"authorization")
    )


@hears("M10", "cookies are not looked at")
def no_cookies(request: Request) -> Request:
    return without(request, b"cookie")


@hears("M10", "the query is not looked at")
def no_query(request: Request) -> Request:
    return request._replace(target=request.target.partition(b"?")[0]) if is_kv(request) else request


@says("M11", "an unknown token is a 403")
def forbidden(request: Request, response: Response) -> Response:
    return response._replace(status=403) if response.body.startswith(b"user ID") else response


@says("M11", "an unknown token may sniff")
def sniffed(request: Request, response: Response) -> Response:
    return response._replace(headers=response.headers[:1]) if response.body.startswith(b"user ID") else response


@says("M12", "a user of no app is nobody")
def no_app_is_nobody(request: Request, response: Response) -> Response:
    return response._replace(body=b"user ID is required: unauthorized\n") if response.body.startswith(b"not an app") else response


@hears("M13", "any body is taken")
def any_body(request: Request) -> Request | Response:
    return (
        CHANGED
        if is_set(request) and b"token" in str(request.headers).encode() and not request.body.startswith(b"nope")
        else request
    )


@hears("M13", "only objects and arrays are taken")
def containers_only(request: Request) -> Request:
    return request._replace(body=b"") if is_set(request) and request.body.strip()[:1] not in (b"{", b"[") else request


@hears("M14", "an 8193rd byte is taken")
def one_more(request: Request) -> Request:
    return request._replace(body=request.body[:8191] + b'"') if is_set(request) and len(request.body) == 8193 else request


@hears("M14", "an 8192nd byte is refused")
def one_less(request: Request) -> Request:
    return request._replace(body=request.body + b" ") if is_set(request) and len(request.body) == 8192 else request


@says("M14", "a large value is a 413")
def too_large(request: Request, response: Response) -> Response:
    return response._replace(status=413) if response.body.startswith(b"size limit") else response


@hears("M15", "a long prefix is cut")
def cut_prefix(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"/ABC/", b"/AB/").replace(b"/my-app/", b"/my/"))


@says("M15", "a long prefix is a 400")
def prefix_400(request: Request, response: Response) -> Response:
    return response._replace(status=400) if response.body.startswith(b"prefix") or response.rows else response


@hears("M16", "the prefix of the documentation's examples is an unknown path")
def no_my_app(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"/my-app/", b"/a/b/"))


@says("M17", "changed is the other way round")
def other_way(request: Request, response: Response) -> Response:
    body = response.body
    return (
        response._replace(body=body.replace(b"true", b"false") if b"true" in body else body.replace(b"false", b"true"))
        if is_set(request)
        else response
    )


@hears("M18", "only JSON's content type is taken")
def json_only(request: Request) -> Request | Response:
    return Response(415) if is_set(request) and request.headers.get(b"content-type") != b"application/json" else request


@says("M19", "errors are JSON")
def json_errors(request: Request, response: Response) -> Response:
    return Response(response.status, OK, b'{"error":"x"}') if is_kv(request) and response.status >= 400 else response


@hears("M20", "the path is matched encoded")
def encoded(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"%2F", b"%252F")) if is_kv(request) else request


@hears("M20", "a slash at the end is ignored")
def lax_slash(request: Request) -> Request:
    return request._replace(target=request.target.rstrip(b"/")) if is_kv(request) else request


@hears("M20", "a newline is a part of a key")
def newline(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"%0A", b"_")) if is_kv(request) else request


@says("M21", "moved temporarily")
def moved_307(request: Request, response: Response) -> Response:
    return response._replace(status=307) if response.status == 301 else response


@says("M21", "the query is lost")
def lost_query(request: Request, response: Response) -> Response:
    return (
        response._replace(headers=(("Location", response.headers[0][1].partition("?")[0]),)) if response.status == 301 else response
    )


@hears("M21", "unclean paths are cleaned in silence")
def silent(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"kv//", b"kv/")) if is_kv(request) else request


@hears("M21", "Persist's paths are cleaned")
def persist_cleaned(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"a//b", b"a/b")) if is_persist(request) else request


@says("M22", "not allowed says what is")
def allow(request: Request, response: Response) -> Response:
    return response._replace(headers=(("Allow", "GET"),)) if response.status == 405 and is_kv(request) else response


@hears("M22", "a method is known in any case")
def any_case(request: Request) -> Request:
    return request._replace(method=request.method.upper())


@hears("M23", "who asks is looked at before the size")
def size_last(request: Request) -> Request:
    return request._replace(body=b"1") if is_set(request) and b"authorization" not in request.headers else request


@hears("M23", "the prefix is looked at before who asks")
def prefix_first(request: Request) -> Request:
    return with_header(request, b"authorization", b"Bearer bot-token") if b"/ABC/" in request.target else request


@hears("M24", "JSON is what Python's json loads")
def python_json(request: Request) -> Request | Response:
    if not is_set(request):
        return request
    try:
        json.loads(request.body)
    except (ValueError, RecursionError):
        return request._replace(body=b"")
    return request if request.body.strip(b" \t\r\n")[:1] in b'{["-0123456789tfn' and b"N" not in request.body else CHANGED


@hears("M24", "bytes that are not UTF-8 are refused")
def utf_8_only(request: Request) -> Request:
    try:
        request.body.decode()
    except UnicodeDecodeError:
        return request._replace(body=b"")
    return request


@hears("M25", "blanks of a prefix count")
def blanks(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"/p%20/", b"/p_/"))


@hears("M25", "a prefix is counted in characters")
def characters(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"/%C3%A9/", b"/%C3%A9%C3%A9/").replace(b"%E2%82%AC/", b"e/x/"))


@hears("M26", "a cookie is enough")
def cookie_is_enough(request: Request) -> Request:
    return with_header(request, b"x-requested-with", b"XMLHttpRequest") if b"x-csrf-token" not in request.headers else request


@hears("M26", "any CSRF token will do")
def any_csrf(request: Request) -> Request:
    return with_header(request, b"x-csrf-token", b"csrf-bot-token") if b"x-csrf-token" in request.headers else request


@hears("M26", "X-Requested-With wins over a wrong CSRF token")
def requested_wins(request: Request) -> Request:
    return without(request, b"x-csrf-token") if b"x-requested-with" in request.headers else request


@hears("M27", "the next source is tried")
def next_source(request: Request) -> Request:
    return without(request, b"authorization") if request.headers.get(b"authorization") == b"Bearer no-such-token" else request


@hears("M27", "the user that a client names is believed")
def believed(request: Request) -> Request:
    if b"mattermost-user-id" in request.headers and b"authorization" not in request.headers:
        return with_header(request, b"authorization", b"Bearer bot-token")
    return request


class Rewritten(Connection):
    """A conversation that hears something else."""

    def rewrite(self, data: bytes) -> bytes:
        raise NotImplementedError

    def receive(self, data: bytes) -> tuple[Action, ...]:
        return super().receive(self.rewrite(data))


@wire("M28", "bad percent-encoding is taken as it stands")
class Percent(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"/%zz ", b"/%25zz ")


@wire("M28", "two different lengths are taken")
class Lengths(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 1")


@wire("M28", "a missing Host is made up")
class Hostless(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b" HTTP/1.1\r\n\r\n", b" HTTP/1.1\r\nHost: x\r\n\r\n")


@wire("M28", "an unknown transfer coding is ignored")
class Codings(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Transfer-Encoding: gzip\r\n", b"")


@wire("M28", "a bad chunk ends the body")
class Chunks(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"\r\n\r\nx\r\n1\r\n", b"\r\n\r\n")


@wire("M28", "the length wins over chunked")
class LengthWins(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n")


@wire("M28", "two equal lengths are refused")
class EqualLengths(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: x")


@wire("M28", "what was sent all at once is answered once")
class NoPipeline(Connection):
    is_new = False

    def receive(self, data: bytes) -> tuple[Action, ...]:
        self.is_new = True
        return super().receive(data)

    def advance(self) -> tuple[Action, ...]:
        if not self.is_new and self._heard:
            return (End(linger=False),)
        self.is_new = False
        return super().advance()


@wire("M28", "HTTP/1.0 is refused")
class NoOld(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"HTTP/1.0", b"HTTP/0.1")


@wire("M28", "an absolute target is refused")
class NoAbsolute(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"GET http://", b"GET //")


@wire("M28", "raw UTF-8 in a target is refused")
class AsciiTargets(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace("café".encode(), b"caf\x01")


@wire("M28", "a large header block is taken")
class NoBound(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return re.sub(b"x{20000,}", b"", data)


@hears("M28", "bad percent-encoding below Persist ends the connection")
def persist_400(request: Request) -> Request | Response:
    return Response(400, (("Content-Type", "text/plain"),), b"400 Bad Request", close=True) if b"%zz" in request.target else request


# --------------------------------------------------------------------------------------------------------------------- Persist


@hears("P01", "only the whole base path answers")
def whole_base(request: Request) -> Request | Response:
    return Response(404, OK, b"{}") if request.target.startswith(b"/persist") else request


@hears("P02", "all projects share one store")
def one_store(request: Request) -> Request:
    return with_header(request, b"authorization", b"Bearer project-token") if is_persist(request) else request


@says("P03", "a set answers nothing")
def silent_set(request: Request, response: Response) -> Response:
    return response._replace(body=b"") if request.method == "PUT" and is_persist(request) and response.status == 200 else response


@hears("P03", "a set does not replace")
def no_replacing(request: Request) -> Request:
    return request._replace(target=request.target + b"2") if request.body.startswith(b'{"value": "two"') else request


@says("P04", "a malformed request has an error in text")
def error_in_text(request: Request, response: Response) -> Response:
    return response._replace(body=b"bad request") if response.status == 400 else response


@hears("P04", "a value that is no string is made one")
def made_string(request: Request) -> Request:
    return request._replace(body=re.sub(rb'"value": (5|true|null)', rb'"value": "\1"', request.body))


@hears("P04", "an empty key is a key")
def empty_key(request: Request) -> Request:
    return (
        request._replace(target=request.target + b"empty") if request.target.endswith(b"/kv/") and is_persist(request) else request
    )


@says("P05", "a missing key is null")
def persist_missing_null(request: Request, response: Response) -> Response:
    return Response(200, OK, b"null") if response.status == 404 and request.method == "GET" and is_persist(request) else response


@says("P05", "an empty value is not there")
def empty_is_missing(request: Request, response: Response) -> Response:
    return Response(404, OK, b'{"error":""}') if b'"value":"",' in response.body and request.method == "GET" else response


@says("P06", "a delete of a missing key is a 404")
def delete_404(request: Request, response: Response) -> Response:
    seen = delete_404.__dict__
    if request.method != "DELETE":
        seen.clear()
        return response
    again = seen.get("target") == request.target
    seen["target"] = request.target
    return Response(404, OK, b"{}") if again else response


@says("P07", "keys are listed in descending order")
def descending(request: Request, response: Response) -> Response:
    return mapped(response, lambda keys: keys[::-1] if isinstance(keys, list) else keys) if request.method == "GET" else response


@hears("P07", "begins is a pattern")
def pattern(request: Request) -> Request:
    return request._replace(target=re.sub(rb"begins=a[*_]", b"begins=a", request.target))


@says("P08", "mget leaves out what is missing")
def left_out(request: Request, response: Response) -> Response:
    return (
        mapped(response, lambda found: [one for one in found if one])
        if b"/mget" in request.target and response.status == 200
        else response
    )


@hears("P08", "mget answers a key once")
def once(request: Request) -> Request:
    return request._replace(body=request.body.replace(b', "b", ""', b', ""'))


@hears("P09", "a 262,145th byte is taken")
def larger(request: Request) -> Request:
    return request._replace(body=request.body.replace(262_145 * b"x", b"x"))


@hears("P09", "a value is counted in JSON's bytes")
def json_bytes(request: Request) -> Request:
    return request._replace(body=b'{"value":5}') if is_persist(request) and 600_000 < len(request.body) < 2_000_000 else request


@says("P10", "updated has no decimals")
def no_decimals(request: Request, response: Response) -> Response:
    return response._replace(body=re.sub(rb"\.\d{6}Z", b"Z", response.body))


@says("P10", "updated has an offset")
def offset(request: Request, response: Response) -> Response:
    return response._replace(body=re.sub(rb"(\.\d{6})Z", rb"\1+00:00", response.body))


@says("P11", "an unexpected error is a 503 in text")
def unexpected_503(request: Request, response: Response) -> Response:
    return Response(503, (), b"oops") if response.status == 500 else response


@hears("P12", "a key is decoded twice")
def twice(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"%25", b"%")) if is_persist(request) else request


@hears("P12", "+ is a blank in a key")
def plus(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"a+b", b"a%20b")) if is_persist(request) else request


@hears("P12", "a key ends at a slash")
def one_part(request: Request) -> Request:
    return request._replace(target=re.sub(rb"(/kv/[^/?]+)/.*", rb"\1", request.target)) if is_persist(request) else request


@hears("P12", "a key is text: raw bytes that are no UTF-8 are replaced")
def replaced(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"\xe9", b"%EF%BF%BD"))


@says("P13", "a value that is JSON is given as JSON")
def parsed(request: Request, response: Response) -> Response:
    def open_up(record: Any) -> Any:
        return (
            {**record, "value": json.loads(record["value"])}
            if isinstance(record, dict) and record.get("value", "").startswith("{")
            else record
        )

    return mapped(response, open_up) if is_persist(request) and response.status == 200 else response


@says("P13", "error is an object")
def error_object(request: Request, response: Response) -> Response:
    return mapped(response, lambda payload: {"error": {"text": payload["error"]}}) if response.status == 400 else response


@says("P14", "an unknown token is a 403")
def persist_403(request: Request, response: Response) -> Response:
    return response._replace(status=403) if response.status == 401 and is_persist(request) else response


@says("P14", "a 405 has no Allow")
def no_allow(request: Request, response: Response) -> Response:
    return response._replace(headers=response.headers[:1]) if response.status == 405 and is_persist(request) else response


@hears("P14", "an mget of 10,001 keys is taken")
def longer_mget(request: Request) -> Request:
    return request._replace(body=request.body.replace(b'"key", "key", ', b'"key", ', 1)) if len(request.body) > 70_000 else request


@hears("P14", "a body over 2 MiB is taken")
def longer_body(request: Request) -> Request:
    return request._replace(body=b'{"value":"v"}') if len(request.body) > 2 * 1024 * 1024 else request


@hears("P14", "a body is read before the token")
def body_first(request: Request) -> Request:
    return with_header(request, b"authorization", b"Bearer project-token") if request.body == b"x" else request


@hears("P14", "bad percent-encoding is taken as it stands")
def persist_percent(request: Request) -> Request:
    return request._replace(target=request.target.replace(b"%zz", b"%25zz"))


@says("P15", "a delete answers the record")
def delete_record(request: Request, response: Response) -> Response:
    return response._replace(body=b'{"key":"key"}') if request.method == "DELETE" and is_persist(request) else response
