from typing import Any

from ap_client.model import Model
from ap_client.models.error_response import ErrorResponse
from ap_client.models.message import Message
from ap_client.models.run import Run
from ap_client.models.run_status import RunStatus


class RunWaitResponse(Model, open=True):
    """A run's final output.

    `values` and `messages` are the thread's state at the run's last checkpoint. `status`, `error` (of a run
    that failed) and `interrupts` (open questions, each `{"id", "value"}`) are Runyard's.
    """

    run: Run | None = None
    values: dict[str, Any] | None = None
    messages: list[Message] | None = None
    status: RunStatus | str | None = None
    error: ErrorResponse | None = None
    interrupts: list[dict[str, Any]] | None = None
