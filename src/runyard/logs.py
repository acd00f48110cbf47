"""How log lines look: text for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from runyard.clock import rfc3339
from runyard.telemetry import fields_of, run_of_code

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTINUED = "\n  | "
"""What begins every line of a record but its first: nothing that is logged can look like a record of its own."""


REPEATED = 10.0
"""Seconds for which a warning of ours that was told is not told again in the same words."""
REMEMBERED = 1_000
"""Warnings that are known to have been told."""


class Repeats(logging.Filter):
    """Lets a warning of ours through that others have not told just before: a database that is away is noticed by many,
    and by each of them again and again. The next one that comes through says how many did not. What agents log is
    theirs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING or not hasattr(record, "event"):
            return True
        message, now = f"{record.name} {record.getMessage()}", self._now()
        told_at, kept_back = self._told.pop(message, (now - REPEATED, 0))
        if now - told_at < REPEATED:
            self._told[message] = (told_at, kept_back + 1)
            return False
        if len(self._told) >= REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[message] = (now, 0)
        if kept_back:
            record.repeated = kept_back
        return True


class TextFormatter(logging.Formatter):
    """Time, level, logger and message; a traceback, or a message of several lines, goes on behind a bar."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        told = {**_fields_of_run(record), **_repeated(record)}
        return " ".join([line, *(f"{name}={value}" for name, value in told.items())])

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(_escaped, super().format(record)).replace("\n", _CONTINUED)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, the event's fields, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": rfc3339(int(record.created * 1e6)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run := _fields_of_run(record):
            line["fields"] = run
        for name in ("event", "fields"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        line |= _repeated(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Only ASCII comes out: text of users may hold what is no UTF-8.
        return json.dumps(line, default=repr)


def configure_logging(form: Literal["text", "json"], level: str) -> None:
    """Log lines of all libraries go to standard error in this form, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Uvicorn repeats at this level what the ready line and our own events say.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # So does the driver of PostgreSQL, with tracebacks.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)


def _repeated(record: logging.LogRecord) -> dict[str, Any]:
    """How often the line was kept back since it was told last."""
    return {name: value for name, value in vars(record).items() if name == "repeated"}


def _fields_of_run(record: logging.LogRecord) -> dict[str, Any]:
    """The run whose code logged this line; empty for lines that tell their fields themselves."""
    run = run_of_code.get()
    return {} if run is None or hasattr(record, "fields") else fields_of(run)


def _escaped(control: re.Match[str]) -> str:
    return ascii(control[0])[1:-1]
