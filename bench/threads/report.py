"""The report as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.threads.measure import Row

TARGETS = {"one": ">= 0.5 of raw", "fan": ">= 60,000/s", "idle": "<= 200 MB, 5 % (SSE)"}


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """The lines."""
    yield "| what | transport | measured | of raw `send` | target |"
    yield "|---|---|---|--:|---|"
    for row in rows:
        of_raw = row.figures.get("of_raw")
        ratio = "" if of_raw is None else f"{of_raw:.2f}"
        transport = {"sse": "SSE", "websocket": "WebSocket"}[row.transport]
        yield f"| {row.what} | {transport} | {_told(row)} | {ratio} | {TARGETS.get(row.part, '')} |"


def _told(row: Row) -> str:
    figures = row.figures
    match row.part:
        case "one":
            return (
                f"{figures['per_second']:,.0f}/s; {figures['cpu_us']:.1f} us of processor time each, "
                f"{figures['cpu_of_raw']:.2f} of raw"
            )
        case "late":
            return f"p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms"
        case "idle":
            return (
                f"{figures['megabytes']:.0f} MB ({figures['kilobytes_each']:.0f} KB each), "
                f"{figures['share_of_core']:.1%} of a core"
            )
        case "replay":
            return (
                f"{figures['per_second']:,.0f}/s; another request meanwhile p50 {figures['probe_ms']:.1f} ms, "
                f"worst {figures['probe_worst_ms']:.1f} ms ({figures['probe_idle_ms']:.1f} ms when idle)"
            )
        case "storm":
            return (
                f"{figures['seconds']:.1f} s, {figures['readers_per_second']:,.0f} readers/s; another request "
                f"meanwhile p50 {figures['probe_ms']:.0f} ms, worst {figures['probe_worst_ms']:.0f} ms"
            )
        case _:
            return f"{figures['per_second']:,.0f}/s"
