from datetime import datetime
from typing import Any

from ap_client.model import Model
from ap_client.models.message import Message
from ap_client.models.thread_checkpoint import ThreadCheckpoint


class ThreadState(Model, open=True):
    """A thread's state at one checkpoint. The last three fields are Runyard's."""

    checkpoint: ThreadCheckpoint
    values: dict[str, Any]
    messages: list[Message] | None = None
    metadata: dict[str, Any] | None = None
    created_at: datetime | None = None
    parent_checkpoint: ThreadCheckpoint | None = None
    interrupts: list[dict[str, Any]] | None = None
