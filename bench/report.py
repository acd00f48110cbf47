"""The report as tables, each figure beside what it is to be."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import Report
from bench.throughput import Row

TARGETS = {
    ("wait", 1): "",
    ("wait", 16): ">= 0.50 of store",
    ("wait", 128): ">= 0.55 of store, 0.20 of echo",
    ("create", 128): ">= 0.80 of store inserts",
}
NAMES = {"wait": "`POST /runs/wait`, no-op agent", "create": "durable `POST /runs`"}


def tables(report: Report) -> Iterator[str]:
    """The lines."""
    yield f"fsync: {report.fsync_ms:.2f} ms (median of 200)"
    yield ""
    yield "| what | concurrency | runyard/s | p50 ms | p99 ms | of echo | of bare store | target |"
    yield "|---|--:|--:|--:|--:|--:|--:|---|"
    yield from map(_row, report.rows)
    yield ""
    yield "| what | measured | target |"
    yield "|---|---|---|"
    for what, measured, target in _figures(report):
        yield f"| {what} | {measured} | {target} |"


def _row(row: Row) -> str:
    echo = "" if row.of_echo is None else f"{row.of_echo:.2f}"
    return (
        f"| {NAMES[row.what]} | {row.concurrency} | {row.per_second:,.0f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} "
        f"| {echo} | {row.of_store:.2f} | {TARGETS[row.what, row.concurrency]} |"
    )


def _figures(report: Report) -> Iterator[tuple[str, str, str]]:
    told = report.moments
    yield "create -> first event, concurrency 1", _p50_p99(told.first_event_p50, told.first_event_p99), "p50 <= 3 ms"
    yield "the code's end -> wait answered", _p50_p99(told.wait_answered_p50, told.wait_answered_p99), "p50 <= 3 ms"
    yield "cancel -> code stopped", _p50_p99(told.cancel_p50, told.cancel_p99), "p99 <= 250 ms"
    cost = report.client
    measured = f"{cost.client_us:,.0f} us, {cost.of_bare:.2f} of bare httpx2"
    yield "`get_run` by `ap_client`", measured, "<= 1.5 of bare httpx2"
    if report.streams is not None:
        one = f"{report.streams.per_second:,.0f}/s, {report.streams.of_raw:.2f} of raw `send`"
        yield "events, one run to one reader", one, ">= 0.5 of raw"
        yield (
            "events, one run to 1,000 readers",
            f"{report.streams.deliveries_per_second:,.0f} deliveries/s",
            ">= 60,000/s",
        )
    if report.idle is not None:
        cost = f"{report.idle.megabytes:.0f} MB, {report.idle.share_of_core:.1%} of a core"
        yield f"{report.idle.readers:,} idle readers", cost, "<= 200 MB, 5 %"
    if report.starts is not None:
        yield "start -> ready", f"{report.starts.ready:.0f} ms", "<= 1,000 ms"
        yield "restart after kill -9 -> `/ok`", f"{report.starts.ready_after_kill:.0f} ms", "<= 1,000 ms"
        yield "restart after kill -9 -> run resumed", f"{report.starts.resumed_after_kill:.0f} ms", "<= 1,000 ms"
        yield "idle memory", f"{report.starts.idle_megabytes:.0f} MB", "<= 100 MB"


def _p50_p99(p50: float, p99: float) -> str:
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
