from datetime import datetime
from typing import Any

from ap_client.model import Model


class Item(Model, open=True):
    """A document in the store, under a namespace and a key."""

    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
