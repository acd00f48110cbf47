"""LangGraph's store over Runyard's items, and the store of a run: bound to its attempt, so that code which has lost its
run can change nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, cast

import msgspec
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from runyard import items
from runyard.errors import InvalidInput
from runyard.items import Lasting, Namespace, NamespaceQuery, check_namespace
from runyard.runtime import store as calls
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.describe import shown
from runyard.runtime.index import Index, Meanings, Texts
from runyard.runtime.signals import StaleAttempt
from runyard.vectors import Vector

Replies = list[StoreReply | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ItemStore(BaseStore):
    """What both stores share; safe in any thread and any event loop.

    Within a batch, reads see what was there before its writes; of several writes to one place the last counts. Nothing
    is sent unless all of the batch fits, and all its texts have their vectors. Without an index of meanings `query` and
    `index` change nothing.
    """

    supports_ttl = True

    def __init__(self, max_value_bytes: int) -> None:
        super().__init__()
        self._limit = max_value_bytes

    @property
    @abstractmethod
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop by which replies come."""

    @property
    @abstractmethod
    def _index(self) -> Index | None:
        """What makes vectors of texts."""

    @abstractmethod
    async def _ask(self, wanted: Sequence[StoreCall]) -> Replies:
        """The replies to calls that do not depend on each other, which are all sent before the first reply; None stands
        for one that will not come."""

    @abstractmethod
    def _ask_and_wait(self, wanted: Sequence[StoreCall]) -> Replies:
        """The same, in a thread that waits for them."""

    @abstractmethod
    def _no_reply(self) -> BaseException:
        """Why a reply does not come."""

    def _number(self) -> int:
        return 0

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """As `abatch`, for code in other threads than that of the loop by which replies come.

        Raises:
            InvalidStateError: in that loop's thread, which the call would block for ever.
        """
        if current_loop() is self._loop:
            raise asyncio.InvalidStateError(
                f"a synchronous call of {type(self).__name__} in the event loop that it waits for would block it for "
                "ever; use the asynchronous methods here: await store.aget(...), aput, asearch, adelete, "
                "alist_namespaces, abatch"
            )
        steps = self._steps(ops)
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, Texts):
                    wanted = steps.send(self._known_index.meanings_now(wanted, self._loop))
                else:
                    wanted = steps.send(self._ask_and_wait(wanted))
        except StopIteration as done:
            return done.value

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carries out operations; the results are in their order.

        Raises:
            InvalidNamespaceError: a label that is empty or holds NUL.
            ValueError: an unknown operator of a filter; a limit, an offset or a ttl out of range; too much to embed.
            NotSerialisable, ValueTooLarge: a value; the message names the item's key.
            RunyardError: with the code of what went wrong in the server.
            Exception: whatever the embedding raises.
        """
        steps = self._steps(ops)
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, Texts):
                    wanted = steps.send(await self._known_index.meanings(wanted))
                else:
                    wanted = steps.send(await self._ask(wanted))
        except StopIteration as done:
            return done.value

    @property
    def _known_index(self) -> Index:
        assert self._index is not None  # else nothing is to be embedded
        return self._index

    def _steps(self, ops: Iterable[Op]) -> Generator[list[StoreCall] | Texts, Any, list[Result]]:
        """What is wanted: the vectors of texts, the replies to the reads, then those to the writes; gives the results
        when the last are in."""
        listed = list(ops)
        places = [place for place, op in enumerate(listed) if not isinstance(op, PutOp)]
        puts = {(tuple(op.namespace), op.key): op for op in listed if isinstance(op, PutOp)}
        reads = [self._read(listed[place]) for place in places]
        writes = [self._write(op) for op in puts.values()]
        texts = self._texts([listed[place] for place in places], [*puts.values()])
        if texts:
            meanings: Meanings = yield texts
            vectors = iter(meanings.queries)
            reads = [
                _with_meaning(call, vectors) if _asks(listed[place]) else call
                for place, call in zip(places, reads, strict=True)
            ]
            writes = [
                msgspec.structs.replace(call, vectors=tuple(given))
                for call, given in zip(writes, meanings.items, strict=True)
            ]
        results: list[Result] = [None] * len(listed)
        if reads or not writes:
            replies: Replies = yield reads
            for place, reply in zip(places, replies, strict=True):
                results[place] = _result(listed[place], self._checked(reply))
        if writes:
            written: Replies = yield writes
            for reply in written:
                self._checked(reply)
        return results

    def _texts(self, reads: Sequence[Op], puts: Sequence[PutOp]) -> Texts:
        """What is to be embedded: of each put, and of the searches that have a query."""
        index = self._index
        if index is None:
            return Texts()
        try:
            items = [[] if op.value is None else index.texts(op.value, op.index) for op in puts]
        except InvalidInput as error:
            raise ValueError(error.message) from None
        return Texts(items, [op.query for op in reads if isinstance(op, SearchOp) and op.query])

    def _checked(self, reply: StoreReply | None) -> StoreReply:
        if reply is None:
            raise self._no_reply()
        return calls.checked(reply)

    def _read(self, op: Op) -> StoreCall:
        try:
            if isinstance(op, GetOp):
                call = calls.get(self._number(), _labels(op.namespace), op.key)
                return msgspec.structs.replace(call, refresh=op.refresh_ttl)
            if isinstance(op, SearchOp):
                prefix = _labels(op.namespace_prefix)
                call = calls.search(self._number(), prefix, op.filter, op.limit, op.offset)
                return msgspec.structs.replace(call, refresh=op.refresh_ttl)
            if isinstance(op, ListNamespacesOp):
                return StoreCall(self._number(), "namespaces", query=_query(op))
        except InvalidInput as error:
            raise ValueError(error.message) from None
        raise ValueError(f"{shown(op)} is no operation of a store")

    def _write(self, op: PutOp) -> StoreCall:
        namespace = _labels(op.namespace)
        if op.value is None:
            return calls.delete(self._number(), namespace, op.key)
        place = f"the value of item {shown(op.key)}"
        try:
            return calls.put(self._number(), namespace, op.key, op.value, op.ttl, self._limit, place)
        except InvalidInput as error:
            raise ValueError(error.message) from None


class RunStore(ItemStore):
    """The store of one attempt. Every write is fenced like all that the attempt writes.

    Each method raises `StaleAttempt` after the outcome of the run, or when the attempt has lost its lease.
    """

    def __init__(self, end: AgentEnd, max_value_bytes: int, lasting: Lasting = Lasting()) -> None:
        super().__init__(max_value_bytes)
        self._end = end
        # LangGraph asks it what it does with calls that say nothing: then "never expires" can still be said.
        if lasting != Lasting():
            self.ttl_config = TTLConfig(default_ttl=lasting.minutes, refresh_on_read=lasting.refresh is not False)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._end.loop

    @property
    def _index(self) -> Index | None:
        return self._end.index

    def _number(self) -> int:
        return self._end.next_call()

    async def _ask(self, wanted: Sequence[StoreCall]) -> Replies:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[Replies] = loop.create_future()
        self._send(wanted, functools.partial(_give, loop, came))
        return await came

    def _ask_and_wait(self, wanted: Sequence[StoreCall]) -> Replies:
        came: concurrent.futures.Future[Replies] = concurrent.futures.Future()
        self._send(wanted, came.set_result)
        return came.result()

    def _send(self, wanted: Sequence[StoreCall], done: Callable[[Replies], None]) -> None:
        replies = _Replies(len(wanted), done)
        for place, call in enumerate(wanted):
            self._end.when_replied(call, functools.partial(replies.take, place))

    def _no_reply(self) -> BaseException:
        if self._end.ended or self._end.stopped == "lost":
            return StaleAttempt(
                f"the attempt at run {self._end.run_id} that this store belongs to is over; what goes on after a run "
                "cannot use its store"
            )
        return asyncio.CancelledError("the run was asked to stop")


class _Replies:
    """What the calls of one batch are answered, in whatever order and thread the replies come."""

    __slots__ = ("_done", "_left", "_lock", "_replies")

    def __init__(self, count: int, done: Callable[[Replies], None]) -> None:
        self._done = done
        self._replies: Replies = [None] * count
        self._left = count
        self._lock = threading.Lock()
        if not count:
            done([])

    def take(self, place: int, reply: StoreReply | None) -> None:
        """Takes one; None where it will not come."""
        with self._lock:
            self._replies[place] = reply
            self._left -= 1
            last = not self._left
        if last:
            self._done(self._replies)


def _asks(op: Op) -> bool:
    """Whether it is a search by meaning."""
    return isinstance(op, SearchOp) and bool(op.query)


def _with_meaning(call: StoreCall, vectors: Iterator[Vector]) -> StoreCall:
    assert call.search is not None
    return msgspec.structs.replace(call, search=msgspec.structs.replace(call.search, meaning=next(vectors)))


def _give(loop: asyncio.AbstractEventLoop, came: asyncio.Future[Replies], replies: Replies) -> None:
    """Hands replies over to whoever waits for them in that loop."""
    if current_loop() is loop:
        _resolve(came, replies)
        return
    try:
        loop.call_soon_threadsafe(_resolve, came, replies)
    except RuntimeError:
        pass  # the loop, one of the code's own, has been closed: nobody waits


def _resolve(came: asyncio.Future[Replies], replies: Replies) -> None:
    if not came.done():
        came.set_result(replies)


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _labels(namespace: Sequence[str]) -> Namespace:
    try:
        for label in namespace:
            if not isinstance(cast(object, label), str):
                raise InvalidNamespaceError(f"the label {shown(label)} of namespace {shown(namespace)} is no text")
        return check_namespace(tuple(namespace))
    except InvalidInput as error:
        raise InvalidNamespaceError(error.message) from None


def _query(op: ListNamespacesOp) -> NamespaceQuery:
    prefix: Namespace | None = ()
    suffix: Namespace | None = ()
    for condition in op.match_conditions or ():
        path = _labels(condition.path)
        if condition.match_type == "prefix":
            prefix = _both(prefix, path)
        elif condition.match_type == "suffix":
            suffix = _both(suffix, path[::-1])
        else:
            raise ValueError(f"{shown(condition.match_type)} is no match type; allowed: prefix, suffix")
    if prefix is None or suffix is None:
        return NamespaceQuery(limit=0)
    return NamespaceQuery(prefix, suffix[::-1], op.max_depth, op.limit, op.offset)


def _both(one: Namespace | None, other: Namespace) -> Namespace | None:
    """The labels that a namespace must have which has to match both; None where none can."""
    both: list[str] = []
    for first, second in zip_longest(one or (), other, fillvalue="*"):
        if first != second and "*" not in (first, second):
            return None
        both.append(second if first == "*" else first)
    return None if one is None else tuple(both)


def _result(op: Op, reply: StoreReply) -> Result:
    if isinstance(op, GetOp):
        return Item(**_fields(reply.items[0])) if reply.items else None
    if isinstance(op, SearchOp):
        return [SearchItem(**_fields(item), score=item.score) for item in reply.items]
    return list(reply.namespaces)


def _fields(item: items.Item) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": msgspec.json.decode(item.value),
        "created_at": _EPOCH + timedelta(microseconds=item.created_at),
        "updated_at": _EPOCH + timedelta(microseconds=item.updated_at),
    }
