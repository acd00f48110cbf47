"""What a verb sees of a database: statements by their names, and what it has to tell after the commit.

A statement has the same name, values and columns in every adapter's `queries.sql`. Verbs are coroutines because some
databases answer over a network; the embedded one answers at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

from runyard.events import Chunk
from runyard.runs import Run

T = TypeVar("T")

MOST_BEGUN = 10_000
"""Attempts that are remembered."""


class Poisoned(Exception):
    """The verbs of a group cannot be committed together."""


class Reads(Protocol):
    """Statements that only read."""

    async def all(self, query: str, values: Any = ()) -> list[Any]:
        """All rows of a named statement; a statement that writes is run to its end. The values are a tuple, or a
        dictionary, as the statement has them."""
        ...

    async def one(self, query: str, values: Any = ()) -> Any:
        """The first row of a named statement, or None."""
        ...

    async def look(self, query: str, values: tuple[Any, ...], about: str) -> Any:
        """The first row, or None, of a named statement about nothing but one thread and its runs, or one key."""
        ...

    def log(self, owner: str, thread_id: str, after: int) -> AsyncGenerator[tuple[int, int, str | None, int, bytes]]:
        """The rows of a thread's log behind a number, as they are asked for; to be closed."""
        ...


class Transaction(Reads, Protocol):
    """Statements of one transaction, and the events that it appends."""

    begun: Begun | None
    """None where nothing is to be taken for granted."""
    chunks: list[Chunk]
    ready: bool
    """Whether a run became ready to be claimed."""
    outbox: bool
    """Whether a webhook became due."""

    async def run(self, query: str, values: Any = ()) -> None:
        """Executes a named statement that returns nothing."""
        ...

    async def remove(self, query: str, values: dict[str, Any]) -> tuple[int, int]:
        """Executes a named statement that deletes or changes rows: how many it did, and how many with those that
        triggers did."""
        ...

    def later(self, query: str, values: tuple[Any, ...], about: str) -> None:
        """Has a named statement for one row done before anything else is asked of the database, but for looks at what
        it is not about, and at the latest with the commit. If it fails, the verb is done again with every row at once.
        `about` is a thread's id, or an idempotency key with owner and route."""
        ...


class Standing(NamedTuple):
    """An attempt as its first commit left it: the run, its lease, and the last number and the head of its thread."""

    run: Run
    lease: int
    last_seq: int
    head: str | None


class Begun(dict[str, Standing]):
    """Attempts on hidden threads, which no other run can be on, that have written nothing since they began and are not
    asked to cancel; by run. It is a guess: what ends such an attempt is guarded all the same, and done the long way
    where the guess was wrong."""

    def remember(self, standing: Standing) -> None:
        if len(self) >= MOST_BEGUN:
            self.clear()
        self[standing.run.run_id] = standing


def at_once(verb: Coroutine[Any, Any, T]) -> T:
    """Runs a verb on a database that answers at once."""
    try:
        verb.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError(f"{verb!r} has paused")
