from typing import Any

from ap_client.model import Model


class ErrorResponse(Model, open=True):
    """What a server says about an error: a stable code, a sentence, and facts about it."""

    code: str | None = None
    message: str | None = None
    metadata: dict[str, Any] | None = None
