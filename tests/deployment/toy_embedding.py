"""An embedding for tests, in the forms that an index takes: each word has a place of its own, and none is alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

DIMS = 64
CALLS: list[list[str]] = []
"""What was embedded at once, and in which thread's loop or none."""
GO = threading.Event()
BEGUN = threading.Semaphore(0)


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Counts words."""
    CALLS.append(list(texts))
    return [_counted(text) for text in texts]


async def aembed(texts: Sequence[str]) -> list[list[float]]:
    """The same, awaited."""
    await asyncio.sleep(0)
    assert threading.current_thread().name != "runyard-embedding"
    return embed(texts)


class Words(Embeddings):
    """The same as an object of LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embed(texts)

    def embed_query(self, text: str) -> list[float]:
        return embed([text])[0]


words = Words()


def short(texts: Sequence[str]) -> list[list[float]]:
    """Vectors of another length than is said."""
    return [[1.0, 2.0] for _ in texts]


def no_numbers(texts: Sequence[str]) -> list[list[float]]:
    """Vectors that are none."""
    return [[float("nan")] * DIMS for _ in texts]


def too_few(texts: Sequence[str]) -> list[list[float]]:
    """Not a vector for each text."""
    return []


def raises(texts: Sequence[str]) -> list[list[float]]:
    """Fails."""
    raise ConnectionError("the provider is away")


async def araises(texts: Sequence[str]) -> list[list[float]]:
    """Fails, awaited."""
    raise ConnectionError("the provider is away")


def exits(texts: Sequence[str]) -> list[list[float]]:
    """Wants to end the server."""
    raise SystemExit(3)


def hangs(texts: Sequence[str]) -> list[list[float]]:
    """Blocks until it may go on."""
    BEGUN.release()
    assert GO.wait(30)
    return embed(texts)


async def ahangs(texts: Sequence[str]) -> list[list[float]]:
    """Never gives an answer, and does not let itself be stopped at once."""
    BEGUN.release()
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return []


NUMBER = 5
_PLACES: dict[str, int] = {}


def _counted(text: str) -> list[float]:
    numbers = [0.0] * DIMS
    for word in "".join(letter if letter.isalnum() else " " for letter in text.lower()).split():
        numbers[_PLACES.setdefault(word, len(_PLACES))] += 1.0
    return numbers
