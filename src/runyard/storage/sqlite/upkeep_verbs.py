"""Proving that the file can be written."""

from __future__ import annotations

from runyard.storage.sqlite.writer import Transaction


async def prove(t: Transaction) -> None:
    """Writes a page without changing anything: it fails where a write of anything else would."""
    version = t.connection.pragma("user_version")
    t.connection.pragma("user_version", version)
