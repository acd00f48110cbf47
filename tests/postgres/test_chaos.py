"""Short, seeded versions of what `make chaos` does to a cluster: the same code, on real servers, workers and a
PostgreSQL that crashes."""

from __future__ import annotations

import pytest

from chaos.cluster import mix, roll

pytestmark = pytest.mark.timeout(180)
"""On a busy machine; they take some 12 s each."""


def count(figure: str) -> int:
    return int(figure.partition(" ")[0].partition(";")[0].replace(",", ""))


def test_a_cluster_that_is_killed_stopped_cut_off_and_crashed_keeps_its_promises() -> None:
    found = dict(mix.run(seed=5, seconds=6, lease=3))
    assert count(found["kills"]) >= 2
    assert count(found["crashes of PostgreSQL, each with a start"]) >= 1
    assert count(found["times that connections were cut"]) >= 5
    assert count(found["races of a cancel from another server"]) == 30
    assert count(found["runs accepted; lost, stuck, ended twice"]) > 30
    assert count(found["followers that saw every event once and in order"]) >= 2


def test_a_cluster_that_is_restarted_in_order_answers_every_request() -> None:
    found = dict(roll.run(seed=5, rounds=1))
    assert found["restarts in order"] == "4"
    assert count(found["requests; failed"]) > 100
