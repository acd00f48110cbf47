from typing import Any

from ap_client.model import Model


class StorePutRequest(Model):
    """An item to put into the store; it replaces the one under the same namespace and key.

    `ttl` (minutes until the item expires) is Runyard's, and so is `index` (the paths of what searches by meaning find
    it by; false for nothing).
    """

    namespace: list[str]
    key: str
    value: dict[str, Any]
    ttl: float | None = None
    index: bool | list[str] | None = None
