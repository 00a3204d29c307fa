"""What each service does, row by row: the facts that this double reproduces, and where each is known from.

Law: data, and nothing that decides; the services decide, and their tests show it.
"""

from __future__ import annotations

from typing import NamedTuple

SAME = "does what it says"

SOURCES = {
    "doc": "the service's own documentation",
    "src": "its or its official client's published source",
    "use": "what public applications rely on",
    "recorded": "what the plugin's own handlers (v1.2.2) answered",
    "ours": "a choice where nothing is known",
}


class Row(NamedTuple):
    """One fact. ``documented`` and ``plugin`` say what the two profiles do, where the sentence leaves it open or they differ.
    ``mark`` is the row that a reply names in which ``documented`` was kinder than the plugin; none where they do the same.
    ``service`` is set where the tables of the two services are joined.
    """

    id: str
    sentence: str
    source: str
    documented: str = SAME
    plugin: str = SAME
    mark: str | None = None
    service: str = ""


def _both(does: str) -> dict[str, str]:
    return {"documented": does, "plugin": does}


_MATTERMOST_ROWS = (
    Row(
        "M01",
        "Base path ``<site_url>/plugins/com.mattermost.apps/api/v1/kv/``. The site URL may itself have a sub-path.",
        "doc",
    ),
    Row(
        "M02",
        "``GET .../kv/<key>``: 200, body is exactly the stored bytes, nothing around them.",
        "doc, src server/httpin/kv.go",
    ),
    Row(
        "M03",
        "``POST .../kv/<key>`` sets a value; ``PUT`` does the same.",
        "doc (POST), src (PUT)",
    ),
    Row(
        "M04",
        'Set answers 200, ``Content-Type: application/json``, body ``{"changed":true}`` and a newline.',
        "src KVPut, httputils.WriteJSON",
    ),
    Row(
        "M05",
        "``DELETE .../kv/<key>``: 200 and an empty body, whether or not the key was there.",
        "src KVDelete, pluginapi.KVService.Delete",
    ),
    Row(
        "M06",
        "``/kv/<prefix>/<key>`` is the same three operations in a second name space of the same owner. The Go "
        "driver sends it: ``client.KVGet(prefix, key, &v)``; with an empty prefix it sends ``/kv/<key>``.",
        "src, doc (driver examples)",
    ),
    Row(
        "M07",
        "``GET`` of a key that is not there: 200 and ``{}`` since v1.0.0 (2022-04); ``null`` and a newline in "
        'v0.2.0 to v0.7.0. No version answers 404. Public apps rely on ``{}``: one tests the body for ``"{}"``, '
        "others parse it and read fields of it, and a Java one would throw on any 404.",
        "src AppServices.KVGet; use",
        **_both("200 and ``{}``; the setting ``mattermost_missing`` chooses another answer"),
    ),
    Row(
        "M08",
        "Content type of GET: ``application/json`` since v1.2.0; before that none was set.",
        "src",
        **_both("``application/json``"),
    ),
    Row(
        "M09",
        "Owner of a value = (app, acting user, prefix). The token decides app and user: a bot token and a user's "
        "token never see each other's values.",
        "src Hashkey",
    ),
    Row(
        "M10",
        "Token is taken, in this order, from ``Authorization: Bearer <t>``, ``Authorization: token <t>`` (both "
        "words in any case: apps send ``BEARER``), the cookie ``MMAUTHTOKEN``, the query ``access_token``.",
        "src servePluginRequest; use",
    ),
    Row(
        "M11",
        "No token, or one that is not known: 401, ``text/plain; charset=utf-8``, ``X-Content-Type-Options: "
        "nosniff``, body ``user ID is required: unauthorized`` and a newline.",
        "src",
    ),
    Row(
        "M12",
        "A valid user token that belongs to no app: 401, same form, ``not an app session: unauthorized``.",
        "src RequireSourceApp",
    ),
    Row(
        "M13",
        "A body that is not valid JSON: 400, text, ``payload is not valid json: invalid input``. An empty body "
        "is not valid JSON. Any JSON value is: object, array, string, number, ``true``, ``null``.",
        "src AppServices.KVSet",
    ),
    Row(
        "M14",
        "A body over 8192 bytes: 500, text, ``size limit of 8Kb exceeded``. 8192 bytes exactly is accepted. "
        "Since v1.0.0; no limit before.",
        "src MaxKVStoreValueLength, LimitReadAll",
        **_both("500 and the text"),
    ),
    Row(
        "M15",
        'A prefix over 2 bytes: 500, text, ``prefix "ABC" is longer than the limit of 2 ASCII characters``.',
        "src Hashkey",
        documented="takes a prefix of any length",
        plugin="500 and the text",
        mark="M15",
    ),
    Row(
        "M16",
        "The documentation's own driver examples use the prefix ``my-app``, which M15 refuses.",
        "doc against src",
        documented="takes it",
        plugin="refuses it as M15 says",
        mark="M15",
    ),
    Row(
        "M17",
        "``changed`` is true for every set that succeeds, also of an equal value. The documentation says that it "
        '"indicates if the value … was changed".',
        "src pluginapi.KVService.Set; doc against src",
        documented="``false`` where the stored bytes are the same already",
        plugin="always ``true``",
        mark="M17",
    ),
    Row(
        "M18",
        "``Content-Type`` of a set is never looked at. Apps send none, or ``application/json; charset=UTF-8``.",
        "src; use",
    ),
    Row(
        "M19",
        "Errors are plain text, never JSON.",
        "src http.Error",
    ),
    Row(
        "M20",
        "The path is matched decoded: ``a%2Fb`` is prefix ``a``, key ``b``. No part or more than two after "
        "``/kv/``, a trailing slash, or a newline in the path: 404, text, ``404 page not found`` and a newline.",
        "recorded",
    ),
    Row(
        "M21",
        "A path that is not clean (``//``, ``.``, ``..``, also where percent-encoding hides them, so also a key "
        "that begins with ``%2F``): 301 with ``Location`` (the cleaned path, encoded anew, and the query), empty "
        "body, no content type. Before everything else; below ``/plugins/`` only, never for Persist paths.",
        "recorded",
    ),
    Row(
        "M22",
        "Another method than GET, POST, PUT, DELETE (also HEAD, OPTIONS and ``get``): 405, empty body, no "
        "``Allow``, no content type.",
        "recorded",
    ),
    Row(
        "M23",
        "Order of refusals for a set: 404/405, then M14 (size), then M11, then M12, then M13 (JSON), then M15 "
        "(prefix). For GET and DELETE: 404/405, M11, M12, M15.",
        "recorded",
        documented="the same order, without M15: no prefix is refused",
        mark="M15",
    ),
    Row(
        "M24",
        '"Valid JSON" is Go\'s ``json.Valid`` on the bytes: bytes that are not UTF-8 inside a string are '
        "accepted, so are lone surrogate escapes, numbers of any size and length, and 4,000 levels of nesting; "
        "``NaN``, a byte order mark, raw control characters in a string, ``\\v`` or U+00A0 as white space are "
        "not. Python's ``json`` differs in every one of these.",
        "recorded",
    ),
    Row(
        "M25",
        "Prefixes are padded to two bytes with blanks: ``p`` and ``p%20`` are the same name space, and ``%20`` "
        "is the empty prefix. ``é`` is two bytes and fits; ``€`` is three and is refused.",
        "src Hashkey, recorded",
        documented="pads as it says, and takes ``€`` too",
        mark="M15",
    ),
    Row(
        "M26",
        "A token from the cookie counts only for GET; for other methods the request also needs ``X-CSRF-Token`` "
        "equal to the session's, or, with none, ``X-Requested-With: XMLHttpRequest``; else it is a request with "
        "no token. The CSRF token of a session cannot be known from outside; here it is ``csrf-`` and the token.",
        "src validateCSRFForPluginRequest",
    ),
    Row(
        "M27",
        "Only one source of a token is looked at, the first of M10 that is present: an unknown bearer token "
        "beside a good cookie is an unknown token. ``Mattermost-User-Id`` sent by a client is dropped.",
        "src, recorded",
    ),
    Row(
        "M28",
        "Below HTTP (the whole port, except as P14 says): bad percent-encoding, a space or a control character "
        "in the target, two different lengths, a negative one: 400 ``400 Bad Request``, close. No ``Host`` in "
        "HTTP/1.1: 400 ``400 Bad Request: missing required Host header``, close. Unknown transfer coding: 501 "
        "``Unsupported transfer encoding``, close. Bad chunk: 500 ``invalid byte in chunk length``, close. "
        "Length and chunked together: chunked wins. Pipelining, HTTP/1.0, absolute targets and raw UTF-8 in a "
        "target work. A header block over 1 MiB: 431, close.",
        "recorded",
    ),
)

