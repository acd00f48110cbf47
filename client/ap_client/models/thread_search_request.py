from typing import Any

from ap_client.model import Model, field
from ap_client.models.thread_status import ThreadStatus


class ThreadSearchRequest(Model):
    """Which threads to list. The server's `limit` is 10 unless given."""

    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    status: ThreadStatus | str | None = None
    limit: int | None = field(default=None, at_least=1, at_most=1000)
    offset: int | None = field(default=None, at_least=0)
