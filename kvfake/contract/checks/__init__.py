"""The rows as checks, which any server can be asked: a client, what is expected of it, and the checks of each service."""
