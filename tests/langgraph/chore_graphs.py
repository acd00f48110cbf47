"""Graphs that are asked outside of runs, in this process and in others."""

from __future__ import annotations

import os
from typing import Any

from asking_graphs import AROUND, ASKING

asking = ASKING.compile()
around = AROUND.compile()


def dies(runtime: Any) -> Any:
    """A factory that ends its process when a state is to be read."""
    if runtime.access_context == "threads.read":
        os._exit(3)
    return ASKING
