from enum import StrEnum

from ap_client.wrapper import from_json_text


class RunStatus(StrEnum):
    """Where a run stands. A run that executes is `pending` on the wire, too."""

    PENDING = "pending"
    ERROR = "error"
    SUCCESS = "success"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    @classmethod
    def from_json(cls, json_str: str) -> "RunStatus":
        """The status that a JSON string names. Raises ValueError for any other text."""
        return cls(from_json_text(json_str))
