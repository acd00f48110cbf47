"""Channels that LangGraph stores as what they were given (`DeltaChannel`), stored as what they hold.

Runyard's storage keeps differences itself; and only what a state holds can be shown, changed by clients and forked.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from runyard.runtime.langgraph.describe import Graph

try:
    from langgraph.channels.delta import DeltaChannel
    from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
except ImportError:  # older versions of LangGraph have no such channels

    def with_whole_channels(graph: Graph) -> Graph:
        """The graph itself."""
        return graph

    def whole_values(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values themselves."""
        return dict(values)

else:

    class WholeChannel(DeltaChannel[Any]):
        """Takes and gives what a `DeltaChannel` does. It is one still: LangGraph gives ids to the messages of those."""

        __slots__ = ()

        def checkpoint(self) -> Any:
            """What it holds; LangGraph's mark of a missing value where that is nothing."""
            return self.value

    def with_whole_channels(graph: Graph) -> Graph:
        """The graph, or a copy of it whose own channels are whole. Those of its subgraphs stay: nobody sees their
        states, and the saver reads them as LangGraph stores them."""
        channels: dict[str, Any] = {name: _whole(channel) for name, channel in graph.channels.items()}
        if all(channel is graph.channels[name] for name, channel in channels.items()):
            return graph
        graph = copy.copy(graph)
        graph.channels = channels
        return graph

    def _whole(channel: Any) -> Any:
        if type(channel) is not DeltaChannel:
            return channel
        delta = cast(Any, channel)
        made = WholeChannel(delta.reducer, delta.typ, snapshot_frequency=delta.snapshot_frequency)
        made.key = delta.key
        return made

    def whole_values(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a checkpoint without the marks that LangGraph puts on some of those of `DeltaChannel`s now and
        then; it reads them without as well."""
        return {name: value.value if isinstance(value, _DeltaSnapshot) else value for name, value in values.items()}
