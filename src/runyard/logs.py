"""How log lines look: text for people, one JSON object a line for programs."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import msgspec

from runyard.clock import rfc3339

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, the event's fields, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": rfc3339(int(record.created * 1e6)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("event", "fields"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line).decode()


def configure_logging(form: Literal["text", "json"], level: str) -> None:
    """Log lines of all libraries go to standard error in this form, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Uvicorn repeats at this level what the ready line and our own events say.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
