"""Services that are wrong on purpose, one or more in each row. A check that passes on its wrong service sees nothing.

A wrong service is the right one with something done to what it hears (`hears`) or says (`says`), to both (`wraps`), or, below
HTTP, to the bytes themselves (`wire`). Checks make new keys each time: 32 hexadecimal digits, to which they may add something.
Where a service must know who asks, the tokens are those of ``tests.support.doors.TOKENS``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kvfake.contract.checks.client import UNKNOWN
from kvfake.http.connection import Action, Close, Connection, Handler
from kvfake.services import go
from kvfake.services.messages import Job, Request, Response, finished

Hears = Callable[[Request], "Request | Response"]
Says = Callable[[Request, Response], Response]
Wraps = Callable[[Request, Callable[[Request], Response]], Response]


class Wrong(NamedTuple):
    row: str
    what: str
    answer: Callable[[Handler], Handler] | None = None
    wire: Callable[[Handler], Connection] | None = None


WRONG: list[Wrong] = []


def hears(row: str, what: str) -> Callable[[Hears], Hears]:
    """Registers a service that takes a request for another one, or answers it by itself."""

    def register(change: Hears) -> Hears:
        def wrap(answer: Handler) -> Handler:
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
        def wrap(answer: Handler) -> Handler:
            def wrongly(request: Request) -> Response | Job:
                return change(request, finished(answer(request)))

            return wrongly

        WRONG.append(Wrong(row, what, wrap))
        return change

    return register


def wraps(row: str, what: str) -> Callable[[Wraps], Wraps]:
    """Registers a service that may ask the right one as often as it likes."""

    def register(change: Wraps) -> Wraps:
        def wrap(answer: Handler) -> Handler:
            return lambda request: change(request, lambda request: finished(answer(request)))

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
KEY = rb"[0-9a-f]{32}"


def is_kv(request: Request) -> bool:
    return b"/api/v1/kv" in request.target


def is_persist(request: Request) -> bool:
    return b"/persist/" in request.target


def is_listing(request: Request) -> bool:
    return request.method == "GET" and re.search(rb"/persist/kv(\?|$)", request.target) is not None


def is_set(request: Request) -> bool:
    return request.method in ("PUT", "POST") and is_kv(request)


def is_delete(request: Request) -> bool:
    return request.method == "DELETE" and is_kv(request)


def is_bot(request: Request) -> bool:
    return request.headers.get(b"authorization") == b"Bearer bot-token"


def is_plain_user(request: Request) -> bool:
    return request.headers.get(b"authorization") == b"Bearer plain-user-token"


def without(request: Request, *names: bytes) -> Request:
    return request.replace(headers={name: value for name, value in request.headers.items() if name not in names})


def with_header(request: Request, name: bytes, value: bytes) -> Request:
    return request.replace(headers={**request.headers, name: value})


def mapped(response: Response, change: Callable[[Any], Any]) -> Response:
    """The JSON of a response, changed, where it is what is changed."""
    if response.status != 200:
        return response
    try:
        return response.replace(body=json.dumps(change(json.loads(response.body))).encode())
    except (ValueError, TypeError, LookupError, RecursionError):
        return response


def remapped(request: Request, change: Callable[[Any], Any]) -> Request:
    """The JSON of a request, the same."""
    try:
        return request.replace(body=json.dumps(change(json.loads(request.body))).encode())
    except (ValueError, TypeError, LookupError, RecursionError):
        return request


# ------------------------------------------------------------------------------------------------------------------ Mattermost


@hears("M01", "any plugin's path is the store's")
def any_plugin(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/plugins/[^/]+/", b"/plugins/com.mattermost.apps/", request.target))


@hears("M01", "the store lies at another path")
def other_path(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"/api/v1/kv", b"/api/v2/kv"))


@says("M02", "JSON is written anew")
def rewritten(request: Request, response: Response) -> Response:
    return mapped(response, lambda value: value) if request.method == "GET" and is_kv(request) else response


@says("M02", "a value is given with a newline")
def with_newline(request: Request, response: Response) -> Response:
    return response.replace(body=response.body + b"\n") if request.method == "GET" and is_kv(request) else response


@hears("M02", "keys are known in any case")
def any_case_keys(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(/kv/%b)A" % KEY, rb"\1a", request.target))


@hears("M02", "keys are cut")
def short_keys(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(/kv/%bx{40})x+[ab]" % KEY, rb"\1", request.target))


@hears("M02", "text is normalised")
def composed(request: Request) -> Request:
    return request.replace(body=request.body.replace("e\u0301".encode(), "é".encode())) if is_set(request) else request


@hears("M02", "numbers are rounded")
def floats(request: Request) -> Request:
    return request.replace(body=request.body.replace(b"12345678901234567890", b"12345678901234567000"))


@hears("M03", "POST is not allowed")
def no_post(request: Request) -> Request | Response:
    return Response(405) if request.method == "POST" and is_kv(request) else request


@hears("M03", "PUT is not allowed")
def no_put(request: Request) -> Request | Response:
    return Response(405) if request.method == "PUT" and is_kv(request) else request


@wraps("M03", "a set does not replace")
def keeps_the_first(request: Request, answer: Callable[[Request], Response]) -> Response:
    if is_set(request) and answer(request.replace(method="GET")).body not in (b"{}", b""):
        return CHANGED
    return answer(request)


@wraps("M03", "POST merges objects")
def merges(request: Request, answer: Callable[[Request], Response]) -> Response:
    before = answer(request.replace(method="GET")).body if request.method == "POST" and is_kv(request) else b""
    is_object = before.startswith(b'{"') and request.body.startswith(b'{"')
    return answer(request.replace(body=before[:-1] + b"," + request.body[1:]) if is_object else request)


@says("M04", "a set answers 201")
def created(request: Request, response: Response) -> Response:
    return response.replace(status=201) if is_set(request) and response.status == 200 else response


@says("M04", "no newline after changed")
def no_newline(request: Request, response: Response) -> Response:
    return response.replace(body=response.body.strip()) if is_set(request) and response.status == 200 else response


@says("M04", "changed is said in plain text")
def changed_in_text(request: Request, response: Response) -> Response:
    text = (("Content-Type", "text/plain"),)
    return response.replace(headers=text) if is_set(request) and response.status == 200 else response


@says("M04", "a set under a prefix answers nothing")
def silent_under_a_prefix(request: Request, response: Response) -> Response:
    return response.replace(body=b"") if is_set(request) and re.search(rb"/kv/kv/", request.target) else response


@says("M05", "delete answers {}")
def delete_says_something(request: Request, response: Response) -> Response:
    return response.replace(body=b"{}") if is_delete(request) and response.status == 200 else response


@wraps("M05", "a delete of a missing key is a 404")
def delete_of_nothing(request: Request, answer: Callable[[Request], Response]) -> Response:
    is_missing = is_delete(request) and answer(request.replace(method="GET")).body == b"{}"
    return Response(404) if is_missing else answer(request)


@hears("M05", "a delete deletes nothing")
def no_delete(request: Request) -> Request | Response:
    return Response(200) if is_delete(request) else request


@hears("M06", "the prefix is ignored")
def no_prefix(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/[a-z]{1,2}/", b"/kv/", request.target))


@hears("M06", "there is no prefix")
def no_prefix_at_all(request: Request) -> Request | Response:
    return Response(404) if re.search(rb"/kv/[a-z]{1,2}/", request.target) else request


@hears("M06", "of the prefix only a byte counts")
def one_byte(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/([a-z])[a-z]/", rb"/kv/\1/", request.target))


@says("M07", "a missing key is a 404")
def missing_is_404(request: Request, response: Response) -> Response:
    return Response(404) if request.method == "GET" and is_kv(request) and response.body == b"{}" else response


@says("M07", "a missing key is null")
def missing_is_null(request: Request, response: Response) -> Response:
    return response.replace(body=b"null\n") if is_kv(request) and response.body == b"{}" else response


@says("M08", "get has no content type")
def no_type(request: Request, response: Response) -> Response:
    return response.replace(headers=()) if request.method == "GET" and is_kv(request) else response


@says("M08", "get says text")
def get_says_text(request: Request, response: Response) -> Response:
    return response.replace(headers=(("Content-Type", "text/plain"),)) if request.method == "GET" and is_kv(request) else response


@hears("M09", "a prefix is shared by all")
def shared_prefix(request: Request) -> Request:
    is_shared = re.search(rb"/kv/[a-z]{1,2}/", request.target)
    return with_header(request, b"authorization", b"Bearer bot-token") if is_shared else request


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


@hears("M10", "the cookie comes before the header")
def cookie_first(request: Request) -> Request:
    return without(request, b"authorization") if b"cookie" in request.headers and request.method == "GET" else request


@hears("M10", "cookies are not looked at")
def no_cookies(request: Request) -> Request:
    return without(request, b"cookie")


@hears("M10", "the query is not looked at")
def no_query(request: Request) -> Request:
    return request.replace(target=request.target.partition(b"?")[0]) if is_kv(request) else request


@says("M11", "an unknown token is a 403")
def forbidden(request: Request, response: Response) -> Response:
    return response.replace(status=403) if response.body.startswith(b"user ID") else response


@says("M11", "an unknown token may sniff")
def sniffed(request: Request, response: Response) -> Response:
    return response.replace(headers=response.headers[:1]) if response.body.startswith(b"user ID") else response


@says("M11", "an unknown token is told with no newline")
def told_shortly(request: Request, response: Response) -> Response:
    return response.replace(body=response.body.strip()) if response.body.startswith(b"user ID") else response


@says("M11", "an unknown token is told in HTML")
def told_in_html(request: Request, response: Response) -> Response:
    headers = (("Content-Type", "text/html"), *response.headers[1:])
    return response.replace(headers=headers) if response.body.startswith(b"user ID") else response


@says("M12", "a user of no app is a 403")
def no_app_403(request: Request, response: Response) -> Response:
    return response.replace(status=403) if response.body.startswith(b"not an app") else response


@hears("M12", "a user of no app may ask")
def no_app_may(request: Request) -> Request:
    if is_plain_user(request):
        return with_header(request, b"authorization", b"Bearer user-token")
    return request


@says("M12", "a user of no app is nobody")
def no_app_is_nobody(request: Request, response: Response) -> Response:
    return response.replace(body=b"user ID is required: unauthorized\n") if response.body.startswith(b"not an app") else response


@hears("M13", "any body is taken")
def any_body(request: Request) -> Request | Response:
    return CHANGED if is_set(request) and not go.json_valid(request.body) else request


@hears("M13", "an empty body is JSON")
def empty_body(request: Request) -> Request:
    return request.replace(body=b"null") if is_set(request) and not request.body else request


@says("M13", "what is no JSON is a 422")
def no_json_422(request: Request, response: Response) -> Response:
    return response.replace(status=422) if response.body.startswith(b"payload is") else response


@wraps("M13", "what is no JSON is stored before it is refused")
def stored_first(request: Request, answer: Callable[[Request], Response]) -> Response:
    if is_set(request) and not go.json_valid(request.body):
        answer(request.replace(body=b'"stored"'))
    return answer(request)


@hears("M13", "only objects and arrays are taken")
def containers_only(request: Request) -> Request:
    return request.replace(body=b"") if is_set(request) and request.body.strip()[:1] not in (b"{", b"[") else request


@hears("M13", "an empty object is refused")
def empty_object(request: Request) -> Request:
    return request.replace(body=b"") if is_set(request) and request.body == b"{}" else request


@hears("M14", "an 8193rd byte is taken")
def one_more(request: Request) -> Request:
    return request.replace(body=request.body[:8191] + b'"') if is_set(request) and len(request.body) == 8193 else request


@hears("M14", "an 8192nd byte is refused")
def one_less(request: Request) -> Request:
    return request.replace(body=request.body + b" ") if is_set(request) and len(request.body) == 8192 else request


@hears("M14", "the limit is counted in characters")
def in_characters(request: Request) -> Request:
    return (
        request.replace(body=request.body.replace("é".encode(), b"e")) if is_set(request) and len(request.body) > 8192 else request
    )


@hears("M14", "a POST has no limit")
def post_without_limit(request: Request) -> Request:
    return request.replace(body=b"1") if request.method == "POST" and len(request.body) > 8192 else request


@says("M14", "a large value is a 413")
def too_large(request: Request, response: Response) -> Response:
    return response.replace(status=413) if response.body.startswith(b"size limit") else response


@says("M14", "the limit is told in other words")
def other_words(request: Request, response: Response) -> Response:
    return response.replace(body=b"value too large\n") if response.body.startswith(b"size limit") else response


@hears("M15", "a long prefix is cut")
def cut_prefix(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/([A-Za-z-]{2})[A-Za-z-]+/", rb"/kv/\1/", request.target))


@says("M15", "a long prefix is told with another limit")
def other_limit(request: Request, response: Response) -> Response:
    return response.replace(body=response.body.replace(b"limit of 2", b"limit of 3"))


@says("M15", "a long prefix is quoted as Python does")
def python_quotes(request: Request, response: Response) -> Response:
    return response.replace(body=response.body.replace(b'"', b"'")) if response.body.startswith(b"prefix") else response


@says("M15", "a long prefix is a 400")
def prefix_400(request: Request, response: Response) -> Response:
    return response.replace(status=400) if response.body.startswith(b"prefix") or response.rows else response


@hears("M16", "the prefix of the documentation's examples is an unknown path")
def no_my_app(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"/my-app/", b"/a/b/"))


@says("M16", "the prefix of the documentation's examples is a bad request")
def my_app_400(request: Request, response: Response) -> Response:
    return response.replace(status=400) if b"/my-app/" in request.target else response


@says("M17", "changed is the other way round")
def other_way(request: Request, response: Response) -> Response:
    body = response.body
    return (
        response.replace(body=body.replace(b"true", b"false") if b"true" in body else body.replace(b"false", b"true"))
        if is_set(request)
        else response
    )


@says("M17", "changed is always false")
def always_false(request: Request, response: Response) -> Response:
    return response.replace(body=response.body.replace(b"true", b"false")) if is_set(request) else response


@hears("M18", "a form is refused")
def no_form(request: Request) -> Request | Response:
    is_form = request.headers.get(b"content-type") == b"application/x-www-form-urlencoded"
    return Response(415) if is_set(request) and is_form else request


@hears("M18", "text is stored as a string of JSON")
def text_is_string(request: Request) -> Request:
    is_text = request.headers.get(b"content-type") == b"text/plain"
    return request.replace(body=json.dumps(request.body.decode()).encode()) if is_set(request) and is_text else request


@hears("M18", "only JSON's content type is taken")
def json_only(request: Request) -> Request | Response:
    return Response(415) if is_set(request) and request.headers.get(b"content-type") != b"application/json" else request


@says("M19", "errors are JSON")
def json_errors(request: Request, response: Response) -> Response:
    return Response(response.status, OK, b'{"error":"x"}') if is_kv(request) and response.status >= 400 else response


@says("M19", "errors may be sniffed")
def sniffed_errors(request: Request, response: Response) -> Response:
    return response.replace(headers=response.headers[:1]) if is_kv(request) and response.status >= 400 else response


@says("M19", "errors are HTML")
def html_errors(request: Request, response: Response) -> Response:
    html = Response(response.status, (("Content-Type", "text/html"),), b"<p>x\n")
    return html if is_kv(request) and response.status >= 400 else response


@says("M20", "what is not found is told in HTML")
def html_404(request: Request, response: Response) -> Response:
    return Response(404, (("Content-Type", "text/html"),), b"<p>404") if response.status == 404 and is_kv(request) else response


@hears("M20", "a path is decoded twice")
def path_twice(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"%25", b"%")) if is_kv(request) else request


@hears("M20", "three parts are a prefix and a key")
def three_parts(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(%b)/b/c" % KEY, rb"\1b", request.target)) if is_kv(request) else request


@hears("M20", "the path is matched encoded")
def encoded(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"%2F", b"%252F")) if is_kv(request) else request


@hears("M20", "a slash at the end is ignored")
def lax_slash(request: Request) -> Request:
    return request.replace(target=request.target.rstrip(b"/")) if is_kv(request) else request


@hears("M20", "a newline is a part of a key")
def newline(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"%0A", b"_")) if is_kv(request) else request


@says("M21", "moved temporarily")
def moved_307(request: Request, response: Response) -> Response:
    return response.replace(status=307) if response.status == 301 else response


@says("M21", "the query is lost")
def lost_query(request: Request, response: Response) -> Response:
    return (
        response.replace(headers=(("Location", response.headers[0][1].partition("?")[0]),)) if response.status == 301 else response
    )


@hears("M21", "unclean paths are cleaned in silence")
def silent(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"kv//", b"kv/")) if is_kv(request) else request


@says("M21", "the clean path is not encoded anew")
def not_encoded(request: Request, response: Response) -> Response:
    if response.status != 301:
        return response
    return response.replace(headers=tuple((name, value.replace("%21", "!")) for name, value in response.headers))


@says("M21", "a redirect has a page")
def with_page(request: Request, response: Response) -> Response:
    return response.replace(body=b"<a href=/>Moved Permanently</a>.\n") if response.status == 301 else response


@wraps("M21", "who asks is looked at before the path")
def who_before_path(request: Request, answer: Callable[[Request], Response]) -> Response:
    response = answer(request)
    is_nobody = b"authorization" not in request.headers
    return answer(request.replace(target=b"/plugins/com.mattermost.apps/api/v1/kv/x")) if is_nobody else response


@says("M22", "not allowed says what is")
def allow(request: Request, response: Response) -> Response:
    return response.replace(headers=(("Allow", "GET"),)) if response.status == 405 and is_kv(request) else response


@hears("M22", "HEAD is answered as GET")
def head(request: Request) -> Request:
    return request.replace(method="GET") if request.method == "HEAD" and is_kv(request) else request


@hears("M22", "PATCH sets")
def patch(request: Request) -> Request:
    return request.replace(method="PUT", body=b"1") if request.method == "PATCH" and is_kv(request) else request


@says("M22", "not allowed is told in words")
def allow_words(request: Request, response: Response) -> Response:
    return response.replace(body=b"Method Not Allowed\n") if response.status == 405 and is_kv(request) else response


@hears("M22", "a method is known in any case")
def any_case(request: Request) -> Request:
    return request.replace(method=request.method.upper()) if is_kv(request) else request


@hears("M23", "who asks is looked at before the size")
def size_last(request: Request) -> Request:
    return request.replace(body=b"1") if is_set(request) and b"authorization" not in request.headers else request


def has_long_prefix(request: Request) -> bool:
    return re.search(rb"/kv/[A-Za-z-]{3,}/", request.target) is not None


def by_bot(request: Request) -> Request:
    return with_header(request, b"authorization", b"Bearer bot-token")


@hears("M23", "the prefix of a set is looked at before who asks")
def prefix_first(request: Request) -> Request:
    return by_bot(request) if is_set(request) and has_long_prefix(request) else request


@hears("M23", "the prefix of a get or a delete is looked at before whether somebody asks")
def prefix_before_token(request: Request) -> Request:
    is_it = not is_set(request) and has_long_prefix(request) and b"authorization" not in request.headers
    return by_bot(request) if is_it else request


@hears("M23", "the prefix of a get or a delete is looked at before a user of no app")
def prefix_before_app(request: Request) -> Request:
    return by_bot(request) if not is_set(request) and has_long_prefix(request) and is_plain_user(request) else request


@hears("M23", "the prefix is looked at before JSON")
def prefix_before_json(request: Request) -> Request:
    is_small = is_set(request) and len(request.body) <= 8192
    return request.replace(body=b"1") if is_small and has_long_prefix(request) and is_bot(request) else request


@says("M23", "the prefix of a set is not looked at")
def no_prefix_of_a_set(request: Request, response: Response) -> Response:
    return CHANGED if is_set(request) and response.body.startswith(b"prefix ") else response


@says("M23", "the prefix of a get or a delete is not looked at")
def no_prefix_of_a_get(request: Request, response: Response) -> Response:
    is_it = request.method in ("GET", "DELETE") and response.body.startswith(b"prefix ")
    return response.replace(status=200, body=b"{}") if is_it else response


@says("M23", "who asks is looked at before the path of a get or a delete")
def path_last(request: Request, response: Response) -> Response:
    is_it = request.method in ("GET", "DELETE") and b"authorization" not in request.headers
    return response.replace(status=401) if is_it and response.status == 404 else response


@hears("M23", "JSON is looked at before a token that is not known")
def json_before_token(request: Request) -> Request:
    is_unknown = request.headers.get(b"authorization", b"").endswith(UNKNOWN.encode())
    return by_bot(request) if is_set(request) and not go.json_valid(request.body) and is_unknown else request


@hears("M23", "JSON is looked at before whether somebody asks")
def json_first(request: Request) -> Request:
    is_bad = is_set(request) and not go.json_valid(request.body)
    return by_bot(request) if is_bad and b"authorization" not in request.headers else request


@hears("M23", "what is no JSON is told before a user of no app")
def json_before_app(request: Request) -> Request:
    return by_bot(request) if is_set(request) and is_plain_user(request) else request


@hears("M23", "a user of no app is told before the size")
def size_after_app(request: Request) -> Request:
    return request.replace(body=b"1") if is_set(request) and is_plain_user(request) and len(request.body) > 8192 else request


@hears("M23", "the size is looked at before the path")
def size_first(request: Request) -> Request:
    is_large = is_set(request) and len(request.body) > 8192
    return request.replace(target=b"/plugins/com.mattermost.apps/api/v1/kv/x") if is_large else request


@hears("M23", "the size is looked at before the method")
def size_before_method(request: Request) -> Request:
    return request.replace(method="PUT") if request.method == "PATCH" and len(request.body) > 8192 else request


@hears("M24", "JSON is what Python's json loads")
def python_json(request: Request) -> Request | Response:
    if not is_set(request):
        return request
    try:
        json.loads(request.body)
    except (ValueError, RecursionError):
        return request.replace(body=b"")
    return request if request.body.strip(b" \t\r\n")[:1] in b'{["-0123456789tfn' and b"N" not in request.body else CHANGED


@hears("M24", "bytes that are not UTF-8 are refused")
def utf_8_only(request: Request) -> Request:
    try:
        request.body.decode()
    except UnicodeDecodeError:
        return request.replace(body=b"") if is_set(request) else request
    return request


@hears("M24", "a byte order mark is taken")
def with_mark(request: Request) -> Request:
    return request.replace(body=request.body.removeprefix(b"\xef\xbb\xbf")) if is_kv(request) else request


@hears("M24", "numbers end at a double's")
def doubles(request: Request) -> Request:
    return request.replace(body=b"") if request.body == b"1e999" and is_kv(request) else request


@hears("M25", "blanks of a prefix count")
def blanks(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/([a-z]?)%20/", rb"/kv/\1_/", request.target))


@hears("M25", "a prefix of blanks is one")
def blank_prefix(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/(%20)+/", b"/kv/__/", request.target))


@hears("M25", "blanks at the end of a prefix are cut off")
def cut_blanks(request: Request) -> Request:
    return request.replace(target=re.sub(rb"/kv/([a-z]{2})(%20)+/", rb"/kv/\1/", request.target))


@hears("M25", "a prefix is counted in characters")
def characters(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"/%C3%A9/", b"/%C3%A9%C3%A9/").replace(b"%E2%82%AC/", b"e/x/"))


@hears("M26", "a cookie does not count for a get")
def no_cookie(request: Request) -> Request:
    return without(request, b"cookie") if request.method == "GET" else request


@hears("M26", "a cookie is enough")
def cookie_is_enough(request: Request) -> Request:
    is_alone = b"x-csrf-token" not in request.headers and b"x-requested-with" not in request.headers
    return with_header(request, b"x-requested-with", b"XMLHttpRequest") if is_alone else request


@hears("M26", "any X-Requested-With will do")
def any_requested(request: Request) -> Request:
    is_other = request.headers.get(b"x-requested-with", b"").lower() not in (b"", b"xmlhttprequest")
    return with_header(request, b"x-requested-with", b"XMLHttpRequest") if is_other else request


@hears("M26", "X-Requested-With is known in any case")
def requested_in_any_case(request: Request) -> Request:
    is_it = request.headers.get(b"x-requested-with", b"").lower() == b"xmlhttprequest"
    return with_header(request, b"x-requested-with", b"XMLHttpRequest") if is_it else request


@hears("M26", "any CSRF token will do")
def any_csrf(request: Request) -> Request:
    cookie = re.search(rb"MMAUTHTOKEN=([^;]*)", request.headers.get(b"cookie", b""))
    is_sent = b"x-csrf-token" in request.headers and b"x-requested-with" not in request.headers
    return with_header(request, b"x-csrf-token", b"csrf-" + cookie[1]) if cookie and is_sent else request


@hears("M26", "X-Requested-With is not looked at")
def no_requested(request: Request) -> Request:
    return without(request, b"x-requested-with")


@hears("M26", "X-Requested-With wins over a wrong CSRF token")
def requested_wins(request: Request) -> Request:
    return without(request, b"x-csrf-token") if b"x-requested-with" in request.headers else request


@hears("M27", "the next source is tried")
def next_source(request: Request) -> Request:
    return without(request, b"authorization") if request.headers.get(b"authorization", b"").endswith(UNKNOWN.encode()) else request


@hears("M27", "an empty cookie is none")
def empty_cookie(request: Request) -> Request:
    return without(request, b"cookie") if b"MMAUTHTOKEN=;" in request.headers.get(b"cookie", b"") else request


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
        return data.replace(b"%zz ", b"%25zz ")


@wire("M28", "two different lengths are taken")
class Lengths(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 1")


@wire("M28", "a blank in a target is a part of it")
class Blanks(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b" b HTTP/", b"%20b HTTP/")


@wire("M28", "a negative length is none")
class Negative(Rewritten):
    def rewrite(self, data: bytes) -> bytes:
        return data.replace(b"Content-Length: -1\r\n", b"")


@wire("M28", "after a refusal the conversation goes on")
class GoesOn(Connection):
    def receive(self, data: bytes) -> tuple[Action, ...]:
        return tuple(action for action in super().receive(data) if not isinstance(action, Close))


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
        if not self.is_new and self._input:
            return (Close(linger=False),)
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
        return data.replace("é HTTP/".encode(), b"\x01 HTTP/")


@wire("M28", "a large header block is taken")
class NoBound(Rewritten):
    is_long = False

    def rewrite(self, data: bytes) -> bytes:
        self.is_long |= b"\r\nX: " in data
        return re.sub(b"x{20000,}", b"", data) if self.is_long else data


# --------------------------------------------------------------------------------------------------------------------- Persist


@hears("P01", "only the whole base path answers")
def whole_base(request: Request) -> Request | Response:
    return Response(404, OK, b"{}") if request.target.startswith(b"/persist") else request


@hears("P01", "only the short base path answers")
def short_base(request: Request) -> Request | Response:
    return Response(404, OK, b"{}") if request.target.startswith(b"/api/v1/persist") else request


@hears("P02", "all projects share one store")
def one_store(request: Request) -> Request:
    is_known = b"project" in request.headers.get(b"authorization", b"")
    return with_header(request, b"authorization", b"Bearer project-token") if is_persist(request) and is_known else request


@hears("P02", "a key may be deleted by anybody")
def deleted_by_all(request: Request) -> Request:
    if request.method == "DELETE" and is_persist(request):
        return with_header(request, b"authorization", b"Bearer other-project-token")
    return request


@hears("P02", "an mget looks into every project")
def mget_of_all(request: Request) -> Request:
    return with_header(request, b"authorization", b"Bearer project-token") if b"/mget" in request.target else request


@says("P03", "a set says nothing of when")
def no_updated(request: Request, response: Response) -> Response:
    def cut(record: Any) -> Any:
        return {name: value for name, value in record.items() if name != "updated"}

    return mapped(response, cut) if request.method == "PUT" and is_persist(request) else response


@says("P03", "a set answers 201")
def persist_created(request: Request, response: Response) -> Response:
    return response.replace(status=201) if request.method == "PUT" and is_persist(request) and response.status == 200 else response


@says("P03", "a record is text")
def record_in_text(request: Request, response: Response) -> Response:
    return response.replace(headers=(("Content-Type", "text/plain"),)) if is_persist(request) else response


@says("P03", "a set answers nothing")
def silent_set(request: Request, response: Response) -> Response:
    return response.replace(body=b"") if request.method == "PUT" and is_persist(request) and response.status == 200 else response


@wraps("P03", "a set does not replace")
def no_replacing(request: Request, answer: Callable[[Request], Response]) -> Response:
    if request.method == "PUT" and is_persist(request):
        before = answer(request.replace(method="GET"))
        return before if before.status == 200 else answer(request)
    return answer(request)


@says("P04", "a malformed request has no error")
def no_error(request: Request, response: Response) -> Response:
    return response.replace(body=b"{}") if response.status == 400 and is_persist(request) else response


@says("P04", "a malformed request is a 422")
def malformed_422(request: Request, response: Response) -> Response:
    return response.replace(status=422) if response.status == 400 and is_persist(request) else response


@hears("P04", "a byte order mark is left out")
def persist_mark(request: Request) -> Request:
    return request.replace(body=request.body.removeprefix(b"\xef\xbb\xbf")) if is_persist(request) else request


@says("P04", "a malformed request has an error in text")
def error_in_text(request: Request, response: Response) -> Response:
    return response.replace(body=b"bad request") if response.status == 400 and is_persist(request) else response


@hears("P04", "a value that is no string is made one")
def made_string(request: Request) -> Request:
    def make(payload: Any) -> Any:
        return {**payload, "value": str(payload["value"])} if "value" in payload else payload

    return remapped(request, make) if request.method == "PUT" and is_persist(request) else request


@hears("P04", "keys that are no strings are made some")
def made_strings(request: Request) -> Request:
    def make(payload: Any) -> Any:
        return {**payload, "keys": [str(key) for key in payload["keys"]]} if "keys" in payload else payload

    return remapped(request, make) if b"/mget" in request.target else request


@hears("P04", "an empty key is a key")
def empty_key(request: Request) -> Request:
    return (
        request.replace(target=request.target + b"empty") if request.target.endswith(b"/kv/") and is_persist(request) else request
    )


@says("P05", "a missing key is null")
def persist_missing_null(request: Request, response: Response) -> Response:
    return Response(200, OK, b"null") if response.status == 404 and request.method == "GET" and is_persist(request) else response


@says("P05", "a missing key has no error")
def missing_without_error(request: Request, response: Response) -> Response:
    is_key = re.search(rb"/persist/kv/%b" % KEY, request.target)
    return response.replace(body=b"") if response.status == 404 and is_key else response


@says("P05", "a key that was deleted is a 410")
def gone(request: Request, response: Response) -> Response:
    return response.replace(status=410) if response.status == 404 and re.search(rb"/kv/%b$" % KEY, request.target) else response


@says("P05", "a get answers the value alone")
def value_alone(request: Request, response: Response) -> Response:
    is_get = request.method == "GET" and re.search(rb"/kv/%b" % KEY, request.target)
    return mapped(response, lambda record: record["value"]) if is_get and is_persist(request) else response


@says("P05", "an empty value is not there")
def empty_is_missing(request: Request, response: Response) -> Response:
    return Response(404, OK, b'{"error":""}') if b'"value":"",' in response.body and request.method == "GET" else response


@wraps("P06", "a delete of a missing key is a 404")
def delete_404(request: Request, answer: Callable[[Request], Response]) -> Response:
    if request.method == "DELETE" and is_persist(request):
        before = answer(request.replace(method="GET"))
        return before if before.status == 404 else answer(request)
    return answer(request)


@hears("P06", "a delete deletes nothing")
def persist_no_delete(request: Request) -> Request | Response:
    return Response(200) if request.method == "DELETE" and is_persist(request) else request


@wraps("P06", "a delete deletes whatever begins so")
def deletes_more(request: Request, answer: Callable[[Request], Response]) -> Response:
    key = re.search(rb"/kv/(%b)$" % KEY, request.target)
    if request.method == "DELETE" and key is not None:
        answer(request.replace(target=request.target + b"b"))
    return answer(request)


@says("P07", "the list is in an object")
def list_in_object(request: Request, response: Response) -> Response:
    return mapped(response, lambda keys: {"keys": keys}) if is_listing(request) else response


@says("P07", "keys are listed in descending order")
def descending(request: Request, response: Response) -> Response:
    return mapped(response, lambda keys: keys[::-1]) if is_listing(request) else response


@says("P07", "keys are listed in any order of their letters")
def letters(request: Request, response: Response) -> Response:
    return mapped(response, lambda keys: sorted(keys, key=str.lower)) if is_listing(request) else response


@says("P07", "the whole list is in no order")
def whole_descending(request: Request, response: Response) -> Response:
    is_whole = is_listing(request) and request.target.endswith(b"/kv")
    return mapped(response, lambda keys: keys[::-1]) if is_whole else response


@hears("P07", "begins is a pattern")
def pattern(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(begins=%ba)[*_]" % KEY, rb"\1", request.target))


@hears("P07", "a dot in begins is any character")
def any_character(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(begins=%ba)\.$" % KEY, rb"\1", request.target))


@hears("P07", "begins is decoded twice")
def begins_twice(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(begins=.*)%25", rb"\1%", request.target))


@hears("P07", "begins is not looked at")
def no_begins(request: Request) -> Request:
    return request.replace(target=re.sub(rb"begins=", rb"ends=", request.target))


@wraps("P07", "begins is meant in any case")
def any_case_begins(request: Request, answer: Callable[[Request], Response]) -> Response:
    begins = re.search(rb"begins=(%b[a-zA-Z]?)$" % KEY, request.target)
    if begins is None:
        return answer(request)
    text = begins[1].decode().lower()
    whole = answer(request.replace(target=request.target.partition(b"?")[0]))
    return mapped(whole, lambda keys: [key for key in keys if key.lower().startswith(text)])


@wraps("P07", "begins is looked for anywhere")
def anywhere(request: Request, answer: Callable[[Request], Response]) -> Response:
    begins = re.search(rb"begins=([0-9a-f]{31})$", request.target)
    if begins is None:
        return answer(request)
    whole = answer(request.replace(target=request.target.partition(b"?")[0]))
    return mapped(whole, lambda keys: [key for key in keys if begins[1].decode() in key])


@says("P08", "mget leaves out what is missing")
def left_out(request: Request, response: Response) -> Response:
    return (
        mapped(response, lambda found: [one for one in found if one])
        if b"/mget" in request.target and response.status == 200
        else response
    )


@hears("P08", "mget answers a key once")
def once(request: Request) -> Request:
    return remapped(request, lambda asked: {"keys": list(dict.fromkeys(asked["keys"]))}) if b"/mget" in request.target else request


@hears("P08", "mget answers in the order of the keys themselves")
def in_order(request: Request) -> Request:
    return remapped(request, lambda asked: {"keys": sorted(asked["keys"])}) if b"/mget" in request.target else request


@hears("P08", "mget decodes its keys")
def mget_decodes(request: Request) -> Request:
    return request.replace(body=request.body.replace(b"%41", b"A")) if b"/mget" in request.target else request


@hears("P09", "a 262,144th byte is refused")
def smaller(request: Request) -> Request:
    return request.replace(body=request.body.replace(262_144 * b"x", 262_145 * b"x"))


@hears("P09", "a 262,145th byte is taken")
def larger(request: Request) -> Request:
    return request.replace(body=request.body.replace(262_145 * b"x", b"x"))


@hears("P09", "a value is counted in JSON's bytes")
def json_bytes(request: Request) -> Request:
    return request.replace(body=b'{"value":5}') if is_persist(request) and 600_000 < len(request.body) < 2_000_000 else request


@says("P10", "updated has no decimals")
def no_decimals(request: Request, response: Response) -> Response:
    return response.replace(body=re.sub(rb"\.\d{6}Z", b"Z", response.body))


@says("P10", "updated has an offset")
def offset(request: Request, response: Response) -> Response:
    return response.replace(body=re.sub(rb"(\.\d{6})Z", rb"\1+00:00", response.body))


@says("P10", "updated is a moment that never was")
def thirteenth_month(request: Request, response: Response) -> Response:
    return response.replace(body=re.sub(rb"-\d\d-\d\dT", b"-13-01T", response.body))


@says("P10", "updated is when the first set was")
def never_changed(request: Request, response: Response) -> Response:
    return response.replace(body=re.sub(rb"T[\d:.]+Z", b"T00:00:00.000000Z", response.body))


@says("P10", "updated is the local time")
def local_time(request: Request, response: Response) -> Response:
    def shift(found: re.Match[bytes]) -> bytes:
        return (datetime.fromisoformat(found[1].decode()) + timedelta(hours=2)).isoformat(timespec="microseconds").encode() + b"Z"

    return response.replace(body=re.sub(rb"(\d{4}-\d\d-\d\dT[\d:.]+)Z", shift, response.body))


@says("P10", "updated has three decimals")
def three_decimals(request: Request, response: Response) -> Response:
    return response.replace(body=re.sub(rb"(\.\d{3})\d{3}Z", rb"\1Z", response.body))


@hears("P12", "blanks at the end of a key are cut off")
def blanks_cut(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(?:%20)+$", b"", request.target)) if is_persist(request) else request


@hears("P12", "a key ends at a semicolon")
def parameters(request: Request) -> Request:
    return request.replace(target=request.target.partition(b";")[0]) if is_persist(request) else request


@hears("P12", "a key is decoded twice")
def twice(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"%25", b"%")) if is_persist(request) else request


@hears("P12", "+ is a blank in a key")
def plus(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(/kv/%b)\+" % KEY, rb"\1%20", request.target)) if is_persist(request) else request


@hears("P12", "paths are cleaned")
def persist_cleaned(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(%b)//" % KEY, rb"\1/", request.target)) if is_persist(request) else request


@hears("P12", "a key ends at a slash")
def one_part(request: Request) -> Request:
    return request.replace(target=re.sub(rb"(/kv/[^/?]+)/.*", rb"\1", request.target)) if is_persist(request) else request


@hears("P12", "a key is text: raw bytes that are no UTF-8 are replaced")
def replaced(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"\xe9", b"%EF%BF%BD"))


@says("P13", "a value that is JSON is given as JSON")
def parsed(request: Request, response: Response) -> Response:
    def open_up(record: Any) -> Any:
        return (
            {**record, "value": json.loads(record["value"])}
            if isinstance(record, dict) and record.get("value", "").startswith("{")
            else record
        )

    return mapped(response, open_up) if is_persist(request) and response.status == 200 else response


@hears("P13", "blanks around a value are cut off")
def trimmed(request: Request) -> Request:
    def trim(payload: Any) -> Any:
        return {**payload, "value": payload["value"].strip()}

    return remapped(request, trim) if request.method == "PUT" and is_persist(request) else request


@says("P13", "mget takes null for nothing")
def null_is_nothing(request: Request, response: Response) -> Response:
    def lose(found: Any) -> Any:
        return [None if one and one["value"] == "null" else one for one in found]

    return mapped(response, lose) if b"/mget" in request.target else response


@says("P13", "error is an object")
def error_object(request: Request, response: Response) -> Response:
    return response.replace(body=b'{"error":{"text":"x"}}') if response.status == 400 and is_persist(request) else response


@says("P14", "an unknown token is a 403")
def persist_403(request: Request, response: Response) -> Response:
    return response.replace(status=403) if response.status == 401 and is_persist(request) else response


@says("P14", "a 405 has no Allow")
def no_allow(request: Request, response: Response) -> Response:
    return response.replace(headers=response.headers[:1]) if response.status == 405 and is_persist(request) else response


@hears("P14", "an mget of 10,001 keys is taken")
def longer_mget(request: Request) -> Request:
    return remapped(request, lambda asked: {"keys": asked["keys"][:10_000]}) if b"/mget" in request.target else request


@hears("P14", "bad percent-encoding ends the connection")
def persist_400(request: Request) -> Request | Response:
    if b"%zz" not in request.target or not is_persist(request):
        return request
    return Response(400, (("Content-Type", "text/plain"),), b"400 Bad Request", close=True)


@hears("P14", "a method is known in any case")
def persist_any_case(request: Request) -> Request:
    return request.replace(method=request.method.upper()) if is_persist(request) else request


@hears("P14", "a body over 2 MiB is taken")
def longer_body(request: Request) -> Request:
    return request.replace(body=b'{"value":"v"}') if len(request.body) > 2 * 1024 * 1024 else request


@hears("P14", "a body is read before the token")
def body_first(request: Request) -> Request:
    is_read = request.body == b"x" and is_persist(request)
    return with_header(request, b"authorization", b"Bearer project-token") if is_read else request


@hears("P14", "bad percent-encoding is taken as it stands")
def persist_percent(request: Request) -> Request:
    return request.replace(target=request.target.replace(b"%zz", b"%25zz")) if is_persist(request) else request


@says("P15", "a delete answers the record")
def delete_record(request: Request, response: Response) -> Response:
    return response.replace(body=b'{"key":"key"}') if request.method == "DELETE" and is_persist(request) else response


@says("P15", "a delete answers {}")
def delete_object(request: Request, response: Response) -> Response:
    return response.replace(body=b"{}") if request.method == "DELETE" and is_persist(request) else response
