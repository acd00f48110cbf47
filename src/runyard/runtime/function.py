"""Functions as agents: what the decorator makes of a function, and how one attempt of it is executed."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import hashlib
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast

from runyard.agents import Agent, Limits
from runyard.clock import Clock
from runyard.errors import InvalidInput
from runyard.runtime.blocking import SyncContext
from runyard.runtime.channel import AgentEnd
from runyard.runtime.context import Context
from runyard.runtime.contract import Ended, Start
from runyard.runtime.describe import class_names, fitting
from runyard.runtime.ending import raised
from runyard.runtime.execution import Execution
from runyard.runtime.lane import OWNER, RunTask
from runyard.runtime.parameters import Parameters, Provided
from runyard.runtime.signals import Asked, RunSignal
from runyard.runtime.state import MESSAGES, Reducer
from runyard.runtime.taking import Inbox, SyncInbox
from runyard.telemetry import fields_of, run_of_code, say

P = ParamSpec("P")
R = TypeVar("R")


class FunctionAgent(Generic[P, R]):
    """A function that can be run as an agent. Calling it calls the function, for tests of one's own."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        id: str,
        name: str,
        description: str | None,
        metadata: Mapping[str, Any],
        limits: Limits,
        reducers: Mapping[str, Reducer],
        messages: bool | None,
    ) -> None:
        functools.update_wrapper(cast(Any, self), function)
        self.function = function
        self.id = id
        self._name = name
        self._description = description
        self._metadata = dict(metadata)
        self._limits = limits
        self._reducers = dict(reducers)
        self._messages = messages
        self._new_id = Clock().new_id
        self._asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._yields = inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<agent {self.id} of {self.function.__module__}>"

    @functools.cached_property
    def parameters(self) -> Parameters:
        """What the function takes and gives. Found at the first look, when the names in its hints are defined.

        Raises:
            TypeError: it has a parameter that nothing fits.
        """
        return Parameters(self.function, yields=self._yields)

    @property
    def agent(self) -> Agent:
        """What is published of it."""
        return self._published

    @functools.cached_property
    def _published(self) -> Agent:
        parameters = self.parameters
        metadata = dict(self._metadata)
        if parameters.problems:
            metadata["schema_problems"] = parameters.problems
        messages = self._messages
        if messages is None:
            messages = parameters.messages or MESSAGES in self._reducers
        return Agent(
            agent_id=self.id,
            name=self._name,
            description=self._description,
            metadata=metadata,
            schemas=parameters.schemas,
            limits=self._limits,
            messages=messages,
            injects=parameters.injects,
            version=_version(self.function),
        )

    def check_input(self, input: bytes | None) -> None:
        """Validates a request's input.

        Raises:
            InvalidInput: naming the field below `input`.
        """
        self.parameters.read_input(input)

    def check_config(self, configurable: dict[str, Any]) -> None:
        """Validates `config.configurable`.

        Raises:
            InvalidInput: naming the field below `config.configurable`.
        """
        self.parameters.read_config(configurable)

    def check_context(self, context: dict[str, Any]) -> None:
        """A function takes none: the request was refused before.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput(f"agent {self.id!r} takes no context; leave the field out", field="context")

    def begin(self, start: Start, end: AgentEnd) -> None:
        """Begins an attempt, in the loop of a lane."""
        # Of its own, and empty: this call was made in the context of whoever woke the lane.
        context = contextvars.Context()
        context.run(OWNER.set, end)
        if start.trace is not None:
            from runyard.runtime import tracing

            tracing.enter(start.trace, context)
        if not self._asynchronous:
            end.direct = True
            end.crew.submit(lambda: context.run(self._perform_in_thread, start, end))
            return
        performance = self._perform(start, end)
        task = end.loop.create_task(performance, context=context)
        cast(RunTask, task).executes_run = True

        def stop() -> None:
            if inspect.getcoroutinestate(performance) == inspect.CORO_CREATED and end.take():
                end.finish(Ended("stopped"))
            task.cancel()

        # The loop holds its tasks weakly; this holds the task for as long as the attempt is known to the host.
        end.on_stop = stop

    async def _perform(self, start: Start, end: AgentEnd) -> None:
        if not end.take():
            return
        run_of_code.set(start.run)
        execution: Execution | None = None
        try:
            execution = Execution(start, end, asyncio.current_task(), self._reducers, self._new_id)
            ctx = Context(execution)
            args, kwargs = self.parameters.fill(_provided(execution, ctx, Inbox(execution, ctx)))
            called = cast(Any, self.function)(*args, **kwargs)
            if self._yields:
                await _take_all(called, execution, ctx)
                value = None
            else:
                value = await called
            ended = _returned(execution, value)
        except BaseException as error:
            ended = _raised(execution, end, start, error)
        end.finish(ended)

    def _perform_in_thread(self, start: Start, end: AgentEnd) -> None:
        if not end.take():
            return
        run_of_code.set(start.run)
        execution: Execution | None = None
        try:
            execution = Execution(start, end, threading.get_ident(), self._reducers, self._new_id)
            ctx = SyncContext(execution)
            args, kwargs = self.parameters.fill(_provided(execution, ctx, SyncInbox(execution, ctx)))
            if end.stopped is not None:
                raise asyncio.CancelledError("the run was asked to stop before it began")
            value = cast(Any, self.function)(*args, **kwargs)
            if self._yields:
                value = _take_all_blocking(value, execution, ctx)
            ended = _returned(execution, value)
        except BaseException as error:
            ended = _raised(execution, end, start, error)
        end.finish(ended)


def _provided(execution: Execution, ctx: Context | SyncContext, inbox: Inbox | SyncInbox) -> Provided:
    return Provided(execution.start.input, execution.state, execution.config, ctx, inbox)


async def _take_all(generator: AsyncGenerator[Any, Any], execution: Execution, ctx: Context) -> None:
    """Takes each yielded value as a step; what goes wrong with one is raised at its `yield`."""
    end, told = execution.end, False
    try:
        value = await anext(generator)
        while True:
            if told and end.stopped == "lost":
                await generator.aclose()
                raise asyncio.CancelledError("the run was given up")
            try:
                await ctx.take_yield(value)
            except RunSignal:
                await generator.aclose()
                raise
            except BaseException as error:
                told = told or end.stopped is not None
                value = await generator.athrow(error)
            else:
                value = await generator.asend(None)
    except StopAsyncIteration:
        return


def _take_all_blocking(generator: Generator[Any, Any, Any], execution: Execution, ctx: SyncContext) -> Any:
    """The same for a synchronous generator; gives back what it returned."""
    end, told = execution.end, False
    try:
        value = next(generator)
        while True:
            if told and end.stopped == "lost":
                generator.close()
                raise asyncio.CancelledError("the run was given up")
            try:
                ctx.take_yield(value)
            except RunSignal:
                generator.close()
                raise
            except BaseException as error:
                told = told or end.stopped is not None
                value = generator.throw(error)
            else:
                value = generator.send(None)
    except StopIteration as stop:
        return stop.value


def _returned(execution: Execution, value: Any) -> Ended:
    if execution.signal is not None or execution.questions:
        return _signalled(execution, execution.ask())
    return Ended("completed", last=execution.last(value))


def _raised(execution: Execution | None, end: AgentEnd, start: Start, error: BaseException) -> Ended:
    """The end of code that raised: a signal of its own calls, or an error."""
    try:
        if execution is not None and (execution.signal is not None or execution.questions):
            return _signalled(execution, execution.ask())
    except BaseException as other:
        error = other
    return raised(start, end, error)


def _signalled(execution: Execution, signal: RunSignal) -> Ended:
    if isinstance(signal, Asked):
        return Ended("asked", questions=execution.questions)
    message = fitting(signal.message)
    say("agent failed", **fields_of(execution.run), why=message)
    return Ended("failed", code=signal.code, message=message, exceptions=class_names(signal))


def _version(function: Callable[..., Any]) -> str:
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        source = b"" if code is None else code.co_code + repr(code.co_consts).encode()
    return hashlib.sha256(source).hexdigest()[:16]
