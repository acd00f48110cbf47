from typing import Any

from ap_client.conversion import id_text
from ap_client.model import Model, field
from ap_client.models.run_status import RunStatus


class RunSearchRequest(Model):
    """Which runs to list. The server's `limit` is 10 unless given."""

    metadata: dict[str, Any] | None = None
    status: RunStatus | str | None = None
    thread_id: str | None = field(default=None, converter=id_text)
    agent_id: str | None = None
    limit: int | None = field(default=None, at_least=1, at_most=1000)
    offset: int | None = field(default=None, at_least=0)
