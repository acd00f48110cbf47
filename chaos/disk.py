"""A disk that fails on purpose: a layer under SQLite (a VFS) that counts the calls and spoils a chosen one.

It also knows what a power cut would leave. SQLite works on real files, for which nothing is ever synced; beside them
the disk remembers, per file, what was synced and which writes came after. `image` makes the files that a machine finds
when the power is back: what was synced, and of the rest any sectors, torn at their borders.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import apsw

SECTOR = 512

Call = Literal["write", "sync", "truncate", "read", "open", "size"]
Kind = Literal["full", "short", "io", "read_only", "fsync", "truncate", "read", "open", "size", "cut"]

CALL_OF: dict[Kind, Call] = {
    "full": "write",
    "short": "write",
    "io": "write",
    "fsync": "sync",
    "truncate": "truncate",
    "read": "read",
    "open": "open",
    "read_only": "open",
    "size": "size",
    "cut": "write",
}
"""The call that each kind of fault spoils."""

_CODE: dict[Kind, int] = {
    "full": apsw.SQLITE_FULL,
    "short": apsw.SQLITE_FULL,
    "io": apsw.SQLITE_IOERR_WRITE,
    "fsync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "read": apsw.SQLITE_IOERR_READ,
    "open": apsw.SQLITE_CANTOPEN,
    "size": apsw.SQLITE_IOERR_FSTAT,
    "cut": apsw.SQLITE_IOERR,
}


@dataclass
class Fault:
    """Spoils calls of a kind from the `at`-th on (counted from 1 when the fault is set): `times` of them, or all until
    the disk is repaired."""

    kind: Kind
    at: int
    times: int | None = 1
    on: Call | None = None
    """A cut only: the call that it comes with; any write or sync otherwise."""
    file: str = ""
    """How the name of the file ends that it concerns; any by default."""
    seen: int = 0
    hits: int = 0


@dataclass
class _Kept:
    """One file: what is safe, and what came after the last sync (writes as offset and bytes, truncations as size)."""

    safe: bytearray = field(default_factory=bytearray)
    named: bool = False
    """Whether its name is in its folder for good."""
    later: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])


class Disk:
    """Everything below one folder, as SQLite sees it through the VFS `name`. Closing forgets the name."""

    def __init__(self, name: str, dice: Random, *, forgets: float = 0.5) -> None:
        """`forgets`: how often a failed sync loses for good what it should have synced."""
        self.name = name
        self.dead = False
        """The power is off: every call fails."""
        self.calls: dict[Call, int] = dict.fromkeys(("write", "sync", "truncate", "read", "open", "size"), 0)
        self.folded = 0
        """How often the database file was synced, which is what a whole checkpoint ends with."""
        self._dice = dice
        self._forgets = forgets
        self._faults: tuple[Fault, ...] = ()
        self._files: dict[str, _Kept] = {}
        self._unlinked: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._vfs = _FaultyVfs(name, self)

    def close(self) -> None:
        self._vfs.unregister()

    def set(self, *faults: Fault) -> None:
        """From now on these faults are waited for, and no others."""
        with self._lock:
            self._faults = faults

    def repair(self) -> None:
        """Nothing is spoilt any more, but for what a power cut among the faults will."""
        with self._lock:
            self._faults = tuple(fault for fault in self._faults if fault.kind == "cut")

    def image(self, folder: Path) -> None:
        """Writes what is found after the power came back."""
        folder.mkdir(parents=True)
        with self._lock:
            for path, kept in sorted({**self._unlinked, **self._files}.items()):
                if (kept.named and path in self._files) or self._dice.random() < 0.5:
                    (folder / Path(path).name).write_bytes(self._survived(kept))

    def _survived(self, kept: _Kept) -> bytes:
        left = bytearray(kept.safe)
        # Often all or nothing of what was not synced has reached the disk; else any part of it.
        chance = self._dice.choice((0.0, 1.0, 0.5, self._dice.random()))
        for at, data in kept.later:
            if data is None:
                if self._dice.random() < chance:
                    _resize(left, at)
                continue
            for start in range(at - at % SECTOR, at + len(data), SECTOR):
                if self._dice.random() < chance:
                    begin, end = max(start, at), min(start + SECTOR, at + len(data))
                    _put(left, begin, data[begin - at : end - at])
        return bytes(left)

    # what the files ask

    def asked(self, call: Call, path: str) -> Kind | None:
        """Counts a call; the fault that spoils it."""
        with self._lock:
            if self.dead:
                return "cut"
            self.calls[call] += 1
            for fault in self._faults:
                if not _concerns(fault, call) or not path.endswith(fault.file):
                    continue
                fault.seen += 1
                if fault.seen >= fault.at and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    self.dead = self.dead or fault.kind == "cut"
                    return fault.kind
            return None

    def opened(self, path: str) -> None:
        with self._lock:
            self._files.setdefault(path, _Kept())

    def wrote(self, path: str, at: int, data: bytes) -> None:
        with self._lock:
            self._files[path].later.append((at, data))

    def truncated(self, path: str, size: int) -> None:
        with self._lock:
            self._files[path].later.append((size, None))

    def synced(self, path: str) -> None:
        with self._lock:
            kept = self._files[path]
            for at, data in kept.later:
                if data is None:
                    _resize(kept.safe, at)
                else:
                    _put(kept.safe, at, data)
            kept.later.clear()
            self.folded += path.endswith(".db")
            if not kept.named and not path.endswith(".db"):
                # With the first sync of a new journal or WAL SQLite syncs the folder, and with it all names in it.
                self._unlinked.clear()
                for known in self._files.values():
                    known.named = True

    def lost(self, path: str) -> None:
        """A sync failed. The system may have dropped what it could not write, and believe its pages clean since: it is
        seen by reads, is not on the disk, and no later sync brings it there."""
        with self._lock:
            if self._dice.random() < self._forgets:
                self._files[path].later.clear()

    def deleted(self, path: str, synced: bool) -> None:
        with self._lock:
            kept = self._files.pop(path, None)
            if kept is not None and kept.named and not synced:
                self._unlinked[path] = kept

    def part(self, size: int) -> int:
        """How much of a write of that size a short one writes."""
        return self._dice.randrange(size)


def _concerns(fault: Fault, call: Call) -> bool:
    if fault.kind == "cut" and fault.on is None:
        return call in ("write", "sync")
    return call == (fault.on or CALL_OF[fault.kind])


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if len(content) > size:
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _path(name: Any) -> str:
    return name.filename() if isinstance(name, apsw.URIFilename) else str(name)


class _FaultyVfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "unix")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        kind = self._disk.asked("open", _path(name))
        if kind == "read_only":
            return self._open_to_read(name, flags)
        if kind is not None:
            raise apsw.exception_for(_CODE[kind])
        return _FaultyFile(name, flags, self._disk)

    def _open_to_read(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """As SQLite's own layer does where a file, or the folder that it is to be made in, may not be written."""
        if not Path(_path(name)).exists():
            raise apsw.exception_for(apsw.SQLITE_READONLY_DIRECTORY)
        asked = [flags[0] & ~(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) | apsw.SQLITE_OPEN_READONLY, 0]
        file = _FaultyFile(name, asked, self._disk)
        flags[1] = asked[1]
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if self._disk.dead:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE)
        super().xDelete(filename, syncdir)
        self._disk.deleted(filename, syncdir)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], disk: Disk) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._path = _path(name)
        disk.opened(self._path)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._may("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        kind = self._disk.asked("write", self._path)
        if kind == "short":
            data = data[: self._disk.part(len(data))]
        if kind is None or kind == "short":
            super().xWrite(data, offset)
            self._disk.wrote(self._path, offset, bytes(data))
        if kind is not None:
            raise apsw.exception_for(_CODE[kind])

    def xSync(self, flags: int) -> None:
        kind = self._disk.asked("sync", self._path)
        if kind is None:
            self._disk.synced(self._path)
            return
        if kind == "fsync":
            self._disk.lost(self._path)
        raise apsw.exception_for(_CODE[kind])

    def xTruncate(self, newsize: int) -> None:
        self._may("truncate")
        super().xTruncate(newsize)
        self._disk.truncated(self._path, newsize)

    def xFileSize(self) -> int:
        self._may("size")
        return super().xFileSize()

    def _may(self, call: Call) -> None:
        kind = self._disk.asked(call, self._path)
        if kind is not None:
            raise apsw.exception_for(_CODE[kind])
