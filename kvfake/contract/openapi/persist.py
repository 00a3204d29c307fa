"""Beep Boop Persist, for the OpenAPI description: what can be asked at which path, and every answer.

Law: a table. Limits and texts are the service's own; the rows speak for themselves.
"""

from __future__ import annotations

from typing import Any

from kvfake.contract.openapi.parts import (
    NOTHING,
    TEXT,
    Json,
    answer,
    answer_of,
    array,
    body,
    operation,
    parameter,
    record,
    ref,
    some,
    told,
    with_rows,
)
from kvfake.services import persist

TAG: Json = {
    "name": "Persist",
    "description": with_rows(
        f"Beep Boop Persist. Everything below `{persist.API}/persist` is also served below `/persist`. Another method than these "
        "is answered with 405, `Allow`, and JSON with an `error`.",
        ("P01", "P02", "P04", "P11", "P13", "P14"),
    ),
}

SECURITY: Json = {"persistBearer": {"type": "http", "scheme": "bearer", "description": "A project's token."}}

RESPONSES: Json = {
    "Persist401": answer_of("No token, or one that is not known (P14).", persist.NO_TOKEN, persist.UNKNOWN_TOKEN),
    "Persist404": answer_of("There is no such key (P05).", persist.NOT_FOUND),
    "Persist400": answer("What was sent is not right; the text says what was expected (P04, P14).", ref("Error")),
    "Ended": answer("The world of this address, or of this token, has ended; nothing was done.", ref("Error")),
}

_VALUE = told({"type": "string", "maxLength": persist.MAX_VALUE_BYTES}, f"At most {persist.MAX_VALUE_BYTES} bytes of UTF-8 (P09).")
_PERSIST_KEY = parameter(
    "key", "path", {"type": "string", "minLength": 1}, "What follows in the path is the key, decoded once (P12)."
)
_PERSIST_REFUSALS = {
    "400": ref("Persist400", "responses"),
    "401": ref("Persist401", "responses"),
    "410": ref("Ended", "responses"),
}
_KEPT = answer("The value.", ref("PersistRecord"))

SCHEMAS: Json = {
    "Error": record({"error": told(TEXT, "What is wrong, and what was expected.")}),
    "Updated": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        "description": "UTC, RFC 3339, always with six decimals (P10).",
    },
    "PersistRecord": record({"key": TEXT, "value": _VALUE, "updated": ref("Updated")}),
}


def _persist(id: str, summary: str, responses: Json, *rows: str, **more: Any) -> Json:
    return operation(
        f"persist{id}", TAG["name"], summary, "", {**responses, **_PERSIST_REFUSALS}, rows, security=[{"persistBearer": []}], **more
    )


_OF_THE_KEY = {"parameters": {"key": "$request.path.key"}}

PATHS: Json = {
    f"{persist.API}/persist/kv": {
        "get": _persist(
            "List",
            "List the keys",
            {"200": answer("The keys, in ascending order.", array(TEXT))},
            "P07",
            parameters=[parameter("begins", "query", TEXT, "Only the keys that begin with it.")],
        )
    },
    f"{persist.API}/persist/kv/{{key}}": {
        "parameters": [_PERSIST_KEY],
        "get": _persist("Get", "Get a value", {"200": _KEPT, "404": ref("Persist404", "responses")}, "P05", "P10", "P12"),
        "put": _persist(
            "Set",
            "Set a value",
            {
                "200": _KEPT
                | {
                    "links": {
                        "get": {"operationId": "persistGet", **_OF_THE_KEY},
                        "delete": {"operationId": "persistDelete", **_OF_THE_KEY},
                    }
                }
            },
            *("P03", "P09", "P10", "P12"),
            requestBody=body(
                {"type": "object", "required": ["value"], "properties": {"value": _VALUE}}, "The value; other names mean nothing."
            ),
        ),
        "delete": _persist(
            "Delete", "Delete a value", {"200": answer("It is not there any more; the body is empty.")}, "P06", "P12", "P15"
        ),
    },
    f"{persist.API}/persist/mget": {
        "post": _persist(
            "Mget",
            "Get several values",
            {"200": answer("The values, in the order of the keys.", array(some(ref("PersistRecord"), NOTHING)))},
            "P08",
            requestBody=body(
                {
                    "type": "object",
                    "required": ["keys"],
                    "properties": {"keys": array(TEXT, maxItems=persist.MAX_MGET_KEYS)},
                },
                f"At most {persist.MAX_MGET_KEYS} keys; other names mean nothing.",
            ),
        )
    },
}
