"""What readers of a thread are given of commits: as the same lists, in pieces, from where each of them stands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from runyard import readers as readers_module
from runyard.events import Event, entry, events_of
from runyard.readers import Made, Portion, Reader, ThreadReader, portions


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "PIECE", 1000)
    monkeypatch.setattr(readers_module, "BESIDE", 10)


def commit(first: int, *sizes: int, most: int = 10**6) -> list[Portion]:
    """Events of these sizes, the first of which has that number."""
    return portions(events_of("r", first, 1, [entry("custom", "x" * (size - 12)) for size in sizes]), most)


def reader_from(mark: int, limit: int = 10**6) -> Reader:
    home: Any = SimpleNamespace(delivered=0, cut=0, leave=lambda reader: None)
    reader = ThreadReader(home, "", "t", limit)
    reader.begin(mark, None)
    return reader


def numbers(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events]


def test_a_commit_is_told_whole_and_in_pieces() -> None:
    told = commit(1, *[300] * 10)
    assert [numbers(portion) for portion in told] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert sum(portion.counted for portion in told) == 10 * 300


def test_a_commit_counts_for_no_more_than_it_may() -> None:
    told = commit(1, *[300] * 10, most=1500)
    assert sum(portion.counted for portion in told) == 1500
    reader = reader_from(0)
    reader.receive(told)
    assert reader.waiting_bytes == 1500
    assert [len(reader.take()) for _ in told] == [4, 4, 2]
    assert reader.waiting_bytes == 0
    assert reader.take() == []


def test_readers_that_keep_up_are_given_the_same_lists() -> None:
    one, other = reader_from(0), reader_from(0)
    for told in (commit(1, 100), commit(2, 100), commit(3, 100)):
        one.receive(told)
        other.receive(told)
    joined = one.take()
    assert numbers(joined) == [1, 2, 3]
    assert other.take() is joined


def test_a_reader_of_the_thread_and_one_of_a_run_begin_alike_and_are_given_what_is_theirs() -> None:
    begun, between, ended = commit(1, 100), commit(2, 100), commit(3, 100)
    for first, second in ((True, False), (False, True)):  # whoever is given its part first
        of_run, of_thread = reader_from(0), reader_from(0)
        for told in (begun, ended):
            of_run.receive(told)
        for told in (begun, between, ended):
            of_thread.receive(told)
        seen = {}
        for is_run in (first, second):
            seen[is_run] = numbers((of_run if is_run else of_thread).take())
        assert seen == {True: [1, 3], False: [1, 2, 3]}


def test_readers_in_other_places_are_given_what_is_theirs() -> None:
    first, second, third = commit(1, 100, 100), commit(3, 100), commit(4, 100)
    early, late, within = reader_from(0), reader_from(2), reader_from(1)
    for reader in (early, within):
        reader.receive(first)
    for told in (second, third):
        for reader in (early, late, within):
            reader.receive(told)
    assert numbers(early.take()) == [1, 2, 3, 4]
    assert numbers(late.take()) == [3, 4]
    assert numbers(within.take()) == [2]  # of the commit in whose middle it came
    assert numbers(within.take()) == [3, 4]
    assert [reader.waiting_bytes for reader in (early, late, within)] == [0, 0, 0]


def test_what_waits_is_joined_up_to_a_piece() -> None:
    reader = reader_from(0)
    for number in range(1, 9):
        reader.receive(commit(number, 300))
    assert [len(reader.take()) for _ in range(4)] == [3, 3, 2, 0]


def test_a_reader_that_is_too_slow_is_cut_and_has_nothing_more() -> None:
    reader = reader_from(0, limit=700)
    reader.receive(commit(1, 300))
    reader.receive(commit(2, 300))
    assert not reader.over
    reader.receive(commit(3, 300))
    assert reader.cut
    assert reader.over
    assert reader.take() == []


def test_whoever_awaits_a_change_looks_again_when_roused() -> None:
    async def story() -> None:
        reader = reader_from(0)
        waiting = asyncio.ensure_future(reader.change())
        await asyncio.sleep(0)
        assert not waiting.done()
        reader.rouse()
        await waiting
        assert not reader.over

    asyncio.run(story())


def test_what_was_made_for_readers_is_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "MADE_BYTES", 100)
    monkeypatch.setattr(readers_module, "MOST_MADE", 3)
    made = Made()
    (slow,), (new,) = commit(1, 300), commit(2, 300)
    made.keep(slow, "one", [b"x" * 40])
    made.keep(slow, "other", [b"x" * 20, b"x" * 20])
    made.keep(new, "one", [b"x" * 40])  # too much by now: the oldest goes
    assert (set(slow.made), set(new.made)) == ({"other"}, {"one"})
    del slow
    for key in ("two", "three"):
        made.keep(new, key, [])
    assert set(new.made) == {"one", "two", "three"}
    made.keep(new, "large", [b"x" * 101])
    assert new.made == {}
