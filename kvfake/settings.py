"""Every setting of kvfake: its one name, scope, type, default and meaning.

Law: this file declares settings and reads them from keywords, texts and environments; it uses the standard library only
and holds no values (a server holds its own, a world holds its own).

A setting has one name everywhere: keyword ``port``, flag ``--port``, variable ``KVFAKE_PORT``, ini option ``kvfake_port``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike, environ, fspath
from types import MappingProxyType
from typing import Any, Literal, TypedDict, get_args

__tracebackhide__ = True  # see `kvfake.errors.is_refusal`

SERVER = "server"
WORLD = "world"
COMMAND = "command"  # of `serve` and `run` alone
REAL = "real"  # of the commands that talk to a real server

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")

MATTERMOST = "mattermost"
PERSIST = "persist"
PROJECT_MARK = "project:"

TOKEN_OPTIONS = {
    "--bot-token": ("MATTERMOST_BOT_TOKEN", "the token of an app's bot"),
    "--user-token": ("MATTERMOST_USER_TOKEN", "the token of a user of the same app"),
    "--plain-user-token": ("MATTERMOST_PLAIN_USER_TOKEN", "the token of a user outside any app"),
    "--project-token": ("BEEPBOOP_TOKEN", "the token of a project"),
    "--other-project-token": ("BEEPBOOP_OTHER_TOKEN", "the token of another project"),
}
"""The options that give a command real tokens: the variable of each, and its meaning."""

_IN_A_PATH = frozenset("/-._~!$&'()*+,;=:@0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 3986: as it is


class Setting:
    """One line of the table. ``read`` turns a keyword's value, or a text, into the value that is kept."""

    __slots__ = ("choices", "default", "meaning", "metavar", "name", "read", "scope")

    def __init__(
        self,
        name: str,
        scope: str,
        read: Callable[[Any], Any],
        default: Any,
        metavar: str,
        meaning: str,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.name, self.scope, self.read, self.default = name, scope, read, default
        self.metavar, self.meaning, self.choices = metavar, meaning, choices

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "KVFAKE_" + self.name.upper()

    @property
    def ini(self) -> str:
        return "kvfake_" + self.name

    @property
    def is_switch(self) -> bool:
        return self.read is switch

    @property
    def is_file(self) -> bool:
        return self.read is _file

    @property
    def is_list(self) -> bool:
        return isinstance(self.default, tuple)


def parse_owner(text: str) -> tuple[str, str]:
    """The service and the owner that ``app/user``, ``/user`` or ``project:NAME`` means; ``ValueError`` for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an owner: expected a text, such as app/bot or project:NAME")
    if text.startswith(PROJECT_MARK) and len(text) > len(PROJECT_MARK):
        return PERSIST, text[len(PROJECT_MARK) :]
    _, slash, user = text.partition("/")
    if not slash or not user or "/" in user:
        raise ValueError(
            f"{text!r} is not an owner: expected app/user (Mattermost), /user (a Mattermost user of no app) "
            "or project:NAME (Persist)"
        )
    return MATTERMOST, text


def parse_token(text: str) -> tuple[str, str]:
    """``TOKEN=OWNER``, split at the last ``=``, so that a token may hold one."""
    token, mark, owner = text.rpartition("=")
    if not mark or not token:
        size = f"{len(text)} character{'s' * (len(text) != 1)}"  # it may be a token
        raise ValueError(f"a text of {size} is not TOKEN=OWNER, such as my-token=app/bot or my-token=project:project")
    parse_owner(owner)
    return token, owner


def switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in YES + NO:
        raise ValueError(f"expected one of {', '.join(YES + NO)}, got {value!r}")
    return text in YES


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text that is not empty, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"expected a text that UTF-8 can hold, got {value!r}") from None
    return value


def _secret(value: object) -> str:
    """A text that no error shows."""
    try:
        return _text(value)
    except ValueError as wrong:
        raise ValueError(str(wrong).replace(repr(value), "...")) from None


def _file(value: object) -> str:
    """A path, as a text; ``pathlib.Path`` too."""
    return _text(fspath(value) if isinstance(value, PathLike) else value)


def _count(least: int, most: int, least_means: str, value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise ValueError(f"expected a number from {least}{least_means} to {most}, got {value!r}")
    return int(text)


def _public_url(value: object) -> str:
    from urllib.parse import urlsplit

    text = _text(value)
    try:
        parts = urlsplit(text)
        is_possible = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_possible = False
    if not is_possible or not text.isprintable() or set(text) & set("?# "):
        may_hold_secret = bool(set(text) & set("@?#"))
        got = "one with @, ? or #, which is not shown: a secret may stand beside it" if may_hold_secret else repr(value)
        raise ValueError(f"expected http(s)://host[:port][/path], got {got}")
    return text.rstrip("/")


def _site_path(value: object) -> str:
    path = str(value).rstrip("/")
    if path and (not path.startswith("/") or "//" in path or set(path) - _IN_A_PATH):
        raise ValueError(f"expected a plain path such as /mattermost, got {value!r}")
    return path


def _texts(value: object, read: Callable[[object], str] = _text) -> tuple[str, ...]:
    """Several texts: a sequence of them, or one text in which they are separated by blanks or lines."""
    if not isinstance(value, Iterable):
        raise ValueError(f"expected texts, got {value!r}")
    return tuple(read(item) for item in (value.split() if isinstance(value, str) else value))


def _tokens(value: object) -> tuple[str, ...]:
    """``TOKEN=OWNER`` texts, or a mapping of tokens to owners."""
    if isinstance(value, Mapping):
        for owner in value.values():
            parse_owner(owner)
        value = [f"{token}={owner}" for token, owner in value.items()]
    texts = _texts(value, _secret)
    for text in texts:
        parse_token(text)
    return texts


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if str(value) not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}")
        return str(value)

    return read


Profile = Literal["documented", "plugin-1.2"]
MissingForm = Literal["object", "null", "404"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
MISSING_FORMS: tuple[MissingForm, ...] = get_args(MissingForm)


class WorldSettings(TypedDict, total=False):
    """The settings of a world as keywords, for type checkers; ``None`` is not given. The table below says what each means."""

    profile: Profile | None
    strict: bool | None
    token: Mapping[str, str] | Sequence[str] | None
    mattermost_missing: MissingForm | None
    fallback: str | None
    seed: str | PathLike[str] | None
    journal_exchanges: int | None
    journal_body_bytes: int | None


class Settings(WorldSettings, total=False):
    """The settings of a server and of its own world."""

    host: str | None
    port: int | None
    public_url: str | None
    site_path: str | None
    allow_host: Iterable[str] | None
    log: bool | None
    control: bool | None
    control_token: str | None


# fmt: off
SETTINGS = (
    Setting("host", SERVER, _text, "127.0.0.1", "ADDRESS", "the address to listen on"),
    Setting("port", SERVER, partial(_count, 0, 65535, " (any free port)"), 8065, "PORT",
            "the port to listen on; 0 takes a free one"),
    Setting("public_url", SERVER, _public_url, None, "URL",
            "the address that clients use, if it is not http://HOST:PORT, as in containers"),
    Setting("site_path", SERVER, _site_path, "", "PATH", "the site URL's sub-path; both services are under it"),
    Setting("allow_host", SERVER, _texts, (), "NAME", "another Host name that /_kvfake/ accepts (repeatable)"),
    Setting("log", SERVER, switch, False, "", "log each request to stderr"),
    Setting("control", SERVER, switch, True, "", "answer at /_kvfake/"),
    Setting("control_token", SERVER, _secret, None, "TOKEN", "the token that requests to /_kvfake/ need"),
    Setting("journal", COMMAND, _file, None, "FILE", "write each exchange to a file, as a line of JSON"),
    Setting("export", COMMAND, _file, None, "FILE", "write the values to a file when the server ends, and on request"),
    Setting("against", REAL, _public_url, None, "URL", "the site URL of a real server"),
    Setting("ca_file", REAL, _file, None, "FILE", "extra CA file to trust for --against"),
    Setting("insecure", REAL, switch, False, "", "do not check the real server's certificate"),
    Setting("profile", WORLD, _one_of(*PROFILES), "documented", "PROFILE",
            "answer as the documentation says, or exactly as the plugin v1.2.2 does", PROFILES),
    Setting("strict", WORLD, switch, False, "", "reject tokens that were neither issued by kvfake nor declared"),
    Setting("token", WORLD, _tokens, (), "TOKEN=OWNER",
            "declare a token and its owner: app/user, /user or project:NAME (repeatable)"),
    Setting("mattermost_missing", WORLD, _one_of(*MISSING_FORMS), None, "FORM",
            "the answer for a missing Mattermost key: {}, null, or 404", MISSING_FORMS),
    Setting("fallback", WORLD, _public_url, None, "URL", "upstream URL for requests that kvfake does not handle"),
    Setting("seed", WORLD, _file, None, "FILE", "a file of values with which each world starts"),
    Setting("journal_exchanges", WORLD, partial(_count, 0, 1_000_000, ""), 1000, "COUNT",
            "how many exchanges the journal keeps; 0 keeps none"),
    Setting("journal_body_bytes", WORLD, partial(_count, 0, 1 << 24, ""), 65_536, "BYTES",
            "how many bytes of a body the journal keeps"),
)
# fmt: on

BY_NAME = {setting.name: setting for setting in SETTINGS}
PORT_OF_SERVE_ONLY = frozenset({"port"})  # `run`, pytest and Python take a free port and do not read the variable


def of(*scopes: str) -> tuple[Setting, ...]:
    return tuple(setting for setting in SETTINGS if setting.scope in scopes)


def _read(setting: Setting, value: object, source: str) -> Any:
    try:
        return setting.read(value)
    except ValueError as wrong:
        raise ValueError(f"{source}: {wrong}") from None


def from_keywords(given: Mapping[str, object], *scopes: str) -> dict[str, Any]:
    """Check keywords; ``None`` is not given. Raises ``TypeError`` for a name that is no setting here, ``ValueError`` for a
    value that is not possible.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f'expected a dict of settings, such as {{"profile": "plugin-1.2"}}, got a {type(given).__name__}')
    possible = {setting.name: setting for setting in of(*scopes)}
    for name in given:
        if name not in possible:
            raise TypeError(f"{name!r} is not a setting here; there are: {', '.join(possible)}")
    return {name: _read(possible[name], value, name) for name, value in given.items() if value is not None}


