from enum import StrEnum

from ap_client.wrapper import from_json_text


class ThreadStatus(StrEnum):
    """Where a thread stands."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"

    @classmethod
    def from_json(cls, json_str: str) -> "ThreadStatus":
        """The status that a JSON string names. Raises ValueError for any other text."""
        return cls(from_json_text(json_str))
