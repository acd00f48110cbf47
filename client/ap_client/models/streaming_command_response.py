from collections.abc import Mapping
from typing import Any, Self, cast

from ap_client.models.streaming_error_response import StreamingErrorResponse
from ap_client.models.streaming_success_response import StreamingSuccessResponse
from ap_client.wrapper import Wrapper


class StreamingCommandResponse(Wrapper):
    """The answer to a command: `actual_instance` is a `StreamingSuccessResponse` or a `StreamingErrorResponse`.

    Their fields can be read from here too: `answer.type`, `answer.result`, `answer.error`.
    """

    @classmethod
    def from_dict(cls, obj: Any) -> Self:
        """An answer of type `error` is read as such, any other as a success; what is no object stays as it is."""
        if not isinstance(obj, Mapping):
            return cls(obj)
        answer = cast("Mapping[str, Any]", obj)
        kind = StreamingErrorResponse if answer.get("type") == "error" else StreamingSuccessResponse
        return cls(kind.from_dict(answer))

    @classmethod
    def from_json(cls, json_str: str | bytes) -> Self:
        return cls.from_dict(super().from_json(json_str).actual_instance)

    def __getattr__(self, name: str) -> Any:
        if name == "actual_instance":
            raise AttributeError(name)
        return getattr(self.actual_instance, name)
