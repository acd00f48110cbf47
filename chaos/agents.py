"""The agents of the chaos. What they do leaves lines in a journal outside the server, which outlives every crash."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

from runyard import Context, agent

MANY = 100_000
"""Attempts of a run that is not at fault when its server is killed."""


@dataclass(frozen=True)
class Walk:
    key: str
    steps: int
    pause: float
    journal: str


@agent(max_attempts=MANY)
async def echo(input: Any) -> dict[str, Any]:
    """Gives back its input."""
    return {"echo": input}


@agent(max_attempts=MANY)
async def walk(input: Walk, ctx: Context) -> dict[str, Any]:
    """Takes steps, each of which writes a line to the journal, and shows each when it is recorded."""
    taken: list[int] = []
    execution = os.urandom(6).hex()
    for number in range(input.steps):
        taken.append(await ctx.step("step", take_step, number, input, execution))
        await ctx.emit({"step": number})
        if number % 3 == 2:
            await ctx.update({"taken": taken})
    return {"taken": taken}


async def take_step(number: int, input: Walk, execution: str) -> int:
    # One write to a file opened for appending is one line, whoever else writes.
    line = f"{input.key} {number} {execution} {time.time_ns()}\n".encode()
    descriptor = os.open(input.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    await asyncio.sleep(input.pause)
    return number


@dataclass(frozen=True)
class Talk:
    count: int
    pause: float
    size: int = 20


@agent(max_attempts=MANY)
async def talk(input: Talk, ctx: Context) -> dict[str, Any]:
    """Shows the numbers below a count, one by one."""
    for number in range(input.count):
        await ctx.emit({"number": number, "text": "x" * input.size})
        if input.pause:
            await asyncio.sleep(input.pause)
    return {"said": input.count}


@dataclass(frozen=True)
class Stage:
    """So many numbers of so many bytes, and a pause after each, once the file `gate` is there ("": at once)."""

    count: int
    pause: float = 0.0
    size: int = 20
    gate: str = ""


@agent(max_attempts=MANY)
async def stages(input: list[Stage], ctx: Context) -> dict[str, Any]:
    """Counts on through all stages, and tells with each number when it was said, in nanoseconds that never go back."""
    number = 0
    for stage in input:
        while stage.gate and not _there(stage.gate):
            await asyncio.sleep(0.02)
        for _ in range(stage.count):
            await ctx.emit({"number": number, "at": time.monotonic_ns(), "text": "x" * stage.size})
            number += 1
            if stage.pause:
                await asyncio.sleep(stage.pause)
    return {"said": number}


def _there(path: str) -> bool:
    return os.path.exists(path)


def longer(old: list[Any] | None, new: list[Any]) -> list[Any]:
    return [*(old or []), *new]


@agent(max_attempts=MANY, reducers={"notes": longer})
async def note(input: str, ctx: Context) -> None:
    """Adds a note to its thread."""
    await asyncio.sleep(0.01)
    await ctx.update({"notes": [input]})


@agent(max_attempts=MANY)
async def ask(input: str, ctx: Context) -> dict[str, Any]:
    """Asks, and gives back question and answer."""
    return {"asked": input, "answer": await ctx.interrupt({"question": input})}


@agent(max_attempts=MANY)
async def hold(ctx: Context) -> None:
    """Works until it is stopped."""
    await ctx.emit({"begun": True})
    await asyncio.Event().wait()


@agent
async def poison(ctx: Context) -> None:
    """Takes the whole process with it, a little after it has begun."""
    await asyncio.sleep(0.3)
    os.kill(os.getpid(), 9)


@agent
async def patient(ctx: Context) -> dict[str, Any]:
    """Does no harm, for long enough to be there whenever another run does."""
    for _ in range(15):
        await asyncio.sleep(0.1)
    return {"seen": "end"}
