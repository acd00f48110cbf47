from typing import Any

from ap_client.model import Model, field


class SearchAgentsRequest(Model):
    """Which agents to list. The server's `limit` is 10 unless given."""

    name: str | None = None
    metadata: dict[str, Any] | None = None
    limit: int | None = field(default=None, at_least=1, at_most=1000)
    offset: int | None = field(default=None, at_least=0)
