"""Which events of a thread are wanted: channels, namespaces and depth. No input and output in here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ap_client.exceptions import ApiValueError
from ap_client.thread_events import ThreadEvent, said

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")
_NAMED = "custom:"

Namespaces = Iterable[str | Sequence[str]]
"""Where in the tree of agents: prefixes, each a list of segments (a text is a list of one)."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted. `namespaces` None is all; `depth`: how far below a prefix, or below the root."""

    channels: tuple[str, ...]
    namespaces: tuple[tuple[str, ...], ...] | None = None
    depth: int | None = None

    def matches(self, event: ThreadEvent) -> bool:
        """Whether the event is wanted."""
        return self._on_channel(event) and any(
            _below(event.namespace, prefix, self.depth) for prefix in self.namespaces or ((),)
        )

    def _on_channel(self, event: ThreadEvent) -> bool:
        if event.channel in self.channels:
            return True
        return event.method == "custom" and f"{_NAMED}{said(event.data, 'name')}" in self.channels

    @property
    def reaches_root(self) -> bool:
        """Whether what happens at the root is within its namespaces."""
        return self.namespaces is None or () in self.namespaces

    def with_channels(self, *more: str) -> "Filter":
        """The same, and these channels."""
        return Filter(in_order((*self.channels, *more)), self.namespaces, self.depth)

    def to_wire(self) -> dict[str, Any]:
        """The fields of a request that say it."""
        wire: dict[str, Any] = {"channels": list(self.channels)}
        if self.namespaces is not None:
            wire["namespaces"] = [list(each) for each in self.namespaces]
        if self.depth is not None:
            wire["depth"] = self.depth
        return wire


def wanted(channels: Iterable[str] | str, namespaces: Namespaces | None = None, depth: int | None = None) -> Filter:
    """The filter that these words say.

    Raises ApiValueError for a channel that the protocol does not have, for no channel at all, and for a depth below 0.
    """
    chosen = in_order([channels] if isinstance(channels, str) else channels)
    for channel in chosen:
        if channel not in CHANNELS and not (channel.startswith(_NAMED) and channel != _NAMED):
            raise ApiValueError(
                f"channels must be of {', '.join(CHANNELS)} or custom:NAME, not {channel!r}", ["channels"]
            )
    if not chosen:
        raise ApiValueError("channels must name at least one", ["channels"])
    if depth is not None and depth < 0:
        raise ApiValueError(f"depth must be at least 0, not {depth}", ["depth"])
    if isinstance(namespaces, str):
        namespaces = [namespaces]
    prefixes = None if namespaces is None else tuple(segments(each) for each in namespaces)
    return Filter(chosen, prefixes or None, depth)


def segments(namespace: str | Sequence[str]) -> tuple[str, ...]:
    """A namespace; one segment may stand for a list of one."""
    return (namespace,) if isinstance(namespace, str) else tuple(namespace)


def in_order(channels: Iterable[str]) -> tuple[str, ...]:
    """Each channel once, always in the same order; names of custom events go where all custom events do."""
    found = set(channels)
    if "custom" in found:
        found = {each for each in found if not each.startswith(_NAMED)}
    known = [each for each in CHANNELS if each in found]
    return (*known, *sorted(found - set(known)))


def _below(namespace: tuple[str, ...], prefix: tuple[str, ...], depth: int | None) -> bool:
    if len(namespace) < len(prefix) or (depth is not None and len(namespace) - len(prefix) > depth):
        return False
    return all(_same(mine, asked) for mine, asked in zip(namespace, prefix, strict=False))


def _same(mine: str, asked: str) -> bool:
    return mine == asked or (":" not in asked and mine.partition(":")[0] == asked)
