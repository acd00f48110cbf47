"""Runyard: an open server for agents that run in the background. What is named here is for users to import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from runyard.agents import Retry
from runyard.runtime.blocking import SyncContext
from runyard.runtime.context import Context
from runyard.runtime.decorate import agent
from runyard.runtime.signals import StaleAttempt
from runyard.runtime.taking import Inbox, SyncInbox

if TYPE_CHECKING:
    from runyard.runtime.langgraph.agent import graph
    from runyard.server import create_app
    from runyard.settings import Settings

__all__ = [
    "Context", "Inbox", "Retry", "Settings", "StaleAttempt", "SyncContext", "SyncInbox", "agent", "create_app", "graph",
]  # fmt: skip

_LAZY = {"create_app": "runyard.server", "Settings": "runyard.settings", "graph": "runyard.runtime.langgraph.agent"}


def __getattr__(name: str) -> Any:
    # The server brings its whole web stack, and graphs LangGraph: an agent's module and its tests may need neither.
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
