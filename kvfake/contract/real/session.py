"""A session of tests against a real server: with which tokens, and whether there is a server at all.

Law: settings and variables in, a `RealService` or one line that says what is missing out.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvfake.contract.checks.client import BOT, PROJECT, USER, ContractClient
from kvfake.contract.real.worlds import BOT_TOKEN, PROJECT_TOKEN, USER_TOKEN, RealService
from kvfake.contract.redaction import Redactor
from kvfake.contract.verify import check_store
from kvfake.http_client import site_client
from kvfake.services import mattermost, persist

TIMEOUT_SECONDS = 30.0  # of a silence

_WHO = {BOT_TOKEN: (mattermost.NAME, BOT), USER_TOKEN: (mattermost.NAME, USER), PROJECT_TOKEN: (persist.NAME, PROJECT)}


def tokens_of(environ: Mapping[str, str], worker: str) -> dict[str, str]:
    """The tokens of a session, by the names of their variables. ``worker`` is empty, or the name of one of several that run side by
    side, who each need tokens of their own. Raises ``ValueError`` where there is none.
    """
    names = {name: f"{name}_{worker.upper()}" if worker else name for name in _WHO}
    given = {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
    if BOT_TOKEN not in given and PROJECT_TOKEN not in given:
        wanted = f"set {names[BOT_TOKEN]}, {names[PROJECT_TOKEN]} or both"
        if worker:
            raise ValueError(f"workers side by side would see each other's values: each needs tokens of its own; {wanted}")
        raise ValueError(f"a real server knows real tokens alone: {wanted}")
    return given


def real_service(url: str, ca_file: str | None, insecure: bool, given: Mapping[str, str]) -> RealService:
    """The real server at that site URL, for these tokens. Raises `Failed` where there is none that knows them."""
    with site_client(url, TIMEOUT_SECONDS, ca_file, insecure) as http:
        tokens = {who: given[name] for name, (_, who) in _WHO.items() if name in given}
        client, redactor = ContractClient(http, tokens), Redactor(tokens.values())
        for name in given:
            service, who = _WHO[name]
            check_store(client, service, [who], redactor)
        return RealService(http, given)
