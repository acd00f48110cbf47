"""Folding the WAL into the database file, beside the writer: a thread that checkpoints when the WAL has grown.

A checkpoint that could not sync the file is the one fault that cannot be mended by trying again. The system may believe
the pages clean that it could not write, and SQLite counts what earlier checkpoints copied, synced or not: the next
checkpoint would find nothing left to do, and let go of a WAL that holds the only copy. So then nothing is folded any
more until every connection has been closed and opened anew, which has SQLite read the WAL from its beginning, as it
does after a crash.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from runyard.storage.sqlite.connection import BUSY_MS, Synchronous, close, connect

PAGES_PASSIVE = 1000
PAGES_RESTART = 16_000
"""Pages of 4 KiB in the WAL: above the first a checkpoint runs beside the writer; above the second (64 MB, reached only
when readers or load never let one finish) the writer itself does one, and again after each further step of the first
size while a reader of old pages (a backup) keeps the WAL from beginning anew. It never waits for a reader."""
PATIENCE = 5.0
"""Seconds to wait for a checkpoint that is under way."""

_NOT_SYNCED = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)


class Folding:
    """The checkpoints of one database file. `on_suspect` is called, on any thread, when one could not be synced."""

    def __init__(self, path: Path, synchronous: Synchronous, vfs: str | None, on_suspect: Callable[[], None]) -> None:
        self.pages = 0
        """The size of the WAL after the last commit, in pages of 4 KiB."""
        self.committed_at = 0.0
        """When the last commit was, on the monotonic clock."""
        self._restart_at = PAGES_RESTART
        self.suspect = False
        """Whether a checkpoint could not be synced: until all connections are opened anew, there are no more."""
        self._connect: Callable[[], Any] = lambda: connect(path, synchronous=synchronous, vfs=vfs)
        self._on_suspect = on_suspect
        self._connection: Any = None
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="runyard-checkpointer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, connection: Any) -> None:
        """Follows the commits of the writer's connection, which is not to fold by itself when it is closed."""
        connection.set_wal_hook(self._committed)
        keep_wal(connection)

    def want(self) -> None:
        """A checkpoint soon."""
        self._wanted.set()

    def end(self) -> None:
        """Ends the thread."""
        self._ending = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def restart_if_large(self, connection: Any) -> None:
        """On the writer's thread: makes a checkpoint itself where the WAL has outgrown all others."""
        if self.pages <= self._restart_at or self.suspect:
            return
        connection.set_busy_timeout(0)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            self.pages = 0
            self._restart_at = PAGES_RESTART
        except apsw.Error as error:
            self._restart_at = self.pages + PAGES_PASSIVE  # a long read is in the way
            self._failed(error)
        finally:
            connection.set_busy_timeout(BUSY_MS)

    def finish(self, connection: Any) -> None:
        """On the writer's thread, as the last that happens: folds everything and closes the connection."""
        if not self.suspect:
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                keep_wal(connection, False)
            except apsw.Error:
                pass  # a reader still looks, or the disk fails: the next server folds the WAL
        close(connection)

    def let_go(self) -> bool:
        """Closes the connection of the checkpoints, when the one that is under way has ended; whether it has."""
        self._idle.clear()
        self._wanted.set()
        return self._idle.wait(PATIENCE)

    def renewed(self) -> None:
        """All connections were opened anew: there can be checkpoints again."""
        self.suspect = False
        self._wanted.set()

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.pages = pages
        self.committed_at = time.monotonic()
        if pages > PAGES_PASSIVE:
            self._wanted.set()
        return apsw.SQLITE_OK

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ending or self.suspect:
                if self._connection is not None:
                    close(self._connection)
                    self._connection = None
                self._idle.set()
                if self._ending:
                    return
                continue
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    keep_wal(self._connection)
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as error:
                self._failed(error)  # or it was busy: the writer's own checkpoint is the limit

    def _failed(self, error: apsw.Error) -> None:
        if not self.suspect and getattr(error, "extendedresult", None) in _NOT_SYNCED:
            self.suspect = True
            self._on_suspect()


def keep_wal(connection: Any, keep: bool = True) -> None:
    """Whether closing the last connection leaves the WAL as it is, instead of folding and removing it."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))
