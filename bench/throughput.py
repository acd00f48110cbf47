"""Requests per second beside the baselines: rounds are interleaved, because machines are noisy."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.servers import Server, run

INPUT = {"question": "what does this cost?", "n": 1}
BODY = json.dumps({"agent_id": "noop", "input": INPUT})
LATE = json.dumps({"agent_id": "noop", "input": INPUT, "after_seconds": 9999})
ROWS = (("wait", 1), ("wait", 16), ("wait", 128), ("create", 128))


@dataclass(frozen=True)
class Row:
    """Runyard under one load: medians over the rounds; ratios are medians of each round's ratio."""

    what: str
    concurrency: int
    per_second: float
    p50_ms: float
    p99_ms: float
    of_echo: float | None
    of_store: float


def row(
    what: str,
    concurrency: int,
    bare: Server,
    runyard: Server,
    *,
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> Row:
    """One load on the baselines and on Runyard, in turn."""
    loads: dict[str, tuple[int, str, str]] = {
        "echo": (bare.port, "/echo", BODY),
        "store": (bare.port, f"/{what}", BODY),
        "runyard": (runyard.port, "/runs/wait", BODY) if what == "wait" else (runyard.port, "/runs", LATE),
    }
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    for number in range(rounds):
        for name, (port, path, body) in loads.items():
            progress(f"{what} at {concurrency}: {name}, round {number + 1} of {rounds}")
            seen[name].append(run("load.py", port, path, body, concurrency, seconds, seconds=seconds))

    def ratio(base: str) -> float:
        pairs = zip(seen["runyard"], seen[base], strict=True)
        return statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)

    def median(figure: str) -> float:
        return statistics.median(entry[figure] for entry in seen["runyard"])

    return Row(
        what,
        concurrency,
        median("per_second"),
        median("p50_ms"),
        median("p99_ms"),
        ratio("echo") if what == "wait" else None,
        ratio("store"),
    )
