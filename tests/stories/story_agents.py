"""Agents that tests hold in the middle of something: they go on when a file appears."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runyard import Context, Inbox, agent


@dataclass(frozen=True)
class Gate:
    path: str
    """The agent waits until this file exists."""


@agent
async def gate(input: Gate, ctx: Context) -> dict[str, Any]:
    """Says that it waits, waits, and says that it went on."""
    await ctx.update({"before": True})
    await ctx.emit({"waiting": True}, name="gate")
    await exists(Path(input.path))
    return {"after": True}


@dataclass(frozen=True)
class Steps:
    count: int
    hold: int
    """The step that waits for the gate, counted from 0."""
    path: str
    journal: str
    """A file that gets a line when a step begins and when it ends."""


@agent
async def steps(input: Steps, ctx: Context) -> dict[str, Any]:
    """Takes steps, writes down each, and is held in the middle of one."""
    results: list[int] = []
    for number in range(input.count):
        results.append(await ctx.step("step", take_step, number, input))
        await ctx.emit({"done": number}, name="progress")
    return {"results": results, "attempt": ctx.attempt}


async def take_step(number: int, input: Steps) -> int:
    write_line(input.journal, f"begin {number}")
    if number == input.hold:
        await exists(Path(input.path))
    write_line(input.journal, f"end {number}")
    return number * number


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    """Asks one question and returns the answer."""
    return {"answer": await ctx.interrupt({"question": "which colour?"})}


@agent
async def count(input: int, ctx: Context) -> dict[str, Any]:
    """Emits the numbers below its input."""
    for number in range(input):
        await ctx.emit({"number": number}, name="count")
    return {"counted": input}


@agent
async def speak(input: list[int], ctx: Context) -> None:
    """Emits a text of each of these lengths."""
    for length in input:
        await ctx.emit("x" * length)


async def exists(path: Path) -> None:
    while not await asyncio.to_thread(path.exists):
        await asyncio.sleep(0.01)


def write_line(path: str, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class Notes:
    hold: int
    """The note that waits for the gate, counted from 0."""
    path: str
    journal: str


@agent
async def notes(input: Notes, ctx: Context, inbox: Inbox) -> dict[str, Any]:
    """Writes down what it is told, each in a step, is held in the middle of one, and ends when it is told to stop."""
    taken: list[str] = []
    await ctx.emit({"listening": True})
    async for message in inbox:
        if message["content"] == "stop":
            break
        await ctx.step("note", note_down, len(taken), message["content"], input)
        taken.append(message["content"])
    return {"taken": taken, "attempt": ctx.attempt}


async def note_down(number: int, text: str, input: Notes) -> None:
    write_line(input.journal, f"begin {text}")
    if number == input.hold:
        await exists(Path(input.path))
    write_line(input.journal, f"end {text}")


@dataclass(frozen=True)
class Talk:
    count: int
    hold: int
    """The message that waits for the gate in its middle, counted from 0."""
    path: str


@agent
async def talk(input: Talk, ctx: Context) -> dict[str, Any]:
    """Writes messages in pieces, of its own and of a sub-agent, and is held in the middle of one."""
    for number in range(input.count):
        async with ctx.message() as message:
            for word in ("one", "two", "three"):
                await message.write(f"{word} ")
                if number == input.hold and word == "two":
                    await exists(Path(input.path))
        async with ctx.agent("helper") as helper:
            await helper.tool("square", _square, number)
        await ctx.update({"messages_written": number + 1})
    return {"attempt": ctx.attempt}


async def _square(number: int) -> int:
    return number * number
