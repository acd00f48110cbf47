"""Clients of threads' streams beside the list of what was committed: whatever a client asks for, whenever it comes, and
however often it comes back, it sees its part of the list once, in order, without a gap. Over both transports, through
steps, sub-agents, messages in pieces, questions, cancels, patches and servers that stop."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import tempfile
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from unittest import mock

import httpx2
import pytest
from asgi_client import Puppet
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_server import Server, holds
from postgres_server import Postgres
from streaming_frames import ENDS, Frame, check_whole
from thread_followers import Follower, Wish, compared, text_of

from runyard import Context
from runyard import readers as readers_module
from runyard.api.streaming import feed as feed_module
from runyard.api.streaming import websocket as websocket_module
from runyard.events import Chunk, events_of
from runyard.protocol import frames as protocol
from runyard.server import create_app
from runyard.settings import Settings

T = TypeVar("T")

PATIENCE_S = 20.0
EXAMPLES = int(os.environ.get("RUNYARD_MODEL_EXAMPLES", "20"))
ALL = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "custom")
WISHES = (
    Wish(ALL), Wish(ALL), Wish(("messages",)), Wish(("custom:x", "lifecycle")), Wish(("values",)),
    Wish(("custom", "values"), (("child",),)), Wish(ALL, None, 0), Wish(ALL, ((), ("child",)), 1),
    Wish(("messages", "values", "input"), ((), ("other", "child"))),
)  # fmt: skip


# what a run may be told to do


async def steps(ctx: Context) -> None:
    await ctx.update({"n": ctx.state.get("n", 0) + 1})


async def emits(ctx: Context) -> None:
    await ctx.emit({"a": 1}, name="x")
    await ctx.emit("plain")


async def writes(ctx: Context) -> None:
    async with ctx.message() as message:
        await message.reason("hm")
        await message.write("a")
        await message.call("tool", {"b": 1})


async def delegates(ctx: Context) -> None:
    async with ctx.agent("child") as child:
        await child.tool("double", _double, 4)
        async with child.message() as message:
            await message.write("in")
        async with child.agent("child") as inner:
            await inner.emit("deep")


async def leaves_open(ctx: Context) -> None:
    other = ctx.agent("other")
    await other.__aenter__()
    message = ctx.message()
    await message.__aenter__()
    await message.write("half")


async def pours(ctx: Context) -> None:
    for number in range(40):
        await ctx.emit({"number": number, "x": "x" * 2000})


async def asks(ctx: Context) -> None:
    while True:  # what was answered in a run that was cancelled is known
        await ctx.interrupt({"why": 1})


async def fails(ctx: Context) -> None:
    raise ValueError("no luck")


async def _double(number: int) -> int:
    return number * 2


ORDERS = {"steps": steps, "emits": emits, "writes": writes, "delegates": delegates, "leaves open": leaves_open}
LAST = {"asks": asks, "fails": fails, "returns": None}


UNREAD = ""
"""In place of an event's text: a state that was not at hand when it was committed."""


def as_told(frame: protocol.Frame) -> Frame:
    """A frame as a client gets it; of a state that was not at hand, only what it is."""
    if frame.text:
        return json.loads(frame.text)
    namespace = frame.path.split("|") if frame.path else []
    return {"eventId": frame.id, "method": frame.told.method, "params": {"namespace": namespace, "data": None}}


