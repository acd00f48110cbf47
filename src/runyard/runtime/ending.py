"""How an attempt ends whose code raised: what is kept of the error, and what the log says of it."""

from __future__ import annotations

import asyncio
import traceback

from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Ended, Start
from runyard.runtime.describe import MAX_MESSAGE, class_names, described, told_apart
from runyard.runtime.signals import NotSerialisable, ValueTooLarge
from runyard.telemetry import fields_of, say

_REFUSALS = (NotSerialisable, ValueTooLarge)


def raised(start: Start, end: AgentEnd, error: BaseException, code: str | None = None) -> Ended:
    """The end of code that raised, with the failure's `code` where it has one of its own. Whatever the exception does
    when it is looked at, there is one."""
    try:
        return _judged(start, end, error, code)
    except BaseException:
        say("agent failed", **fields_of(start.run), why="it raised what cannot be described")
        return Ended("failed", code="agent_error", message="an exception that cannot be described")


def _judged(start: Start, end: AgentEnd, error: BaseException, code: str | None) -> Ended:
    # By its type alone: `isinstance` asks the object too, which may answer anything.
    cancelled = issubclass(type(error), asyncio.CancelledError)
    if end.stopped is not None:
        if not cancelled:
            _tell_failure(start, error, stopped=True)
        return Ended("stopped")
    _tell_failure(start, error, stopped=False)
    stacktrace = "" if start.trace is None else _stacktrace(error)
    error = told_apart(error)
    message = described(error)
    if issubclass(type(error), asyncio.CancelledError):
        message = f"{message} ({_who_cancelled(end)})"
    if code is None:
        refusal = next((known for known in _REFUSALS if issubclass(type(error), known)), None)
        code = "agent_error" if refusal is None else refusal.code
    return Ended("failed", code=code, message=message, exceptions=class_names(error), stacktrace=stacktrace)


def _who_cancelled(end: AgentEnd) -> str:
    if end.disturbed_by:
        return f"the code of run {end.disturbed_by} cancelled a task of this run; nobody asked this run to stop"
    return "the code cancelled itself; nobody asked the run to stop"


def _tell_failure(start: Start, error: BaseException, *, stopped: bool) -> None:
    """Logs it with its traceback, unless its text is so long that it would fill the log."""
    about, told = fields_of(start.run), described(error)
    shown = error if len(told) < MAX_MESSAGE else None
    try:
        say("agent raised while it stopped" if stopped else "agent failed", error=shown, **about, why=told)
    except BaseException:  # a traceback shows more of the exception than its text, and this one fights that
        say("agent raised while it stopped" if stopped else "agent failed", **about, why=told)


def _stacktrace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # the same
        return ""
