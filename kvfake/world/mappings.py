"""Mappings of one owner's values, which a test reads and writes without a request.

Law: a mapping obeys the service's limits, in the service's words, and does nothing on the wire: it meets no fault and is in no
journal. It holds a world and the name of an owner, never a value and never a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from datetime import datetime
from itertools import islice
from types import ModuleType
from typing import Any, Generic, TypeVar

from kvfake.errors import is_refusal
from kvfake.lines import printable
from kvfake.services import mattermost, persist
from kvfake.services.jsontext import dump_json, load_json
from kvfake.stores import Entry, Namespace
from kvfake.world.clock import moment_of
from kvfake.world.redaction import shortened
from kvfake.world.tokens import STRANGER_MARK
from kvfake.world.world import APP, BOT, PROJECT, World

__tracebackhide__ = is_refusal

Value = TypeVar("Value")

_MAX_SHOWN_KEYS = 10  # in the text that a mapping shows of itself, so many keys,
_MAX_SHOWN_CHARACTERS = 200  # and so much of a key and its value
_UNQUOTED_IN_PATHS = "!$&'()*+,;=:@~"  # RFC 3986, pchar: clients leave them alone


class Codec(Generic[Value]):
    """How stored bytes become Python values, and back. ``load`` raises ``ValueError`` for bytes that are no such value."""

    def __init__(self, load: Callable[[bytes], Value], dump: Callable[[Value], bytes]) -> None:
        self.load, self.dump = load, dump


BYTES: Codec[bytes] = Codec(bytes, lambda data: bytes(memoryview(data)))  # not ``bytes(5)``, which makes five zeros
STRINGS: Codec[str] = Codec(bytes.decode, persist.value_bytes)
JSON_VALUES: Codec[Any] = Codec(load_json, dump_json)


class Values(MutableMapping[str, Value]):
    """The values of one namespace by key, as its codec shows them. Bytes of a key that are not UTF-8 are surrogate escapes."""

    def __init__(self, world: World, service: ModuleType, namespace: Namespace, codec: Codec[Value]) -> None:
        self._world, self._service, self._namespace, self._codec = world, service, namespace, codec
        self.owner = namespace[1]

    @property
    def token(self) -> str:
        return self._world.token(self._service.NAME, self.owner)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def raw(self) -> Values[bytes]:
        """The same values as the bytes that are stored."""
        return Values(self._world, self._service, self._namespace, BYTES)

    def _entry(self, key: str) -> Entry:
        with self._world.lock:
            entry = self._world.store.get(self._namespace, _key_bytes(key))
        if entry is None:
            raise KeyError(key)
        return entry

    def __getitem__(self, key: str) -> Value:
        data = self._entry(key).value
        try:
            return self._codec.load(data)
        except ValueError as wrong:
            raise ValueError(f"the value of {key!r} cannot be shown as a Python value ({wrong}); .raw[{key!r}] has it") from None

    def __setitem__(self, key: str, value: Value) -> None:
        name, data = _key_bytes(key), self._codec.dump(value)
        self._service.check_key(name)
        self._service.check_value(data)
        with self._world.lock:
            self._world.store.set(self._namespace, name, Entry(data, self._world.clock.now()))

    def __delitem__(self, key: str) -> None:
        with self._world.lock:
            if not self._world.store.delete(self._namespace, _key_bytes(key)):
                raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        with self._world.lock:
            return isinstance(key, str) and self._world.store.get(self._namespace, _key_bytes(key)) is not None

    def __iter__(self) -> Iterator[str]:
        with self._world.lock:
            keys = self._world.store.keys(self._namespace)
        return iter(map(_text, keys))

    def __len__(self) -> int:
        with self._world.lock:
            return self._world.store.count(self._namespace)

    def clear(self) -> None:
        with self._world.lock:
            self._world.store.drop(self._namespace)

    def __repr__(self) -> str:
        """Whose values these are, and the first of them. A real server is not asked."""
        service, owner, prefix = self._namespace
        below = f" below {_text(prefix.rstrip())!r}" if prefix.strip() else ""
        shown = "on the real server" if self._world.executor is not None else f"{{{', '.join(self._shown_items())}}}"
        return printable(self._world.redact(f"<{service} values of {owner}{below}: ")) + shown + ">"

    def _shown_items(self) -> list[str]:
        with self._world.lock:
            count = self._world.store.count(self._namespace)
            entries = list(islice(self._world.store.snapshot(self._namespace), _MAX_SHOWN_KEYS))
        items = [self._world.redact(f"{_text(key)!r}: {self._shown_value(entry.value)}") for key, entry in entries]
        more = [f"and {count - _MAX_SHOWN_KEYS} more"] if count > _MAX_SHOWN_KEYS else []
        return [shortened(item, _MAX_SHOWN_CHARACTERS) for item in items] + more

    def _shown_value(self, data: bytes) -> str:
        try:
            return repr(self._codec.load(data))
        except ValueError:
            return repr(data)


class Mattermost(Values[Any]):
    """The values of an app's bot, or of one of its users, below one prefix: JSON values as Python values."""

    def __init__(self, world: World, owner: str = BOT, prefix: str = "") -> None:
        name = _key_bytes(prefix)
        mattermost.check_prefix(name, world.profiles[mattermost.NAME])
        super().__init__(world, mattermost, mattermost.namespace(owner, name), JSON_VALUES)
        self.prefix = prefix

    @property
    def csrf_token(self) -> str:
        """The value of ``X-CSRF-Token`` that a request with the cookie ``MMAUTHTOKEN`` needs."""
        return mattermost.CSRF_MARK + self.token

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
        """The values of that user of the same app. ``ValueError`` for what is no user's name, such as ``app/ada``."""
        if not isinstance(user, str) or not user or "/" in user:
            raise ValueError(f"as_user: expected a user's name, such as ada, got {user!r} (as_owner takes app/ada)")
        return Mattermost(self._world, f"{self._app}/{user}", self.prefix)

    def as_owner(self, owner: str) -> Mattermost:
        """The values of any owner: ``app/user``, or an ``anonymous-...`` one. ``ValueError`` for what no token can belong to."""
        if not isinstance(owner, str) or not ("/" in owner or owner.startswith(STRANGER_MARK)):
            raise ValueError(f"as_owner: expected app/user or anonymous-..., such as app/ada, got {owner!r} (as_user takes ada)")
        return Mattermost(self._world, owner, self.prefix)

    def with_prefix(self, prefix: str) -> Mattermost:
        """The same owner's values under that prefix. Raises ``ValueError`` for one that the profile refuses (M15)."""
        return Mattermost(self._world, self.owner, prefix)

    def context(self, acting_user: str | None = "ada", **more: Any) -> dict[str, Any]:
        """The context that Mattermost sends to this app with a call: pass it to the app's handlers."""
        return self._world.context(self._app, acting_user, more)

    def call(self, path: str, values: dict[str, Any] | None = None, acting_user: str | None = "ada", **more: Any) -> dict[str, Any]:
        """A whole call request, with its context (``apps.CallRequest``). Raises ``TypeError`` if the path is missing."""
        if not isinstance(path, str):
            raise TypeError(f'call: expected the path of the call first, as in call("/submit", {path!r}), got {path!r}')
        return {"path": path, "values": dict(values or {}), "context": self.context(acting_user, **more)}

    @property
    def _app(self) -> str:
        return self.owner.partition("/")[0] or APP


class Persist(Values[str]):
    """The values of a project: plain strings, as the service keeps them. ``json`` converts them to and from JSON, as the official
    client does.
    """

    def __init__(self, world: World, project: str = PROJECT) -> None:
        super().__init__(world, persist, persist.namespace(project), STRINGS)
        self.json: Values[Any] = Values(world, persist, self._namespace, JSON_VALUES)

    @property
    def url(self) -> str:
        return self._world.url + persist.API

    def url_for(self, key: str) -> str:
        return f"{self.url}/persist/kv/{_quoted(key)}"

    def project(self, name: str) -> Persist:
        """The values of another project. ``ValueError`` for what is no project's name."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"project: expected a project's name, got {name!r}")
        return Persist(self._world, name)

    def updated(self, key: str) -> datetime:
        """When the key was last set, in UTC. Raises ``KeyError`` if there is no such key."""
        return moment_of(self._entry(key).updated)


def _key_bytes(key: str) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"keys are strings, got {key!r}")
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def _quoted(part: str) -> str:
    from urllib.parse import quote

    return quote(part, safe=_UNQUOTED_IN_PATHS, errors="surrogateescape")
