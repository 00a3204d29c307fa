"""``kvfake openapi``: both services and control, as an OpenAPI 3.1 description.

Law: it puts the tables together and prints them; what they say is that of the modules beside it, whose names begin so.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from copy import deepcopy

from kvfake import __version__
from kvfake.cli.parser import DEFAULT_URL
from kvfake.contract.openapi import control, mattermost, persist
from kvfake.contract.openapi.answers import SCHEMAS as ANSWERS
from kvfake.contract.openapi.parts import Json, with_rows
from kvfake.contract.openapi.schemas import SCHEMAS, file_of_values
from kvfake.world.backend import WORLD_MARK

_ABOUT = """\
An in-memory double of the Mattermost Apps key-value store and of Beep Boop Persist, for tests. What is described is what it answers
under both profiles, and where no fault strikes. It does not describe what lies below HTTP, and what is beside the stores."""


def command(parser: ArgumentParser, options: Namespace) -> int:
    """Print it."""
    sys.stdout.write(json.dumps(description(), ensure_ascii=False, indent=2) + "\n")
    return 0


def description() -> Json:
    """The whole of it, a new one at each call."""
    return deepcopy(_whole())


def _whole() -> Json:
    parts = (mattermost, persist, control)
    components = {
        "schemas": {**persist.SCHEMAS, **SCHEMAS, **file_of_values(), **ANSWERS},
        "responses": {name: response for part in parts for name, response in part.RESPONSES.items()},
        "securitySchemes": {name: scheme for part in parts for name, scheme in part.SECURITY.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "kvfake", "version": __version__, "description": with_rows(_ABOUT, ("M28",))},
        "servers": [
            {"url": DEFAULT_URL, "description": "The server's own world."},
            {
                "url": f"{DEFAULT_URL}{WORLD_MARK}{{id}}",
                "description": "A world that was opened there. An id that there never was is answered with 404, one whose world "
                "has ended with 410; both are JSON with an `error`.",
                "variables": {"id": {"default": "id", "description": "As `POST /_kvfake/worlds` answers it."}},
            },
        ],
        "tags": [part.TAG for part in parts],
        "paths": {path: verbs for part in parts for path, verbs in part.PATHS.items()},
        "components": {kind: dict(sorted(parts.items())) for kind, parts in components.items()},
    }
