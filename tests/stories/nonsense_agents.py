"""Agents of the stories about memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runyard import Context, SyncContext, agent

HUNDRED_MB = 100_000_000


@agent
async def gives_100_mb() -> dict[str, Any]:
    return {"text": "x" * HUNDRED_MB, "list": ["y" * HUNDRED_MB]}


@agent
def yields_100_mb() -> Iterator[Any]:
    yield {"n": 1}
    yield [{"text": "x" * 1000} for _ in range(HUNDRED_MB // 1000)]


@agent
async def pours(input: int, ctx: Context) -> int:
    """Emits so many tiny events."""
    for number in range(input):
        await ctx.emit(number)
    return input


@agent
def pours_blocking(input: int, ctx: SyncContext) -> int:
    for number in range(input):
        ctx.emit(number)
    return input


@agent
async def sound() -> str:
    return "fine"