def from_flags(given: Mapping[str, object], start: str = "--") -> dict[str, Any]:
    """The same for what stood on a command line; an error names the flag, which begins so."""
    return {
        name: _read(BY_NAME[name], value, start + BY_NAME[name].flag[2:])
        for name, value in given.items()
        if name in BY_NAME and value is not None
    }


def from_ini(given: Mapping[str, object]) -> dict[str, Any]:
    """The same for what stood in an ini file; an error names the option, an empty one is not set."""
    return {name: _read(BY_NAME[name], value, BY_NAME[name].ini) for name, value in given.items() if value not in (None, "", [])}


def from_environment(environ: Mapping[str, str], *scopes: str, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The settings that ``KVFAKE_...`` variables give; an empty variable is not set, an unknown one is ignored."""
    return {
        setting.name: _read(setting, environ[setting.variable], setting.variable)
        for setting in of(*scopes)
        if setting.name not in without and environ.get(setting.variable)
    }


def resolve(*layers: Mapping[str, Any], scopes: tuple[str, ...]) -> dict[str, Any]:
    """One value for each setting: from the first layer that has it, else the default."""
    return {
        setting.name: next((layer[setting.name] for layer in layers if setting.name in layer), setting.default)
        for setting in of(*scopes)
    }


def command_settings(
    flags: Mapping[str, object],
    *,
    scopes: tuple[str, ...],
    overrides: Mapping[str, Any] = MappingProxyType({}),
    unread: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The settings of a command: from its flags, else from the environment but for the variables of ``unread``, else from
    ``overrides``, which are the command's own defaults. Raises `UsageError`.
    """
    from kvfake.errors import UsageError

    try:
        return resolve(from_flags(flags), from_environment(environ, *scopes, without=unread), overrides, scopes=scopes)
    except ValueError as wrong:
        raise UsageError(str(wrong)) from None
