from typing import Any, Literal

from ap_client.model import Model


class ThreadCreate(Model):
    """A thread to create. Without `thread_id` the server makes one."""

    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
