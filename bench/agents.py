"""The agents of the benchmark: they do nothing themselves, so that what is measured is the server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from runyard import Context, agent


@agent
async def noop(input: Any = None) -> dict[str, Any]:
    return {"ok": True}


@agent
async def now(input: Any = None) -> dict[str, Any]:
    """When it ended, in seconds since the epoch."""
    return {"at": time.time()}


@agent
async def pour(input: dict[str, int], ctx: Context) -> None:
    """Emits so many events, after a while in which readers may join."""
    await asyncio.sleep(input.get("after_ms", 0) / 1000)
    for number in range(input["events"]):
        await ctx.emit({"n": number, "text": "a token or two of some answer"})


@agent
async def hold(ctx: Context) -> None:
    """Runs until it is cancelled."""
    await ctx.emit("begun")
    await asyncio.Event().wait()


@agent
async def resume(input: str, ctx: Context) -> dict[str, Any]:
    """Tells when it began again: in the second attempt it ends at once."""
    await ctx.step("begin", lambda: Path(input).touch())
    if ctx.attempt == 1:
        await asyncio.Event().wait()
    return {"at": time.time()}
