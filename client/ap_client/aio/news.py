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
        self._waiting = 0
        self._room = asyncio.Event()

    def watch(self, inbox: Inbox[Any]) -> None:
        """Have those who wait for this subscription woken."""
        inbox.wake = lambda: self._wake(inbox)

    async def of(self, inbox: Inbox[Any]) -> None:
        """Wait until something has changed for a subscription."""
        changed = asyncio.get_running_loop().create_future()
        readers = self._readers.setdefault(inbox, set())
        readers.add(changed)
        try:
            with self.waiting():
                await changed
        finally:
            readers.discard(changed)
            if not readers:
                self._readers.pop(inbox, None)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Somebody waits for what a connection is to bring."""
        self._waiting += 1
        self._room.set()
        try:
            yield
        finally:
            self._waiting -= 1

    async def room(self) -> None:
        """Wait until somebody reads, where a subscription holds a lot.

        Not while anybody waits: what he waits for may be behind what another does not read.
        """
        while self._watch.crowded and not self._waiting:
            self._room.clear()
            await self._room.wait()

    def taken(self) -> None:
        """A reader has taken what there was."""
        self._room.set()

    def _wake(self, inbox: Inbox[Any]) -> None:
        for changed in self._readers.get(inbox, ()):
            if not changed.done():
                changed.set_result(None)
