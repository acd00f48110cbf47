"""`ctx` of synchronous agents: the calls of `Context`, waiting by blocking their thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from runyard.runtime import store
from runyard.runtime.context import OVER, About, or_cancelled, take_pieces
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.draft import DataKind, Draft
from runyard.runtime.execution import OWN, Execution, Scope
from runyard.runtime.index import Fields
from runyard.runtime.parts import SubAgent, Tool
from runyard.runtime.store import StoreItem


class Waits:
    """How the thread of a synchronous agent waits. Its `ctx` and those of its sub-agents share it."""

    __slots__ = ("_awaited", "_end", "_execution", "_told", "turn")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._end = execution.end
        self._told = False
        self._awaited: concurrent.futures.Future[Any] | None = None
        self.turn = threading.RLock()
        execution.end.on_stop = self._stop

    def enter(self) -> None:
        """What every call begins with."""
        self._execution.enter(threading.get_ident())
        self.raise_stop()

    def room(self) -> None:
        """Waits while too many writes are not yet durable."""
        number = self._end.credit()
        if number:
            if self._end.stopped is not None:
                raise asyncio.CancelledError("the run was asked to stop and goes on writing")
            self.stored(number)

    def stored(self, number: int) -> None:
        """Waits until so many writes are durable."""
        stored = threading.Lock()
        stored.acquire()
        self._end.when_stored(number, stored.release)
        with stored:
            self.raise_stop()

    def reply(self, make: Callable[[int], StoreCall]) -> StoreReply:
        """Asks the store and waits for its reply."""
        replies: list[StoreReply | None] = []
        came = threading.Lock()
        came.acquire()

        def wake(reply: StoreReply | None) -> None:
            replies.append(reply)
            came.release()

        self._end.when_replied(make(self._end.next_call()), wake)
        with came:
            self.raise_stop() if replies[0] is None else None
            return or_cancelled(replies[0])

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine on the agents' event loop and waits for it."""
        self._awaited = asyncio.run_coroutine_threadsafe(coroutine, self._end.loop)
        try:
            return self._awaited.result()
        except concurrent.futures.CancelledError:
            self.raise_stop()
            raise asyncio.CancelledError from None
        finally:
            self._awaited = None

    def raise_stop(self) -> None:
        """Raises, once, that the run was asked to stop."""
        if self._end.stopped is not None and not self._told:
            self._told = True
            raise asyncio.CancelledError("the run was asked to stop")

    def _stop(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()


class SyncCalls(About):
    """The calls of `Calls` without `await`; see there for what they do.

    A run that is asked to stop raises `asyncio.CancelledError` at its next call, once: code that unwinds may still
    call. Threads of the agent's own may call too, one at a time.
    """

    __slots__ = ("_store", "_waits")

    def __init__(self, execution: Execution, waits: Waits, scope: Scope = OWN) -> None:
        super().__init__(execution, scope)
        self._waits = waits
        self._store: SyncStore | None = None

    def emit(self, payload: Any, name: str | None = None) -> None:
        """Shows a `custom` event."""
        with self._waits.turn:
            self.enter()
            self._execution.emit(self._scope, payload, name)
        self.room()

    def message(self, role: str = "assistant", id: str | None = None, **extra: Any) -> SyncMessage:
        """A message that is shown piece by piece: `with ctx.message() as message: message.write(text)`."""
        return SyncMessage(self, self._execution, self._scope, role, id, extra)

    def interrupt(self, payload: Any, name: str = "interrupt") -> Any:
        """Asks a human, and gives back the answer; without one the run ends here until it is resumed."""
        with self._waits.turn:
            self.enter()
            answer, answered = self._execution.question(self._scope, payload, name)
            if not answered:
                raise self._execution.ask()
            return answer

    def step(self, name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `fn(*args, **kwargs)` and records its result. A coroutine function runs on the agents' event loop."""
        with self._waits.turn:
            self.enter()
            step = self._execution.step_begins(self._scope, name)
        if step.record is not None:
            return msgspec.json.decode(step.record.body)
        try:
            with self._execution.inside(step):
                result = self._call(fn, args, kwargs)
        except BaseException:
            with self._waits.turn:
                self._execution.step_fails(step)
            raise
        with self._waits.turn:
            number, result = self._execution.step_ends(step, result)
        self._waits.stored(number)
        return result

    def tool(self, name: str, fn: Callable[..., Any], /, *args: Any, call_id: str | None = None, **kwargs: Any) -> Any:
        """Calls a tool: a `step` that is told to those who watch; what a generator yields, piece by piece."""
        with self._waits.turn:
            self.enter()
            tool = Tool(self._execution, self._scope, name, call_id, fn, args, kwargs)
        if tool.step.record is not None:
            return tool.result
        try:
            with tool.inside():
                result = self._call(fn, args, kwargs)
                if inspect.isasyncgen(result):
                    pieces = cast("AsyncGenerator[Any]", result)
                    result = self._waits.run(take_pieces(tool, pieces, self._execution.end))
                elif inspect.isgenerator(result):
                    result = self._take_pieces(tool, cast("Generator[Any]", result))
            with self._waits.turn:
                number, result = tool.ends(result)
        except BaseException as error:
            with self._waits.turn:
                tool.fails(error)
            raise
        self._waits.stored(number)
        return result

    def agent(self, name: str, call_id: str | None = None) -> SyncSubContext:
        """A sub-agent: `with ctx.agent("researcher") as sub`."""
        return SyncSubContext(self._execution, self._waits, self._scope, name, call_id)

    @property
    def store(self) -> SyncStore:
        """Documents that outlive runs and threads."""
        if self._store is None:
            self._store = SyncStore(self)
        return self._store

    # for the calls' own use

    @property
    def limit(self) -> int:
        """The most bytes that a value may take."""
        return self._execution.limit

    @property
    def ttl(self) -> float | None:
        """Minutes for which items are kept of which nobody says so."""
        return self._execution.ttl

    def enter(self) -> None:
        """What every call begins with."""
        self._waits.enter()

    def room(self) -> None:
        """Waits while too many writes are not yet durable."""
        self._waits.room()

    def change_store(self, make: Callable[[int], StoreCall], fields: Fields = None) -> None:
        """A recorded store call: what it sends, and what of an item is embedded."""
        with self._waits.turn:
            self.enter()
            step = self._execution.store_begins(self._scope)
        if step.record is not None:
            return
        try:
            store.checked(self._waits.reply(self._embedding(make, fields, None)))
        except BaseException:
            with self._waits.turn:
                self._execution.step_fails(step)
            raise
        with self._waits.turn:
            self._execution.step_ends(step, None)
        self.room()

    def read_store(self, make: Callable[[int], StoreCall], query: str | None = None) -> StoreReply:
        """A store call that changes nothing: what it sends, and what is searched for by its meaning."""
        with self._waits.turn:
            self.enter()
        return self._waits.reply(self._embedding(make, None, query))

    def _embedding(
        self, make: Callable[[int], StoreCall], fields: Fields, query: str | None
    ) -> Callable[[int], StoreCall]:
        """What makes the same call with the vectors of its texts."""
        end = self._execution.end

        def embedded(number: int) -> StoreCall:
            call = make(number)
            texts = store.texts_of(call, end.index, fields, query)
            if texts and end.index is not None:
                return store.with_meanings(call, end.index.meanings_now(texts, end.loop))
            return call

        return embedded

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = fn(*args, **kwargs)
        return self._waits.run(result) if inspect.iscoroutine(result) else result

    def _take_pieces(self, tool: Tool, pieces: Generator[Any]) -> str:
        with contextlib.closing(pieces):
            for piece in pieces:
                with self._waits.turn:
                    tool.piece(piece)
                self.room()
        return tool.output


class SyncContext(SyncCalls):
    """What a synchronous agent sees of its run: the calls of `Context` without `await`."""

    __slots__ = ()

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution, Waits(execution))

    def update(self, delta: Mapping[str, Any]) -> None:
        """Merges `delta` into the thread's state and saves it, as a step."""
        with self._waits.turn:
            self.enter()
            self._execution.update("update", delta, "update")
        self.room()

    @contextlib.contextmanager
    def turn(self) -> Generator[None]:
        """A call of the run's inbox, while no other thread calls."""
        with self._waits.turn:
            self.enter()
            yield

    def take_yield(self, value: Any) -> None:
        """What a generator yields: a step, unless it is None."""
        with self._waits.turn:
            self.enter()
            if value is not None:
                self._execution.update("yield", value, "the yielded value")
        self.room()


class SyncSubContext(SyncCalls):
    """The block of `SyncContext.agent`: a `ctx` for a sub-agent, without `update`."""

    __slots__ = ("_call_id", "_sub", "name")

    def __init__(self, execution: Execution, waits: Waits, scope: Scope, name: str, call_id: str | None) -> None:
        super().__init__(execution, waits, scope)
        self.name = name
        self._call_id = call_id
        self._sub: SubAgent | None = None

    def enter(self) -> None:
        """What every call begins with."""
        if self._sub is None or self._scope is OVER:
            raise RuntimeError(f"sub-agent {self.name!r} is used in its own block: with ctx.agent(name) as sub")
        super().enter()

    def __enter__(self) -> Self:
        if self._sub is not None:
            raise RuntimeError(f"the block of sub-agent {self.name!r} is entered once: another is another ctx.agent()")
        with self._waits.turn:
            super().enter()
            self._sub = SubAgent(self._execution, self._scope, self.name, self._call_id)
        self._scope = self._sub.scope
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sub is not None
        with self._waits.turn:
            if error is None:
                try:
                    self.enter()
                except BaseException as cut:
                    self._sub.ends(cut)
                    raise
            self._sub.ends(error)
        self._scope = OVER
        if error is None:
            self.room()


class SyncMessage(Draft):
    """The block of `SyncContext.message`."""

    __slots__ = ("_ctx",)

    def __init__(
        self, ctx: SyncCalls, execution: Execution, scope: Scope, role: str, id: str | None, extra: dict[str, Any]
    ) -> None:
        super().__init__(execution, scope, role, id, extra)
        self._ctx = ctx

    def write(self, text: str) -> None:
        """Shows another piece."""
        self._ctx.enter()
        self.add_text(text)
        self._ctx.room()

    def reason(self, text: str) -> None:
        """Shows another piece of what the model thinks."""
        self._ctx.enter()
        self.add_reasoning(text)
        self._ctx.room()

    def call(self, name: str, args: Mapping[str, Any], id: str | None = None) -> str:
        """Shows a call of a tool as a whole; its id."""
        self._ctx.enter()
        id = self.add_call(name, args, id)
        self._ctx.room()
        return id

    def call_piece(
        self, args: str = "", *, name: str | None = None, id: str | None = None, index: int | None = None
    ) -> str:
        """Shows another piece of a call of a tool; its id."""
        self._ctx.enter()
        id = self.add_to_call(args, name, id, index)
        self._ctx.room()
        return id

    def add(self, block: Mapping[str, Any]) -> None:
        """Shows a content block of any kind as a whole."""
        self._ctx.enter()
        self.add_block(block)
        self._ctx.room()

    def data(self, kind: DataKind, data: bytes, *, mime_type: str | None = None, **fields: Any) -> None:
        """Shows another piece of an image, an audio, a video or a file."""
        self._ctx.enter()
        self.add_data(kind, data, fields if mime_type is None else {"mime_type": mime_type, **fields})
        self._ctx.room()

    def usage(self, input_tokens: int | None = None, output_tokens: int | None = None, **details: Any) -> None:
        """Says how many tokens the message took."""
        self._ctx.enter()
        self.count(input_tokens, output_tokens, details)

    def __enter__(self) -> Self:
        self._ctx.enter()
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
            return
        self._ctx.enter()
        self.end()
        self._ctx.room()


class SyncStore:
    """The calls of `Store` without `await`."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: SyncCalls) -> None:
        self._ctx = ctx

    def put(
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
        limit = self._ctx.limit
        ttl = self._ctx.ttl if ttl is None else ttl
        self._ctx.change_store(lambda call: store.put(call, namespace, key, value, ttl, limit), index)

    def get(self, namespace: Sequence[str], key: str) -> StoreItem | None:
        """A document; None where there is none."""
        return next(iter(store.items(self._ctx.read_store(lambda call: store.get(call, namespace, key)))), None)

    def delete(self, namespace: Sequence[str], key: str) -> None:
        """Removes a document, if it is there."""
        self._ctx.change_store(lambda call: store.delete(call, namespace, key))

    def search(
        self,
        prefix: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        query: str | None = None,
    ) -> list[StoreItem]:
        """Documents below a namespace whose fields pass the filter, those updated last first; with a `query`, those
        whose meaning is nearest to it, with their `score`."""
        found = self._ctx.read_store(lambda call: store.search(call, prefix, filter, limit, offset), query)
        return store.items(found)

    def namespaces(self, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The namespaces that have documents."""
        reply = self._ctx.read_store(lambda call: store.namespaces(call, prefix))
        return list(store.checked(reply).namespaces)
