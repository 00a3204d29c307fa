"""Is the double still true, and is my server? The rows as checks, an outside client that asks them, and what is made of both."""

DIFFERENT, UNREACHABLE = 1, 2
"""Exit codes: something differs; there is nothing that could be asked."""
