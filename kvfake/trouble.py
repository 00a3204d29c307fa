"""What went wrong where nobody can be told of it but whoever reads stderr.

Law: it shows, and decides nothing. What it needs is imported when something goes wrong.
"""

from __future__ import annotations


def show_traceback() -> None:
    """Write the traceback of the exception that is being handled to stderr."""
    import traceback

    traceback.print_exc()
