from typing import Any, Literal

from ap_client.model import Model, field


class StreamingEvent(Model, open=True):
    """One event of a thread. `params` holds its namespace, its timestamp and its data.

    `event_id` is what to reconnect from, `seq` what to order and replay by.
    """

    type: Literal["event"]
    method: str
    params: dict[str, Any]
    event_id: str | None = field(default=None, alias="eventId")
    seq: int | None = field(default=None, at_least=0)
