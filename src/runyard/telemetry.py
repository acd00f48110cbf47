"""What happens, as named events. Every sentence that Runyard logs stands here, once: the event is the sentence.

A line tells the event and its fields (`run_id`, `thread_id`, `agent_id`, `attempt` where there is one). Nothing that a
request carries but its method and path is ever a field: keys and headers cannot get into a log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

Subscriber = Callable[[str, dict[str, Any]], None]

LEVELS: dict[str, int] = {
    # runs and attempts
    "attempt began": logging.DEBUG,
    "attempt lost": logging.DEBUG,
    "attempt tried again": logging.INFO,
    "run ended": logging.DEBUG,
    "lease lost": logging.WARNING,
    "attempt not begun yet": logging.WARNING,
    "outcome not stored yet": logging.WARNING,
    "events not stored yet": logging.WARNING,
    "injected messages not read yet": logging.WARNING,
    "attempt broke": logging.ERROR,
    # the server
    "serving": logging.INFO,
    "langgraph.json key not obeyed": logging.WARNING,
    "app did not stop in order": logging.WARNING,
    "graph keeps plain data": logging.WARNING,
    "recovered": logging.INFO,
    "not recovered": logging.WARNING,
    "agents not read": logging.WARNING,
    "lease not renewed": logging.WARNING,
    "worker was taken for dead": logging.WARNING,
    "swept": logging.DEBUG,
    "sweep failed": logging.WARNING,
    "claim failed": logging.WARNING,
    "claim loop died": logging.ERROR,
    "writer died": logging.CRITICAL,
    "migration waits": logging.WARNING,
    "database does not answer": logging.WARNING,
    "event loop late": logging.WARNING,
    "draining": logging.INFO,
    "drained": logging.INFO,
    "not given back": logging.WARNING,
    "still executing": logging.WARNING,
    "traces not sent": logging.WARNING,
    "hint listener failed": logging.ERROR,
    "hints do not come": logging.WARNING,
    "telemetry subscriber failed": logging.ERROR,
    # requests
    "request failed": logging.ERROR,
    "answer broke off": logging.WARNING,
    "auth handler failed": logging.ERROR,
    "auth handler gave no answer": logging.ERROR,
    # webhooks
    "webhook delivered": logging.DEBUG,
    "webhook failed": logging.INFO,
    "webhook parked": logging.WARNING,
    "outbox not read": logging.WARNING,
    "delivery not recorded yet": logging.WARNING,
    "delivery broke": logging.ERROR,
    # crons
    "cron fired": logging.DEBUG,
    "cron passed over": logging.WARNING,
    "cron not fired yet": logging.WARNING,
    "cron run not labelled": logging.WARNING,
    "crons not read": logging.WARNING,
    # users' code
    "agent failed": logging.ERROR,
    "agent raised while it stopped": logging.WARNING,
    "agents have not stopped": logging.WARNING,
    "exit raised in a task of an agent": logging.WARNING,
    "job of a worker thread failed": logging.ERROR,
    "cancel by another run's code refused": logging.WARNING,
    "lane blocked": logging.WARNING,
    "all lanes blocked": logging.ERROR,
    "lane goes on": logging.INFO,
    "lane died": logging.ERROR,
    "process ready": logging.DEBUG,
    "process ended": logging.ERROR,
    "process killed": logging.WARNING,
    "process does not start": logging.ERROR,
    "process has other agents": logging.WARNING,
    "code waits in a closed event loop": logging.DEBUG,
    "step ended after its event loop": logging.DEBUG,
}
"""Every event, with the level of its log line."""

_LOGGERS: dict[str, str] = {
    "hint listener failed": "runyard.hints",
    "hints do not come": "runyard.hints",
    "request failed": "runyard.api",
    "answer broke off": "runyard.api",
    "agent failed": "runyard.agent",
    "agent raised while it stopped": "runyard.agent",
    "agents have not stopped": "runyard.agent",
    "exit raised in a task of an agent": "runyard.agent",
    "job of a worker thread failed": "runyard.agent",
    "cancel by another run's code refused": "runyard.agent",
    "lane blocked": "runyard.agent",
    "all lanes blocked": "runyard.agent",
    "lane goes on": "runyard.agent",
    "lane died": "runyard.agent",
    "process ready": "runyard.agent",
    "process ended": "runyard.agent",
    "process killed": "runyard.agent",
    "process does not start": "runyard.agent",
    "process has other agents": "runyard.agent",
    "code waits in a closed event loop": "runyard.agent",
    "step ended after its event loop": "runyard.agent",
}
"""The logger of an event; `runyard` for all others."""


class RunOfCode(Protocol):
    """What a log line tells of a run whose code executes."""

    @property
    def run_id(self) -> str: ...
    @property
    def thread_id(self) -> str: ...
    @property
    def agent_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...


run_of_code: ContextVar[RunOfCode | None] = ContextVar("runyard_run_of_code", default=None)
"""The run whose code executes here: what that code logs tells it too."""


def fields_of(run: RunOfCode) -> dict[str, Any]:
    """The fields of a log line about a run whose code executes."""
    return {"run_id": run.run_id, "thread_id": run.thread_id, "agent_id": run.agent_id, "attempt": run.attempt}


def say(event: str, *, error: BaseException | None = None, **fields: Any) -> None:
    """Writes an event to its log; with the traceback of `error` where there is one."""
    log, level = _log_of(event), LEVELS[event]
    if log.isEnabledFor(level):
        told = " ".join([event, *(f"{name}={_shown(value)}" for name, value in fields.items())])
        log.log(level, "%s", told, extra={"event": event, "fields": fields}, exc_info=error)


class AttemptEnd(NamedTuple):
    """What a span tells of how an attempt ended. `outcome` is a run's, or `tried_again`, `drained`,
    `lease_lost`, `broke`."""

    outcome: str
    exception: str = ""
    message: str = ""
    stacktrace: str = ""


class RequestSpan(Protocol):
    """The span of a request."""

    def answered(self, status: int) -> None:
        """The answer has begun."""
        ...


class CreationSpan(Protocol):
    """The span in which a run becomes durable."""

    @property
    def context(self) -> str | None:
        """What the run keeps, as text; None where nothing is traced."""
        ...

    def made(self, run: Any, *, repeated: bool) -> None:
        """The run is durable, or was so before."""
        ...


class AttemptSpan(Protocol):
    """The span of an attempt."""

    @property
    def context(self) -> str | None:
        """What the agent's side gets, as text; None where nothing is traced."""
        ...

    def end(self, end: AttemptEnd) -> None:
        """The attempt is over; a second call does nothing."""
        ...


