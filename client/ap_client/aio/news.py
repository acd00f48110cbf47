"""Waiting for what a subscription gets, and for room to read on."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ap_client.inbox import Inbox
from ap_client.watch import Watch


class News:
    """Those who wait under one stream: readers for events, connections for room."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._readers: dict[Inbox[Any], set[asyncio.Future[None]]] = {}
        self._answers = 0
        self._room = asyncio.Event()

    def watch(self, inbox: Inbox[Any]) -> None:
        """Have those who wait for this subscription woken."""
        inbox.wake = lambda: self._wake(inbox)

    async def of(self, inbox: Inbox[Any]) -> None:
        """Wait until something has changed for a subscription."""
        changed = asyncio.get_running_loop().create_future()
        readers = self._readers.setdefault(inbox, set())
        readers.add(changed)
        self._room.set()
        try:
            await changed
        finally:
            readers.discard(changed)
            if not readers:
                self._readers.pop(inbox, None)

    @contextmanager
    def awaited(self) -> Generator[None]:
        """An answer is waited for, that a connection is to bring."""
        self._answers += 1
        self._room.set()
        try:
            yield
        finally:
            self._answers -= 1

    @property
    def crowded(self) -> bool:
        """Whether a subscription holds a lot, and nobody waits for anything.

        What somebody waits for may be behind what another does not read.
        """
        return self._watch.crowded and not self._answers and not any(map(_waits, self._readers.values()))

    async def room(self) -> None:
        """Wait until it is not crowded any more."""
        while self.crowded:
            self._room.clear()
            await self._room.wait()

    def taken(self) -> None:
        """A reader has taken what there was."""
        self._room.set()

    def _wake(self, inbox: Inbox[Any]) -> None:
        for changed in self._readers.get(inbox, ()):
            if not changed.done():
                changed.set_result(None)


def _waits(readers: set[asyncio.Future[None]]) -> bool:
    # One that has been woken has not had its turn yet.
    return any(not changed.done() for changed in readers)
