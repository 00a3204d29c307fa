"""kvfake: a double of two hosted key-value services, the Mattermost Apps KV store and Beep Boop Persist.

Importing this module is nearly free: what it exports is loaded when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as checkers read it; importing typing would take most of the time of importing this

__version__ = "0.1.0"
__all__ = ["Double", "FidelityWarning", "start", "wsgi_app"]

if TYPE_CHECKING:
    from typing import Any

    from kvfake.double import Double, start
    from kvfake.http.wsgi import WsgiApp

    wsgi_app: WsgiApp
    """A `Double` for a WSGI server, as in ``gunicorn kvfake:wsgi_app``; its settings come from the environment."""


class FidelityWarning(UserWarning):
    """The double was kinder than the service: what worked here would not have worked there. It names the row."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kvfake' has no attribute {name!r}")
    from kvfake import double

    globals().update(Double=double.Double, start=double.start)
    if name == "wsgi_app":
        globals()[name] = double.Double().wsgi_app
    return globals()[name]
