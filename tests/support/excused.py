"""The failures of schemathesis that kvfake is right to cause, and why: a hook of its runs (see tests/test_openapi.py).

No check is switched off: a failure is dropped where run, check, path and answer are those of a line here. The hook writes down
each line that it used. A run of the services fails with a line that it did not need; which lines a run of control needs depends on
what is drawn, so a test shows a request that needs each.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import schemathesis
from schemathesis.core.failures import Failure

from kvfake.services import mattermost

RUN = "KVFAKE_TESTED_RUN"  # the variable that names the run: "services documented", "control plugin-1.2"...
USED = Path("excuses-used")  # where the hook writes, below the folder of the run


class Excuse(NamedTuple):
    """``runs`` may need it; ``failure`` is schemathesis' name of it; the patterns ``path`` and ``body`` must be found."""

    why: str
    runs: tuple[str, ...]
    failure: str
    path: str
    status: int
    body: str

    def covers(self, failure: Failure, path: str, response: schemathesis.Response) -> bool:
        if (type(failure).__name__, response.status_code) != (self.failure, self.status):
            return False
        return bool(re.search(self.path, path) and re.search(self.body, response.content.decode("utf-8", "replace")))


_KV = f"^{re.escape(mattermost.KV)}/"
_TOO_LARGE = re.escape(mattermost.TOO_LARGE.body.decode())
_NOT_IN_A_SCHEMA = (
    "it is not base64|payload is not valid json|size limit of 8Kb|limit of 2 ASCII characters|it stands here twice|"
    "several owners of one service"
)
_DOCUMENTED, _PLUGIN, _BOTH = ("services documented",), ("services plugin-1.2",), ("services documented", "services plugin-1.2")
_CONTROL = ("control documented", "control plugin-1.2")

EXCUSED = (
    Excuse("M07: a key that is not there is 200 and {}", _DOCUMENTED, "UseAfterFree", _KV, 200, r"\A\{\}\Z"),
    Excuse("M14: a large body is a 500", _BOTH, "ServerError", _KV, 500, rf"\A{_TOO_LARGE}\Z"),
    Excuse("M15: a long prefix is a 500 (M20: a key with a slash has one)", _PLUGIN, "ServerError", _KV, 500, r"\Aprefix "),
    Excuse("M22: a 405 has no Allow", _PLUGIN, "UnsupportedMethodResponse", _KV, 405, r"\A\Z"),
    Excuse("what no schema of a file can state", _CONTROL, "RejectedPositiveData", "/data$", 400, _NOT_IN_A_SCHEMA),
    Excuse("an end is later than its start", _CONTROL, "RejectedPositiveData", "/faults$", 400, "a moment after"),
    Excuse("a world ends once", _CONTROL, "RejectedPositiveData", "/worlds/", 410, "has ended"),
    Excuse("where a clock may go depends on where it is", _CONTROL, "RejectedPositiveData", "/clock$", 400, "the years 1 to 9999"),
)


def excuses(run: str) -> list[Excuse]:
    """Those of the run. The runs of control share theirs: what they draw depends on each word of the description."""
    service = run.partition(" ")[0]
    return [excuse for excuse in EXCUSED if run in excuse.runs or (service == "control" and excuse.runs[0].startswith(service))]


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: schemathesis.Response) -> bool:
    used = [excuse for excuse in excuses(os.environ[RUN]) if excuse.covers(failure, case.operation.path, response)]
    with USED.open("a") as file:
        file.writelines(f"{excuse.why}\n" for excuse in used)
    return not used
