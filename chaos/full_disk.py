"""A disk that is full while a file says so.

A server loads its agents before it opens its database: so this module can put itself under SQLite, where the machine
does not let one mount a disk of one's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw

from runyard import agent

FLAG = Path(os.environ["CHAOS_DISK_FULL"])
"""The disk is full while this file exists."""


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if FLAG.exists():
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)


class _Disk(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("full-while-told", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(name, flags)


DISK = _Disk()


@agent
def disk() -> dict[str, Any]:
    """Says whether the disk is full."""
    return {"full": FLAG.exists()}
