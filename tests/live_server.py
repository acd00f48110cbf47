"""A whole server in this process, and a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import httpx2

from runyard.clock import Clock
from runyard.server import App

T = TypeVar("T")


class MovableClock(Clock):
    """Time that stands still until it is moved; waits end when it passes them."""

    def __init__(self) -> None:
        self._now = 1_800_000_000_000_000
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        sleeper = (self._now + int(seconds * 1e6), asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    def move(self, seconds: float) -> None:
        self._now += int(seconds * 1e6)
        for until, future in tuple(self._sleepers):
            if until <= self._now and not future.done():
                future.set_result(None)


class Server:
    """What a test talks to: the HTTP face, and the engine behind it."""

    def __init__(self, app: App, http: httpx2.AsyncClient) -> None:
        self.app = app
        self.http = http
        self.verbs = app.engine.verbs
        self.storage = app.engine.storage
        self.inspection = app.engine.inspection

    async def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return await self.http.post(path, json=body if body is not None else {}, timeout=20, **more)

    async def thread(self, **fields: Any) -> str:
        return (await self.post("/threads", fields)).json()["thread_id"]

    async def run(self, **wish: Any) -> dict[str, Any]:
        answer = await self.post("/runs", wish)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def wait(self, run_id: str) -> dict[str, Any]:
        return (await self.http.get(f"/runs/{run_id}/wait", timeout=20)).json()

    async def get(self, path: str) -> Any:
        return await self.http.get(path, timeout=20)

    async def until(self, true: Callable[[], bool | Awaitable[bool]]) -> None:
        """Lets the server work until something is true; a test that waits for ever is ended by its time limit."""
        while not await told(true()):
            await asyncio.sleep(0.001)


async def told(answer: bool | Awaitable[bool]) -> bool:
    """An answer that may have to be waited for."""
    return answer if isinstance(answer, bool) else await answer


async def holds(reading: Awaitable[T], test: Callable[[T], bool]) -> bool:
    """Whether what is read passes a test."""
    return test(await reading)


def at_once(reading: Coroutine[Any, Any, T]) -> T:
    """What the embedded database reads without a pause, where a test cannot wait."""
    try:
        reading.send(None)
    except StopIteration as read:
        return read.value
    raise AssertionError("it paused")


Starter = Callable[..., AbstractAsyncContextManager[Server]]


def play(story: Coroutine[Any, Any, None]) -> None:
    """Runs an async test."""
    asyncio.run(story)
