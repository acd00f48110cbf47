"""Short, seeded versions of the long proofs of `make chaos`: the same code, on real servers."""

from __future__ import annotations

from chaos import full, kill, overload, poison


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


def test_a_run_that_ends_the_server_each_time_stops_and_takes_none_with_it() -> None:
    found = dict(poison.run(beside=2))
    assert found["attempts that ended the server, then no more"] == "3"
    assert "max_attempts is 3" in found["reason on the run"]


def test_each_reader_of_a_crowd_sees_every_event_once_and_in_order() -> None:
    found = dict(
        overload.run(slow=20, fast=3, idle=100, returning=100, seconds=0.8, log=1000, size=12_000, judged=False)
    )
    assert found["fast readers; events of each, every one once and in order"] == "3; 160"
    assert count(found["slow readers, each event once and in order in the end"]) == 20
    assert count(found["of them cut, and gone on with their cursor"]) > 0
    assert count(found["idle readers, each with all events and the end"]) == 100
    assert count(found["readers back at once, each with every event it missed"]) == 100
