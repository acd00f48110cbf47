"""The store that belongs to the server: bound to no run, for what lives longer than one (factories of graphs)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence

from runyard.errors import RunyardError, Unavailable
from runyard.runtime.contract import StoreAnswer, StoreCall
from runyard.runtime.index import Index
from runyard.runtime.langgraph.store import ItemStore, Replies
from runyard.runtime.plain import NO_LIMIT


class ServerStore(ItemStore):
    """A store that belongs to the server, not to a run.

    Its writes are NOT fenced: whoever holds it may write at any time, after a run's outcome or beside the attempt that
    took the run over. They are the `owner`'s, whoever created the run. Use `RunStore`, which graphs get by themselves,
    for what belongs to a run.

    It works from `attach` to the storage's close; until then, and so while graphs are loaded, it raises `Unavailable`.
    """

    def __init__(self, owner: str = "", max_value_bytes: int = NO_LIMIT) -> None:
        super().__init__(max_value_bytes)
        self._owner = owner
        self._attached: tuple[StoreAnswer, asyncio.AbstractEventLoop] | None = None
        self._meanings: Index | None = None

    def attach(self, answer: StoreAnswer, index: Index | None = None) -> None:
        """Gives it what answers its calls, and what makes vectors for them; called in the event loop in which the
        former is used."""
        self._attached = answer, asyncio.get_running_loop()
        self._meanings = index

    @property
    def _index(self) -> Index | None:
        return self._meanings

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._parts[1]

    @property
    def _parts(self) -> tuple[StoreAnswer, asyncio.AbstractEventLoop]:
        if self._attached is None:
            raise Unavailable("the store is not open while graphs are loaded: use it when the server has started")
        return self._attached

    async def _ask(self, wanted: Sequence[StoreCall]) -> Replies:
        if asyncio.get_running_loop() is self._loop:
            return await self._answer(wanted)
        return await asyncio.wrap_future(self._elsewhere(wanted))

    def _ask_and_wait(self, wanted: Sequence[StoreCall]) -> Replies:
        return self._elsewhere(wanted).result()

    def _elsewhere(self, wanted: Sequence[StoreCall]) -> concurrent.futures.Future[Replies]:
        work = self._answer(wanted)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise Unavailable("the server has stopped, and its store with it") from None

    async def _answer(self, wanted: Sequence[StoreCall]) -> Replies:
        answer, _ = self._parts
        if len(wanted) == 1:
            return [await answer(self._owner, wanted[0])]
        return [*await asyncio.gather(*(answer(self._owner, call) for call in wanted))]

    def _no_reply(self) -> BaseException:
        return RunyardError("the server's store gave no reply")
