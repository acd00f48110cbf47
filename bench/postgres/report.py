"""The report as tables, each figure beside what it is to be."""

from __future__ import annotations

from collections.abc import Iterator

from bench.postgres.measure import ALONE, PostgresReport, PostgresRow
from bench.report import NAMES

TARGETS = {("wait", 128, ALONE): ">= 0.50 of store", ("create", 128, ALONE): ">= 0.80 of store"}
TRANSACTIONS = 3
"""Transactions that a run may cost, from this concurrency on."""
BUSY = 16


def tables(report: PostgresReport) -> Iterator[str]:
    """The lines."""
    stores = ", ".join(f"{rate:,.0f} ({load})" for load, rate in report.store.items())
    yield f"A commit of one row: {report.commit_ms:.2f} ms (median of 200). Bare store, requests a second: {stores}."
    yield ""
    yield "| what | concurrency | | runyard/s | p50 ms | p99 ms | of bare store | transactions a run | target |"
    yield "|---|--:|---|--:|--:|--:|--:|--:|---|"
    yield from map(_row, report.rows)
    yield ""
    yield "| | create -> first event | code's end -> wait answered | cancel -> code stopped | events to one reader |"
    yield "|---|---|---|---|---|"
    for setup, told in report.moments.items():
        rate, ratio = report.events.get(setup, (0.0, 0.0))
        events = f"{rate:,.0f}/s, {ratio:.2f} of raw `send`" if rate else ""
        yield (
            f"| {setup} | {_ms(told.first_event_p50, told.first_event_p99)} "
            f"| {_ms(told.wait_answered_p50, told.wait_answered_p99)} | {_ms(told.cancel_p50, told.cancel_p99)} "
            f"| {events} |"
        )
    yield "| target | p50 <= 3 ms | p50 <= 3 ms | p99 <= 250 ms | >= 0.5 of raw |"


def _row(row: PostgresRow) -> str:
    targets = [TARGETS.get((row.what, row.concurrency, row.setup), "")]
    if row.transactions is not None and row.concurrency >= BUSY:
        targets.append(f"<= {TRANSACTIONS} transactions")
    transactions = "" if row.transactions is None else f"{row.transactions:.2f}"
    return (
        f"| {NAMES[row.what]} | {row.concurrency} | {row.setup} | {row.per_second:,.0f} | {row.p50_ms:.1f} "
        f"| {row.p99_ms:.1f} | {row.of_store:.2f} | {transactions} | {', '.join(filter(None, targets))} |"
    )


def _ms(p50: float, p99: float) -> str:
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
