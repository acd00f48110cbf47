"""How log lines look: text for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, Literal

from runyard.clock import rfc3339
from runyard.telemetry import fields_of, run_of_code

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTINUED = "\n  | "
"""What begins every line of a record but its first: nothing that is logged can look like a record of its own."""


class TextFormatter(logging.Formatter):
    """Time, level, logger and message; a traceback, or a message of several lines, goes on behind a bar."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        run = _fields_of_run(record)
        return " ".join([line, *(f"{name}={value}" for name, value in run.items())])

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
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Only ASCII comes out: text of users may hold what is no UTF-8.
        return json.dumps(line, default=repr)


def configure_logging(form: Literal["text", "json"], level: str) -> None:
    """Log lines of all libraries go to standard error in this form, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Uvicorn repeats at this level what the ready line and our own events say.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # A database that cannot be reached is told by our own events, in a line each.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)


def _fields_of_run(record: logging.LogRecord) -> dict[str, Any]:
    """The run whose code logged this line; empty for lines that tell their fields themselves."""
    run = run_of_code.get()
    return {} if run is None or hasattr(record, "fields") else fields_of(run)


def _escaped(control: re.Match[str]) -> str:
    return ascii(control[0])[1:-1]
