"""pytester: suites that run inside a test."""

pytest_plugins = ["pytester"]
