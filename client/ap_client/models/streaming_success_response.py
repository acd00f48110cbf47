from typing import Any, Literal

from ap_client.model import Model, field
from ap_client.models.streaming_success_response_meta import StreamingSuccessResponseMeta


class StreamingSuccessResponse(Model, open=True):
    """A command that was carried out; what `result` holds depends on its method."""

    type: Literal["success"]
    id: int = field(at_least=0)
    result: dict[str, Any]
    meta: StreamingSuccessResponseMeta | None = None
