"""Readers of runs beside the list of what was committed: whatever happens to a reader, it sees its part of the list
once, in order, without a gap."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest
from at_rest import opened
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from postgres_server import Postgres

from runyard import readers as readers_module
from runyard.clock import Clock
from runyard.events import Chunk, entry, lifecycle
from runyard.readers import Reader
from runyard.runs import Attempt, NewRun
from runyard.storage.contract import Batch, Ending
from runyard.storage.verbs import replay as replay_module
from runyard.streams import Streams, shown

T = TypeVar("T")

QUEUE_BYTES = 1500
PATIENCE_S = 2.0
EXAMPLES = int(os.environ.get("RUNYARD_MODEL_EXAMPLES", "25"))
MODES = (frozenset({"custom"}), frozenset({"updates"}), frozenset({"custom", "updates"}), frozenset[str]())

Told = tuple[int, str]
"""A committed event: its number and its kind (`end` for the terminal one)."""


class Follower:
    """A client that follows a run, over as many connections as it takes, with the cursor of what it was shown last."""

    def __init__(self, run_id: str, modes: frozenset[str], after: int | None) -> None:
        self.run_id = run_id
        self.modes = modes
        self.after = after
        self.begins = after
        """It is to see what has larger numbers; None: until it is attached."""
        self.got: list[Told] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.reader: Reader | None = None
        self.task: asyncio.Task[None] | None = None

    async def attach(self, streams: Streams) -> None:
        run = await streams.storage.run("", self.run_id)
        if self.begins is None:
            # Live: what comes from now on; of a run that is over, its end.
            now = await streams.storage.last_seq("", run.thread_id)
            self.begins = run.last_seq - 1 if run.finished else now
        self.reader = await streams.join(run, self.after)
        self.task = asyncio.ensure_future(self._read(self.reader))

    async def _read(self, reader: Reader) -> None:
        try:
            async for events in reader:
                for event in events:
                    if event.seq and shown(event, self.modes):
                        ends = event.kind == "lifecycle" and lifecycle(event.data).terminal
                        self.got.append((event.seq, "end" if ends else event.kind))
                        self.after = event.seq
                await self.reads.wait()
        finally:
            reader.close()

    @property
    def attached(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def over(self) -> bool:
        return bool(self.got) and self.got[-1][1] == "end"

    async def drop(self) -> None:
        """The connection breaks."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