class ThreadReadersMachine(RuleBasedStateMachine):
    shared: Postgres | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.TemporaryDirectory(prefix="runyard-threads-", dir=fast)
        self.log: list[Frame] = []
        self.database: str | None = None
        self.face = protocol.Face("camel")
        self.followers: list[Follower] = []
        self.run: str | None = None
        self.patches = [
            mock.patch.object(feed_module, "PAGE", 5),
            mock.patch.object(websocket_module, "COUNTED", 7),
            mock.patch.object(readers_module, "PIECE", 600),
        ]
        for patch in self.patches:
            patch.start()

    def do(self, story: Coroutine[Any, Any, T]) -> T:
        # A limit of its own: the test's would end one example, and those that make it smaller would wait for ever.
        return self.loop.run_until_complete(asyncio.wait_for(story, PATIENCE_S))

    @initialize()
    def open(self) -> None:
        async def begin() -> None:
            await self.serve()
            self.thread = await self.server.thread()

        self.do(begin())

    async def serve(self) -> None:
        self.puppet = Puppet()
        if self.database is None:
            file = f"sqlite:///{self.folder.name}/runyard.db"
            self.database = file if self.shared is None else await self.shared.emptied()
        given = {"database": self.database, "default_agent": "puppet"}
        app = create_app(Settings(**given, reader_queue_bytes=65536, drain_grace=0), agents=[self.puppet.agent])
        await app.engine.start()
        tell = app.engine.storage.on_commit

        def committed(chunks: Sequence[Chunk]) -> None:
            self.remember(chunks)
            tell(chunks)

        app.engine.storage.on_commit = committed
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver")
        self.server = Server(app, http)

    async def shut(self) -> None:
        await self.server.http.aclose()
        await self.server.app.engine.close()

    def remember(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk.thread_id == getattr(self, "thread", chunk.thread_id):
                # Events of their own, so that what the readers keep on theirs is not touched.
                events = events_of(chunk.run_id, chunk.first_seq, chunk.at, chunk.entries, chunk.states)
                self.log += [as_told(frame) for event in events for frame in self.face.frames(event)]

    # rules

    @precondition(lambda self: self.run is None)
    @rule()
    def begin_run(self) -> None:
        """Begins a run, or answers the question that is open."""

        async def begin() -> None:
            body = {"id": 1, "method": "run.start", "params": {"assistantId": "puppet", "input": {"a": 1}}}
            answer = (await self.server.post(f"/threads/{self.thread}/commands", body)).json()
            assert answer["type"] == "success", answer
            self.run = answer["result"]["runId"]
            reading = functools.partial(self.server.storage.run, "", self.run or "")
            await self.server.until(lambda: holds(reading(), lambda run: run.started_at is not None))

        self.do(begin())

    @precondition(lambda self: self.run is not None)
    @rule(orders=st.lists(st.sampled_from(sorted(ORDERS)), min_size=1, max_size=4))
    def work(self, orders: list[str]) -> None:
        self.puppet.do(*(ORDERS[order] for order in orders))
        self.do(self.quiet())

    @precondition(lambda self: self.run is not None)
    @rule(how=st.sampled_from(sorted(LAST)))
    def end(self, how: str) -> None:
        order = LAST[how]
        if order is None:
            self.puppet.end()
        else:
            self.puppet.do(order)
        self.do(self.over())

    @precondition(lambda self: self.run is not None)
    @rule()
    def cancel(self) -> None:
        async def ask() -> None:
            await self.server.post(f"/runs/{self.run}/cancel")
            await self.over()

        self.do(ask())

    async def over(self) -> None:
        await self.server.until(self.is_over)
        self.run = None

    def is_over(self) -> bool:
        return any(
            frame["method"] == "lifecycle"
            and frame.get("runId") == self.run
            and not frame["params"]["namespace"]
            and frame["params"]["data"]["event"] in ENDS
            for frame in self.log
        )

    @precondition(lambda self: self.run is None)
    @rule(n=st.integers(0, 3))
    def patch(self, n: int) -> None:
        async def patch() -> None:
            answer = await self.server.http.patch(f"/threads/{self.thread}", json={"values": {"n": n}})
            assert answer.status_code == 200, answer.text

        self.do(patch())

    @precondition(lambda self: len(self.followers) < 6)
    @rule(
        wish=st.sampled_from(WISHES), transport=st.sampled_from(["sse", "websocket"]), by_number=st.booleans(),
        back=st.sampled_from([None, None, 0, 1, 4]), busy=st.lists(st.sampled_from(sorted(ORDERS)), max_size=4),
        turns=st.integers(0, 5), early=st.booleans(),
    )  # fmt: skip
    def join(
        self, wish: Wish, transport: str, by_number: bool, back: int | None, busy: list[str], turns: int, early: bool
    ) -> None:
        """A new client: without a cursor, or from some event on; perhaps while things happen."""
        last = self.do(self.server.storage.last_seq("", self.thread))
        since = None if back is None else max(0, last - back) if back else 0
        follower = Follower(self.server, self.thread, wish, transport, by_number, since)

        async def seam() -> None:
            if early and transport == "websocket" and self.run is not None:
                follower.open()
                self.puppet.do(*(ORDERS[order] for order in busy))
                await self.quiet()
            follower.begins = await self.beginning() if since is None else since
            if self.run is not None:
                self.puppet.do(*(ORDERS[order] for order in busy))
                for _ in range(turns):
                    await asyncio.sleep(0)
            follower.attach()
            await self.server.until(lambda: follower.ready)
            if self.run is not None:
                await self.quiet()

        self.do(seam())
        self.followers.append(follower)

    async def beginning(self) -> int:
        """Behind which number a client without a cursor is told: that of the newest run's input, or the last."""
        newest = await self.server.app.engine.streams.newest_begun("", self.thread)
        return await self.server.storage.last_seq("", self.thread) if newest is None else newest.first_seq

    @precondition(lambda self: self.followers)
    @rule(data=st.data(), unseen=st.integers(0, 9))
    def drop(self, data: st.DataObject, unseen: int) -> None:
        self.do(data.draw(st.sampled_from(self.followers)).drop(unseen))

    @precondition(lambda self: any(follower.attached for follower in self.followers))
    @rule(data=st.data())
    def stop_reading(self, data: st.DataObject) -> None:
        attached = [follower for follower in self.followers if follower.connection is not None]
        connection = data.draw(st.sampled_from(attached)).connection
        assert connection is not None
        connection.stop_reading()

    @precondition(lambda self: self.run is not None)
    @rule()
    def fall_behind(self) -> None:
        """More happens than is kept for those who do not read: they are cut."""
        for _ in range(3):
            self.puppet.do(pours)
            self.do(self.quiet())

    @rule()
    def read_again(self) -> None:
        for follower in self.followers:
            if follower.connection is not None:
                follower.connection.read_on()

    @precondition(lambda self: any(not follower.attached for follower in self.followers))
    @rule()
    def reconnect(self) -> None:
        self.do(self.attach_all())

    async def attach_all(self) -> None:
        for follower in self.followers:
            if not follower.attached:
                follower.take()
                if follower.cursor() is None:
                    follower.begins = await self.beginning()
                follower.attach()

    @precondition(lambda self: self.followers)
    @rule()
    def restart(self) -> None:
        """The server stops in order, and another one serves; what executed is tried again, and returns."""

        async def stop() -> None:
            for follower in self.followers:
                if follower.connection is not None:
                    follower.connection.read_on()
            await self.server.app.engine.drain()
            for follower in self.followers:
                if follower.connection is not None:
                    await asyncio.wait_for(follower.connection.end(), PATIENCE_S)
                follower.take()
            assert self.server.app.engine.streams.readers == 0
            await self.shut()
            await self.serve()
            for follower in self.followers:
                follower.server = self.server
            if self.run is not None:
                self.puppet.end()
                await self.over()

        self.do(stop())

    # what has to hold

    async def quiet(self) -> None:
        """Until what the run was told to do is done and committed."""
        marks: list[int] = []

        async def mark(_: Context) -> None:
            marks.append(1)

        self.puppet.do(mark)
        await self.server.until(lambda: bool(marks) or self.is_over())
        if not marks:
            # It has answered a question, and what it does is not what it did before that.
            self.puppet.forget()
            await self.over()
        for _ in range(2):
            await self.server.thread()

    @invariant()
    def clients_see_their_part_of_the_list(self) -> None:
        if hasattr(self, "server"):
            self.do(self.check())

    async def check(self) -> None:
        for follower in self.followers:
            if follower.attached and follower.connection is not None and follower.connection.reads:
                await self.until_told(follower)
            follower.take()
            by_id = {frame["eventId"]: text_of(frame) if "type" in frame else UNREAD for frame in self.log}
            got, wanted = compared(follower, self.log)
            assert [frame["eventId"] for frame in got] == wanted[: len(got)], (follower.wish, follower.begins)
            for frame in got:
                assert by_id[frame["eventId"]] in (text_of(frame), UNREAD)

    async def until_told(self, follower: Follower) -> None:
        deadline = self.loop.time() + PATIENCE_S
        while True:
            follower.take()
            got, wanted = compared(follower, self.log)
            if not follower.attached or len(got) >= len(wanted):
                return
            assert self.loop.time() < deadline, ([frame["eventId"] for frame in got], wanted)
            await asyncio.sleep(0.0005)

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        try:
            if hasattr(self, "server"):
                self.do(self.finish_everything())
        finally:
            self.loop.close()
            self.folder.cleanup()

    async def finish_everything(self) -> None:
        """The run ends, every client comes back, and has seen all; the log is what was told live."""
        if self.run is not None:
            self.puppet.end()
            await self.over()
        self.read_on()
        for _ in range(3):
            await self.attach_all()
            await self.check()
        for follower in self.followers:
            assert follower.attached
            got, wanted = compared(follower, self.log)
            assert [frame["eventId"] for frame in got] == wanted
        whole = Follower(self.server, self.thread, Wish(ALL), "sse", False, 0)
        whole.attach()
        await self.until_told(whole)
        check_whole(whole.got)
        for follower in (*self.followers, whole):
            await follower.drop()
        assert self.server.app.engine.streams.readers == 0
        await self.shut()

    def read_on(self) -> None:
        for follower in self.followers:
            if follower.connection is not None:
                follower.connection.read_on()


@pytest.fixture(autouse=True)
def chosen(shared: Postgres | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadReadersMachine, "shared", shared)


ThreadReadersMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=EXAMPLES == 20,
    database=None,
    print_blob=True,
    # Smaller examples would be searched for by waiting for what never comes.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
TestThreadReaders = pytest.mark.timeout(300)(ThreadReadersMachine.TestCase)
