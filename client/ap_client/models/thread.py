from datetime import datetime
from typing import Any

from ap_client.model import Model
from ap_client.models.message import Message
from ap_client.models.thread_status import ThreadStatus


class Thread(Model, open=True):
    """A conversation and its current state. `messages` is None where the agent has none.

    `interrupts` (open questions, each `{"id", "value"}`) is Runyard's.
    """

    thread_id: str
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, Any]
    status: ThreadStatus | str
    values: dict[str, Any] | None = None
    messages: list[Message] | None = None
    interrupts: list[dict[str, Any]] | None = None
