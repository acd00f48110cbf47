"""`ctx`: what an agent's code sees of its run.

`Context` is for asynchronous agents, `SyncContext` for synchronous ones: the same calls, with and without `await`.
What a call does is in `Execution`, once; here are the two ways of waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

import msgspec

from runyard.runtime import store
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.draft import DataKind, Draft
from runyard.runtime.execution import OWN, Execution, Scope
from runyard.runtime.index import Fields
from runyard.runtime.parts import SubAgent, Tool
from runyard.runtime.store import StoreItem

T = TypeVar("T")
_END = object()
OVER = Scope("", "")
"""That of a sub-agent whose block has ended."""


class About:
    """What a run is, and what its thread's state is now."""

    __slots__ = ("_execution", "_scope")

    def __init__(self, execution: Execution, scope: Scope = OWN) -> None:
        self._execution = execution
        self._scope = scope

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


class Calls(About):
    """The calls that an agent and its sub-agents have. Every call is recorded, so that code which is entered again
    (after a crash, or with an answer) gets back what it did before; it must then do the same calls in the same order.

    All calls raise `NotSerialisable` for values that JSON cannot hold, and `ValueTooLarge` for those that are longer
    than the server's `max_value_bytes`.
    """

    __slots__ = ("_store",)

    def __init__(self, execution: Execution, scope: Scope = OWN) -> None:
        super().__init__(execution, scope)
        self._store: Store | None = None

    async def emit(self, payload: Any, name: str | None = None) -> None:
        """Shows a `custom` event with any payload to those who watch the run."""
        execution = self._execution
        execution.enter(asyncio.current_task())
        if execution.frozen:
            await execution.park()
        execution.emit(self._scope, payload, name)
        if execution.end.credit():
            await self._room()

    def message(self, role: str = "assistant", id: str | None = None, **extra: Any) -> Message:
        """A message that is shown piece by piece and added to the thread's messages as a whole at the end; that of a
        sub-agent is only shown, under its namespace.

            async with ctx.message() as message:
                async for text in model.stream(prompt):
                    await message.write(text)

        `extra` goes into the whole message. A block that raises adds nothing.
        """
        return Message(self._execution, self._scope, self._enter, self._room, role, id, extra)

    async def interrupt(self, payload: Any, name: str = "interrupt") -> Any:
        """Asks a human, and gives back the answer.

        Without an answer the run ends here as `interrupted`, with the question open on its thread; a resume enters
        the code again from its first line, and this call returns the answer. Code between is best put in `step`s.
        """
        await self._enter()
        answer, answered = self._execution.question(self._scope, payload, name)
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
        step = self._execution.step_begins(self._scope, name)
        if step.record is not None:
            return msgspec.json.decode(step.record.body)
        try:
            with self._execution.inside(step):
                result = await self._call(fn, args, kwargs)
        except BaseException:
            self._execution.step_fails(step)
            raise
        number, result = self._execution.step_ends(step, result)
        await _stored(self._execution.end, number)
        return result

    async def tool(
        self, name: str, fn: Callable[..., Any], /, *args: Any, call_id: str | None = None, **kwargs: Any
    ) -> Any:
        """Calls a tool: a `step` that is told to those who watch, with its arguments and what it gives.

        `call_id` is the id of the call in a message; without it there is one that is the same in every attempt. What a
        generator yields is told piece by piece, and its result is the whole text. `fn` may use `ctx`.
        """
        await self._enter()
        tool = Tool(self._execution, self._scope, name, call_id, fn, args, kwargs)
        if tool.step.record is not None:
            return tool.result
        try:
            with tool.inside():
                result = await self._call(fn, args, kwargs)
                if inspect.isasyncgen(result):
                    result = await take_pieces(tool, cast("AsyncGenerator[Any]", result), self._execution.end)
                elif inspect.isgenerator(result):
                    result = await take_pieces(tool, self._in_thread(result), self._execution.end)
            number, result = tool.ends(result)
        except BaseException as error:
            tool.fails(error)
            raise
        await _stored(self._execution.end, number)
        return result

    def agent(self, name: str, call_id: str | None = None) -> SubContext:
        """A sub-agent: what is done in its block is told under a namespace of its own.

            async with ctx.agent("researcher", call_id=call) as sub:
                async with sub.message() as message:
                    ...

        `call_id` is the call of a tool that it answers; inside of `ctx.tool` it is that one. Several may work side by
        side; those need names of their own.
        """
        return SubContext(self._execution, self._scope, name, call_id)

    @property
    def store(self) -> Store:
        """Documents that outlive runs and threads."""
        if self._store is None:
            self._store = Store(self._execution.limit, self._execution.ttl, self._change_store, self._read_store)
        return self._store

    async def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(fn):
            return await fn(*args, **kwargs)
        result = await self._execution.end.crew.call(lambda: fn(*args, **kwargs))
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, pieces: Iterator[Any]) -> AsyncGenerator[Any]:
        while (piece := await self._execution.end.crew.call(lambda: next(pieces, _END))) is not _END:
            yield piece

    async def _enter(self) -> None:
        self._execution.enter(asyncio.current_task())
        if self._execution.frozen:
            await self._execution.park()

    async def _room(self) -> None:
        if self._execution.end.credit():
            await _room(self._execution.end)

    async def _ask_store(
        self, make: Callable[[int], StoreCall], fields: Fields = None, query: str | None = None
    ) -> StoreReply:
        end = self._execution.end
        call = make(end.next_call())
        texts = store.texts_of(call, end.index, fields, query)
        if texts and end.index is not None:
            call = store.with_meanings(call, await end.index.meanings(texts))
        reply: asyncio.Future[StoreReply | None] = end.loop.create_future()
        end.when_replied(call, functools.partial(resolve, reply))
        return or_cancelled(await reply)

    async def _change_store(self, make: Callable[[int], StoreCall], fields: Fields = None) -> None:
        await self._enter()
        step = self._execution.store_begins(self._scope)
        if step.record is not None:
            return
        try:
            store.checked(await self._ask_store(make, fields))
        except BaseException:
            self._execution.step_fails(step)
            raise
        self._execution.step_ends(step, None)
        await self._room()

    async def _read_store(self, make: Callable[[int], StoreCall], query: str | None = None) -> StoreReply:
        await self._enter()
        return await self._ask_store(make, query=query)


