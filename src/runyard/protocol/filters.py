"""Which events a subscription sees: channels, namespaces, depth.

Source: the protocol's CDDL, sections 5 and 6. A prefix whose segment has no `:` fits a segment with any suffix, since
clients name the node and the server its task (`child:7f3a`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from weakref import WeakValueDictionary

from runyard.errors import InvalidInput
from runyard.events import Kind
from runyard.protocol.told import CHANNELS_OF, Told

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")
_NAMED = "custom:"
_MOST = 1000
"""Answers that are remembered: namespaces are few, unless a run makes thousands."""

Namespace = tuple[str, ...]


def namespace_of(path: str) -> Namespace:
    """The namespace of what a log's entry keeps."""
    return tuple(path.split("|")) if path else ()


class Filter:
    """What one subscription asked for. Two that asked for the same are equal."""

    __slots__ = ("__weakref__", "_hash", "_known", "channels", "depth", "key", "kinds", "namespaces")

    def __init__(
        self, channels: Iterable[str], namespaces: Iterable[Sequence[str]] | None = None, depth: int | None = None
    ) -> None:
        self.channels = frozenset(channels)
        self.namespaces = frozenset(map(tuple, namespaces)) if namespaces else frozenset[Namespace]({()})
        self.depth = depth
        self.kinds: frozenset[Kind] = frozenset(kind for kind, told in CHANNELS_OF.items() if self._may_see(told))
        """The entries of the log that may be told in something that it sees; the others need not be looked at."""
        self.key: Hashable = (self.channels, self.namespaces, depth)
        """What was asked for."""
        self._hash = hash(self.key)
        self._known: dict[tuple[str, str | None, str], bool] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def shows(self, told: Told, path: str) -> bool:
        """Whether it sees an event that was told under a namespace."""
        key = (told.method, told.name, path)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[key] = self._listens(told) and self._covers(namespace_of(path))
        return known

    def wants(self, channel: str) -> bool:
        """Whether it is subscribed to a channel."""
        return channel in self.channels

    def _may_see(self, told: frozenset[str]) -> bool:
        if not told.isdisjoint(self.channels):
            return True
        return "custom" in told and any(channel.startswith(_NAMED) for channel in self.channels)

    def _listens(self, told: Told) -> bool:
        if told.channel in self.channels:
            return True
        return told.method == "custom" and told.name is not None and _NAMED + told.name in self.channels

    def _covers(self, namespace: Namespace) -> bool:
        return any(
            _begins(namespace, prefix) and (self.depth is None or len(namespace) - len(prefix) <= self.depth)
            for prefix in self.namespaces
        )


class Filters:
    """Those that are in use: readers who ask for the same have one together, with what it remembers."""

    def __init__(self) -> None:
        self.used: WeakValueDictionary[Hashable, Filter] = WeakValueDictionary()
        """By what was asked for."""

    def shared(self, wanted: Filter) -> Filter:
        """The one that equals this."""
        return self.used.setdefault(wanted.key, wanted)


def _begins(namespace: Namespace, prefix: Namespace) -> bool:
    if len(prefix) > len(namespace):
        return False
    return all(
        segment == asked or (":" not in asked and segment.partition(":")[0] == asked)
        for segment, asked in zip(namespace, prefix, strict=False)
    )


def check_channels(channels: Sequence[str]) -> None:
    """Raises `InvalidInput` for a list without channels, or with one that there is not."""
    if not channels:
        raise InvalidInput(f"channels is empty; allowed: {_allowed()}", field="channels")
    for index, channel in enumerate(channels):
        if channel not in CHANNELS and not (channel.startswith(_NAMED) and channel != _NAMED):
            field = f"channels[{index}]"
            raise InvalidInput(f"{field} is {channel[:60]!r}; allowed: {_allowed()}", field=field)


def _allowed() -> str:
    return ", ".join((*CHANNELS, _NAMED + "NAME"))
