"""Many who ask for one row each: what is asked while answers are on their way goes into the next statement.

As commits do, reads grow with the load by themselves, and no timer delays anybody: a hundred who wait for runs that
end at the same moment make one statement, not a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 2
"""Statements of a kind that may be on their way: one row that has to come from the disk does not hold up all others."""


class Gathered(Generic[K, V]):
    """Answers for keys, by a function that finds those of several at once."""

    def __init__(self, find: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], most: int) -> None:
        """`most`: how many keys it is given at a time."""
        self._find = find
        self._most = most
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        """Those that will look again at what waits."""

    async def ask(self, key: K) -> V | None:
        """What is found for a key after it was asked for; None where there is nothing.

        Raises:
            whatever finding raises.
        """
        answer = self._waiting.get(key)
        if answer is None:
            loop = asyncio.get_running_loop()
            answer = self._waiting[key] = loop.create_future()
            if len(self._asking) < AT_ONCE:
                task = loop.create_task(self._ask())
                self._asking.add(task)
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # it is one
        try:
            while self._waiting:
                await self._answer()
        finally:
            # At once, not by a callback: who asks before that ran would count on a task that looks no more.
            self._asking.discard(task)

    async def _answer(self) -> None:
        keys = [*self._waiting][: self._most]
        answers = {key: self._waiting.pop(key) for key in keys}
        try:
            found = await self._find(keys)
        except asyncio.CancelledError:
            for answer in answers.values():
                answer.cancel()
            raise
        except Exception as error:
            for answer in answers.values():
                answer.set_exception(error)
                answer.exception()  # whoever asked may be gone
        else:
            for key, answer in answers.items():
                answer.set_result(found.get(key))
