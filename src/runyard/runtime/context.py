"""`ctx`: what an agent's code sees of its run.

`Context` is for asynchronous agents, `SyncContext` for synchronous ones: the same calls, with and without `await`.
What a call does is in `Execution`, once; here are the two ways of waiting.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from runyard.runtime import store
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.execution import STORE, Execution
from runyard.runtime.plain import check_name, too_large
from runyard.runtime.store import StoreItem

T = TypeVar("T")


class About:
    """What a run is, and what its thread's state is now."""

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def run_id(self) -> str:
        return self._execution.run.run_id

    @property
    def thread_id(self) -> str:
        return self._execution.run.thread_id

    @property
    def agent_id(self) -> str:
        return self._execution.run.agent_id

    @property
    def attempt(self) -> int:
        """The number of this try at the run, from 1."""
        return self._execution.run.attempt

    @property
    def config(self) -> dict[str, Any]:
        """The request's `config.configurable`."""
        return self._execution.config

    @property
    def metadata(self) -> dict[str, Any]:
        """The run's metadata."""
        return self._execution.run.metadata

    @property
    def state(self) -> Mapping[str, Any]:
        """The thread's state now, by channel. Read only: changes go through `update`, `yield` or the return."""
        return self._execution.view()

    @property
    def cancelled(self) -> bool:
        """Whether the run has been asked to stop (a cancel, its timeout, or the server going down)."""
        return self._execution.end.stopped is not None


