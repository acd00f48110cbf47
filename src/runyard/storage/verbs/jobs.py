"""Verbs on their way to a commit, and what is told after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from runyard.errors import RunyardError, StorageError, Unavailable
from runyard.events import Chunk

GROUP_LIMIT = 1000
"""Verbs per commit: bounds how long the first of a group waits for the last."""


class Job:
    """A verb that somebody waits for."""

    __slots__ = ("arguments", "chunks", "error", "future", "outbox", "ready", "result", "verb")

    def __init__(
        self,
        verb: Callable[..., Coroutine[Any, Any, Any]],
        arguments: tuple[Any, ...],
        future: asyncio.Future[Any],
    ) -> None:
        self.verb = verb
        self.arguments = arguments
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.chunks: Sequence[Chunk] = ()
        self.ready = False
        self.outbox = False

    def fail(self, error: RunyardError) -> None:
        """Nothing of it was written."""
        self.error, self.chunks, self.ready, self.outbox = error, (), False, False

    @property
    def failed_by_database(self) -> bool:
        return isinstance(self.error, (StorageError, Unavailable))

    def resolve(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def writer_died() -> Unavailable:
    return Unavailable("the database's writer has died; restart the server")