class ReadersMachine(RuleBasedStateMachine):
    shared: Postgres | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.TemporaryDirectory(prefix="runyard-readers-", dir=fast)
        self.log: dict[str, list[Told]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.followers: list[Follower] = []
        self.numbers = 0
        self.patches = [
            mock.patch.object(readers_module, "PAGE", 4),
            mock.patch.object(readers_module, "PIECE", 600),
            mock.patch.object(readers_module, "BESIDE", 10),
            mock.patch.object(replay_module, "READ_BYTES", 500),
            mock.patch.object(replay_module, "KEPT_BYTES", 2000),
        ]
        for patch in self.patches:
            patch.start()

    def do(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(story)

    @initialize()
    def open(self) -> None:
        async def begin() -> None:
            self.storage = await opened(Path(self.folder.name), self.shared)
            self.serve()
            await self.storage.create_thread("", "t", b"{}", 1, if_exists="raise")
            await self.create("t")
            for after in (0, None):
                self.followers.append(Follower("r001", MODES[0], after))
                await self.followers[-1].attach(self.streams)

        self.do(begin())

    def serve(self) -> None:
        """A new server on the same log: it knows none of the readers of the one before."""
        self.streams = Streams(self.storage, Clock(), queue_bytes=QUEUE_BYTES)
        self.storage.on_commit = self.committed

    def committed(self, chunks: Any) -> None:
        for chunk in chunks:
            self.remember(chunk)
        self.streams.committed(chunks)

    def remember(self, chunk: Chunk) -> None:
        for place, item in enumerate(chunk.entries):
            ends = item.kind == "lifecycle" and lifecycle(item.data).terminal
            told = (chunk.first_seq + place, "end" if ends else item.kind)
            self.log.setdefault(chunk.run_id or "", []).append(told)

    async def create(self, thread_id: str) -> None:
        self.numbers += 1
        new = NewRun(
            run_id=f"r{self.numbers:03}", owner="", agent_id="a", request=b"{}", metadata=b"{}", created_at=1,
            thread_id=thread_id, stateless=thread_id != "t", create_thread=False, strategy="enqueue", max_attempts=3,
            resumes=False, claim=True,
        )  # fmt: skip
        created = await self.storage.create_run(new)
        if created.claim is not None:
            self.attempts[new.run_id] = created.claim.attempt

    def batch(self, sizes: list[int]) -> Batch:
        kinds = ("custom", "updates")
        return Batch([entry(kinds[size % 2], "x" * size) for size in sizes])  # type: ignore[arg-type]

    # rules

    @precondition(lambda self: len(self.attempts) < 4)
    @rule(alone=st.booleans())
    def create_run(self, alone: bool) -> None:
        self.do(self.create(f"h{self.numbers}" if alone else "t"))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), count=st.integers(1, 40), size=st.integers(1, 200), together=st.integers(1, 5))
    def write_much(self, data: st.DataObject, count: int, size: int, together: int) -> None:
        """Many events; so many of them to a commit."""
        attempt = self.attempts[data.draw(st.sampled_from(sorted(self.attempts)))]
        sizes = [size + number % 2 for number in range(count)]
        self.do(self.write_all(attempt, [sizes[at : at + together] for at in range(0, count, together)]))

    async def write_all(self, attempt: Attempt, batches: list[list[int]]) -> None:
        await asyncio.gather(*(self.storage.append(attempt, self.batch(sizes), 2) for sizes in batches))

    @precondition(lambda self: self.attempts)
    @rule(
        data=st.data(), batches=st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=5), min_size=1, max_size=4)
    )
    def write(self, data: st.DataObject, batches: list[list[int]]) -> None:
        attempt = self.attempts[data.draw(st.sampled_from(sorted(self.attempts)))]
        self.do(self.write_all(attempt, batches))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), sizes=st.lists(st.integers(1, 100), max_size=2))
    def finish(self, data: st.DataObject, sizes: list[int]) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.attempts)))

        async def end_and_go_on() -> None:
            await self.storage.finish(self.attempts.pop(run_id), self.batch(sizes), Ending("completed"), 3)
            for claim in await self.storage.claim({"a": None}, 5, 4):
                self.attempts[claim.run.run_id] = claim.attempt

        self.do(end_and_go_on())

    @precondition(lambda self: len(self.followers) < 8)
    @rule(data=st.data(), modes=st.sampled_from(MODES), back=st.sampled_from([None, 0, 0, 1, 3, 8]), busy=st.booleans())
    def join(self, data: st.DataObject, modes: frozenset[str], back: int | None, busy: bool) -> None:
        """A new reader: live, from the start, or from some event on; perhaps while events are being committed."""
        run_id = data.draw(st.sampled_from(sorted(self.log)))
        run = self.do(self.storage.run("", run_id))
        after = back
        if back:
            after = max(run.first_seq, self.do(self.storage.last_seq("", run.thread_id)) - back)
            # A reader that has seen the end does not come back; the server would show it the end again.
            after = min(after, run.last_seq - 1) if run.finished else after
        follower = Follower(run_id, modes, after)
        attempt = self.attempts.get(run_id)

        async def seam() -> None:
            writing: list[Any] = []
            if busy and attempt is not None:
                writing = [asyncio.ensure_future(self.storage.append(attempt, self.batch([n]), 2)) for n in range(1, 9)]
                for _ in range(data.draw(st.integers(0, 3))):
                    await asyncio.sleep(0)
            await follower.attach(self.streams)
            await asyncio.gather(*writing)

        self.do(seam())
        self.followers.append(follower)

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.do(data.draw(st.sampled_from(self.followers)).drop())

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def stop_reading(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.followers)).reads.clear()

    @precondition(lambda self: any(follower.run_id in self.attempts for follower in self.followers))
    @rule(data=st.data())
    def fall_behind(self, data: st.DataObject) -> None:
        """A reader stops, and its run goes on by more than is kept for it: it is cut."""
        behind = [follower for follower in self.followers if follower.run_id in self.attempts]
        follower = data.draw(st.sampled_from(behind))
        follower.reads.clear()
        self.do(self.write_all(self.attempts[follower.run_id], [[QUEUE_BYTES // 3] * 2] * 3))

    @precondition(lambda self: any(not follower.reads.is_set() for follower in self.followers))
    @rule(data=st.data())
    def read_again(self, data: st.DataObject) -> None:
        slow = [follower for follower in self.followers if not follower.reads.is_set()]
        data.draw(st.sampled_from(slow)).reads.set()

    @precondition(lambda self: any(not follower.attached and not follower.over for follower in self.followers))
    @rule()
    def reconnect(self) -> None:
        self.do(self.attach_all())

    async def attach_all(self) -> None:
        for follower in self.followers:
            if not follower.attached and not follower.over and follower.after is not None:
                await follower.attach(self.streams)

    @precondition(lambda self: sum(follower.attached for follower in self.followers) > 1)
    @rule()
    def drain(self) -> None:
        """The server stops in order, and another one serves."""

        async def stop() -> None:
            self.streams.drain()
            for follower in self.followers:
                follower.reads.set()
            ending = [follower.task for follower in self.followers if follower.task is not None]
            await asyncio.wait_for(asyncio.gather(*ending, return_exceptions=True), PATIENCE_S)
            assert self.streams.readers == 0
            self.serve()

        self.do(stop())

    # what has to hold

    def expected(self, follower: Follower) -> list[Told]:
        assert follower.begins is not None
        always = ("lifecycle", "error", "end")
        return [
            told
            for told in self.log.get(follower.run_id, [])
            if told[0] > follower.begins and (told[1] in always or told[1] in follower.modes)
        ]

    @invariant()
    def readers_see_their_part_of_the_list(self) -> None:
        if hasattr(self, "storage"):
            self.do(self.check())

    async def check(self) -> None:
        for follower in self.followers:
            expected = self.expected(follower)
            if follower.attached and follower.reads.is_set():
                await self.until_quiet(follower, expected)
            assert follower.got == expected[: len(follower.got)], (follower.got, expected)
            assert follower.reader is not None
            assert follower.reader.waiting_bytes <= QUEUE_BYTES
        attached = sum(1 for f in self.followers if f.attached and f.reader is not None and not f.reader.cut)
        assert self.streams.readers <= attached

    async def until_quiet(self, follower: Follower, expected: list[Told]) -> None:
        deadline = self.loop.time() + PATIENCE_S
        while follower.attached and len(follower.got) < len(expected):
            assert self.loop.time() < deadline, f"{follower.got} should become {expected}"
            await asyncio.sleep(0.0002)

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        try:
            if hasattr(self, "storage"):
                self.do(self.finish_everything())
        finally:
            self.loop.close()
            self.folder.cleanup()

    async def finish_everything(self) -> None:
        """Every run ends, every follower that has a cursor comes back as often as it takes, and has seen all."""
        for follower in self.followers:
            follower.reads.set()
        while self.attempts:
            _, attempt = self.attempts.popitem()
            await self.storage.finish(attempt, Batch(), Ending("completed"), 3)
            for claim in await self.storage.claim({"a": None}, 5, 4):
                self.attempts[claim.run.run_id] = claim.attempt
        for _ in range(100):
            tasks = [follower.task for follower in self.followers if follower.task is not None]
            if tasks:
                _, waiting = await asyncio.wait(tasks, timeout=PATIENCE_S)
                assert not waiting, "every run has ended, and a reader still waits"
            if all(follower.over or follower.after is None for follower in self.followers):
                break
            await self.attach_all()
        for follower in self.followers:
            if follower.after is not None:
                assert follower.got == self.expected(follower)
        assert self.streams.readers == 0
        for run_id, told in self.log.items():
            run = await self.storage.run("", run_id)
            kept: list[int] = []
            while page := await self.storage.events(
                "", run.thread_id, after=kept[-1] if kept else 0, run_id=run_id, limit=10**6
            ):
                kept += [event.seq for event in page]
            assert kept == [seq for seq, _ in told]
        await self.storage.close()


@pytest.fixture(autouse=True)
def chosen(shared: Postgres | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadersMachine, "shared", shared)


ReadersMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    derandomize=EXAMPLES == 25,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestReaders = pytest.mark.timeout(300)(ReadersMachine.TestCase)
