from typing import Any, Literal

from ap_client.conversion import id_text
from ap_client.model import Model, field


class ThreadCreate(Model):
    """A thread to create. Without `thread_id` the server makes one."""

    thread_id: str | None = field(default=None, converter=id_text)
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
