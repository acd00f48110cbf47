"""The storage contract on one SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from runyard.errors import RunyardError, Unsupported
from runyard.storage.sqlite import upkeep_verbs
from runyard.storage.sqlite.connection import CAN_COMPARE_VECTORS, FileLock, Synchronous, close, connect
from runyard.storage.sqlite.faults import translated
from runyard.storage.sqlite.writer import Reader, Transaction, Writer
from runyard.storage.verbs.replay import Replay
from runyard.storage.verbs.storage import VerbStorage
from runyard.storage.verbs.transaction import Reads, at_once
from runyard.storage.verbs.transaction import Transaction as VerbTransaction
from runyard.vectors import Vector

T = TypeVar("T")
P = ParamSpec("P")

READER_THREADS = 2
RENEWAL_PAUSE = 0.5
"""Seconds between tries to open all connections anew."""
PROVEN_FOR = 5.0
"""Seconds for which a commit proves that the file can be written."""
ROOM_NEEDED = 4_000_000
"""Bytes of free disk below which the next large write fails although small ones still fit."""
PROOF_PATIENCE = 2.0
"""Seconds after which a commit that does not come is a trouble."""


class SqliteStorage(VerbStorage):
    """One database file, of which this process is the only server.

    Verbs that write go to the writer thread; small rows are read inline on a read-only connection; everything of
    unknown size (state, history, search, replay) is read on reader threads.
    """

    shared = False

    def __init__(self, path: Path, *, synchronous: Synchronous = "full", vfs: str | None = None) -> None:
        super().__init__()
        self.path = path
        self._vfs = vfs
        self._synchronous: Synchronous = synchronous
        self._closed = True
        self._lock = FileLock(path)
        self._readers = _reader_pool()
        self._replays = _replay_pool()
        self._local = threading.local()
        self._reader_connections: list[apsw.Connection] = []

    async def open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        writer: Writer | None = None
        try:
            with translated():
                writer = Writer(
                    self.path,
                    self._synchronous,
                    self._deliver,
                    self._suspected,
                    self._vfs,
                )
                writer.open()
                self._inline = Reader(connect(self.path, read_only=True, vfs=self._vfs), writer.sql)
        except BaseException:
            if writer is not None:
                await writer.close()
            self._lock.release()
            raise
        self._writer = writer
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        self._close_readers()
        await self._writer.close()
        self._lock.release()

    def _close_readers(self) -> None:
        self._readers.shutdown(wait=True)
        self._replays.shutdown(wait=True)
        for connection in self._reader_connections:
            close(connection)
        self._reader_connections.clear()
        self._local = threading.local()
        close(self._inline.connection)

    @property
    def problem(self) -> str | None:
        """Why the last commit failed; None while they succeed."""
        return self._writer.problem

    def _suspected(self) -> None:
        """A checkpoint could not be synced. What SQLite believes of the file is not to be trusted from here on: every
        connection is opened anew, as after a crash, as soon as the disk lets it."""
        if self._closed:
            return
        if self._writer.renew(self._close_readers):
            self._readers, self._replays = _reader_pool(), _replay_pool()
            self._replay = Replay()
            self._reopen_inline()
        else:
            asyncio.get_running_loop().call_later(RENEWAL_PAUSE, self._suspected)

    def _reopen_inline(self) -> None:
        if self._closed:
            return
        try:
            self._inline = Reader(connect(self.path, read_only=True, vfs=self._vfs), self._writer.sql)
        except apsw.Error:
            asyncio.get_running_loop().call_later(RENEWAL_PAUSE, self._reopen_inline)

    def _do(
        self,
        verb: Callable[Concatenate[VerbTransaction, P], Coroutine[Any, Any, T]],
        *arguments: P.args,
        **_: P.kwargs,
    ) -> Awaitable[T]:
        return self._writer.do(verb, *arguments, **_)

    # reading

    @property
    def _rows(self) -> Reads:
        return self._inline

    def _reader(self) -> Transaction:
        reader: Transaction | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = Reader(connect(self.path, read_only=True, vfs=self._vfs), self._writer.sql)
            self._reader_connections.append(reader.connection)
            self._local.reader = reader
        return reader

    async def _read(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        return await self._ask(self._readers, question)

    async def _read_log(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        return await self._ask(self._replays, question)

    async def _ask(self, pool: ThreadPoolExecutor, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        def ask() -> T:
            with translated():
                return at_once(question(self._reader()))

        return await asyncio.get_running_loop().run_in_executor(pool, ask)

    # vectors

    def check_meanings(self) -> None:
        if not CAN_COMPARE_VECTORS:
            raise Unsupported(
                "searching an SQLite database by meaning takes sqlite-vec, which is not installed: "
                "pip install 'runyard[vectors]'",
                field="store.index",
            )

    def _packed(self, vectors: Sequence[Vector]) -> bytes:
        return b"".join(vectors)

    # workers: nobody asks whether the only one is alive

    async def join(self, lease: float, agents: Sequence[str]) -> None:
        pass

    async def renew(self, lease: float) -> bool:
        return True

    async def leave(self) -> None:
        pass

    # upkeep

    async def trouble(self) -> str | None:
        if not self._writer.alive:
            return "the database's writer has died; restart the server"
        left = shutil.disk_usage(self.path.parent).free
        if left < ROOM_NEEDED:
            return f"the disk is full: {left} bytes are left beside the database, and {ROOM_NEEDED} are needed"
        if self._writer.proven <= PROVEN_FOR:
            return None
        try:
            await asyncio.wait_for(self._writer.do(upkeep_verbs.prove), PROOF_PATIENCE)
        except TimeoutError:
            return f"the database has not committed within {PROOF_PATIENCE:g} s"
        except RunyardError as error:
            return f"the database cannot be written: {error.message}"
        return None

    async def _sizes(self) -> tuple[int, int]:
        return self.path.stat().st_size, _size(self.path.with_name(self.path.name + "-wal"))


def _reader_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READER_THREADS, thread_name_prefix="runyard-reader")


def _replay_pool() -> ThreadPoolExecutor:
    """A thread of their own for reads of events: when thousands of readers come back at once, nobody else waits for
    their reads."""
    return ThreadPoolExecutor(1, thread_name_prefix="runyard-replay")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
