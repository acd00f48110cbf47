from typing import Any

from ap_client.model import Model, field


class StoreSearchRequest(Model):
    """Which items to find: under a namespace, with these values. The server's `limit` is 10 unless given.

    `query` (what is found by its meaning, the nearest first) is Runyard's.
    """

    namespace_prefix: list[str] | None = field(default=None, nullable=True)
    filter: dict[str, Any] | None = field(default=None, nullable=True)
    limit: int | None = None
    offset: int | None = None
    query: str | None = None
