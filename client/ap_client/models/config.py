from typing import Any

from ap_client.model import Model


class Config(Model):
    """How an agent is to be run."""

    tags: list[str] | None = None
    recursion_limit: int | None = None
    configurable: dict[str, Any] | None = None
