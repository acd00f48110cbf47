"""Agents that end the process in which they execute, and their neighbours."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, Literal

from runyard import Context, SyncContext, agent

How = Literal["SIGSEGV", "SIGKILL", "exit 0"]


def say_begun(path: str) -> None:
    """Leaves a file with the id of the process."""
    Path(path + ".new").write_text(str(os.getpid()))
    os.rename(path + ".new", path)


def end_process(how: How) -> None:
    if how.startswith("exit"):
        os._exit(int(how[5:]))
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(20)  # the signal comes


@agent
async def sound(input: Any = None) -> dict[str, Any]:
    return {"fine": input, "pid": os.getpid()}


@agent(timeout=0.1)
async def hurried() -> str:
    """Has less time than a process needs to start."""
    return "in time"


@agent
async def held(input: str, ctx: Context) -> dict[str, Any]:
    """Goes on when a file appears."""
    say_begun(input + ctx.run_id)
    while not os.path.exists(input):  # noqa: ASYNC240
        await asyncio.sleep(0.005)
    return {"attempt": ctx.attempt, "pid": os.getpid()}


@agent(max_attempts=1)
async def dies(input: How) -> None:
    """Ends its process."""
    end_process(input)


@agent(max_attempts=2)
async def dies_twice(input: How) -> None:
    """Ends its process, as often as it may."""
    end_process(input)


@agent(max_attempts=1)
def forks_and_dies(input: str) -> None:
    """Leaves a process behind that holds what its own had open, until a file appears."""
    if os.fork() == 0:
        deadline = time.monotonic() + 20
        while not Path(input).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os._exit(0)
    end_process("SIGKILL")


@agent
def stubborn(input: str, ctx: SyncContext) -> None:
    """Does not care about being stopped."""
    say_begun(input + ctx.run_id)
    time.sleep(60)