class Spans(Protocol):
    """What makes spans where traces are on (see `runyard.traces`)."""

    def request(
        self, method: str, route: str, path: str, headers: Mapping[bytes, bytes]
    ) -> AbstractContextManager[RequestSpan]: ...

    def creation(self, agent_id: str) -> AbstractContextManager[CreationSpan]: ...

    def attempt(self, run: Any, kept: str | None, asked: str | None, waited: int | None) -> AttemptSpan: ...

    def close(self) -> None: ...


class Telemetry:
    """Tells events to the log and to subscribers. A subscriber that raises harms nobody but itself."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._logs = {event: (_log_of(event), level) for event, level in LEVELS.items()}

    def subscribe(self, subscriber: Subscriber) -> None:
        """Calls `subscriber(event, fields)` for everything told from now on."""
        self._subscribers.append(subscriber)

    def tell(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """Something happened. Called in the engine's loop."""
        log, level = self._logs[event]
        if log.isEnabledFor(level):
            say(event, error=error, **fields)
        for subscriber in self._subscribers:
            try:
                subscriber(event, fields)
            except Exception as failure:
                say("telemetry subscriber failed", error=failure, told=event)


def _log_of(event: str) -> logging.Logger:
    return logging.getLogger(_LOGGERS.get(event, "runyard"))


def _shown(value: object) -> str:
    """A value in a line of text: what is no plain word is a JSON text, so that it neither ends the line nor looks like
    another field."""
    text = str(value)
    if text.isascii() and text.isprintable() and text and not any(mark in text for mark in ' "=\\'):
        return text
    return json.dumps(text)
