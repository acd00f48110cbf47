"""An event loop in a thread of its own, for what has to go on while its caller does something else."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

A = TypeVar("A")


class LoopThread:
    """A loop that runs until it is stopped. The thread does not keep a process alive."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopped = False
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it has come to its end."""
        return self._stopped

    def perform(self, work: Coroutine[Any, Any, A]) -> A:
        """Do it there, and return what it returns. Raises what it raises."""
        going = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return going.result()
        except BaseException:
            # Whoever was interrupted while he waited, waits no more.
            going.cancel()
            raise

    def call(self, work: Callable[[], A]) -> A:
        """Call it there, and return what it returns. Raises what it raises."""

        async def called() -> A:
            return work()

        return self.perform(called())

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do one last thing there and end the thread. Once it is stopped this does nothing."""
        with self._stopping:
            if self._stopped:
                return
            try:
                self.perform(last())
            finally:
                self.abandon()
            self._thread.join()

    def abandon(self) -> None:
        """End the thread without waiting for it."""
        if not self._stopped:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
