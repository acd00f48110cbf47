"""PostgreSQL (15 and newer) as the database: one writer with group commit, a few connections that read."""

from runyard.storage.postgres.adapter import PostgresStorage

__all__ = ["PostgresStorage"]
