"""`inbox`: what an agent's code takes of the messages that are put into its run while it executes.

A message becomes part of the thread's messages where it is taken, as a step that is recorded: a later attempt, or a
resume, takes the same at the same places. `Inbox` is for asynchronous agents, `SyncInbox` for synchronous ones.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, overload

from runyard.runtime.blocking import SyncContext
from runyard.runtime.context import Context, check_waits, resolve
from runyard.runtime.execution import Execution

Message = dict[str, Any]
"""`id`, `role` (user or system), `content`, and what else was sent with it."""


class Inbox:
    """The messages that are put into the run."""

    __slots__ = ("_ctx", "_execution")

    def __init__(self, execution: Execution, ctx: Context) -> None:
        self._execution = execution
        self._ctx = ctx

    @overload
    async def take(self) -> Message: ...
    @overload
    async def take(self, timeout: float | None) -> Message | None: ...
    async def take(self, timeout: float | None = None) -> Message | None:
        """The next message; waits for it, for `timeout` seconds at most. None where none came in that time.

        That none came is recorded too. What cancels the waiting from outside (`asyncio.wait_for`) is not.
        """
        loop = asyncio.get_running_loop()
        await self._ctx.come_in()
        before = self._execution.taken_before(waits=timeout is None)
        if before is not None:
            return next(iter(before), None)
        until = None if timeout is None else loop.time() + timeout
        while not (taken := self._execution.take(1)):
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                self._execution.took_nothing()
                break
            await self._wait(left)
            await self._ctx.come_in()
        await self._ctx.make_room()
        return next(iter(taken), None)

    async def waiting(self) -> list[Message]:
        """Takes all that are there, without waiting."""
        await self._ctx.come_in()
        taken = self._execution.taken_before(waits=False)
        if taken is None:
            taken = self._execution.take(None)
            if not taken:
                self._execution.took_nothing()
            await self._ctx.make_room()
        return taken

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            yield await self.take()

    async def _wait(self, seconds: float | None) -> None:
        end = self._execution.end
        check_waits(end)
        roused: asyncio.Future[None] = end.loop.create_future()
        wake = functools.partial(resolve, roused, None)
        end.mailbox.when_roused(wake)
        try:
            await asyncio.wait([roused], timeout=seconds)
        finally:
            end.mailbox.forget(wake)
        check_waits(end)


class SyncInbox:
    """The calls of `Inbox` without `await`: they block."""

    __slots__ = ("_ctx", "_execution")

    def __init__(self, execution: Execution, ctx: SyncContext) -> None:
        self._execution = execution
        self._ctx = ctx

    @overload
    def take(self) -> Message: ...
    @overload
    def take(self, timeout: float | None) -> Message | None: ...
    def take(self, timeout: float | None = None) -> Message | None:
        """The next message; waits for it, for `timeout` seconds at most. None where none came in that time."""
        with self._ctx.turn():
            before = self._execution.taken_before(waits=timeout is None)
        if before is not None:
            return next(iter(before), None)
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._ctx.turn():
                taken = self._execution.take(1)
                left = -1.0 if until is None else max(0.0, until - time.monotonic())
                if not taken and left == 0.0:
                    self._execution.took_nothing()
            if taken or left == 0.0:
                self._ctx.room()
                return next(iter(taken), None)
            self._wait(left)

    def waiting(self) -> list[Message]:
        """Takes all that are there, without waiting."""
        with self._ctx.turn():
            taken = self._execution.taken_before(waits=False)
            if taken is not None:
                return taken
            taken = self._execution.take(None)
            if not taken:
                self._execution.took_nothing()
        self._ctx.room()
        return taken

    def __iter__(self) -> Iterator[Message]:
        while True:
            yield self.take()

    def _wait(self, seconds: float) -> None:
        end = self._execution.end
        roused = threading.Lock()
        roused.acquire()
        end.mailbox.when_roused(roused.release)
        if end.stopped is None:
            roused.acquire(timeout=seconds)
        end.mailbox.forget(roused.release)
        self._ctx.enter()
        check_waits(end)
