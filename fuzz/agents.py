"""Agents that end at once, and a few that ask, fail, stream or take their time: what requests are fuzzed against."""

from __future__ import annotations

from typing import Any

from runyard import Context, agent


@agent
async def noop(input: Any = None) -> dict[str, Any]:
    """Ends at once."""
    return {"ok": True}


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    """Keeps what it is given."""
    return {"echo": input}


@agent
async def ask(ctx: Context, input: Any = None) -> dict[str, Any]:
    """Asks a person."""
    return {"answer": await ctx.interrupt({"question": "sure?"})}


@agent
async def fail(input: Any = None) -> None:
    """Raises."""
    raise ValueError("as it is meant to")


@agent
async def stream(ctx: Context, input: Any = None) -> dict[str, Any]:
    """Tells of its steps."""
    for number in range(5):
        await ctx.emit({"number": number})
        await ctx.update({"number": number})
    return {"done": True}
