"""Two servers on one log, each with readers: whatever one of them commits, in whatever order that and the hints of it
come to the other, every reader of both sees the log, once, in order, without a gap."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest
from at_rest import opened
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_server import MovableClock
from postgres_server import Postgres

from runyard import watched as watched_module
from runyard.events import Chunk, entry
from runyard.hints.contract import MISSED, thread_topic
from runyard.hints.local import LocalHints
from runyard.readers import Reader
from runyard.runs import Attempt, NewRun
from runyard.storage.contract import Batch, Ending, Storage
from runyard.storage.verbs import replay as replay_module
from runyard.streams import Streams

T = TypeVar("T")

EXAMPLES = int(os.environ.get("RUNYARD_MODEL_EXAMPLES", "20"))
PATIENCE_S = 5.0
SERVERS = (0, 1)
THREADS = ("t", "u")


class Station:
    """What one server has of the cluster: its readers, those who wait for an end, and hints on their way to it."""

    def __init__(self, storage: Storage) -> None:
        self.clock = MovableClock()
        self.hints = LocalHints()
        self.streams = Streams(storage, self.clock, queue_bytes=10**9, hints=self.hints)
        self.arriving: list[str] = []


class Follower:
    """A reader, and all numbers that it was given."""

    def __init__(self, station: Station, reader: Reader, begins: int, run_id: str | None) -> None:
        self.station = station
        self.begins = begins
        self.run_id = run_id
        self.got: list[int] = []
        self.reader = reader
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for events in self.reader:
            self.got += [event.seq for event in events if event.seq]


class WatchedMachine(RuleBasedStateMachine):
    shared: Postgres | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.TemporaryDirectory(prefix="runyard-watched-", dir=fast)
        self.log: dict[str, list[tuple[int, str | None]]] = {thread_id: [] for thread_id in THREADS}
        self.attempts: dict[str, Attempt] = {}
        self.followers: list[Follower] = []
        self.waiting: dict[str, list[asyncio.Future[Any]]] = {}
        self.turns: list[int] = []
        self.numbers = 0
        self.patches = [
            mock.patch.object(watched_module, "PAGE", 5),
            mock.patch.object(watched_module, "PIECE", 400),
            mock.patch.object(replay_module, "READ_BYTES", 500),
            mock.patch.object(replay_module, "KEPT_BYTES", 2000),
        ]
        for patch in self.patches:
            patch.start()

    def do(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(story, 20))

    @initialize()
    def open(self) -> None:
        async def begin() -> None:
            self.storage = await opened(Path(self.folder.name), self.shared)
            self.stations = [Station(self.storage) for _ in SERVERS]
            self.storage.on_commit = self.committed
            for thread_id in THREADS:
                await self.storage.create_thread("", thread_id, b"{}", 1, if_exists="raise")
                await self.create(thread_id)

        self.do(begin())

    def committed(self, chunks: Sequence[Chunk]) -> None:
        """One of the servers has committed; the others will hear of it, or not."""
        server = self.turns.pop(0) if self.turns else 0
        for chunk in chunks:
            self.log[chunk.thread_id] += [(chunk.first_seq + n, chunk.run_id) for n in range(len(chunk.entries))]
        self.stations[server].streams.committed(chunks)
        for other in self.stations:
            if other is not self.stations[server]:
                other.arriving += dict.fromkeys(thread_topic(chunk.owner, chunk.thread_id) for chunk in chunks)
                other.arriving += [f"end:{chunk.run_id}" for chunk in chunks if chunk.over is not None]

    async def create(self, thread_id: str) -> None:
        self.numbers += 1
        new = NewRun(
            run_id=f"r{self.numbers:03}", owner="", agent_id="a", request=b"{}", metadata=b"{}", created_at=1,
            thread_id=thread_id, stateless=False, create_thread=False, strategy="enqueue", max_attempts=3,
            resumes=False, claim=True,
        )  # fmt: skip
        created = await self.storage.create_run(new)
        if created.claim is not None:
            self.attempts[new.run_id] = created.claim.attempt

    # rules

    @rule(
        data=st.data(),
        sizes=st.lists(st.lists(st.integers(1, 150), min_size=1, max_size=4), min_size=1, max_size=6),
        turns=st.lists(st.sampled_from(SERVERS), min_size=6, max_size=6),
        hears=st.lists(st.sampled_from(SERVERS), max_size=3),
    )
    @precondition(lambda self: self.attempts)
    def write(self, data: st.DataObject, sizes: list[list[int]], turns: list[int], hears: list[int]) -> None:
        """Commits of both servers, while hints of earlier ones arrive."""
        attempt = self.attempts[data.draw(st.sampled_from(sorted(self.attempts)))]
        pauses = data.draw(st.lists(st.integers(0, 4), min_size=len(sizes), max_size=len(sizes)))

        async def mixed() -> None:
            self.turns = list(turns)
            writing: list[asyncio.Future[int]] = []
            for number, (batch, pause) in enumerate(zip(sizes, pauses, strict=True)):
                entries = [entry("custom", "x" * size) for size in batch]
                writing.append(asyncio.ensure_future(self.storage.append(attempt, Batch(entries), 2)))
                for _ in range(pause):
                    await asyncio.sleep(0.0001)
                if number < len(hears):
                    self.hear(self.stations[hears[number]], 0)
            await asyncio.gather(*writing)

        self.do(mixed())

    def hear(self, station: Station, place: int, keep: bool = False) -> None:
        if station.arriving:
            place %= len(station.arriving)
            topic = station.arriving[place] if keep else station.arriving.pop(place)
            station.hints.publish(topic)

    @rule(server=st.sampled_from(SERVERS), place=st.integers(0, 20), keep=st.booleans())
    def a_hint_comes(self, server: int, place: int, keep: bool) -> None:
        """Not in their order; some of them will come again."""

        async def arrive() -> None:
            self.hear(self.stations[server], place, keep)
            await asyncio.sleep(0)

        self.do(arrive())

    @rule(server=st.sampled_from(SERVERS))
    def hints_are_lost(self, server: int) -> None:
        self.stations[server].arriving.clear()

    @rule(server=st.sampled_from(SERVERS))
    def it_is_time_to_look_again(self, server: int) -> None:
        self.do(self.look_again(self.stations[server]))

    async def look_again(self, station: Station) -> None:
        await asyncio.sleep(0)
        station.clock.move(watched_module.RECHECK)
        for _ in range(3):
            await asyncio.sleep(0)

    @rule(server=st.sampled_from(SERVERS), thread_id=st.sampled_from(THREADS), busy=st.booleans())
    @precondition(lambda self: len(self.followers) < 10)
    def follow_a_thread(self, server: int, thread_id: str, busy: bool) -> None:
        async def join() -> None:
            station = self.stations[server]
            writing = self.write_beside(thread_id) if busy else []
            reader = await station.streams.join_thread("", thread_id)
            self.followers.append(Follower(station, reader, reader.mark, None))
            await asyncio.gather(*writing)

        self.do(join())

    @rule(server=st.sampled_from(SERVERS), data=st.data(), busy=st.booleans())
    @precondition(lambda self: len(self.followers) < 10)
    def follow_a_run(self, server: int, data: st.DataObject, busy: bool) -> None:
        """From its beginning."""
        run_id = data.draw(st.sampled_from([f"r{n + 1:03}" for n in range(self.numbers)]))

        async def join() -> None:
            station = self.stations[server]
            run = await self.storage.run("", run_id)
            writing = self.write_beside(run.thread_id) if busy else []
            reader = await station.streams.join(run, 0)
            self.followers.append(Follower(station, reader, run.first_seq, run_id))
            await asyncio.gather(*writing)

        self.do(join())

    def write_beside(self, thread_id: str) -> list[asyncio.Future[int]]:
        self.turns = [1, 0, 1]
        return [
            asyncio.ensure_future(self.storage.append(attempt, Batch([entry("custom", number)]), 2))
            for attempt in self.attempts.values()
            if attempt.thread_id == thread_id
            for number in range(3)
        ]

    @rule(server=st.sampled_from(SERVERS), data=st.data())
    @precondition(lambda self: self.attempts)
    def wait_for_an_end(self, server: int, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.attempts)))

        async def wait() -> None:
            streams = self.stations[server].streams

            async def until_ended() -> None:
                while True:
                    ending = streams.ending(run_id)
                    try:
                        if (await self.storage.run("", run_id)).finished or await ending is not None:
                            return
                    finally:
                        streams.forget(run_id, ending)

            self.waiting.setdefault(run_id, []).append(asyncio.ensure_future(until_ended()))
            await asyncio.sleep(0)

        self.do(wait())

    @rule(data=st.data(), server=st.sampled_from(SERVERS))
    @precondition(lambda self: self.attempts)
    def finish(self, data: st.DataObject, server: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.attempts)))
        self.turns = [server]
        self.do(self.finish_one(run_id))

    async def finish_one(self, run_id: str) -> None:
        attempt = self.attempts.pop(run_id)
        await self.storage.finish(attempt, Batch(), Ending("completed"), 3)
        await self.create(attempt.thread_id)

    @rule(data=st.data())
    @precondition(lambda self: self.followers)
    def leave(self, data: st.DataObject) -> None:
        follower = data.draw(st.sampled_from(self.followers))
        self.followers.remove(follower)

        async def go() -> None:
            follower.reader.close()
            await asyncio.wait_for(follower.task, PATIENCE_S)
            assert follower.got == self.expected(follower)[: len(follower.got)]

        self.do(go())

    # what has to hold

    def expected(self, follower: Follower) -> list[int]:
        log = self.log[follower.reader.thread[1]]
        return [
            seq
            for seq, run_id in log
            if seq > follower.begins and (follower.run_id is None or run_id == follower.run_id)
        ]

    @invariant()
    def readers_see_the_beginning_of_their_part(self) -> None:
        for follower in self.followers:
            assert follower.got == self.expected(follower)[: len(follower.got)]

    def teardown(self) -> None:
        try:
            if hasattr(self, "storage"):
                self.do(self.finish_everything())
        finally:
            for patch in self.patches:
                patch.stop()
            self.loop.close()
            self.folder.cleanup()

    async def finish_everything(self) -> None:
        """Without one more hint: looking again now and then is enough."""
        for run_id in sorted(self.attempts):
            attempt = self.attempts.pop(run_id)
            await self.storage.finish(attempt, Batch(), Ending("completed"), 3)
        for station in self.stations:
            await self.look_again(station)
            station.streams._look_again()
        deadline = self.loop.time() + PATIENCE_S
        for follower in self.followers:
            while follower.got != self.expected(follower):
                assert self.loop.time() < deadline, f"{follower.got} should become {self.expected(follower)}"
                await asyncio.sleep(0.0005)
            follower.reader.close()
            await follower.task
        for waiting in self.waiting.values():
            await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
        for station in self.stations:
            assert station.streams.readers == 0
            assert not station.hints._listeners.keys() - {MISSED}, "somebody still listens"
        await self.storage.close()


@pytest.fixture(autouse=True)
def chosen(shared: Postgres | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchedMachine, "shared", shared)


WatchedMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=EXAMPLES == 20,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestWatched = pytest.mark.timeout(300)(WatchedMachine.TestCase)
