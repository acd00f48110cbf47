"""The transformers that a graph was compiled with (`compile(transformers=...)`): what it tells goes through them, as it
does in LangGraph's own `astream_events(version="v3")`.

They see events, may change them and hold them back (a middleware that removes names from what is streamed), and give
values of their own, which are told by the names of their channels. LangGraph's own ones only arrange for readers in the
same process what is told here anyway: they are left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from runyard.events import Entry, entry
from runyard.protocol.names import EVENT_DATA
from runyard.runtime.langgraph.describe import Graph
from runyard.runtime.langgraph.stream import Telling
from runyard.runtime.langgraph.values import project
from runyard.runtime.langgraph.watcher import CallEnded

_muxes: Any = None
_event_of: Any = None
try:
    from langgraph.stream import _convert, _mux  # pyright: ignore[reportPrivateUsage]

    _muxes, _event_of = _mux.StreamMux, cast(Any, _convert).convert_to_protocol_event
except ImportError:  # LangGraph before 1.2 has no transformers
    pass

_BY_EVENTS = "__pregel_stream_messages_v2"
"""What LangGraph's `astream_events` says in the configuration, that models tell events."""
Part = tuple[tuple[str, ...], str, Any]
"""Where something is told, in which mode, and what."""
_BESIDE = "runyard.beside"
"""The mode of what no transformer knows, in its place among the rest."""
_NAMED = "custom:"
_TOOLS = EVENT_DATA["tools"]
_OWN = frozenset({"tools"})
"""Modes of LangGraph that are told otherwise here."""


class Transformers:
    """Those of one attempt, between its graph and what is told of it."""

    def __init__(self, mux: Any, telling: Telling, modes: Sequence[str]) -> None:
        """`modes`: what is to be told."""
        self._mux = mux
        self._telling = telling
        self._told = modes
        aiter(mux._events)  # from now on it keeps what is pushed
        telling.pass_events_by()

    @property
    def modes(self) -> Collection[str]:
        """What the graph has to stream: what is told, and what they ask for beside it."""
        asked = {mode for one in self._mux._transformers for mode in getattr(one, "required_stream_modes", ())}
        return dict.fromkeys((*self._told, *sorted(asked - _OWN)))

    async def entries(self, stream: AsyncIterator[Any], see: Callable[[Part], None]) -> AsyncIterator[Sequence[Entry]]:
        """The entries of what a graph streams, after the transformers; `see` is called with each part before them.
        Raises what a transformer raises."""
        try:
            async for streamed in stream:
                part: Part = streamed["ns"], streamed["type"], streamed["data"]
                see(part)
                for namespace, mode, data in self._before(part):
                    await self._mux.apush(_event_of({"type": mode, "ns": namespace, "data": data}))
                    yield self._after()
            await self._mux.aclose()
        except BaseException as error:
            await self._mux.afail(error)
            raise
        yield self._after()

    def _before(self, part: Part) -> list[Part]:
        """What they are shown of a part."""
        _, mode, data = part
        if mode != "custom":
            return [part]
        if isinstance(data, CallEnded):
            return [((), _BESIDE, one) for one in self._telling.call_ended(data)]
        if not self._telling.is_mark(data):
            return [part]
        return [
            (_namespace(one), "tools", _TOOLS.spell(msgspec.json.decode(one.data), "snake"))
            if one.kind == "tools"
            else ((), _BESIDE, one)
            for one in self._telling.watched()
        ]

    def _after(self) -> list[Entry]:
        told: list[Entry] = []
        items = self._mux._events._items
        while items:
            _, event = items.popleft()
            mode, data = event["method"], event["params"]["data"]
            namespace = tuple(event["params"]["namespace"])
            if mode == _BESIDE:
                told.append(data)
            elif mode == "tools":
                told.append(entry("tools", project(_TOOLS.spell(data, "camel")), "|".join(namespace)))
            elif mode.startswith(_NAMED):
                named = {"name": mode.removeprefix(_NAMED), "payload": project(data)}
                told.append(entry("custom", named, "|".join(namespace)))
            elif mode in self._told:
                told += self._telling.entries(namespace, mode, data)
        return told


def _namespace(one: Entry) -> tuple[str, ...]:
    return tuple(one.namespace.split("|")) if one.namespace else ()


def transformers_of(graph: Graph, telling: Telling, modes: Sequence[str]) -> Transformers | None:
    """The transformers through which goes what the graph tells in those modes; None where there are none."""
    factories = getattr(graph, "stream_transformers", ())
    if not factories or _muxes is None:
        return None
    # Which of them are LangGraph's own is known of what the factories make.
    made = [factory(()) for factory in factories]
    own = [factory for factory, one in zip(factories, made, strict=True) if not getattr(one, "_native", False)]
    return Transformers(_muxes(factories=own, is_async=True), telling, modes) if own else None


def telling_events(config: RunnableConfig) -> RunnableConfig:
    """The same configuration for a graph whose models are to tell events: those are what transformers know."""
    return patch_config(config, configurable={_BY_EVENTS: True})