_PERSIST_ROWS = (
    Row(
        "P01",
        "Base URL ``https://beepboophq.com/api/v1``; clients read it from ``BEEPBOOP_PERSIST_URL``, else "
        "``BEEPBOOP_API_URL``, and the token from ``BEEPBOOP_TOKEN``. Tests of the official client use a base "
        "with no path, so ``/persist/...`` answers as ``/api/v1/persist/...`` does.",
        "doc, src",
        **_both("both paths answer below its own URL; ``kvfake run`` and ``kvfake env`` give the variables"),
    ),
    Row(
        "P02",
        "Key space per project: the token decides it (``Authorization: Bearer <token>``).",
        "doc",
    ),
    Row(
        "P03",
        '``PUT /persist/kv/<key>`` with ``{"value": "<string>"}``: 200 and ``{"key", "value", "updated"}``; replaces.',
        "doc",
    ),
    Row(
        "P04",
        "Malformed request: 400. Errors carry a JSON body with ``error``: the client shows ``body.error`` of a 400 or a 500.",
        "doc (400), src (body)",
    ),
    Row(
        "P05",
        "``GET /persist/kv/<key>``: 200 with the same three fields, 404 if not found.",
        "doc",
    ),
    Row(
        "P06",
        "``DELETE /persist/kv/<key>``: 200, also if the key was not there.",
        "doc",
    ),
    Row(
        "P07",
        "``GET /persist/kv``: array of all keys, in ascending order in the documentation's sample; "
        "``?begins=<text>`` keeps those that begin with it, literally.",
        "doc",
        **_both("ascending by the bytes of the key"),
    ),
    Row(
        "P08",
        '``POST /persist/mget`` with ``{"keys": [...]}``: array in the order of the keys asked for, ``null`` '
        "where a key is missing. A key asked for twice is answered twice.",
        "doc",
    ),
    Row(
        "P09",
        "Keys and values are strings; a value holds up to 256 Kb (taken as 262,144 bytes of UTF-8).",
        "doc",
    ),
    Row(
        "P10",
        "``updated`` is UTC, RFC 3339, always six decimals and ``Z``: ``2016-09-09T23:16:43.970809Z``.",
        "doc",
    ),
    Row(
        "P11",
        "500 for an unexpected error.",
        "doc",
        **_both("500, and JSON with ``error``; a fault can ask for one"),
    ),
    Row(
        "P12",
        "The Node client puts keys into the path as they are: ``users:U1``, ``convo::42``, ``a key`` (its URL "
        "parser makes ``a%20key``), ``é`` (sent as raw bytes, Latin-1 or UTF-8), and keys with ``/``. Everything "
        "after ``/persist/kv/`` is the key, decoded once; ``+`` is itself there, and a blank in the query.",
        "src",
    ),
    Row(
        "P13",
        "The Node client (1.0.0) stores ``JSON.stringify(value)`` as the string unless told not to, parses what "
        "it gets (a plain string that is not JSON throws in the app), takes 404 on get as ``undefined`` and 404 "
        "on set as success, and reads ``error`` of a JSON body of a 400 or 500. With no token it keeps values in "
        "memory; with a token and no URL it calls the hosted service, which is gone.",
        "src (the documentation says: in memory when not running on Beep Boop)",
        **_both("keeps the string as it is, and answers what the client reads"),
    ),
    Row(
        "P14",
        'Missing or unknown token: *unknown*; 401 with ``{"error": …}`` is ours. Order of refusals, ours: 404, '
        "405, 401, 400. Bad percent-encoding below ``/persist``: 400 with ``error``. A body may be 2 MiB "
        "(262,144 bytes can be 1.5 MiB of JSON), ``mget`` may name 10,000 keys; more is a 400.",
        "ours",
    ),
    Row(
        "P15",
        "Body of a DELETE answer: *unknown*; the client does not read it.",
        "src",
        **_both("an empty body"),
    ),
)

ROWS = {
    row.id: row._replace(service=service)
    for service, rows in (("mattermost", _MATTERMOST_ROWS), ("persist", _PERSIST_ROWS))
    for row in rows
}
