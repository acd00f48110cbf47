"""Metrics in the Prometheus text format.

What happens often is counted as plain numbers, in the engine's loop, by listening to telemetry and to commits: a run
costs a few additions. What is true at a moment (readers, places, the queue) is asked for when somebody looks.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runyard.events import Chunk
from runyard.runs import status_of
from runyard.runtime.contract import LOST
from runyard.storage.contract import Standing
from runyard.telemetry import Telemetry

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()

_CLAIM = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
_COMMIT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_GROUP = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0)
_LAG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

LAG_INTERVAL = 0.5
"""Seconds between looks at how late the loop is."""
LATE = 1.0
"""Seconds of lateness that are worth a log line."""


class Moment(msgspec.Struct, frozen=True):
    """What is true in the engine now; the counts run since its start."""

    ready: bool
    readers: int
    readers_cut: int
    delivered: int
    executing: int
    free: int


class Metrics:
    """The metrics of one engine. Used in its loop only."""

    def __init__(self, version: str, agents: Iterable[str], moment: Callable[[], Moment]) -> None:
        self._version = version
        self._agents = tuple(agents)
        self._moment = moment
        self._standing: Standing | None = None
        self._ended: dict[tuple[str, str], int] = {}
        self._attempts: dict[str, int] = dict.fromkeys(self._agents, 0)
        self._retried: dict[str, int] = dict.fromkeys(self._agents, 0)
        self._lost: dict[str, int] = dict.fromkeys(("lease_lost", "server_lost", *LOST), 0)
        self._webhooks: dict[str, int] = dict.fromkeys(("delivered", "failed", "parked"), 0)
        self._firings: dict[str, int] = dict.fromkeys(("run", "passed_over"), 0)
        self._swept: dict[str, int] = dict.fromkeys(("runs", "events", "threads", "items", "keys", "cut"), 0)
        self._counts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "run ended": self._count_ended,
            "attempt began": self._count_begun,
            "attempt tried again": self._count_retried,
            "attempt lost": self._count_lost_by_code,
            "lease lost": self._count_lost,
            "recovered": self._count_recovered,
            "swept": self._count_swept,
            "webhook delivered": _one_more(self._webhooks, "delivered"),
            "webhook failed": _one_more(self._webhooks, "failed"),
            "webhook parked": _one_more(self._webhooks, "parked"),
            "cron fired": _one_more(self._firings, "run"),
            "cron passed over": _one_more(self._firings, "passed_over"),
        }
        self._appended = 0
        self._commits_failed = 0
        self._claim, self._commit = _Histogram(_CLAIM), _Histogram(_COMMIT)
        self._group, self._lag = _Histogram(_GROUP), _Histogram(_LAG)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(self._families))
        ProcessCollector(registry=self._registry)

    def hear(self, event: str, fields: Mapping[str, Any]) -> None:
        """A subscriber of telemetry."""
        count = self._counts.get(event)
        if count is not None:
            count(fields)

    def _count_ended(self, fields: Mapping[str, Any]) -> None:
        key = fields["agent_id"], fields["outcome"]
        self._ended[key] = self._ended.get(key, 0) + 1

    def _count_begun(self, fields: Mapping[str, Any]) -> None:
        self._attempts[fields["agent_id"]] += 1
        if fields["waited"] is not None:
            self._claim.observe(fields["waited"])

    def _count_retried(self, fields: Mapping[str, Any]) -> None:
        self._retried[fields["agent_id"]] += 1

    def _count_lost(self, fields: Mapping[str, Any]) -> None:
        self._lost["lease_lost"] += 1

    def _count_lost_by_code(self, fields: Mapping[str, Any]) -> None:
        self._lost[fields["reason"]] += 1

    def _count_recovered(self, fields: Mapping[str, Any]) -> None:
        self._lost["server_lost"] += fields["requeued"] + fields["lost"]

    def _count_swept(self, fields: Mapping[str, Any]) -> None:
        for what in self._swept:
            self._swept[what] += fields[what]

    def committed(self, chunks: Iterable[Chunk]) -> None:
        """Events have become durable."""
        for chunk in chunks:
            self._appended += len(chunk.entries)

    def grouped(self, verbs: int, seconds: float, failed: int) -> None:
        """A commit has ended."""
        self._commit.observe(seconds)
        self._group.observe(verbs)
        self._commits_failed += failed

    def late(self, seconds: float) -> None:
        """The loop came round so much later than it was to."""
        self._lag.observe(seconds)

    def render(self, standing: Standing | None, unoffered: Mapping[str, int] = {}) -> bytes:
        """Everything, as text; without what the database would tell, where it could not be asked. `unoffered`: pending
        runs by agent, of those that no worker has."""
        self._standing = standing
        self._unoffered = unoffered
        return generate_latest(self._registry)

    # the families, in the order of docs/operations.md

    def _families(self) -> Generator[Metric]:
        now = self._moment()
        yield _gauge("runyard_info", "1, with the version.", ("version",), {(self._version,): 1})
        yield _gauge("runyard_ready", "Whether the server takes runs, as GET /ready says: 1 or 0.", (), {(): now.ready})
        if self._standing is not None:
            yield from _standing_families(self._standing, self._agents)
            yield _gauge(
                "runyard_unoffered_runs", "Runs that wait and that no worker can execute.", ("agent",),
                {(agent,): number for agent, number in self._unoffered.items()},
            )  # fmt: skip
        yield _counter(
            "runyard_runs_ended",
            "Runs that have ended here, by agent, status and outcome.",
            ("agent", "status", "outcome"),
            {(agent, status_of(outcome), outcome): n for (agent, outcome), n in self._ended.items()},  # pyright: ignore[reportArgumentType]
        )
        yield self._claim.family(
            "runyard_claim_seconds", "From when a run could be claimed to the start of its first attempt."
        )
        yield _gauge("runyard_attempts_executing", "Attempts that execute now.", (), {(): now.executing})
        yield _gauge("runyard_places_free", "Attempts that could begin now.", (), {(): now.free})
        yield _counter("runyard_attempts", "Attempts that have begun.", ("agent",), _by_one(self._attempts))
        yield _counter(
            "runyard_attempts_retried", "Attempts after which the agent's retry policy took another.", ("agent",),
            _by_one(self._retried),
        )  # fmt: skip
        yield _counter(
            "runyard_attempts_lost",
            "Attempts that lost their server, process or event loop, or the lease of their thread.",
            ("reason",),
            _by_one(self._lost),
        )  # fmt: skip
        yield self._commit.family("runyard_commit_seconds", "How long the writer's transactions took.")
        yield self._group.family("runyard_commit_verbs", "How many verbs shared a transaction.")
        yield _counter("runyard_commits_failed", "Verbs that the database failed.", (), {(): self._commits_failed})
        yield _counter("runyard_events_appended", "Events that have become durable.", (), {(): self._appended})
        yield _counter("runyard_events_delivered", "Events handed to readers.", (), {(): now.delivered})
        yield _gauge("runyard_readers", "Readers attached to streams.", (), {(): now.readers})
        yield _counter("runyard_readers_cut", "Readers cut off for being too slow.", (), {(): now.readers_cut})
        yield _counter(
            "runyard_webhooks", "Webhooks: delivered, failed (to be tried again), parked.", ("result",),
            _by_one(self._webhooks),
        )  # fmt: skip
        yield _counter(
            "runyard_cron_firings", "Firings of crons: those that made a run, and those that could not.", ("result",),
            _by_one(self._firings),
        )  # fmt: skip
        swept = "What retention has removed; cut: threads whose history it has cut."
        yield _counter("runyard_swept", swept, ("what",), _by_one(self._swept))
        yield self._lag.family("runyard_loop_lag_seconds", "How much too late the API's event loop came round.")


class LoopLag:
    """Looks twice a second how late the running loop is."""

    def __init__(self, metrics: Metrics, telemetry: Telemetry) -> None:
        self._metrics = metrics
        self._telemetry = telemetry
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = time.monotonic() + LAG_INTERVAL
        self._timer = loop.call_later(LAG_INTERVAL, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        lag = max(0.0, time.monotonic() - self._due)
        self._metrics.late(lag)
        if lag >= LATE:
            self._telemetry.tell("event loop late", seconds=round(lag, 3))
        self.start()


class _Histogram:
    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> Metric:
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def _standing_families(standing: Standing, agents: Sequence[str]) -> Generator[Metric]:
    none = {(agent, status): 0 for agent in agents for status in ("pending", "running")}
    ready = {**dict.fromkeys(agents, (0, 0)), **standing.ready}
    yield _gauge("runyard_runs", "Runs that have not ended.", ("agent", "status"), {**none, **standing.active})
    yield _gauge(
        "runyard_queue_runs", "Runs that could be claimed, by agent.", ("agent",),
        {(agent,): number for agent, (number, _) in ready.items()},
    )  # fmt: skip
    yield _gauge(
        "runyard_queue_oldest_seconds", "How long the oldest of these has waited in line.", ("agent",),
        {(agent,): waited / 1e6 for agent, (_, waited) in ready.items()},
    )  # fmt: skip
    yield _gauge("runyard_database_bytes", "Size of the database file.", (), {(): standing.file_bytes})
    yield _gauge("runyard_wal_bytes", "Size of the write-ahead log.", (), {(): standing.wal_bytes})


def _one_more(counts: dict[str, int], name: str) -> Callable[[Mapping[str, Any]], None]:
    def count(fields: Mapping[str, Any]) -> None:
        counts[name] += 1

    return count


def _by_one(counts: Mapping[str, int]) -> dict[tuple[str], int]:
    return {(label,): count for label, count in counts.items()}


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for value_of, value in values.items():
        family.add_metric(value_of, float(value))
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for value_of, value in values.items():
        family.add_metric(value_of, float(value))
    return family
