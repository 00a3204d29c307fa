"""What `/_kvfake/` answers, for the OpenAPI description.

Law: schemas. What it takes is `kvfake.contract.openapi.schemas`'.
"""

from __future__ import annotations

from kvfake.contract.openapi.parts import COUNT, NUMBER, SWITCH, TEXT, Json, array, mapping, one_of, record, ref, some, told
from kvfake.contract.openapi.schemas import FAULT, FUNCTIONS, SERVICES, STATUS
from kvfake.world.faults import FAULT_DEFAULTS

_VERBS = ("get", "set", "delete", "list", "mget")
_ENV = (
    *("KVFAKE_URL", "MATTERMOST_SITE_URL", "MATTERMOST_BOT_TOKEN"),
    *("BEEPBOOP_PERSIST_URL", "BEEPBOOP_API_URL", "BEEPBOOP_TOKEN"),
)
_MAYBE: Json = {"type": ["string", "null"]}
_MESSAGE = some(*[record({"headers": mapping(TEXT), name: TEXT}) for name in ("body", "body_base64")])
_CONTEXT = ("app_id", "app_path", "mattermost_site_url", "bot_user_id", "bot_access_token", "acting_user_access_token")

SCHEMAS: Json = {
    "Environment": record(dict.fromkeys(_ENV, TEXT), description="What an app's environment needs."),
    "World": record(
        {
            "id": TEXT,
            "address": told(TEXT, "Its site URL."),
            "tokens": told(record(dict.fromkeys(SERVICES, TEXT)), "The bot's, and the project's."),
            "env": ref("Environment"),
            "context": told(
                record({**dict.fromkeys(_CONTEXT, TEXT), "acting_user": record({"id": TEXT, "username": TEXT})}),
                "What Mattermost puts into a call request.",
            ),
        }
    ),
    "Exchange": record(
        {
            "number": {"type": "integer", "minimum": 1},
            "service": told(_MAYBE, "Who dealt with it; null is nobody."),
            "verb": one_of(None, *_VERBS),
            "method": TEXT,
            "path": told(TEXT, "Below the world's address, with its query."),
            "key": _MAYBE,
            "owner": _MAYBE,
            "status": told({"type": ["integer", "null"]}, "null where a fault let no answer out."),
            "request": ref("Message"),
            "response": ref("Message"),
            "fault": told(_MAYBE, "The fault that struck."),
            "rows": told(array(TEXT), "The rows in which the answer was kinder than the service."),
            "duration": told({**NUMBER, "minimum": 0}, "In seconds."),
        }
    ),
    "Message": _MESSAGE,
    "Fault": record(
        {
            "id": {"type": "integer", "minimum": 1},
            "hits": told(COUNT, "How often it struck."),
            "active": told(SWITCH, "Whether it can still strike."),
            **FAULT,
            **dict.fromkeys(FUNCTIONS, told(TEXT, "A function that was given in Python.")),
        },
        FAULT_DEFAULTS,
        description="What was asked for is named where it is not the default.",
    ),
    "Route": record({"method": {"type": ["string", "null"]}, "path": some(TEXT, ref("Matches")), "status": STATUS}),
    "Clock": record({"time": ref("Updated"), "frozen": SWITCH}),
}
