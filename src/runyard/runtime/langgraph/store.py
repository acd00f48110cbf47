"""LangGraph's store over Runyard's items.

`RunStore` is what a run sees: bound to its attempt, so that code which has lost its run can change nothing.
`ServerStore` is bound to none, for what lives as long as the server (factories of graphs); its writes are not fenced.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from runyard import items
from runyard.clock import Clock
from runyard.errors import NotFound, RunyardError
from runyard.items import NamespaceQuery
from runyard.runtime import store as calls
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.plain import NO_LIMIT
from runyard.runtime.signals import StaleAttempt
from runyard.storage.contract import Storage

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store(BaseStore):
    """What both stores share. Within a batch, reads see what was there before its writes; of several writes to one
    place the last counts. `query` and `index` change nothing: there is no index of meanings."""

    supports_ttl = True

    def __init__(self, loop: asyncio.AbstractEventLoop, max_value_bytes: int) -> None:
        super().__init__()
        self._loop = loop
        self._limit = max_value_bytes

    @abstractmethod
    async def _ask(self, wanted: Sequence[StoreCall]) -> list[StoreReply]:
        """The replies to calls that do not depend on each other."""

    def _number(self) -> int:
        return 0

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carries out operations; the results are in their order."""
        listed = list(ops)
        reads = [(place, self._read(op)) for place, op in enumerate(listed) if not isinstance(op, PutOp)]
        puts = {(op.namespace, op.key): op for op in listed if isinstance(op, PutOp)}
        results: list[Result] = [None] * len(listed)
        for (place, _), reply in zip(reads, await self._ask([call for _, call in reads]), strict=True):
            results[place] = _result(listed[place], calls.checked(reply))
        for reply in await self._ask([self._write(op) for op in puts.values()]):
            calls.checked(reply)
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """As `abatch`, for code in other threads than the loop's.

        Raises:
            RuntimeError: in the loop's own thread, which the call would block for ever.
        """
        return self._wait(self.abatch(ops))

    def _read(self, op: Op) -> StoreCall:
        if isinstance(op, GetOp):
            return calls.get(self._number(), op.namespace, op.key)
        if isinstance(op, SearchOp):
            return calls.search(self._number(), op.namespace_prefix, op.filter, op.limit, op.offset)
        if isinstance(op, ListNamespacesOp):
            query = NamespaceQuery(max_depth=op.max_depth, limit=op.limit, offset=op.offset)
            for condition in op.match_conditions or ():
                field = "prefix" if condition.match_type == "prefix" else "suffix"
                query = msgspec.structs.replace(query, **{field: tuple(condition.path)})
            return StoreCall(self._number(), "namespaces", query=query)
        raise ValueError(f"{type(op).__name__} is no operation of a store")

    def _write(self, op: PutOp) -> StoreCall:
        if op.value is None:
            return calls.delete(self._number(), op.namespace, op.key)
        return calls.put(self._number(), op.namespace, op.key, op.value, op.ttl, self._limit)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if inside:
            coroutine.close()
            raise RuntimeError(
                "a synchronous call of the store would block the event loop that it waits for: "
                "use its async methods here (aget, aput, asearch, ...)"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class RunStore(Store):
    """The store of one attempt. Every write is fenced like all that the attempt writes.

    Raises:
        StaleAttempt: after the outcome of the run, or when another attempt has taken it over.
    """

    def __init__(self, end: AgentEnd, max_value_bytes: int) -> None:
        super().__init__(end.loop, max_value_bytes)
        self._end = end

    def _number(self) -> int:
        return self._end.next_call()

    async def _ask(self, wanted: Sequence[StoreCall]) -> list[StoreReply]:
        end = self._end
        if end.ended or end.stopped == "lost":
            raise StaleAttempt("the store of a run that is over was used; what lives longer needs one of its own")
        waiting = [_send(end, call) for call in wanted]
        replies = [await reply for reply in waiting]
        if None in replies:
            if end.ended or end.stopped == "lost":
                raise StaleAttempt("the run was taken over, or ended, while its store was used")
            raise asyncio.CancelledError("the run was asked to stop")
        return cast("list[StoreReply]", replies)


def _send(end: AgentEnd, call: StoreCall) -> asyncio.Future[StoreReply | None]:
    came: asyncio.Future[StoreReply | None] = end.loop.create_future()

    def wake(reply: StoreReply | None) -> None:
        if not came.done():
            came.set_result(reply)

    end.when_replied(call, wake)
    return came


class ServerStore(Store):
    """A store that belongs to the server, not to a run: its writes are not fenced, and are the `owner`'s."""

    def __init__(
        self, storage: Storage, loop: asyncio.AbstractEventLoop, clock: Clock, *, owner: str = "", limit: int = NO_LIMIT
    ) -> None:
        """`loop` is the one in which the storage is used."""
        super().__init__(loop, limit)
        self._storage = storage
        self._clock = clock
        self._owner = owner

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carries out operations, from any loop; the results are in their order."""
        if asyncio.get_running_loop() is self._loop:
            return await super().abatch(ops)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(super().abatch(ops), self._loop))

    async def _ask(self, wanted: Sequence[StoreCall]) -> list[StoreReply]:
        return [await self._do(call) for call in wanted]

    async def _do(self, call: StoreCall) -> StoreReply:
        storage, owner, now = self._storage, self._owner, self._clock.now()
        try:
            if call.method == "get":
                return StoreReply(0, [await storage.get_item(owner, call.namespace, call.key, now)])
            if call.method == "put":
                expires = None if call.ttl is None else now + int(call.ttl * 60e6)
                await storage.put_item(owner, call.namespace, call.key, call.value, now, expires_at=expires)
                return StoreReply(0)
            if call.method == "delete":
                await storage.delete_item(owner, call.namespace, call.key, now)
                return StoreReply(0)
            if call.method == "search":
                assert call.search is not None
                return StoreReply(0, await storage.search_items(owner, call.search, now))
            return StoreReply(0, namespaces=await storage.namespaces(owner, call.query or NamespaceQuery(), now))
        except NotFound:
            return StoreReply(0)
        except RunyardError as error:
            return StoreReply(0, error=(error.reason, error.message))


def _result(op: Op, reply: StoreReply) -> Result:
    if isinstance(op, GetOp):
        return _item(reply.items[0], Item) if reply.items else None
    if isinstance(op, SearchOp):
        return [cast(SearchItem, _item(item, SearchItem)) for item in reply.items]
    return list(reply.namespaces)


def _item(item: items.Item, kind: type[Item]) -> Item:
    return kind(
        namespace=item.namespace,
        key=item.key,
        value=msgspec.json.decode(item.value),
        created_at=_EPOCH + timedelta(microseconds=item.created_at),
        updated_at=_EPOCH + timedelta(microseconds=item.updated_at),
    )
