"""Agents that end in ways a client has to tell apart."""

from __future__ import annotations

import asyncio

from runyard import Context, agent


@agent
async def fails(input: str, ctx: Context) -> None:
    """Begins, and raises its input."""
    await ctx.update({"begun": True})
    raise ValueError(input)


@agent(timeout=0.1)
async def slow() -> None:
    """Takes longer than it may."""
    await asyncio.Event().wait()


@agent
async def speaks(input: str, ctx: Context) -> dict[str, str]:
    """Says its input, word by word."""
    async with ctx.message(role="assistant") as message:
        for number, word in enumerate(input.split()):
            await message.write(f" {word}" if number else word)
    return {"said": input}
