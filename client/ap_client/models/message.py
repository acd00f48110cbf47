from typing import Any

from ap_client.model import Model, field
from ap_client.models.content import Block, content_of


class Message(Model, open=True):
    """One message of a conversation. `role` is free text: user, assistant, tool, ..."""

    role: str
    content: str | list[Block] = field(converter=content_of)
    id: str | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None
