"""The recorded answers of the real plugin, v1.2.2: 700 stories, 6,260 exchanges, without a difference."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.doors import DOORS, TOKENS, opened

FILE = Path(__file__).parent / "vectors" / "mattermost-plugin-1.2.jsonl.gz"


def bytes_of(body: dict[str, str]) -> bytes:
    return base64.b64decode(body["base64"]) if "base64" in body else body["text"].encode()


def stories() -> list[list[dict[str, Any]]]:
    with gzip.open(FILE) as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.shows(*(f"M{number:02d}" for number in range(2, 28)))
@pytest.mark.parametrize("door", DOORS)
def test_the_double_answers_as_the_plugin_did(door: str) -> None:
    """Status, body and the four kept headers of every recorded exchange are those of the real plugin."""
    exchanges = 0
    with opened(door, profile="plugin-1.2", strict=True, token=TOKENS) as double:
        for story in stories():
            double.double.reset()
            for exchange in story:
                asked, expected = exchange["request"], exchange["reply"]
                reply = double.send(
                    asked["method"], asked["target"], asked["headers"], bytes_of(asked["body"]), asked.get("chunked", False)
                )
                body = bytes_of(expected["body"]) if asked["method"] != "HEAD" else b""
                assert (reply.status, reply.kept, reply.body) == (expected["status"], expected["headers"], body), asked
                exchanges += 1
    assert exchanges == 6260
