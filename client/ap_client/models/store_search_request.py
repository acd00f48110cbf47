from typing import Any

from ap_client.model import Model, field


class StoreSearchRequest(Model):
    """Which items to find: under a namespace, with these values. The server's `limit` is 10 unless given."""

    namespace_prefix: list[str] | None = field(default=None, nullable=True)
    filter: dict[str, Any] | None = field(default=None, nullable=True)
    limit: int | None = None
    offset: int | None = None