class Context(Calls):
    """What an asynchronous agent sees of its run."""

    __slots__ = ()

    async def update(self, delta: Mapping[str, Any]) -> None:
        """Merges `delta` into the thread's state and saves it: a step, with `updates` and `values` events.

        Each key replaces its channel, or goes through the reducer that the agent declares for it; `messages` are
        upserted by id, else appended. Waits only while too many writes are not yet durable.
        """
        await self._enter()
        self._execution.update("update", delta, "update")
        await self._room()

    async def come_in(self) -> None:
        """What every call begins with, for the run's inbox."""
        await self._enter()

    async def make_room(self) -> None:
        """Waits while too many writes are not yet durable, for the run's inbox."""
        await self._room()

    async def take_yield(self, value: Any) -> None:
        """What a generator yields: a step, unless it is None."""
        await self._enter()
        if value is not None:
            self._execution.update("yield", value, "the yielded value")
            await self._room()
        else:
            # Nothing of it waits; a generator that yields nothing for ever must not keep its lane for itself.
            await asyncio.sleep(0)


class SubContext(Calls):
    """The block of `Context.agent`: a `ctx` for a sub-agent. It has no `update`: the state is the agent's, and changed
    by its own code."""

    __slots__ = ("_call_id", "_sub", "name")

    def __init__(self, execution: Execution, scope: Scope, name: str, call_id: str | None) -> None:
        super().__init__(execution, scope)
        self.name = name
        self._call_id = call_id
        self._sub: SubAgent | None = None

    async def emit(self, payload: Any, name: str | None = None) -> None:
        """Shows a `custom` event under the sub-agent's namespace."""
        self._check()
        await super().emit(payload, name)

    async def __aenter__(self) -> Self:
        if self._sub is not None:
            raise RuntimeError(f"the block of sub-agent {self.name!r} is entered once: another is another ctx.agent()")
        await super()._enter()
        self._sub = SubAgent(self._execution, self._scope, self.name, self._call_id)
        self._scope = self._sub.scope
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sub is not None
        if error is None:
            try:
                await self._enter()
            except BaseException as cut:
                self._sub.ends(cut)
                raise
        self._sub.ends(error)
        self._scope = OVER
        if error is None:
            await self._room()

    async def _enter(self) -> None:
        self._check()
        await super()._enter()

    def _check(self) -> None:
        if self._sub is None or self._scope is OVER:
            raise RuntimeError(f"sub-agent {self.name!r} is used in its own block: async with ctx.agent(name) as sub")


