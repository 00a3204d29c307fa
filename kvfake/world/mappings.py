"""Mappings of one owner's values: what a test reads and writes beside its app.

Law: a view obeys the service's limits, in the service's words, and does nothing on the wire: it meets no fault and is in no
journal. It holds a world and the name of an owner, never a value and never a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from datetime import datetime
from types import ModuleType
from typing import Any, TypeVar

from kvfake.services import go, mattermost, persist
from kvfake.stores import Entry, Namespace
from kvfake.world.clock import moment_of
from kvfake.world.world import APP, BOT, PROJECT, World

Value = TypeVar("Value")

_MAX_LEVELS = 500  # what json.loads bears on any thread; a value may be nested deeper
_IN_A_PATH = "!$&'()*+,;=:@~"  # what RFC 3986 lets stand in a part of a path, and clients leave alone


class RawValues(MutableMapping[str, bytes]):
    """The stored bytes, by key. A byte of a key that is no UTF-8 is shown as Python's surrogateescape."""

    def __init__(self, world: World, service: ModuleType, namespace: Namespace) -> None:
        self._world, self._service, self._namespace = world, service, namespace

    def entry(self, key: str) -> Entry:
        with self._world.lock:
            found = self._world.store.get(self._namespace, _key(key))
        if found is None:
            raise KeyError(key)
        return found

    def __getitem__(self, key: str) -> bytes:
        return self.entry(key).value

    def __setitem__(self, key: str, value: bytes) -> None:
        name = _key(key)
        self._service.check_key(name)
        self._service.check_value(value)
        with self._world.lock:
            self._world.store.set(self._namespace, name, Entry(bytes(value), self._world.clock.now()))

    def __delitem__(self, key: str) -> None:
        with self._world.lock:
            if not self._world.store.delete(self._namespace, _key(key)):
                raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        with self._world.lock:
            return isinstance(key, str) and self._world.store.get(self._namespace, _key(key)) is not None

    def __iter__(self) -> Iterator[str]:
        with self._world.lock:
            keys = self._world.store.keys(self._namespace)
        return iter([key.decode("utf-8", "surrogateescape") for key in keys])

    def __len__(self) -> int:
        with self._world.lock:
            return self._world.store.count(self._namespace)

    def clear(self) -> None:
        with self._world.lock:
            for key in self._world.store.keys(self._namespace):
                self._world.store.delete(self._namespace, key)

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class Values(MutableMapping[str, Value]):
    """The same values in another form. ``raw`` is the mapping in bytes."""

    def __init__(self, raw: RawValues, load: Callable[[bytes], Value], dump: Callable[[Value], bytes]) -> None:
        self.raw, self._load, self._dump = raw, load, dump

    def __getitem__(self, key: str) -> Value:
        data = self.raw[key]
        try:
            return self._load(data)
        except ValueError as wrong:
            raise ValueError(f"the value of {key!r} cannot be shown as a Python value ({wrong}); .raw[{key!r}] has it") from None

    def __setitem__(self, key: str, value: Value) -> None:
        self.raw[key] = self._dump(value)

    def __delitem__(self, key: str) -> None:
        del self.raw[key]

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def clear(self) -> None:
        self.raw.clear()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.raw!r}>"


class Mattermost(Values[Any]):
    """What the bot of an app has stored, or a user of it, below one prefix; as JSON values."""

    def __init__(self, world: World, owner: str = BOT, prefix: str = "") -> None:
        name = _key(prefix)
        mattermost.check_prefix(name, world.profiles[mattermost.NAME])
        super().__init__(RawValues(world, mattermost, mattermost.namespace(owner, name)), load_json, dump_json)
        self._world, self.owner, self.prefix = world, owner, prefix

    @property
    def token(self) -> str:
        return self._world.token(mattermost.NAME, self.owner)

    @property
    def csrf_token(self) -> str:
        """What ``X-CSRF-Token`` must hold beside the cookie ``MMAUTHTOKEN``."""
        return mattermost.CSRF_MARK + self.token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def site_url(self) -> str:
        return self._world.url

    @property
    def url(self) -> str:
        return self._world.url + mattermost.KV

    def url_for(self, key: str) -> str:
        parts = [self.prefix, key] if self.prefix else [key]
        return "/".join([self.url, *map(_quoted, parts)])

    def as_user(self, user: str) -> Mattermost:
        """The values of that user of the same app."""
        return Mattermost(self._world, f"{self._app}/{user}", self.prefix)

    def as_owner(self, owner: str) -> Mattermost:
        """The values of any owner: ``app/user``, or an ``anonymous-...`` one."""
        return Mattermost(self._world, owner, self.prefix)

    def with_prefix(self, prefix: str) -> Mattermost:
        """The same owner's values below that prefix. ``ValueError`` for one that the profile refuses (M15)."""
        return Mattermost(self._world, self.owner, prefix)

    def context(self, acting_user: str | None = "ada", **more: Any) -> dict[str, Any]:
        """What Mattermost puts into a call request for this app: feed it to the app's handlers."""
        return self._world.context(self._app, acting_user, more)

    def call(self, path: str, values: dict[str, Any] | None = None, acting_user: str | None = "ada", **more: Any) -> dict[str, Any]:
        """A whole call request, with its context (``apps.CallRequest``)."""
        return {"path": path, "values": dict(values or {}), "context": self.context(acting_user, **more)}

    @property
    def _app(self) -> str:
        return self.owner.partition("/")[0] or APP


class Persist(Values[str]):
    """What a project has stored, as the plain strings that the service holds; ``json`` shows what the official client put there."""

    def __init__(self, world: World, project: str = PROJECT) -> None:
        raw = RawValues(world, persist, persist.namespace(project))
        super().__init__(raw, bytes.decode, persist.value_bytes)
        self._world, self.owner = world, project
        self.json: Values[Any] = Values(raw, load_json, dump_json)

    @property
    def token(self) -> str:
        return self._world.token(persist.NAME, self.owner)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def url(self) -> str:
        return self._world.url + persist.API

    def url_for(self, key: str) -> str:
        return f"{self.url}/persist/kv/{_quoted(key)}"

    def project(self, name: str) -> Persist:
        """The values of another project."""
        return Persist(self._world, name)

    def updated(self, key: str) -> datetime:
        """When the key was last set, UTC. ``KeyError`` where it is not there."""
        return moment_of(self.raw.entry(key).updated)


def _key(key: str) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"keys are strings, got {key!r}")
    return key.encode("utf-8", "surrogateescape")


def _quoted(part: str) -> str:
    from urllib.parse import quote

    return quote(part, safe=_IN_A_PATH, errors="surrogateescape")


def _real(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{number} is larger than any float")
    return value


def load_json(data: bytes) -> Any:
    """The Python value of stored JSON; ``ValueError`` where there is none."""
    if data.count(b"[") + data.count(b"{") > _MAX_LEVELS and go.json_levels(data) > _MAX_LEVELS:
        raise ValueError(f"it is nested more than {_MAX_LEVELS} levels deep")
    return json.loads(data.decode(), parse_float=_real)


def dump_json(value: Any) -> bytes:
    """The bytes that ``JSON.stringify`` would write: no blanks, UTF-8, a lone surrogate as its escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as wrong:
        raise ValueError(f"payload is not valid json: {wrong}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
