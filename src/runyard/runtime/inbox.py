"""Where what an attempt's code tells waits for the engine."""

from __future__ import annotations

import asyncio

from runyard.runtime.contract import FromAgent


class Inbox:
    """The messages of one attempt, in order, for one reader. Used in the engine's loop only."""

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        self._messages: list[FromAgent] = []
        self._reader: asyncio.Future[None] | None = None

    async def receive(self) -> list[FromAgent]:
        """All messages that wait, in order; waits for the first. `Ended` is the last one ever."""
        while not self._messages:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        messages, self._messages = self._messages, []
        return messages

    def put(self, message: FromAgent) -> None:
        """Another one has come."""
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
