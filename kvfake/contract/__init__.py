"""Is the double still true, and is my server? The rows as checks, an outside client that asks them, and what is made of both."""


class Failed(Exception):
    """What goes wrong with a command of this folder, in one line, and the exit code that says so."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


DIFFERENT, UNREACHABLE = 1, 2
"""Exit codes: something differs; there is nothing that could be asked."""
