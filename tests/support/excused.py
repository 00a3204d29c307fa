"""What schemathesis may not hold against kvfake, and why: a hook of its runs (see tests/test_openapi.py).

No check is switched off: a failure is dropped where check, path and answer are those of a line here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import schemathesis
from schemathesis.core.failures import Failure

from kvfake.services import mattermost


class Excuse(NamedTuple):
    """``failure`` is schemathesis' name of it; a part of ``path``, ``body`` and ``message``, which are patterns, must be found."""

    why: str
    failure: str
    path: str
    status: int
    body: str
    message: str = ""

    def covers(self, failure: Failure, path: str, response: schemathesis.Response) -> bool:
        if (type(failure).__name__, response.status_code) != (self.failure, self.status):
            return False
        body = response.content.decode("utf-8", "replace")
        found = ((self.path, path), (self.body, body), (self.message, failure.message))
        return all(re.search(pattern, text) for pattern, text in found)


_KV = f"^{re.escape(mattermost.KV)}/"
_TOO_LARGE = re.escape(mattermost.TOO_LARGE.body.decode())
_NOT_IN_A_SCHEMA = (
    "it is not base64|payload is not valid json|size limit of 8Kb|limit of 2 ASCII characters|it stands here twice|"
    "several owners of one service"
)

EXCUSED = (
    Excuse("M07: a key that is not there is 200 and {}", "UseAfterFree", _KV, 200, r"\A\{\}\Z"),
    Excuse("M14: a large body is a 500", "ServerError", _KV, 500, rf"\A{_TOO_LARGE}\Z"),
    Excuse("M15: a long prefix is a 500 (M20: a key with a slash has one)", "ServerError", _KV, 500, r"\Aprefix "),
    Excuse("M22: a 405 has no Allow", "UnsupportedMethodResponse", _KV, 405, r"\A\Z"),
    Excuse("a removed fault can still be shown", "UseAfterFree", "/faults/{number}$", 200, '"active": false'),
    Excuse("reset forgets faults", "EnsureResourceAvailability", "/faults/{number}$", 404, "there is no fault"),
    Excuse("reset forgets checkpoints", "EnsureResourceAvailability", "/rollback$", 404, "is no checkpoint of this world"),
    Excuse("a world ends", "RejectedPositiveData", "/worlds/{id}$", 410, "has ended"),
    Excuse("no schema compares two numbers", "RejectedPositiveData", "/faults$", 400, r"delay: expected \(least, most\), got"),
    Excuse("no schema compares two parameters", "RejectedPositiveData", "/data$", 400, "prefix: expected none with the service"),
    Excuse("data.schema.json: what no schema can state", "RejectedPositiveData", "/data$", 400, _NOT_IN_A_SCHEMA),
    Excuse("what a host may be called no pattern says", "AcceptedNegativeData", "/worlds$", 201, "", "fallback"),
    Excuse("where a clock may go depends on where it is", "RejectedPositiveData", "/clock$", 400, "within the years 1 to 9999"),
)


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: schemathesis.Response) -> bool:
    return not any(excuse.covers(failure, case.operation.path, response) for excuse in EXCUSED)
