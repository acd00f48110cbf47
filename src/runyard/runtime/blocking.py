"""`ctx` of synchronous agents: the calls of `Context`, waiting by blocking their thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from runyard.runtime import store
from runyard.runtime.context import About, or_cancelled
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.draft import DataKind, Draft
from runyard.runtime.execution import Execution, Scope
from runyard.runtime.store import StoreItem


class SyncContext(About):
    """What a synchronous agent sees of its run: the calls of `Context` without `await`; see there for what they do.

    A run that is asked to stop raises `asyncio.CancelledError` at its next call, once: code that unwinds may still
    call. Threads of the agent's own may call too, one at a time.
    """

    __slots__ = ("_awaited", "_store", "_told", "_turn")

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self._turn = threading.RLock()
        self._store: SyncStore | None = None
        self._told = False
        self._awaited: concurrent.futures.Future[Any] | None = None
        execution.end.on_stop = self._stop

    def update(self, delta: Mapping[str, Any]) -> None:
        """Merges `delta` into the thread's state and saves it, as a step."""
        with self._turn:
            self.enter()
            self._execution.update("update", delta, "update")
        self.room()

    def emit(self, payload: Any, name: str | None = None) -> None:
        """Shows a `custom` event."""
        with self._turn:
            self.enter()
            self._execution.emit(self._scope, payload, name)
        self.room()

    def message(self, role: str = "assistant", id: str | None = None, **extra: Any) -> SyncMessage:
        """A message that is shown piece by piece: `with ctx.message() as message: message.write(text)`."""
        return SyncMessage(self, self._execution, self._scope, role, id, extra)

    def interrupt(self, payload: Any, name: str = "interrupt") -> Any:
        """Asks a human, and gives back the answer; without one the run ends here until it is resumed."""
        with self._turn:
            self.enter()
            answer, answered = self._execution.question(self._scope, payload, name)
            if not answered:
                raise self._execution.ask()
            return answer

    def step(self, name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `fn(*args, **kwargs)` and records its result. A coroutine function runs on the agents' event loop."""
        with self._turn:
            self.enter()
            step = self._execution.step_begins(self._scope, name)
        if step.record is not None:
            return msgspec.json.decode(step.record.body)
        try:
            with self._execution.inside(step):
                result = self._call(fn, args, kwargs)
        except BaseException:
            with self._turn:
                self._execution.step_fails(step)
            raise
        with self._turn:
            number, result = self._execution.step_ends(step, result)
        self._wait_stored(number)
        return result

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

    def take_yield(self, value: Any) -> None:
        """What a generator yields: a step, unless it is None."""
        with self._turn:
            self.enter()
            if value is not None:
                self._execution.update("yield", value, "the yielded value")
        self.room()

    def enter(self) -> None:
        """What every call begins with."""
        self._execution.enter(threading.get_ident())
        self._raise_stop()

    def room(self) -> None:
        """Waits while too many writes are not yet durable."""
        number = self._execution.end.credit()
        if number:
            if self.cancelled:
                raise asyncio.CancelledError("the run was asked to stop and goes on writing")
            self._wait_stored(number)

    def change_store(self, make: Callable[[int], StoreCall]) -> None:
        """A recorded store call."""
        with self._turn:
            self.enter()
            step = self._execution.store_begins(self._scope)
        if step.record is not None:
            return
        try:
            store.checked(self._ask_store(make))
        except BaseException:
            with self._turn:
                self._execution.step_fails(step)
            raise
        with self._turn:
            self._execution.step_ends(step, None)
        self.room()

    def read_store(self, make: Callable[[int], StoreCall]) -> StoreReply:
        """A store call that changes nothing."""
        with self._turn:
            self.enter()
        return self._ask_store(make)

    def _ask_store(self, make: Callable[[int], StoreCall]) -> StoreReply:
        end = self._execution.end
        replies: list[StoreReply | None] = []
        came = threading.Lock()
        came.acquire()

        def wake(reply: StoreReply | None) -> None:
            replies.append(reply)
            came.release()

        end.when_replied(make(end.next_call()), wake)
        with came:
            self._raise_stop() if replies[0] is None else None
            return or_cancelled(replies[0])

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = fn(*args, **kwargs)
        return self._run(result) if inspect.iscoroutine(result) else result

    def _wait_stored(self, number: int) -> None:
        stored = threading.Lock()
        stored.acquire()
        self._execution.end.when_stored(number, stored.release)
        with stored:
            self._raise_stop()

    def _run(self, coroutine: Any) -> Any:
        self._awaited = asyncio.run_coroutine_threadsafe(coroutine, self._execution.end.loop)
        try:
            return self._awaited.result()
        except concurrent.futures.CancelledError:
            self._raise_stop()
            raise asyncio.CancelledError from None
        finally:
            self._awaited = None

    def _stop(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()

    def _raise_stop(self) -> None:
        if self.cancelled and not self._told:
            self._told = True
            raise asyncio.CancelledError("the run was asked to stop")


class SyncMessage(Draft):
    """The block of `SyncContext.message`."""

    __slots__ = ("_ctx",)

    def __init__(
        self, ctx: SyncContext, execution: Execution, scope: Scope, role: str, id: str | None, extra: dict[str, Any]
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

    def __init__(self, ctx: SyncContext) -> None:
        self._ctx = ctx

    def put(self, namespace: Sequence[str], key: str, value: Mapping[str, Any], ttl: float | None = None) -> None:
        """Adds or replaces a document; `ttl` is in minutes."""
        limit = self._ctx.limit
        self._ctx.change_store(lambda call: store.put(call, namespace, key, value, ttl, limit))

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
    ) -> list[StoreItem]:
        """Documents below a namespace whose fields pass the filter, those updated last first."""
        return store.items(self._ctx.read_store(lambda call: store.search(call, prefix, filter, limit, offset)))

    def namespaces(self, prefix: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The namespaces that have documents."""
        reply = self._ctx.read_store(lambda call: store.namespaces(call, prefix))
        return list(store.checked(reply).namespaces)
