"""How a run can end otherwise than with a result, as errors.

OpenApiException
├── RunError                          the run ended without a result; `run`, `code`, `message`, `values`
│   ├── RunFailed                     its code raised, or a limit was met
│   │   └── RunLost                   its servers died under it until no attempt was left
│   ├── RunTimedOut (TimeoutError)    its own time was over
│   ├── RunCancelled                  somebody cancelled it
│   └── RunAsks                       it waits for an answer; `questions`
└── WaitTimeout (TimeoutError)        the caller's time is over; the run goes on
"""

from typing import Any

from ap_client.exceptions import OpenApiException
from ap_client.models.run_wait_response import RunWaitResponse


class RunError(OpenApiException):
    """The run ended without a result: `code` and `message` say why, `values` is the state that it reached."""

    def __init__(self, run: Any, code: str, message: str, values: dict[str, Any] | None = None) -> None:
        super().__init__(f"run {run.run_id} ({run.agent_id}): {code}: {message}")
        self.run = run
        self.code = code
        self.message = message
        self.values = values or {}


class RunFailed(RunError):
    """Its code raised, or it met a limit."""


class RunLost(RunFailed):
    """The servers that executed it died under it, until no attempt was left."""


class RunTimedOut(RunError, TimeoutError):
    """It took longer than its agent allows."""


class RunCancelled(RunError):
    """Somebody cancelled it."""


class RunAsks(RunError):
    """It waits for an answer to `questions`, each `{"id", "value"}`: `run.answer(...)` gives it."""

    def __init__(self, run: Any, code: str, message: str, values: dict[str, Any] | None = None) -> None:
        super().__init__(run, code, message, values)
        self.questions: list[dict[str, Any]] = run.questions


class WaitTimeout(OpenApiException, TimeoutError):
    """The run has not ended within the caller's time; `run` goes on."""

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message)
        self.run = run


_WORDS: dict[str, tuple[type[RunError], str]] = {
    "failed": (RunFailed, "it failed"),
    "lost": (RunLost, "its server was lost, in every attempt"),
    "timed_out": (RunTimedOut, "it took longer than its agent allows"),
    "cancelled": (RunCancelled, "it was cancelled"),
    "rolled_back": (RunCancelled, "it was cancelled, and what it did was undone"),
    "abandoned": (RunCancelled, "it was cancelled, and its code did not stop"),
    "asked": (RunAsks, "it waits for an answer"),
}
_OF_STATUS = {"error": "failed", "timeout": "timed_out"}


def raise_unless_completed(run: Any, waited: RunWaitResponse) -> None:
    """Raise the error that an end means; nothing for a run that completed.

    Servers that tell no `outcome` are understood by the run's status.
    """
    status = str(waited.status or run.status)
    outcome = run.info.outcome
    if outcome is None:
        outcome = ("asked" if run.questions else "cancelled") if status == "interrupted" else _OF_STATUS.get(status)
    if outcome is None or outcome == "completed":
        return
    kind, sentence = _WORDS.get(outcome, (RunFailed, f"it ended as {outcome}"))
    error = waited.error or run.info.error
    code = (error.code if error is not None else None) or outcome
    message = (error.message if error is not None else None) or sentence
    if code == "attempts_exhausted":
        kind = RunLost
    if kind is RunAsks and run.questions:
        message = f"{sentence}: {run.questions[0].get('value')!r}"
    raise kind(run, code, message, waited.values)
