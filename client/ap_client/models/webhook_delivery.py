from datetime import datetime
from typing import Any

from ap_client.model import Model


class WebhookDelivery(Model, open=True):
    """What is told to a run's webhook, and how far that is. `event` is what is posted; lists leave it out."""

    delivery_id: str
    run_id: str
    thread_id: str
    url: str
    status: str
    attempts: int
    created_at: datetime
    due_at: datetime | None = None
    attempted_at: datetime | None = None
    delivered_at: datetime | None = None
    parked_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    event: dict[str, Any] | None = None
