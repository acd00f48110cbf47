"""Threads for code that blocks: synchronous agents, and synchronous steps of asynchronous ones."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from runyard.telemetry import say

T = TypeVar("T")


class Crew:
    """Threads that are made when needed and kept for the next job; at most `limit`, then jobs wait in line.

    They are daemons, unlike those of `concurrent.futures`: code that never ends must not keep the process from
    ending.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0
        """Threads that wait for a job, less the jobs that wait for a thread."""

    def submit(self, job: Callable[[], None]) -> None:
        """Runs `job` in a thread of its own; it has to handle its own errors."""
        with self._lock:
            self._free -= 1
            if self._free < 0 and self._threads < self._limit:
                self._threads += 1
                self._free += 1
                threading.Thread(target=self._work, name=f"runyard-agent-sync-{self._threads}", daemon=True).start()
        self._jobs.put(job)

    async def call(self, function: Callable[[], T]) -> T:
        """Calls `function` in a thread, in a copy of the caller's context variables, and waits for its result.

        A caller that is cancelled does not stop the thread; the result is then dropped.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                result = context.run(function)
            except BaseException as error:
                # A future refuses StopIteration, and treats an exit as one of the loop's own thread.
                if isinstance(error, (StopIteration, SystemExit, KeyboardInterrupt)):
                    error = RuntimeError(f"the function raised {type(error).__name__}: {error}")
                _tell(loop, _fail, done, error)
            else:
                _tell(loop, _succeed, done, result)

        self.submit(job)
        return await done

    def close(self) -> None:
        """Lets idle threads end; busy ones end after their job."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:
                say("job of a worker thread failed", error=error)
            # A finished job's thread must not keep what the job held until the next one comes.
            del job
            with self._lock:
                self._free += 1


def _tell(loop: asyncio.AbstractEventLoop, how: Callable[..., None], done: asyncio.Future[Any], what: Any) -> None:
    try:
        loop.call_soon_threadsafe(how, done, what)
    except RuntimeError:
        say("step ended after its event loop")


def _succeed(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
