"""Short, seeded versions of the long proofs of `make chaos`: the same code, on real servers."""

from __future__ import annotations

from chaos import full, kill


def count(figure: str) -> int:
    return int(figure.partition(" ")[0].replace(",", ""))


def test_a_server_that_is_killed_again_and_again_keeps_its_promises() -> None:
    found = dict(kill.run(seed=17, seconds=7, interval=1.2))
    assert count(found["kills"]) >= 3
    assert count(found["runs accepted, each there and ended once"]) > 50
    assert count(found["followers that saw every event once and in order"]) > 5
    assert count(found["answers lost on purpose"]) > 5


def test_a_full_disk_is_told_and_survived() -> None:
    found = dict(full.run(mount=False, seconds=0.8))
    assert count(found["requests refused with 503 disk_full and Retry-After"]) >= 4
