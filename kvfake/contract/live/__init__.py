"""Asking a server for every row: the way there, and what is said of it."""
