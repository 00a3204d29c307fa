"""kvfake: a double of two hosted key-value services, the Mattermost Apps KV store and Beep Boop Persist.

Importing this module is nearly free: what it exports is loaded when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as checkers read it; importing typing would take most of the time of importing this

__version__ = "0.1.0"
__all__ = [
    "Clock",
    "Double",
    "DoubleFactory",
    "Exchange",
    "Fault",
    "Faults",
    "FidelityWarning",
    "Journal",
    "Mattermost",
    "Persist",
    "start",
    "wsgi_app",
]


class FidelityWarning(UserWarning):
    """An answer was kinder than the service's, which would have refused the request or answered it otherwise. It names the row."""


if TYPE_CHECKING:
    from kvfake.double import Double, start
    from kvfake.http.wsgi import WsgiApp
    from kvfake.session import DoubleFactory
    from kvfake.world.clock import Clock
    from kvfake.world.faults import Fault, Faults
    from kvfake.world.journal import Exchange, Journal
    from kvfake.world.mappings import Mattermost, Persist

    wsgi_app: WsgiApp
    """The WSGI application of a `Double`, as in ``gunicorn kvfake:wsgi_app``. Its settings come from the environment."""

else:  # a checker that saw this would let every name pass
    _MODULES = {
        "Clock": "kvfake.world.clock",
        "Double": "kvfake.double",
        "DoubleFactory": "kvfake.session",
        "Exchange": "kvfake.world.journal",
        "Fault": "kvfake.world.faults",
        "Faults": "kvfake.world.faults",
        "Journal": "kvfake.world.journal",
        "Mattermost": "kvfake.world.mappings",
        "Persist": "kvfake.world.mappings",
        "start": "kvfake.double",
    }

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "wsgi_app":
            value = import_module("kvfake.double").Double().wsgi_app
        elif name in _MODULES:
            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module 'kvfake' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
