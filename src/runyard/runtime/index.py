"""The index of meanings, as those see it who put items into the store and search there: what makes vectors of texts.

It is code of the user. It executes where an item is put or searched for: in the server for requests, in the process of
an agent's code for what that does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from runyard.vectors import Vector

Fields = Literal[False] | Sequence[str] | None
"""What of an item is embedded: what the index says (None), nothing (False), or what is at these paths."""


class Texts(msgspec.Struct, frozen=True):
    """What is to be embedded: the texts of each item, and what is searched for."""

    items: Sequence[Sequence[str]] = ()
    queries: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(self.items) or bool(self.queries)


class Meanings(msgspec.Struct, frozen=True):
    """The vectors of `Texts`, in the same places."""

    items: Sequence[Sequence[Vector]]
    queries: Sequence[Vector]


NO_INDEX = "there is no index of meanings here: store.index of langgraph.json makes one"


class Index(Protocol):
    """What makes vectors of texts."""

    place: str
    """Its name in messages."""
    blocks: bool
    """Whether it has no way but to block the thread that asks it."""

    def texts(self, value: Mapping[str, Any], fields: Fields = None) -> list[str]:
        """What of an item is to be embedded.

        Raises:
            InvalidInput: there is too much of it.
        """
        ...

    async def meanings(self, texts: Texts) -> Meanings:
        """Embeds texts without blocking the loop: one that blocks is called in a thread of the loop's executor.

        Raises:
            EmbeddingFailed: what it gives are no vectors of that length.
            Exception: whatever it raises.
        """
        ...

    def meanings_now(self, texts: Texts, loop: asyncio.AbstractEventLoop | None = None) -> Meanings:
        """The same in a thread that waits for it. What only knows how to be awaited is, in `loop`, which must be that
        of another thread; without one, in a loop of its own."""
        ...
