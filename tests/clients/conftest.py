from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvfake
from kvfake.double import Double
from tests.clients.official import GoStories, NodeStories
from tests.clients.sessions import SESSIONS, Session


@pytest.fixture
def double() -> Iterator[Double]:
    """Behind a real server; whom it did not issue a token to it does not know."""
    with kvfake.start(profile="documented", strict=True) as double:
        yield double


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> GoStories:
    """Mattermost's official driver."""
    return GoStories(tmp_path_factory.mktemp("go-stories"))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeStories:
    """Beep Boop's official client."""
    return NodeStories(tmp_path_factory.mktemp("node-stories"))


@pytest.fixture(params=SESSIONS)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    with SESSIONS[request.param]({}) as session:
        yield session


@pytest.fixture(params=SESSIONS)
def browser(request: pytest.FixtureRequest, double: Double) -> Iterator[Session]:
    """A session that holds the bot's token in a cookie, as the web application holds a user's."""
    with SESSIONS[request.param]({"MMAUTHTOKEN": double.mattermost.token}) as session:
        yield session
