"""Agents that tell much: what is measured is how it reaches those who watch."""

from __future__ import annotations

import asyncio
import time

from runyard import Context, agent


@agent
async def pour(input: dict[str, int], ctx: Context) -> None:
    """Emits so many events as fast as it can, after a while in which readers may join."""
    await asyncio.sleep(input.get("after_ms", 0) / 1000)
    for number in range(input["events"]):
        await ctx.emit({"n": number, "text": "a token or two of some answer"})


@agent
async def write(input: dict[str, int], ctx: Context) -> None:
    """Writes a message of so many pieces as fast as it can, after a while in which readers may join."""
    await asyncio.sleep(input.get("after_ms", 0) / 1000)
    async with ctx.message() as message:
        for _ in range(input["events"]):
            await message.write("a token or two ")


@agent
async def tick(input: dict[str, float], ctx: Context) -> None:
    """Emits so many events at a pace, or as fast as it can, after a while in which readers may join; each with when it
    was given away, in seconds since the epoch."""
    await asyncio.sleep(input.get("after_ms", 0) / 1000)
    for _ in range(int(input["events"])):
        if input["every_ms"]:
            await asyncio.sleep(input["every_ms"] / 1000)
        await ctx.emit({"at": time.time()})
