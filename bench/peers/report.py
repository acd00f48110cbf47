"""Medians over the rounds, ratios to each peer, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OURS = "runyard"
Figures = Mapping[str, float]
"""What one load of one round measured: `per_second`, `p50_ms`, `p99_ms`."""


@dataclass(frozen=True)
class Row:
    """One load: the medians of each server, and how many times a peer's requests a second ours are."""

    name: str
    concurrency: int
    measured: dict[str, dict[str, float]]
    of: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What was measured, of which peers, and why others are left out."""

    rows: list[Row]
    versions: dict[str, str]
    left_out: dict[str, str]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def row(name: str, concurrency: int, rounds: Mapping[str, Sequence[Figures]]) -> Row:
    """Of each server's figures, round by round. A ratio is the median of the rounds' ratios."""
    return Row(
        name,
        concurrency,
        {
            server: {
                figure: statistics.median(one[figure] for one in seen) for figure in ("per_second", "p50_ms", "p99_ms")
            }
            for server, seen in rounds.items()
        },
        {
            server: statistics.median(
                one["per_second"] / other["per_second"] for one, other in zip(rounds[OURS], seen, strict=True)
            )
            for server, seen in rounds.items()
            if server != OURS
        },
    )


def tables(report: Report) -> Iterator[str]:
    """The lines. Of a server that answers one request a second a p99 says nothing; the JSON has it."""
    for name, version in report.versions.items():
        yield f"{name}: {version}"
    for name, reason in report.left_out.items():
        yield f"{name} is left out: {reason}"
    yield ""
    servers = [OURS, *report.versions]
    yield "| what | concurrency | " + " | ".join(f"{name}/s | p50 ms" for name in servers) + _heads(report)
    yield "|---|--:|" + "--:|" * (2 * len(servers) + len(report.versions))
    for one in report.rows:
        figures = "".join(
            f" {told['per_second']:,.1f} | {told['p50_ms']:,.1f} |" for told in (one.measured[name] for name in servers)
        )
        ratios = "".join(f" {one.of[name]:,.2f} |" for name in report.versions)
        yield f"| {one.name} | {one.concurrency} |{figures}{ratios}"


def _heads(report: Report) -> str:
    return " |" + "".join(f" times {name} |" for name in report.versions)
