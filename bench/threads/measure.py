"""The parts of the benchmark: each with its baseline in the same round."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.servers import Server, running, runyard

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PARTS = ("one", "fan", "late", "idle", "replay", "storm")
ONE = {"pour": "events of one run", "write": "pieces of a message"}
TRANSPORTS = ("sse", "websocket")
EVENTS = 50_000
FAN, FANNED_OUT = 1000, 300
JOINING_MS = 4000
"""How long a run waits for its thousand readers, where they can only join one that is there."""
FILTERS = 20
PACE_MS = 1
TICKS, TICK_MS = 200, 20
IDLE, IDLE_SECONDS = 10_000, 6.0
REPLAYED = 100_000
STORM, MISSED = 5_000, 100
PROBE_SECONDS = 0.02
Progress = Callable[[str], None]
Figures = dict[str, float]


@dataclass
class Row:
    """One thing over one transport: medians over the rounds."""

    part: str
    what: str
    transport: str
    figures: Figures = field(default_factory=dict[str, float])


def measure(folder: Path, parts: Sequence[str], rounds: int, scale: float, progress: Progress) -> list[Row]:
    """The parts that are asked for, on servers of their own in `folder`."""
    rows: list[Row] = []
    if {"one", "fan", "late"} & set(parts):
        (folder / "told").mkdir()
        with _raw() as raw, runyard(folder / "told", agents=HERE / "agents.py") as server:
            bench = _Bench(raw, server, rounds, scale, progress)
            if "one" in parts:
                for agent in ("pour", "write"):
                    rows += [bench.one(agent, transport) for transport in TRANSPORTS]
                    rows += [bench.one_of_a_run(agent)]
            if "fan" in parts:
                for pace in (0, PACE_MS):
                    rows += [
                        bench.fan(filters, pace, transport) for filters in (1, FILTERS) for transport in TRANSPORTS
                    ]
                    rows += [bench.fan_of_a_run(pace)]
            if "late" in parts:
                rows += [bench.late(count, transport) for count in (1, FAN) for transport in TRANSPORTS]
    for transport in TRANSPORTS if "idle" in parts else ():
        (folder / f"idle-{transport}").mkdir()
        rows.append(_idle(folder / f"idle-{transport}", transport, int(IDLE * scale), progress))
    if {"replay", "storm"} & set(parts):
        (folder / "kept").mkdir()
        with _raw() as raw, runyard(folder / "kept", agents=HERE / "agents.py") as server:
            bench = _Bench(raw, server, rounds, scale, progress)
            if "replay" in parts:
                rows += [bench.replay(transport) for transport in TRANSPORTS]
            if "storm" in parts:
                rows += [bench.storm(transport) for transport in TRANSPORTS]
    return rows


class _Bench:
    """Parts that share a server."""

    def __init__(self, raw: Server, server: Server, rounds: int, scale: float, progress: Progress) -> None:
        self._raw = raw
        self._server = server
        self._rounds = rounds
        self._scale = scale
        self._progress = progress
        self._logs: dict[int, str] = {}

    def one(self, agent: str, transport: str) -> Row:
        """Events of one run to one reader: what an agent emits, or the pieces of a message that it writes."""
        events = int(EVENTS * self._scale)
        # A piece is told as it is; its message has a start, a block and an end beside them.
        told = events if agent == "pour" else events + 4
        wish = {"channels": ["custom" if agent == "pour" else "messages"], "since": 0}

        def once() -> Figures:
            used = self._server.cpu, self._raw.cpu
            ours = self._watched(agent, {"events": events}, told, transport, [wish])
            raw = self._sent_raw(1, told, transport)
            return self._beside(ours, raw, used)

        return self._row("one", f"{ONE[agent]} to one reader", transport, once)

    def one_of_a_run(self, agent: str) -> Row:
        """The same over the run's stream: what one has without the protocol."""
        events = int(EVENTS * self._scale)

        def once() -> Figures:
            used = self._server.cpu, self._raw.cpu
            ours = self._of_a_run(agent, {"events": events, "after_ms": JOINING_MS // 4}, 1, events)
            raw = self._sent_raw(1, events, "sse")
            return self._beside(ours, raw, used)

        return self._row("one", f"{ONE[agent]} to one reader of the run's stream", "sse", once)

    def fan(self, filters: int, pace: int, transport: str) -> Row:
        """Events of one run to many readers, who watch the same, or by several filters.

        Without a pace they come in a few large commits; with one (in milliseconds), a few in each.
        """
        count, events = int(FAN * self._scale), int(FANNED_OUT * self._scale) or 1
        wishes = [{"channels": ["custom"], "depth": depth, "since": 0} for depth in range(filters)]

        def once() -> Figures:
            ours = self._watched("tick", {"events": events, "every_ms": pace}, events, transport, wishes, count)
            raw = self._sent_raw(count, events, transport)
            return {"per_second": _rate(ours), "of_raw": _rate(ours) / _rate(raw)}

        what = f"{_poured(pace)} to {count:,} readers" + (f", {filters} filters" if filters > 1 else "")
        return self._row("fan", what, transport, once)

    def fan_of_a_run(self, pace: int) -> Row:
        """The same over the run's stream: what one has without the protocol."""
        count, events = int(FAN * self._scale), int(FANNED_OUT * self._scale) or 1

        def once() -> Figures:
            input = {"events": events, "every_ms": pace, "after_ms": JOINING_MS}
            return {"per_second": _rate(self._of_a_run("tick", input, count, events))}

        return self._row("fan", f"{_poured(pace)} to {count:,} readers of the run's stream", "sse", once)

    def late(self, count: int, transport: str) -> Row:
        """How late events are that an agent emits at a pace."""
        count = max(1, int(count * self._scale))
        events = int(TICKS * self._scale / (1 if count == 1 else 4)) or 1
        wish = {"channels": ["custom"], "since": 0}

        def once() -> Figures:
            pace = TICK_MS if count == 1 else TICK_MS * 5
            job: dict[str, float] = {"events": events, "every_ms": pace}
            told = self._watched("tick", job, events, transport, [wish], count, timed=True)
            return {"p50_ms": told["p50_ms"], "p99_ms": told["p99_ms"]}

        readers = "one reader" if count == 1 else f"{count:,} readers"
        return self._row("late", f"from emit to {readers}, commit included", transport, once)

    def replay(self, transport: str) -> Row:
        """A long log from its start to one reader, and how long another request takes meanwhile."""
        events = int(REPLAYED * self._scale)
        thread = self._log(events)
        wish = {"channels": ["custom"], "since": 0}

        def once() -> Figures:
            raw = self._sent_raw(1, events, transport)
            with _probed(self._server, thread) as idle:
                time.sleep(1)
            with _probed(self._server, thread) as busy:
                ours = _read(self._server, transport, _path(thread), [wish], 1, events)
            return {
                "per_second": _rate(ours),
                "of_raw": _rate(ours) / _rate(raw),
                "probe_ms": statistics.median(busy),
                "probe_worst_ms": max(busy),
                "probe_idle_ms": statistics.median(idle),
            }

        return self._row("replay", f"replay of {events:,} events", transport, once)

    def storm(self, transport: str) -> Row:
        """Many readers that come back at once, each with a cursor and something missed."""
        count, missed = int(STORM * self._scale), int(MISSED * self._scale) or 1
        events = max(int(REPLAYED * self._scale), 2 * missed)
        thread = self._log(events)
        wish = {"channels": ["custom"], "since": self._first(thread) + events - missed - 1}

        def once() -> Figures:
            raw = self._sent_raw(count, missed, transport)
            with _probed(self._server, thread) as busy:
                ours = _read(self._server, transport, _path(thread), [wish], count, missed)
            return {
                "seconds": ours["all_seconds"],
                "readers_per_second": count / ours["all_seconds"],
                "of_raw": raw["all_seconds"] / ours["all_seconds"],
                "probe_ms": statistics.median(busy),
                "probe_worst_ms": max(busy),
            }

        return self._row("storm", f"{count:,} readers come back at once, {missed} events missed", transport, once)

    def _beside(self, ours: Figures, raw: Figures, used: tuple[float, float]) -> Figures:
        """Events per second, and the processor time of each, which the neighbours of a machine change less."""
        cpu = (self._server.cpu - used[0]) / ours["events"], (self._raw.cpu - used[1]) / raw["events"]
        return {
            "per_second": _rate(ours),
            "of_raw": _rate(ours) / _rate(raw),
            "cpu_us": cpu[0] * 1e6,
            "cpu_of_raw": cpu[1] / cpu[0],
        }

    def _row(self, part: str, what: str, transport: str, once: Callable[[], Figures]) -> Row:
        seen: list[Figures] = []
        for number in range(self._rounds):
            self._progress(f"{what}, {transport}, round {number + 1} of {self._rounds}")
            seen.append(once())
        return Row(part, what, transport, {name: statistics.median(one[name] for one in seen) for name in seen[0]})

    def _watched(
        self,
        agent: str,
        input: Any,
        told: int,
        transport: str,
        wishes: list[Any],
        count: int = 1,
        *,
        timed: bool = False,
    ) -> Figures:
        """A run on a new thread, begun when its readers are there."""
        thread = str(uuid.uuid4())
        job = _job(self._server, transport, _path(thread), wishes, count, told, timed=timed)
        return _reading(job, then=lambda: self._start(thread, agent, input))

    def _of_a_run(self, agent: str, input: Any, count: int, events: int) -> Figures:
        """A run that waits a while for the readers of its stream."""
        made = self._server.call("POST", "/runs", {"agent_id": agent, "input": input})
        mode = "messages" if agent == "write" else "custom"
        path = f"/runs/{made['run_id']}/stream?since=0&stream_mode={mode}"
        return _reading(_job(self._server, "run", path, [None], count, events, mode=mode), then=lambda: None)

    def _start(self, thread: str, agent: str, input: Any) -> None:
        params = {"assistantId": agent, "input": input}
        told = self._server.call(
            "POST", f"/threads/{thread}/commands", {"id": 1, "method": "run.start", "params": params}
        )
        if told["type"] != "success":
            raise RuntimeError(told)

    def _sent_raw(self, count: int, events: int, transport: str) -> Figures:
        return _read(self._raw, transport, "/events", [{"events": events}], count, events)

    def _log(self, events: int) -> str:
        """A thread with so many custom events in its log."""
        if events not in self._logs:
            thread = str(uuid.uuid4())
            job = _job(self._server, "sse", _path(thread), [{"channels": ["custom"]}], 1, events)
            _reading(job, then=lambda: self._start(thread, "pour", {"events": events}))
            self._logs[events] = thread
        return self._logs[events]

    def _first(self, thread: str) -> int:
        """The number of a thread's first custom event."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        connection.request(
            "POST",
            _path(thread),
            json.dumps({"channels": ["custom"], "since": 0}),
            {"content-type": "application/json"},
        )
        answer = connection.getresponse()
        while not (line := answer.readline()).startswith(b"id: "):
            pass
        connection.close()
        return int(line[4:])


def _idle(folder: Path, transport: str, count: int, progress: Progress) -> Row:
    """A server of its own, with so many readers of a thread on which nothing happens."""
    progress(f"{count:,} idle readers, {transport}")
    with runyard(folder, agents=HERE / "agents.py") as server:
        thread = server.call("POST", "/threads", {})["thread_id"]
        server.call("GET", "/info")
        before = server.memory
        job = _job(server, transport, _path(thread), [{"channels": ["custom"]}], count, 0, hold=IDLE_SECONDS + 2)
        figures: Figures = {}

        def look() -> None:
            time.sleep(1)
            used, begun = server.cpu, time.perf_counter()
            time.sleep(IDLE_SECONDS)
            figures["share_of_core"] = (server.cpu - used) / (time.perf_counter() - begun)
            figures["megabytes"] = server.memory - before
            figures["kilobytes_each"] = figures["megabytes"] * 1000 / count

        _reading(job, then=look)
    return Row("idle", f"{count:,} idle readers", transport, figures)


def _path(thread: str) -> str:
    return f"/threads/{thread}/stream"


def _poured(pace: int) -> str:
    return f"events of one run, one each {pace} ms," if pace else "events of one run, at once,"


def _rate(told: Figures) -> float:
    return told["events"] / told["seconds"]


def _job(
    server: Server, transport: str, path: str, bodies: list[Any], count: int, events: int, **more: Any
) -> dict[str, Any]:
    return {
        "port": server.port, "transport": transport, "path": path, "bodies": bodies, "count": count, "events": events,
        **more,
    }  # fmt: skip


def _read(server: Server, transport: str, path: str, bodies: list[Any], count: int, events: int) -> Figures:
    return _reading(_job(server, transport, path, bodies, count, events), then=lambda: None)


def _reading(job: dict[str, Any], then: Callable[[], None]) -> Figures:
    """What readers get in a process of their own; something is done as soon as all are connected."""
    command = [sys.executable, "-m", "bench.threads.readers", json.dumps(job)]
    readers = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert readers.stderr is not None
    line = readers.stderr.readline()
    if line != "open\n":
        raise RuntimeError(f"{job} failed:\n{line}{readers.stderr.read()}")
    then()
    told, fault = readers.communicate(timeout=300)
    if readers.returncode:
        raise RuntimeError(f"{job} failed:\n{fault}")
    return json.loads(told)


@contextmanager
def _raw() -> Generator[Server]:
    with running(lambda port: [sys.executable, "-m", "bench.threads.raw", str(port)]) as server:
        server.listens()
        yield server


@contextmanager
def _probed(server: Server, thread: str) -> Generator[list[float]]:
    """Asks for a thread again and again; milliseconds that each answer takes."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while not over.wait(PROBE_SECONDS):
            begun = time.perf_counter()
            connection.request("GET", f"/threads/{thread}")
            connection.getresponse().read()
            took.append((time.perf_counter() - begun) * 1e3)
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took
    finally:
        over.set()
        asking.join()