class Message(Draft):
    """The block of `Context.message`."""

    __slots__ = ("_enter", "_room")

    def __init__(
        self,
        execution: Execution,
        scope: Scope,
        enter: Callable[[], Awaitable[None]],
        room: Callable[[], Awaitable[None]],
        role: str,
        id: str | None,
        extra: dict[str, Any],
    ) -> None:
        super().__init__(execution, scope, role, id, extra)
        self._enter = enter
        self._room = room

    async def write(self, text: str) -> None:
        """Shows another piece."""
        await self._enter()
        self.add_text(text)
        await self._room()

    async def reason(self, text: str) -> None:
        """Shows another piece of what the model thinks."""
        await self._enter()
        self.add_reasoning(text)
        await self._room()

    async def call(self, name: str, args: Mapping[str, Any], id: str | None = None) -> str:
        """Shows a call of a tool as a whole; its id, which is made where none is given. It goes into `tool_calls`."""
        await self._enter()
        id = self.add_call(name, args, id)
        await self._room()
        return id

    async def call_piece(
        self, args: str = "", *, name: str | None = None, id: str | None = None, index: int | None = None
    ) -> str:
        """Shows another piece of a call of a tool, as models stream them: `args` is part of the JSON text of the
        arguments. Pieces of one call have the same `index`, or else the same `id`; what has neither belongs to the call
        before. The call's id."""
        await self._enter()
        id = self.add_to_call(args, name, id, index)
        await self._room()
        return id

    async def add(self, block: Mapping[str, Any]) -> None:
        """Shows a content block of any kind as a whole: `{"type": "image", "url": ...}`."""
        await self._enter()
        self.add_block(block)
        await self._room()

    async def data(self, kind: DataKind, data: bytes, *, mime_type: str | None = None, **fields: Any) -> None:
        """Shows another piece of an image, an audio, a video or a file. One with another type, or other `fields` (an
        `id`), is another block."""
        await self._enter()
        self.add_data(kind, data, fields if mime_type is None else {"mime_type": mime_type, **fields})
        await self._room()

    async def usage(self, input_tokens: int | None = None, output_tokens: int | None = None, **details: Any) -> None:
        """Says how many tokens the message took; `details` are `total_tokens` (else their sum), `input_token_details`,
        `output_token_details` and what else the provider counts."""
        await self._enter()
        self.count(input_tokens, output_tokens, details)

    async def __aenter__(self) -> Self:
        await self._enter()
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
            return
        await self._enter()
        self.end()
        await self._room()


class Changes(Protocol):
    """A recorded store call: what it sends, and what of an item is embedded."""

    def __call__(self, make: Callable[[int], StoreCall], fields: Fields = None) -> Awaitable[None]: ...


class Reads(Protocol):
    """A store call that changes nothing: what it sends, and what is searched for by its meaning."""

    def __call__(self, make: Callable[[int], StoreCall], query: str | None = None) -> Awaitable[StoreReply]: ...


class Store:
    """Documents by namespace and key. Writes are recorded and not done again by a later attempt; reads are not, so
    what must stay the same is read in a `step`."""

    __slots__ = ("_change", "_limit", "_read", "_ttl")

    def __init__(
        self,
        limit: int,
        ttl: float | None,
        change: Changes,
        read: Reads,
    ) -> None:
        self._limit = limit
        self._ttl = ttl
        self._change = change
        self._read = read

    async def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: Mapping[str, Any],
        ttl: float | None = None,
        index: Fields = None,
    ) -> None:
        """Adds or replaces a document; `ttl` is in minutes, None is the server's own (by default for ever). `index` are
        the paths of what searches by meaning find it by, False for nothing, None for what `store.index` of
        `langgraph.json` says."""
        ttl = self._ttl if ttl is None else ttl
        await self._change(lambda call: store.put(call, namespace, key, value, ttl, self._limit), index)

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
        query: str | None = None,
    ) -> list[StoreItem]:
        """Documents below a namespace whose fields pass the filter (a value, or `{"$gt": 1}` and the like), those
        updated last first; with a `query`, those whose meaning is nearest to it, with their `score`."""
        reply = await self._read(lambda call: store.search(call, prefix, filter, limit, offset), query)
        return store.items(reply)

    async def namespaces(self, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The namespaces that have documents."""
        reply = await self._read(lambda call: store.namespaces(call, prefix))
        return list(store.checked(reply).namespaces)


async def take_pieces(tool: Tool, pieces: AsyncGenerator[Any], end: AgentEnd) -> str:
    """Tells what a tool yields; all of it as one text."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            tool.piece(piece)
            await _room(end)
    return tool.output


async def _room(end: AgentEnd) -> None:
    number = end.credit()
    if number:
        if end.stopped is not None:
            raise asyncio.CancelledError("the run was asked to stop and goes on writing")
        await _stored(end, number)


async def _stored(end: AgentEnd, number: int) -> None:
    future: asyncio.Future[None] = end.loop.create_future()
    end.when_stored(number, functools.partial(resolve, future, None))
    await future


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Gives a future its value, unless nobody waits for it any more."""
    # The task that waits may have been cancelled meanwhile.
    if not future.done():
        future.set_result(value)


def check_waits(end: AgentEnd) -> None:
    """Raises that the code waits for what will not come, because the run is over or was asked to stop."""
    if end.stopped is not None or end.ended:
        raise asyncio.CancelledError("the run was asked to stop" if not end.ended else "the run has ended")


def or_cancelled(reply: StoreReply | None) -> StoreReply:
    """The reply, if one came; none comes to code that was asked to stop meanwhile."""
    if reply is None:
        raise asyncio.CancelledError("the run was asked to stop")
    return reply
