"""A store that acknowledges changes and does not make them.

Law: what is read is read from the store behind it.
"""

from __future__ import annotations

from kvfake.stores import Entry, KeyValues, Namespace


class PretendedStore:
    """What a service needs to answer an operation that will not have been done."""

    def __init__(self, store: KeyValues) -> None:
        self._store = store

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        return self._store.get(namespace, key)

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        pass

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        return self._store.get(namespace, key) is not None

    def keys(self, namespace: Namespace, begins: bytes = b"") -> list[bytes]:
        return self._store.keys(namespace, begins)