class Context(About):
    """What an asynchronous agent sees of its run. Every call is recorded, so that code which is entered again (after
    a crash, or with an answer) gets back what it did before; it must then do the same calls in the same order.

    All calls raise `NotSerialisable` for values that JSON cannot hold, and `ValueTooLarge` for those that are longer
    than the server's `max_value_bytes`.
    """

    __slots__ = ("_store",)

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self._store: Store | None = None

    async def update(self, delta: Mapping[str, Any]) -> None:
        """Merges `delta` into the thread's state and saves it: a step, with `updates` and `values` events.

        Each key replaces its channel, or goes through the reducer that the agent declares for it; `messages` are
        upserted by id, else appended. Waits only while too many writes are not yet durable.
        """
        await self._enter()
        self._execution.update("update", delta, "update")
        await self._room()

    async def emit(self, payload: Any, name: str | None = None) -> None:
        """Shows a `custom` event with any payload to those who watch the run."""
        execution = self._execution
        execution.enter(asyncio.current_task())
        if execution.frozen:
            await execution.park()
        execution.emit(payload, name)
        if execution.end.credit():
            await self._room()

    def message(self, role: str = "assistant", id: str | None = None, **extra: Any) -> Message:
        """A message that is shown piece by piece and added to the thread's messages as a whole at the end.

            async with ctx.message() as message:
                async for text in model.stream(prompt):
                    await message.write(text)

        `extra` goes into the whole message. A block that raises adds nothing.
        """
        return Message(self._execution, self._enter, self._room, role, id, extra)

    async def interrupt(self, payload: Any, name: str = "interrupt") -> Any:
        """Asks a human, and gives back the answer.

        Without an answer the run ends here as `interrupted`, with the question open on its thread; a resume enters
        the code again from its first line, and this call returns the answer. Code between is best put in `step`s.
        """
        await self._enter()
        answer, answered = self._execution.question(payload, name)
        if not answered:
            await self._execution.park()
        return answer

    async def step(self, name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `fn(*args, **kwargs)` and records its result: a later attempt, or a resume, gets that and does not
        call again. Returns when the record is durable.

        A synchronous `fn` is called in a thread. The result is what its JSON reads back as (a tuple is a list then),
        so that it is the same in every attempt. What `fn` raises is raised here and not recorded. Steps that are
        done side by side need names of their own.
        """
        await self._enter()
        nth, record = self._execution.step_begins(name)
        if record is not None:
            return msgspec.json.decode(record.body)
        end = self._execution.end
        try:
            if inspect.iscoroutinefunction(fn):
                result = await fn(*args, **kwargs)
            else:
                result = await end.crew.call(lambda: fn(*args, **kwargs))
                if inspect.isawaitable(result):
                    result = await result
        except BaseException:
            self._execution.step_fails(name, nth)
            raise
        number, result = self._execution.step_ends(name, nth, result)
        await _stored(end, number)
        return result

    @property
    def store(self) -> Store:
        """Documents that outlive runs and threads."""
        if self._store is None:
            self._store = Store(self._execution.limit, self._change_store, self._read_store)
        return self._store

    async def take_yield(self, value: Any) -> None:
        """What a generator yields: a step, unless it is None."""
        await self._enter()
        if value is not None:
            self._execution.update("yield", value, "the yielded value")
            await self._room()
        else:
            # Nothing of it waits; a generator that yields nothing for ever must not keep its lane for itself.
            await asyncio.sleep(0)

    async def _enter(self) -> None:
        self._execution.enter(asyncio.current_task())
        if self._execution.frozen:
            await self._execution.park()

    async def _room(self) -> None:
        number = self._execution.end.credit()
        if number:
            if self.cancelled:
                raise asyncio.CancelledError("the run was asked to stop and goes on writing")
            await _stored(self._execution.end, number)

    async def _ask_store(self, make: Callable[[int], StoreCall]) -> StoreReply:
        end = self._execution.end
        reply: asyncio.Future[StoreReply | None] = end.loop.create_future()
        end.when_replied(make(end.next_call()), functools.partial(_resolve, reply))
        return or_cancelled(await reply)

    async def _change_store(self, make: Callable[[int], StoreCall]) -> None:
        await self._enter()
        nth, done = self._execution.store_begins()
        if done:
            return
        try:
            store.checked(await self._ask_store(make))
        except BaseException:
            self._execution.step_fails(STORE, nth)
            raise
        self._execution.step_ends(STORE, nth, None)
        await self._room()

    async def _read_store(self, make: Callable[[int], StoreCall]) -> StoreReply:
        await self._enter()
        return await self._ask_store(make)


class Draft:
    """A message that is being written."""

    __slots__ = ("_begun", "_execution", "_extra", "_id", "_left", "_pieces", "role")

    def __init__(self, execution: Execution, role: str, id: str | None, extra: dict[str, Any]) -> None:
        self.role = check_name(role, "the role of a message")
        self._id = id
        self._left = execution.limit
        self._extra = extra
        self._execution = execution
        self._pieces: list[str] = []
        self._begun: tuple[int, str, bool] | None = None

    @property
    def id(self) -> str:
        """The message's id; known from the start of the block."""
        return self.begun[1]

    @property
    def content(self) -> str:
        """What has been written so far."""
        return "".join(self._pieces)

    @property
    def begun(self) -> tuple[int, str, bool]:
        if self._begun is None:
            raise RuntimeError("a message is written in its own block: async with ctx.message() as message")
        return self._begun

    def begin(self) -> None:
        self._begun = self._execution.message_begins(self._id)

    def add(self, text: str) -> None:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a message is written in text, not in {type(text).__name__}")
        _, id, new = self.begun
        self._left -= len(text)
        if self._left < 0:
            raise too_large("a message", None, self._execution.limit)
        self._pieces.append(text)
        if text and new:
            self._execution.piece(id, self.role, text)

    def end(self) -> None:
        nth, id, _ = self.begun
        self._execution.message_ends(nth, {"id": id, "role": self.role, "content": self.content, **self._extra})

    def fail(self) -> None:
        self._execution.message_fails(self.begun[0])


class Message(Draft):
    """The block of `Context.message`."""

    __slots__ = ("_enter", "_room")

    def __init__(
        self,
        execution: Execution,
        enter: Callable[[], Awaitable[None]],
        room: Callable[[], Awaitable[None]],
        role: str,
        id: str | None,
        extra: dict[str, Any],
    ) -> None:
        super().__init__(execution, role, id, extra)
        self._enter = enter
        self._room = room

    async def write(self, text: str) -> None:
        """Shows another piece."""
        await self._enter()
        self.add(text)
        await self._room()

    async def __aenter__(self) -> Self:
        await self._enter()
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail()
            return
        await self._enter()
        self.end()
        await self._room()


class Store:
    """Documents by namespace and key. Writes are recorded and not done again by a later attempt; reads are not, so
    what must stay the same is read in a `step`."""

    __slots__ = ("_change", "_limit", "_read")

    def __init__(
        self,
        limit: int,
        change: Callable[[Callable[[int], StoreCall]], Awaitable[None]],
        read: Callable[[Callable[[int], StoreCall]], Awaitable[StoreReply]],
    ) -> None:
        self._limit = limit
        self._change = change
        self._read = read

    async def put(self, namespace: Sequence[str], key: str, value: Mapping[str, Any], ttl: float | None = None) -> None:
        """Adds or replaces a document; `ttl` is in minutes."""
        await self._change(lambda call: store.put(call, namespace, key, value, ttl, self._limit))

    async def get(self, namespace: Sequence[str], key: str) -> StoreItem | None:
        """A document; None where there is none."""
        reply = await self._read(lambda call: store.get(call, namespace, key))
        return next(iter(store.items(reply)), None)

    async def delete(self, namespace: Sequence[str], key: str) -> None:
        """Removes a document, if it is there."""
        await self._change(lambda call: store.delete(call, namespace, key))

    async def search(
        self,
        prefix: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> list[StoreItem]:
        """Documents below a namespace whose fields pass the filter (a value, or `{"$gt": 1}` and the like), those
        updated last first."""
        reply = await self._read(lambda call: store.search(call, prefix, filter, limit, offset))
        return store.items(reply)

    async def namespaces(self, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The namespaces that have documents."""
        reply = await self._read(lambda call: store.namespaces(call, prefix))
        return list(store.checked(reply).namespaces)


async def _stored(end: AgentEnd, number: int) -> None:
    future: asyncio.Future[None] = end.loop.create_future()
    end.when_stored(number, functools.partial(_resolve, future, None))
    await future


def _resolve(future: asyncio.Future[T], value: T) -> None:
    # The task that waits may have been cancelled meanwhile.
    if not future.done():
        future.set_result(value)


def or_cancelled(reply: StoreReply | None) -> StoreReply:
    """The reply, if one came; none comes to code that was asked to stop meanwhile."""
    if reply is None:
        raise asyncio.CancelledError("the run was asked to stop")
    return reply
