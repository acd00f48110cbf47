"""`make bench-peers`, as far as it needs no download: its options, its arithmetic, its table and its requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.peers import report
from bench.peers.__main__ import parser
from bench.peers.loads import loads

PEERS = Path(__file__).parents[2] / "bench" / "peers"


def figures(*rates: float) -> list[dict[str, float]]:
    return [{"count": 9, "per_second": rate, "p50_ms": 1000 / rate, "p99_ms": 2000 / rate} for rate in rates]


def test_its_options_are_those_of_the_other_benches() -> None:
    options = parser().parse_args(["--rounds", "2", "--seconds", "0.5", "--json"])
    assert (options.rounds, options.seconds, options.json) == (2, 0.5, True)
    assert not parser().parse_args([]).json
    with pytest.raises(SystemExit):
        parser().parse_args(["--rounds", "few"])


def test_a_ratio_is_the_median_of_the_rounds_and_not_that_of_the_medians() -> None:
    row = report.row("wait", 16, {"runyard": figures(100, 200, 600), "peer": figures(50, 20, 200)})
    assert row.measured["runyard"] == {"per_second": 200, "p50_ms": 5, "p99_ms": 10}
    assert row.measured["peer"]["per_second"] == 50
    assert row.of == {"peer": 3}


def test_the_table_has_each_server_and_says_who_is_left_out() -> None:
    row = report.row("wait", 1, {"runyard": figures(2000), "peer": figures(8)})
    lines = list(report.tables(report.Report([row], {"peer": "2.0"}, {"other": "no Python 3.12"})))
    assert lines[:3] == ["peer: 2.0", "other is left out: no Python 3.12", ""]
    assert lines[-1] == "| wait | 1 | 2,000.0 | 0.5 | 8.0 | 125.0 | 250.00 |"
    assert len({line.count("|") for line in lines[3:]}) == 1


def test_every_load_asks_for_a_graph_that_is_served() -> None:
    served = set(json.loads((PEERS / "langgraph.json").read_text())["graphs"])
    asked = {json.loads(load.body)["assistant_id"] for load in loads() if load.path.startswith("/runs")}
    assert asked == served
    assert {(load.name, load.concurrency) for load in loads()} >= {("wait", 1), ("wait", 16), ("fan-out", 1)}
