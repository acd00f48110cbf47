"""The whole benchmark: which parts there are, and what they report."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.moments import Moments, Starts, moments, starts
from bench.servers import bare, run, runyard
from bench.streams import Idle, Streams, idle_readers, many_readers, one_reader
from bench.throughput import ROWS, Row, row

IDLE_READERS = 10_000


@dataclass(frozen=True)
class ClientCost:
    """`GET /runs/{id}` by bare httpx2 and by `ap_client`: microseconds a call, and the ratio."""

    bare_us: float
    client_us: float
    of_bare: float


@dataclass(frozen=True)
class Report:
    """What was measured. Parts that were not asked for are None."""

    rows: list[Row]
    fsync_ms: float
    moments: Moments
    client: ClientCost
    starts: Starts | None
    streams: Streams | None
    idle: Idle | None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    folder: Path, *, rounds: int, seconds: float, progress: Callable[[str], None], whole: bool = True
) -> Report:
    """Everything, on servers of its own in `folder`; or, where not `whole`, what takes seconds."""
    fsync = _fsync_ms(folder)
    with bare(folder) as baseline, runyard(folder) as server:
        rows = [
            row(what, concurrency, baseline, server, rounds=rounds, seconds=seconds, progress=progress)
            for what, concurrency in ROWS
        ]
        single = moments(server, progress)
        progress("client")
        client = ClientCost(**run("client.py", f"http://127.0.0.1:{server.port}", seconds, seconds=seconds))
    streams = idle = begun = None
    if whole:
        for name in ("streams", "starts", "idle"):
            (folder / name).mkdir()
        with bare(folder / "streams") as baseline, runyard(folder / "streams") as server:
            rate, of_raw = one_reader(baseline, server, rounds, progress)
            streams = Streams(rate, of_raw, many_readers(server, rounds, progress))
        begun = starts(folder / "starts", progress)
        idle = idle_readers(folder / "idle", IDLE_READERS, progress)
    return Report(rows, fsync, single, client, begun, streams, idle)


def _fsync_ms(folder: Path) -> float:
    took: list[float] = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)
