from datetime import datetime
from typing import Any

from ap_client.model import Model


class Item(Model, open=True):
    """A document in the store, under a namespace and a key. `score` (how near it is to the `query` of a search) is
    Runyard's."""

    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    score: float | None = None
