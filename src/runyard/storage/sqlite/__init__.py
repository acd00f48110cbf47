"""The embedded database: one SQLite file, one writer thread with group commit, many readers."""

from runyard.storage.sqlite.adapter import SqliteStorage

__all__ = ["SqliteStorage"]
