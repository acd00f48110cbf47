"""The lifespan of an ASGI app that is served within another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from runyard.errors import Unavailable
from runyard.telemetry import say


@asynccontextmanager
async def lifespan(app: ASGIApp, place: str) -> AsyncGenerator[dict[str, Any]]:
    """Starts an app, and stops it at the end; gives what it wants every request to have. `place` names it in messages.

    Raises:
        Unavailable: it does not start.
    """
    life = _Life(app)
    await life.begin()
    if life.failure is not None:
        raise Unavailable(f"{place} does not start: {_last_line(life.failure)}")
    try:
        yield life.state
    finally:
        await life.end()
        if life.failure is not None:
            say("app did not stop in order", place=place, why=_last_line(life.failure))


class _Life:
    """One run of the lifespan protocol. An app that does not speak it has nothing to start."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.failure: str | None = None
        self._app = app
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._started = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self._told.put_nowait({"type": "lifespan.startup"})
        # One task for both ends: what is opened in a task may have to be closed in it.
        self._task = asyncio.create_task(self._live())
        await self._started.wait()

    async def end(self) -> None:
        assert self._task is not None  # it has begun
        self._told.put_nowait({"type": "lifespan.shutdown"})
        await self._task

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._told.get, self._hear)
        except Exception as error:
            if self._started.is_set() and self.failure is None:
                self.failure = repr(error)
        finally:
            self._started.set()

    async def _hear(self, message: Message) -> None:
        if message["type"].endswith(".failed"):
            self.failure = message.get("message") or "it does not say why"
        if message["type"].startswith("lifespan.startup."):
            self._started.set()


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
