"""The two services, as pure functions."""
