from typing import Any

from ap_client.model import Model
from ap_client.models.message import Message
from ap_client.models.thread_checkpoint import ThreadCheckpoint


class ThreadPatch(Model):
    """What to merge into a thread. Values and messages make a revision, on `checkpoint` if given."""

    checkpoint: ThreadCheckpoint | None = None
    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    messages: list[Message] | None = None
