"""The agent of the benchmark: it does nothing, so that what is measured is the server."""

from __future__ import annotations

from typing import Any

from runyard import agent


@agent
async def noop(input: Any = None) -> dict[str, Any]:
    return {"ok": True}
