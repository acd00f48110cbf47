"""Making vectors for requests: the user's own code, which may be slow, hang or fail, and holds up nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from runyard.errors import EmbeddingFailed, EmbeddingTimeout, RunyardError
from runyard.runtime.index import Index, Meanings, Texts

T = TypeVar("T")

PLACES = 16
"""Requests for which vectors are made at once; others wait, within their time."""
TIMEOUT = 30.0
"""Seconds that a request waits for its vectors."""


class Embedding:
    """An index as requests use it. One that blocks has threads of its own: those that hang keep their place until they
    end, and go with the process."""

    def __init__(self, index: Index, *, timeout: float = TIMEOUT, places: int = PLACES) -> None:
        self.index = index
        self._timeout = timeout
        self._places = asyncio.Semaphore(places)

    async def meanings(self, texts: Texts) -> Meanings:
        """The vectors of texts.

        Raises:
            InvalidInput: there is too much of them.
            EmbeddingFailed: the code failed, or gave no vectors.
            EmbeddingTimeout: it did not answer in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            raise self._too_slow() from None
        work = self._begun(texts)
        try:
            await asyncio.wait((work,), timeout=deadline - loop.time())
            if work.done():
                return work.result()
        except RunyardError:
            raise
        except Exception as error:
            raise EmbeddingFailed(f"{self.index.place} failed: {type(error).__name__}: {error}") from error
        finally:
            work.cancel()
        raise self._too_slow()

    def _begun(self, texts: Texts) -> asyncio.Future[Meanings]:
        """What will be the vectors. Its place is free when the code has ended, and not before."""
        if self.index.blocks:
            return in_thread(lambda: self.index.meanings_now(texts), self._places.release)
        task = asyncio.get_running_loop().create_task(self.index.meanings(texts))
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Meanings]) -> None:
        self._places.release()
        if not task.cancelled():
            task.exception()  # nobody else may look at it

    def _too_slow(self) -> EmbeddingTimeout:
        return EmbeddingTimeout(f"{self.index.place} has not given vectors within {self._timeout:g} s")


def in_thread(work: Callable[[], T], ended: Callable[[], None]) -> asyncio.Future[T]:
    """Does something in a thread of its own; `ended` is called in this loop when the thread has ended, whether or not
    anybody still waits for the result."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        ended()
        if result.done():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def run() -> None:
        value: Any = None
        failed: BaseException | None = None
        try:
            value = context.run(work)
        except Exception as error:
            failed = error
        except BaseException as error:  # an exit of the code's is not one of the server
            failed = RuntimeError(f"{type(error).__name__}: {error}")
        try:
            loop.call_soon_threadsafe(settle, value, failed)
        except RuntimeError:
            pass  # the server has stopped: nobody waits

    try:
        threading.Thread(target=run, name="runyard-embedding", daemon=True).start()
    except RuntimeError as error:  # the system has no room for it
        settle(None, error)
    return result
