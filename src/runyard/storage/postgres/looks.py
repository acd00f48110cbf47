"""Reads of one small thing each, of which many are asked for at the same time: each kind is one statement for all."""

from __future__ import annotations

from collections.abc import Sequence

from runyard.checkpoints import Snapshot, fold
from runyard.runs import Run
from runyard.storage.postgres.gathered import Gathered
from runyard.storage.postgres.transaction import Reader
from runyard.storage.verbs.rows import checkpoint_of, run_of, thread_of
from runyard.threads import Thread

MOST = 500
"""Rows of a statement."""
MOST_STATES = 32
"""The same of states, each of which may be large."""

Named = tuple[str, str]
"""An owner, and the id of something of theirs."""
Wanted = tuple[str, str, str, bool]
"""An owner, a thread, a checkpoint, and whether it may be one that was undone."""


class Looks:
    """Whatever is found is as it was after it was asked for. Nothing is found of what is not there.

    Raises:
        StorageError, Unavailable: the database cannot be read.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._runs = Gathered(self._find_runs, MOST)
        self._threads = Gathered(self._find_threads, MOST)
        self._numbers = Gathered(self._find_numbers, MOST)
        self._snapshots = Gathered(self._find_snapshots, MOST_STATES)

    async def run(self, owner: str, run_id: str) -> Run | None:
        """A run that is not tombstoned."""
        return await self._runs.ask((owner, run_id))

    async def thread(self, owner: str, thread_id: str) -> Thread | None:
        """A thread's header; of hidden ones too, not of deleted ones."""
        return await self._threads.ask((owner, thread_id))

    async def numbers(self, owner: str, thread_id: str) -> tuple[int, int]:
        """The last number of a thread's log, and the one below its first: of a deleted one, too."""
        return await self._numbers.ask((owner, thread_id)) or (0, 0)

    async def snapshot(self, owner: str, thread_id: str, checkpoint_id: str, undone: bool) -> Snapshot | None:
        """A checkpoint that was made on the thread, or one of a subgraph that it has inherited."""
        return await self._snapshots.ask((owner, thread_id, checkpoint_id, undone))

    async def _find_runs(self, named: Sequence[Named]) -> dict[Named, Run]:
        found = [run_of(row) for row in await self._reader.all("run_of_many", _columns(named))]
        return {(run.owner, run.run_id): run for run in found}

    async def _find_threads(self, named: Sequence[Named]) -> dict[Named, Thread]:
        found = [thread_of(row) for row in await self._reader.all("thread_of_many", _columns(named))]
        return {(thread.owner, thread.thread_id): thread for thread in found}

    async def _find_numbers(self, named: Sequence[Named]) -> dict[Named, tuple[int, int]]:
        rows = await self._reader.all("numbers_of_many", _columns(named))
        return {(owner, thread_id): (last, floor) for owner, thread_id, last, floor in rows}

    async def _find_snapshots(self, wanted: Sequence[Wanted]) -> dict[Wanted, Snapshot]:
        rows = await self._reader.all("state_of_many", _columns(wanted))
        return {
            wanted[row[0] - 1]: Snapshot(checkpoint_of(row[3:]), fold(zip(row[1], row[2], strict=True))) for row in rows
        }


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
