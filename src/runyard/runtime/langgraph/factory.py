"""Where a graph comes from: an object that was found, or a factory that makes one for each run.

A factory is a function that gives a graph or a builder: plain or `async`, or one whose result is an (async) context
manager that is open while the run executes. It may take the run's `config`, a `runtime`, both, or nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore

from runyard.runtime.langgraph.describe import Graph
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.runtime.langgraph.whole import with_whole_channels
from runyard.users import USER

Access = Literal["threads.create_run", "threads.update", "threads.read", "assistants.read"]
"""For what a graph is made, in the words of LangGraph's `ServerRuntime`: to execute, to change a state, to read states,
or to say what it is."""


class Source:
    """A graph, or what makes one."""

    def __init__(self, found: Any, *, place: str, folder: Path | None = None) -> None:
        """`place` names it in messages; `folder` holds the user's code that it belongs to.

        Raises:
            TypeError: it is no graph, no builder and no function.
        """
        self.found = found
        self.place = place
        self.folder = folder
        self.factory: Callable[..., Any] | None = None
        self.server_store = ServerStore()
        """What factories are given: bound to no run, and so not fenced."""
        self._graph: Graph | None = None
        if isinstance(found, Pregel | StateGraph):
            self._graph = compiled(found)
        elif callable(found):
            self.factory = found
        else:
            raise TypeError(f"{place} is {type(found).__name__}: neither a graph nor a function that makes one")

    @functools.cached_property
    def example(self) -> Graph:
        """A graph to read schemas and nodes off. A factory is called once for it, before any run.

        Raises:
            TypeError: the factory gives something else.
            Exception: whatever the factory raises.
        """
        if self._graph is not None:
            return self._graph

        async def make() -> Graph:
            async with self._made(None, None, "assistants.read") as graph:
                return graph

        return _run_apart(make())

    @contextlib.asynccontextmanager
    async def graph(
        self, config: RunnableConfig, context: dict[str, Any] | None, access: Access = "threads.create_run"
    ) -> AsyncGenerator[Graph]:
        """The graph for one run or chore, which may be changed: a shallow copy."""
        if self._graph is not None:
            yield copy.copy(self._graph)
            return
        async with self._made(config, context, access) as graph:
            yield copy.copy(graph)

    @contextlib.asynccontextmanager
    async def _made(
        self, config: RunnableConfig | None, context: dict[str, Any] | None, access: Access
    ) -> AsyncGenerator[Graph]:
        assert self.factory is not None
        arguments = _arguments(self.factory, config, lambda: _runtime(access, config, context, self.server_store))
        made: Any = self.factory(**arguments)
        if inspect.isawaitable(made):
            made = await made
        async with contextlib.AsyncExitStack() as stack:
            if hasattr(made, "__aenter__"):
                made = await stack.enter_async_context(made)
            elif hasattr(made, "__enter__") and not isinstance(made, Pregel):
                made = stack.enter_context(made)
            if not isinstance(made, Pregel | StateGraph):
                raise TypeError(f"the factory {self.place} gave {type(made).__name__}, not a graph")
            yield compiled(made)


def compiled(found: Any) -> Graph:
    """The graph itself, or that of a builder; without the saver that it was compiled with, and with whole channels:
    Runyard keeps its states."""
    graph: Graph = with_whole_channels(cast(Any, found).compile() if isinstance(found, StateGraph) else found)
    if graph.checkpointer is None:
        return graph
    graph = copy.copy(graph)
    graph.checkpointer = None
    return graph


def _arguments(
    factory: Callable[..., Any], config: RunnableConfig | None, runtime: Callable[[], Any]
) -> dict[str, Any]:
    """What a factory takes, by the names or the types of its parameters; a single one of no name is the config.

    Raises:
        TypeError: a parameter without a default that is neither.
    """
    parameters = inspect.signature(factory, eval_str=False).parameters.values()
    needed = [
        parameter for parameter in parameters if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    given: dict[str, Any] = {}
    for parameter in needed:
        hint = parameter.annotation if isinstance(parameter.annotation, str) else repr(parameter.annotation)
        if "Runtime" in hint or parameter.name == "runtime":
            given[parameter.name] = runtime()
        elif "Config" in hint or parameter.name == "config" or len(needed) == 1:
            given[parameter.name] = {} if config is None else config
        elif parameter.default is parameter.empty:
            raise TypeError(f"the factory's parameter {parameter.name!r} is neither a config nor a runtime")
    return given


def _runtime(
    access: Access, config: RunnableConfig | None, context: dict[str, Any] | None, store: BaseStore | None
) -> Any:
    """LangGraph's `ServerRuntime` for a factory; the same fields where the SDK has none yet."""
    executes = access == "threads.create_run"
    user = ((config or {}).get("configurable") or {}).get(USER)
    try:
        from langgraph_sdk import runtime
    except ImportError:
        made = SimpleNamespace(access_context=access, user=user, store=store, context=context)
        made.execution_runtime = made if executes else None
        return made
    if executes:
        return cast(Any, runtime)._ExecutionRuntime(access_context=access, user=user, store=store, context=context)
    return cast(Any, runtime)._ReadRuntime(access_context=access, user=user, store=store)


def _run_apart(coroutine: Any) -> Graph:
    """Runs a coroutine to its end, whether or not a loop runs in this thread."""
    result: list[Any] = []

    def work() -> None:
        try:
            result.append(asyncio.run(coroutine))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work, name="runyard-graph-factory")
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]
