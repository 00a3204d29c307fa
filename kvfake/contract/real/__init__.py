"""A suite that runs before a real server."""
