"""What a verb sees of PostgreSQL: a transaction that is shared by the verbs of a group, and rows that are put off.

A round trip costs more than most statements. So a transaction begins with its first statement; rows that many verbs
write alike wait until somebody asks for them, and then go in one statement; and a group that only begins runs on new
threads needs no transaction around it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from runyard.events import Chunk
from runyard.storage.postgres.attention import Attention
from runyard.storage.postgres.connection import TURN
from runyard.storage.postgres.faults import FAULTS, translate
from runyard.storage.postgres.statements import Statement
from runyard.storage.verbs.transaction import Begun, Poisoned

LOG_PAGE = 32
"""Rows of a log that are asked for at once: more than one reader takes at a time, mostly."""


Evidence = tuple[str, tuple[Any, ...]]
"""A statement and its values: it finds a row where a transaction was committed."""

_MARKED: str = "SELECT 1 FROM marks WHERE writer = $1 AND number = $2"
_BEGUN: str = "SELECT 1 FROM runs WHERE run_id = $1"


class Work:
    """What a group does on the writer's connection."""

    __slots__ = ("_about", "_mark", "_rows", "added", "changed", "connection", "evidence", "open", "statements")

    def __init__(self, connection: Any, statements: dict[str, Statement], mark: tuple[str, int]) -> None:
        """`mark`: the writer's id, and the number of its transaction."""
        self.connection = connection
        self.statements = statements
        self.open = False
        """Whether a transaction has begun."""
        self.evidence: Evidence = _MARKED, mark
        """What says, when the connection was lost, whether all this was committed."""
        self.changed = 0
        """Rows that were changed by what was not put off."""
        self.added = 0
        """Rows that were put off, in all."""
        self._mark = mark
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._about: set[str] = set()

    @property
    def waiting(self) -> int:
        """Statements that are put off."""
        return len(self._rows)

    @property
    def begins_alone(self) -> bool:
        """Whether all there is to do is that runs begin on new threads, which nobody else can know of: that needs no
        turn, and is one statement."""
        return not self.open and self._rows.keys() == {"begin_alone"}

    def concerns(self, about: str) -> bool:
        """Whether a row about that has been put off: a thread (its id), or an idempotency key."""
        return about in self._about

    def put_off(self, query: str, values: tuple[Any, ...], about: str) -> None:
        self.added += 1
        self._about.add(about)
        self._rows.setdefault(query, []).append(values)

    def again(self) -> Work:
        """What goes on in the same transaction after a part of it was undone: nothing is put off."""
        work = Work(self.connection, self.statements, self._mark)
        work.open = self.open
        return work

    async def begin(self) -> None:
        """Begins the transaction, where that has not been done, and waits for its turn."""
        if not self.open:
            await self.connection.execute("BEGIN")
            self.open = True
            await self.connection.execute(TURN, *self._mark)

    async def fetch(self, query: str, values: Any) -> list[Any]:
        await self.begin()
        statement = self.statements[query]
        rows: list[Any] = [tuple(row) for row in await self.connection.fetch(statement.sql, *statement.bound(values))]
        if statement.writes:
            self.changed += len(rows)
        return rows

    async def execute(self, query: str, values: Any) -> int:
        """How many rows it has changed."""
        await self.begin()
        statement = self.statements[query]
        changed = rows_of(await self.connection.execute(statement.sql, *statement.bound(values)))
        self.changed += changed
        return changed

    async def commit(self) -> None:
        await self.connection.execute("COMMIT")

    async def write_alone(self) -> None:
        """Begins the runs that begin alone: one statement is a transaction of its own.

        Raises:
            Poisoned: a row was refused.
        """
        run_id = self._rows["begin_alone"][0][2]
        self.evidence = _BEGUN, (run_id,)
        await self.write()

    async def write(self) -> None:
        """Writes what was put off.

        Raises:
            Poisoned: a row was refused, or what it was to go by has changed. Whose it was is not known.
        """
        rows, self._rows = self._rows, {}
        self._about.clear()
        for query, waiting in rows.items():
            written = rows_of(
                await self.connection.execute(self.statements[query].sql, *map(list, zip(*waiting, strict=True)))
            )
            if written != len(waiting):
                raise Poisoned


