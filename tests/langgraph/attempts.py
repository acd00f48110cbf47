"""What cases on the agent's side of a run need: code that gets the attempt's own end, and an open storage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from runyard.agents import Agent
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Ended, Start
from runyard.storage.sqlite import SqliteStorage


@contextlib.asynccontextmanager
async def open_storage(folder: Path) -> AsyncGenerator[SqliteStorage]:
    storage = SqliteStorage(folder / "runyard.db", synchronous="normal")
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


class Code:
    """An agent whose attempts call a function with their end of the channel; `stubborn` code is not cancelled by a
    `Stop`."""

    def __init__(self, code: Callable[[AgentEnd], Awaitable[None]], *, stubborn: bool = False) -> None:
        self.agent = Agent("code", "code")
        self._code = code
        self._stubborn = stubborn
        self._tasks: list[asyncio.Task[None]] = []
        self._problems: list[BaseException] = []
        self._attempts = 0
        self.attempts_ended = 0

    def check_input(self, input: bytes | None) -> None:
        """Takes any."""

    def check_config(self, configurable: dict[str, Any]) -> None:
        """Takes any."""

    def check_context(self, context: dict[str, Any]) -> None:
        """Takes any."""

    def begin(self, start: Start, end: AgentEnd) -> None:
        task = end.loop.create_task(self._perform(end))
        self._tasks.append(task)
        end.on_stop = None if self._stubborn else task.cancel

    def done(self) -> None:
        """Raises what the code raised, unless it has come to its end in one attempt."""
        for problem in self._problems:
            raise problem
        assert self._attempts == 1

    async def _perform(self, end: AgentEnd) -> None:
        assert end.take()
        self._attempts += 1
        try:
            await self._code(end)
        except BaseException as problem:
            self._problems.append(problem)
        end.finish(Ended("completed"))
        self.attempts_ended += 1
