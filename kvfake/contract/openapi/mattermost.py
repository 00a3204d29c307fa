"""The Mattermost Apps KV service, for the OpenAPI description: what can be asked at which path, and every answer.

Law: a table. Limits and texts are the services' own; the rows speak for themselves.
"""

from __future__ import annotations

from kvfake.contract.openapi.parts import (
    ANYTHING,
    SWITCH,
    Json,
    answer,
    answer_of,
    body,
    header,
    one_of,
    operation,
    parameter,
    record,
    ref,
    some,
    told,
    with_rows,
)
from kvfake.services import go, mattermost
from kvfake.services.messages import FIDELITY_HEADER

TAG: Json = {
    "name": "Mattermost",
    "description": with_rows(
        "The key-value store of Mattermost Apps. Another method than these is answered with 405, an empty body and no `Allow`.",
        ("M01", "M09", "M16", "M19", "M22", "M23", "M27"),
    ),
}

SECURITY: Json = {
    "mattermostBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": with_rows("A token of an app's session; `Authorization: token <t>` is the same.", ("M10",)),
    },
    "mattermostCookie": {"type": "apiKey", "in": "cookie", "name": mattermost.COOKIE.decode()},
    "mattermostCsrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": with_rows("Beside the cookie, where the method is not GET.", ("M26",)),
    },
    "mattermostQuery": {"type": "apiKey", "in": "query", "name": "access_token"},
}

_PART: Json = {"type": "string", "pattern": r"^[^/\n]+$", "not": {"enum": [".", ".."]}}
_KEY = parameter("key", "path", _PART, "One part of a path.")
_PREFIX = parameter(
    "prefix",
    "path",
    _PART,
    f"One part of a path. The profile plugin-1.2 takes {mattermost.MAX_PREFIX_BYTES} bytes at most.",
)
_BEFORE, _, _BEHIND = mattermost.prefix_too_long(b"~").partition("~")
_PREFIX_TOO_LONG: Json = {"type": "string", "pattern": rf"^{_BEFORE}[^\n]*{_BEHIND}\n$"}
_KINDER = {
    FIDELITY_HEADER: header(
        {"type": "string", "pattern": "^[MP][0-9]{2}(, [MP][0-9]{2})*$"},
        "The rows in which the profile documented was kinder than the plugin.",
        required=False,
    )
}
_TOO_LONG = f"A prefix of more than {mattermost.MAX_PREFIX_BYTES} bytes, where the profile is plugin-1.2 (M15)"
_TOO_LARGE = f"A body of more than {mattermost.MAX_VALUE_BYTES} bytes (M14)"

_READ_SECURITY: list[Json] = [{"mattermostBearer": []}, {"mattermostCookie": []}, {"mattermostQuery": []}]
_WRITE_SECURITY: list[Json] = [{"mattermostBearer": []}, {"mattermostCookie": [], "mattermostCsrf": []}, {"mattermostQuery": []}]
_REFUSALS = {name: ref(f"Mattermost{name}", "responses") for name in ("301", "400", "401", "404", "500")} | {
    "410": ref("Ended", "responses")
}
_SET_REFUSALS = _REFUSALS | {
    "400": ref("MattermostSet400", "responses"),
    "500": ref("MattermostSet500", "responses"),
}

RESPONSES: Json = {
    "Mattermost301": answer(
        "The path is not clean: where the clean one is (M21).",
        headers={"Location": header({"type": "string"}, "The cleaned path, encoded anew, and the query.", required=True)},
    ),
    "Mattermost400": answer_of("The target cannot be decoded (M28).", go.BAD_REQUEST),
    "MattermostSet400": answer_of(
        "The body is not JSON (M13, M24); or the target cannot be decoded (M28).", mattermost.NOT_JSON, go.BAD_REQUEST
    ),
    "Mattermost401": answer_of(
        "No token, or one that is not known (M11); a user's who belongs to no app (M12).", mattermost.NO_TOKEN, mattermost.NO_APP
    ),
    "Mattermost404": answer_of(
        "No key, or more than two parts (M20); a key that is not there only where mattermost_missing is 404.", mattermost.NOT_FOUND
    ),
    "Mattermost500": answer_of(_TOO_LONG + ".", mattermost.TOO_LARGE, schema=_PREFIX_TOO_LONG),
    "MattermostSet500": answer_of(
        f"{_TOO_LARGE}. {_TOO_LONG}.",
        mattermost.TOO_LARGE,
        schema=some(one_of(mattermost.TOO_LARGE.body.decode()), _PREFIX_TOO_LONG),
    ),
}


def _mattermost(suffix: str, parameters: list[Json], rows: tuple[str, ...]) -> Json:
    names = {parameter["name"]: f"$request.path.{parameter['name']}" for parameter in parameters}

    def set_by(id: str, summary: str) -> Json:
        return operation(
            id + suffix,
            TAG["name"],
            summary,
            "",
            {
                "200": answer(
                    "It was set. `changed` is false only in the profile documented, where the stored bytes are the same already.",
                    record({"changed": SWITCH}),
                    _KINDER,
                )
                | {
                    "links": {
                        to.lower(): {"operationId": f"mattermost{to}{suffix}", "parameters": names} for to in ("Get", "Delete")
                    }
                },
                **_SET_REFUSALS,
            },
            ("M03", "M04", "M13", "M14", "M17", "M18", "M24", "M26", *rows),
            security=_WRITE_SECURITY,
            requestBody=body(
                told(ANYTHING, "Any JSON value."), f"The value: at most {mattermost.MAX_VALUE_BYTES} bytes, kept as they are."
            ),
        )

    return {
        "parameters": parameters,
        "get": operation(
            f"mattermostGet{suffix}",
            TAG["name"],
            "Get a value",
            "",
            {
                "200": answer("The stored bytes; `{}` where there are none.", told(ANYTHING, "Any JSON value."), _KINDER),
                **_REFUSALS,
            },
            ("M02", "M07", "M08", "M10", "M11", "M12", *rows),
            security=_READ_SECURITY,
        ),
        "post": set_by("mattermostSet", "Set a value"),
        "put": set_by("mattermostPut", "Set a value, as POST does"),
        "delete": operation(
            f"mattermostDelete{suffix}",
            TAG["name"],
            "Delete a value",
            "",
            {"200": answer("It is not there any more; the body is empty.", headers=_KINDER), **_REFUSALS},
            ("M05", "M26", *rows),
            security=_WRITE_SECURITY,
        ),
    }


PATHS: Json = {
    mattermost.KV + "/{key}": _mattermost("", [_KEY], ("M20", "M21")),
    mattermost.KV + "/{prefix}/{key}": _mattermost("Prefixed", [_PREFIX, _KEY], ("M06", "M15", "M20", "M21", "M25")),
}