def rows_of(status: str) -> int:
    """The number at the end of what PostgreSQL says of a statement."""
    return int(status.rpartition(" ")[2])


class Transaction:
    """The transaction of one verb, within that of its group."""

    __slots__ = ("_work", "begun", "chunks", "outbox", "ready")

    def __init__(self, work: Work, begun: Begun | None) -> None:
        self._work = work
        self.begun = begun
        self.chunks: list[Chunk] = []
        self.ready = False
        """Whether a run became ready to be claimed."""
        self.outbox = False
        """Whether a webhook became due."""

    async def _settled(self) -> Work:
        if self._work.waiting:
            await self._work.begin()
            await self._work.write()
        return self._work

    async def all(self, query: str, values: Any = ()) -> list[Any]:
        """All rows of a named statement."""
        return await (await self._settled()).fetch(query, values)

    async def one(self, query: str, values: Any = ()) -> Any:
        """The first row of a named statement, or None."""
        rows = await self.all(query, values)
        return rows[0] if rows else None

    async def run(self, query: str, values: Any = ()) -> None:
        """Executes a named statement that returns nothing."""
        await (await self._settled()).execute(query, values)

    async def remove(self, query: str, values: dict[str, Any]) -> tuple[int, int]:
        """Executes a named statement: how many rows it removed or changed. What triggers did is not counted."""
        changed = await (await self._settled()).execute(query, values)
        return changed, changed

    def later(self, query: str, values: tuple[Any, ...], about: str) -> None:
        """Puts a row off, at the latest to the commit. `about` is a thread's id, or an idempotency key with owner and
        route."""
        self._work.put_off(query, values, about)

    async def look(self, query: str, values: tuple[Any, ...], about: str) -> Any:
        """The first row, or None, of a named statement about nothing but one thread and its runs, or one key."""
        work = await self._settled() if self._work.concerns(about) else self._work
        rows = await work.fetch(query, values)
        return rows[0] if rows else None

    async def log(self, owner: str, thread_id: str, after: int) -> AsyncGenerator[Any]:
        """The rows of a thread's log behind a number."""
        while rows := await self.all("log", (owner, thread_id, after, LOG_PAGE)):
            for row in rows:
                yield row
            if len(rows) < LOG_PAGE:
                return
            after = rows[-1][1]


class Reader:
    """Reads outside any transaction, each statement on a connection of the pool.

    Raises:
        StorageError, Unavailable: the database cannot be read.
    """

    __slots__ = ("_attention", "_patience", "_pool", "_statements")

    def __init__(
        self, pool: Any, statements: dict[str, Statement], attention: Attention, patience: float | None = None
    ) -> None:
        """`patience`: seconds after which an answer is not waited for, even where the database works on it."""
        self._pool = pool
        self._statements = statements
        self._attention = attention
        self._patience = patience

    async def all(self, query: str, values: Any = ()) -> list[Any]:
        statement = self._statements[query]
        try:
            async with self._pool.acquire() as connection:
                answered = self._attention.begin(connection, self._patience)
                try:
                    rows = await connection.fetch(statement.sql, *statement.bound(values))
                finally:
                    answered()
        except FAULTS as error:
            raise translate(error) from error
        return [tuple(row) for row in rows]

    async def one(self, query: str, values: Any = ()) -> Any:
        rows = await self.all(query, values)
        return rows[0] if rows else None

    async def look(self, query: str, values: tuple[Any, ...], about: str) -> Any:
        return await self.one(query, values)

    async def log(self, owner: str, thread_id: str, after: int) -> AsyncGenerator[Any]:
        while rows := await self.all("log", (owner, thread_id, after, LOG_PAGE)):
            for row in rows:
                yield row
            if len(rows) < LOG_PAGE:
                return
            after = rows[-1][1]
