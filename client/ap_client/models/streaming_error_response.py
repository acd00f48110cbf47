from typing import Any, Literal

from ap_client.model import Model, field


class StreamingErrorResponse(Model, open=True):
    """A command that failed: a code in `error`, a sentence in `message`. `id` is None where the command had none."""

    type: Literal["error"]
    id: int | None = field(nullable=True, at_least=0)
    error: str
    message: str
    stacktrace: str | None = None
    meta: dict[str, Any] | None = None
