"""What every Channel between the engine and agents does. The cases speak the contract of `Host` and `Invocation` only;
an adapter joins in `ADAPTERS`.

That nothing more comes of an attempt, or that its code waits, is shown by another attempt on the same host that runs
from start to end meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import channel_agents as agents
import msgspec
import pytest
from channel_agents import DEADLINE, RAISES, open_gate, pass_gate

from runyard.checkpoints import Question
from runyard.items import Item
from runyard.runtime.channel import MAX_BYTES, MAX_WRITES, ThreadHost
from runyard.runtime.contract import (
    Ended,
    FromAgent,
    Host,
    LoadedAgent,
    RunInfo,
    Start,
    Stop,
    StopReason,
    StoreCall,
    Stored,
    StoreReply,
    Write,
)
from runyard.runtime.packets import Setup
from runyard.runtime.processes import ProcessHost

SETUP = Setup(
    targets=(agents.__file__,),
    folder=".",
    path=sys.path.copy(),
    threads=2,
    log_format="text",
    log_level="warning",
    traces=False,
    version="0",
)
ADAPTERS: dict[str, Callable[[], Host]] = {
    "threads": ThreadHost,
    "one-thread": lambda: ThreadHost(1),
    "process": lambda: ProcessHost(1, SETUP),
}

Case = Callable[[Host], Awaitable[None]]
OnHost = Callable[[Case], None]

encode = msgspec.json.encode
decode = msgspec.json.decode


@pytest.fixture(params=sorted(ADAPTERS))
def make_host(request: pytest.FixtureRequest) -> Callable[[], Host]:
    return ADAPTERS[request.param]


@pytest.fixture(scope="module")
def process_host() -> Iterator[Callable[[Case], None]]:
    """Runs an async case with a host that cases share, in the loop of that: a process takes a while to start."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host = ADAPTERS["process"]()

    def run(coroutine: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    async def one(case: Case) -> None:
        await asyncio.wait_for(case(host), DEADLINE)

    yield lambda case: run(one(case))
    run(host.close(DEADLINE))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def on_host(make_host: Callable[[], Host], request: pytest.FixtureRequest) -> OnHost:
    """Runs an async case with a host, of its own where that is no great expense."""
    if make_host is ADAPTERS["process"]:
        return request.getfixturevalue("process_host")

    def run(case: Case) -> None:
        async def whole() -> None:
            host = make_host()
            try:
                await asyncio.wait_for(case(host), DEADLINE)
            finally:
                await host.close(DEADLINE)

        asyncio.run(whole())

    return run


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes closed gates: named pipes at which code waits until it is let through. All are open at the end."""
    made: list[tuple[str, int]] = []

    def gate() -> str:
        path = str(tmp_path / f"gate-{len(made)}")
        os.mkfifo(path)
        # Held open for both directions, so that neither side waits for the other to open it.
        made.append((path, os.open(path, os.O_RDWR)))
        return path

    yield gate
    for path, descriptor in made:
        open_gate(path, 100)
        os.close(descriptor)


_numbers = itertools.count(1)


class Play:
    """The engine's part of one attempt: keeps what comes, stores writes and answers calls unless it is told not to."""

    def __init__(self, host: Host, agent: LoadedAgent, input: Any = None, *, stores: bool = True, **start: Any) -> None:
        self.run_id = f"run-{next(_numbers)}"
        run = RunInfo(self.run_id, "thread", agent.agent.agent_id, "", 1, {"tag": "m"}, {"configurable": {"tag": "c"}})
        whole: dict[str, Any] = {"run": run, "input": encode(input), "base": {}, "head": {}, **start}
        self.invocation = host.run(agent, Start(**whole))
        self.messages: list[FromAgent] = []
        self.items: dict[tuple[tuple[str, ...], str], bytes] = {}
        self._stores = stores

    async def next(self) -> list[FromAgent]:
        """The messages that come next."""
        came = await self.invocation.receive()
        assert came, "receive gave nothing"
        assert self.ended is None, "a message came after the last one"
        self.messages += came
        for message in came if self._stores else ():
            if isinstance(message, Write):
                self.invocation.send(Stored(1))
            elif isinstance(message, StoreCall):
                self.invocation.send(self._answer(message))
        return came

    async def says(self, payload: Any) -> None:
        """Until the code has emitted this."""
        while payload not in self.said:
            await self.next()

    async def end(self) -> Ended:
        """Until the code has ended."""
        while self.ended is None:
            await self.next()
        return self.ended

    @property
    def ended(self) -> Ended | None:
        last = self.messages[-1] if self.messages else None
        return last if isinstance(last, Ended) else None

    @property
    def writes(self) -> list[Write]:
        return [message for message in self.messages if isinstance(message, Write)]

    @property
    def said(self) -> list[Any]:
        """What the code has emitted."""
        entries = (entry for write in self.writes for entry in write.entries)
        return [decode(entry.data)["payload"] for entry in entries if entry.kind == "custom"]

    @property
    def result(self) -> Any:
        """What the code returned."""
        assert self.ended is not None
        assert self.ended.how == "completed", self.ended
        assert self.ended.last is not None
        (_, delta) = decode(self.ended.last.entries[0].data).popitem()
        return delta["output"] if set(delta) == {"output"} else delta

    def _answer(self, call: StoreCall) -> StoreReply:
        place = (call.namespace, call.key)
        match call.method:
            case "put":
                self.items[place] = call.value
            case "delete":
                del self.items[place]
            case "get" if place in self.items:
                return StoreReply(call.call, [Item(*place, self.items[place], 0, 0)])
            case "get":
                return StoreReply(call.call, error=("item_not_found", "there is none"))
            case "search":
                return StoreReply(call.call, [Item(*at, value, 0, 0) for at, value in self.items.items()])
            case "namespaces":
                return StoreReply(call.call, namespaces=sorted({namespace for namespace, _ in self.items}))
        return StoreReply(call.call)


async def another_runs(host: Host, number: int = 0) -> None:
    """One more attempt, from start to end."""
    play = Play(host, agents.tells, number)
    await play.end()
    assert play.result == {"given": number}


async def nothing_follows(host: Host, play: Play) -> None:
    """Nothing comes of an attempt, though the host is at work."""
    waiting = asyncio.ensure_future(play.invocation.receive())
    await another_runs(host)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


# order, and the end


@pytest.mark.parametrize("agent", [agents.does_all, agents.does_all_blocking], ids=["async", "sync"])
def test_messages_arrive_in_the_order_of_the_code_and_the_end_is_last(on_host: OnHost, agent: LoadedAgent) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agent)
        ended = await play.end()
        kinds = [[entry.kind for entry in write.entries] for write in play.writes]
        pieces = [["messages"], ["messages"]]
        assert kinds == [["custom"], ["updates"], [], *pieces, ["updates", "messages"], ["custom"]]
        assert play.said == ["first", "last"]
        records = [(record.kind, record.name) for write in play.writes for record in write.records]
        assert records == [("emit", ""), ("update", ""), ("step", "double"), ("message", ""), ("emit", "")]
        assert [type(message) for message in play.messages] == [Write] * 7 + [Ended]
        assert (ended.how, play.result) == ("completed", {"n": 3})
        await nothing_follows(host, play)

    on_host(case)


@pytest.mark.parametrize("agent", [agents.leaves_a_task, agents.leaves_a_thread], ids=["async", "sync"])
def test_code_that_outlives_its_attempt_is_not_heard(
    on_host: OnHost, gates: Callable[[], str], agent: LoadedAgent
) -> None:
    async def case(host: Host) -> None:
        gate, refused = gates(), gates()
        play = Play(host, agent, {"gate": gate, "refused": refused})
        assert (await play.end()).how == "completed"
        open_gate(gate)
        await asyncio.to_thread(pass_gate, refused)
        await nothing_follows(host, play)
        assert play.said == ["in time"]

    on_host(case)


def test_messages_to_code_that_has_ended_are_dropped(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agents.tells, 1)
        await play.end()
        for message in (Stored(5), StoreReply(1), Stop("cancel"), Stop("timeout")):
            play.invocation.send(message)
        await nothing_follows(host, play)

    on_host(case)


def test_all_that_an_attempt_begins_with_reaches_its_code(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        head = {"x": b'{"deep":[1,2]}'}
        asked = Play(host, agents.looks_around, {"a": [1]}, base=head, head=head)
        ended = await asked.end()
        assert ended.how == "asked"
        (question,) = ended.questions
        assert (question.name, decode(question.value)) == ("interrupt", "which one?")
        known = Question(question.id, question.value, question.name, question.nth)
        answers = {question.id: b'"this one"'}
        play = Play(host, agents.looks_around, {"a": [1]}, base=head, head=head, questions=[known], answers=answers)
        await play.end()
        assert play.result == {
            "input": {"a": [1]},
            "about": [play.run_id, "thread", "looks_around", 1, {"tag": "c"}, {"tag": "m"}],
            "state": {"x": {"deep": [1, 2]}},
            "answer": "this one",
        }

    on_host(case)


# the engine goes on


@pytest.mark.parametrize("agent", [agents.blocks, agents.blocks_a_thread], ids=["async", "sync"])
def test_code_that_blocks_its_thread_does_not_keep_the_engine_s_loop_waiting(
    on_host: OnHost, gates: Callable[[], str], agent: LoadedAgent
) -> None:
    """The loop turns, and hears the code's message, while the code holds its thread: it can go on only by what the loop
    does afterwards."""

    async def case(host: Host) -> None:
        gate = gates()
        play = Play(host, agent, {"gate": gate})
        await play.says("begun")
        for _ in range(100):
            await asyncio.sleep(0)
        play.invocation.send(Stored(0))
        assert play.ended is None
        open_gate(gate)
        await play.end()
        assert play.result == "passed"

    on_host(case)


def test_code_in_threads_of_its_own_delays_no_other(on_host: OnHost, gates: Callable[[], str]) -> None:
    async def case(host: Host) -> None:
        gate = gates()
        blocked = [Play(host, agents.blocks_a_thread, {"gate": gate}) for _ in range(20)]
        for play in blocked:
            await play.says("begun")
        for number in range(5):
            await another_runs(host, number)
        assert [play.ended for play in blocked] == [None] * 20
        open_gate(gate, 20)
        for play in blocked:
            await play.end()

    on_host(case)


# stopping


@pytest.mark.parametrize("reason", ["cancel", "timeout", "drain", "lost"])
@pytest.mark.parametrize("agent", [agents.waits, agents.works_until_told], ids=["async", "sync"])
def test_stop_reaches_waiting_code_at_once_and_other_code_at_its_next_call(
    on_host: OnHost, agent: LoadedAgent, reason: StopReason
) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agent)
        await play.says("begun")
        play.invocation.send(Stop(reason))
        assert (await play.end()).how == "stopped"
        assert play.said == ["begun", "unwound"]
        await nothing_follows(host, play)

    on_host(case)


def test_a_second_stop_does_not_stop_the_cleaning_up(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        for agent in (agents.waits, agents.works_until_told):
            play = Play(host, agent)
            await play.says("begun")
            play.invocation.send(Stop("cancel"))
            play.invocation.send(Stop("drain"))
            assert (await play.end()).how == "stopped"
            assert play.said == ["begun", "unwound"]

    on_host(case)


def test_code_that_ends_well_though_it_was_stopped_has_completed(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agents.goes_on)
        await play.says("begun")
        play.invocation.send(Stop("cancel"))
        await play.end()
        assert play.result == "done"

    on_host(case)


def test_a_stop_that_comes_with_the_start_is_obeyed(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        for agent in (agents.waits, agents.works_until_told):
            play = Play(host, agent)
            play.invocation.send(Stop("cancel"))
            assert (await play.end()).how == "stopped"

    on_host(case)


# bounds

POURS = pytest.mark.parametrize("agent", [agents.pours, agents.pours_blocking], ids=["async", "sync"])


@POURS
def test_code_that_writes_faster_than_is_stored_waits_and_goes_on(on_host: OnHost, agent: LoadedAgent) -> None:
    async def case(host: Host) -> None:
        count = MAX_WRITES * 3
        play = Play(host, agent, {"count": count, "size": 1}, stores=False)
        stored = 0
        while stored < count:
            while len(play.writes) < min(stored + MAX_WRITES, count):
                await play.next()
            # There is time to go further, and nothing but the bound to keep the code from it.
            await another_runs(host)
            if play.ended is None and len(play.writes) < count:
                await nothing_follows(host, play)
                assert len(play.writes) == stored + MAX_WRITES
            step = min(100, count - stored)
            play.invocation.send(Stored(step))
            stored += step
        await play.end()
        assert (play.result, [number for number, _ in play.said]) == ("done", list(range(count)))

    on_host(case)


@POURS
def test_few_large_writes_wait_too(on_host: OnHost, agent: LoadedAgent) -> None:
    async def case(host: Host) -> None:
        size, count = MAX_BYTES // 10, 40
        play = Play(host, agent, {"count": count, "size": size}, stores=False)
        for stored in range(count - 10):
            while len(play.writes) < stored + 10:
                await play.next()
            if stored % 10 == 0:
                await nothing_follows(host, play)
            assert len(play.writes) == stored + 10
            play.invocation.send(Stored(1))
        play.invocation.send(Stored(10))
        await play.end()
        assert [number for number, _ in play.said] == list(range(count))

    on_host(case)


@POURS
def test_code_that_waits_for_room_can_be_stopped(on_host: OnHost, agent: LoadedAgent) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agent, {"count": MAX_WRITES * 2, "size": 1}, stores=False)
        while len(play.writes) < MAX_WRITES:
            await play.next()
        play.invocation.send(Stop("cancel"))
        assert (await play.end()).how == "stopped"

    on_host(case)


# the store


@pytest.mark.parametrize("agent", [agents.uses_the_store, agents.uses_the_store_blocking], ids=["async", "sync"])
def test_store_calls_get_their_replies(on_host: OnHost, agent: LoadedAgent) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agent)
        await play.end()
        assert play.result == ["k", ["k"], [["n"]]]
        calls = [message for message in play.messages if isinstance(message, StoreCall)]
        assert [call.method for call in calls] == ["put", "get", "search", "namespaces", "delete"]
        assert (calls[0].namespace, calls[0].key, calls[0].value, calls[0].ttl) == (("n",), "k", b'{"v":1}', 5)
        assert len({call.call for call in calls}) == 5

    on_host(case)


def test_replies_that_come_out_of_order_find_their_calls(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agents.asks_much, 30, stores=False)
        while len(play.messages) < 30:
            await play.next()
        calls = [message for message in play.messages if isinstance(message, StoreCall)]
        play.invocation.send(StoreReply(10**6))
        for call in reversed(calls):
            value = encode({"key": call.key})
            play.invocation.send(StoreReply(call.call, [Item(call.namespace, call.key, value, 0, 0)]))
        await play.end()
        assert play.result == [str(number) for number in range(30)]

    on_host(case)


def test_a_store_call_that_fails_says_why(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agents.is_refused, stores=False)
        (call,) = await play.next()
        assert isinstance(call, StoreCall)
        play.invocation.send(StoreReply(call.call, error=("disk_full", "the disk is full")))
        await play.end()
        assert play.result == "disk_full: the disk is full"

    on_host(case)


def test_code_that_waits_for_a_reply_can_be_stopped(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        for agent in (agents.uses_the_store, agents.uses_the_store_blocking):
            play = Play(host, agent, stores=False)
            await play.next()
            play.invocation.send(Stop("cancel"))
            assert (await play.end()).how == "stopped"

    on_host(case)


# bad ends

FAILS = [agents.fails, agents.fails_blocking, agents.fails_yielding, agents.fails_yielding_blocking]


@pytest.mark.parametrize("agent", FAILS, ids=lambda agent: agent.id)
@pytest.mark.parametrize("raised", sorted(RAISES))
def test_whatever_code_raises_ends_its_attempt_as_failed_and_nothing_else(
    on_host: OnHost, agent: LoadedAgent, raised: str
) -> None:
    async def case(host: Host) -> None:
        play = Play(host, agent, raised)
        ended = await play.end()
        assert (ended.how, ended.code) == ("failed", "agent_error")
        assert ended.message.startswith(f"{raised}: ")
        assert raised in ended.exceptions
        assert "BaseException" in ended.exceptions
        assert len(play.writes) == 1
        # Every lane and thread is still there.
        for number in range(3):
            await another_runs(host, number)
        await nothing_follows(host, play)

    on_host(case)


@pytest.mark.parametrize("raised", ["ValueError", "SystemExit", "KeyboardInterrupt", "Fatal"])
def test_a_task_that_fails_beside_its_run_harms_no_other(on_host: OnHost, raised: str) -> None:
    async def case(host: Host) -> None:
        waiting = [Play(host, agents.waits) for _ in range(4)]
        for play in waiting:
            await play.says("begun")
        assert (await Play(host, agents.leaves_a_bad_task, raised).end()).how == "completed"
        for number in range(3):
            await another_runs(host, number)
        for play in waiting:
            assert play.ended is None
            play.invocation.send(Stop("cancel"))
            assert (await play.end()).how == "stopped"

    on_host(case)


# many


def test_many_attempts_at_once_do_not_mix(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        kinds = (agents.tells, agents.tells_blocking)
        plays = [Play(host, kinds[number % 2], number) for number in range(400)]
        await asyncio.gather(*(play.end() for play in plays))
        for number, play in enumerate(plays):
            assert play.said == [[number, 0], [number, 1], [number, 2]]
            assert play.result == {"given": number}

    on_host(case)


def test_what_an_attempt_was_does_not_wait_for_a_collection(on_host: OnHost) -> None:
    async def case(host: Host) -> None:
        gc.collect()
        gc.disable()
        try:
            play = Play(host, agents.tells, 3)
            kind = type(play.invocation)
            await play.end()
            del play
            while any(isinstance(thing, kind) for thing in gc.get_objects()):
                await asyncio.sleep(0.01)  # a lane lets go of it when it comes round
        finally:
            gc.enable()

    on_host(case)


def test_two_hosts_live_side_by_side(make_host: Callable[[], Host]) -> None:
    """Each with an engine, and a loop, of its own; one that closes takes nothing from the other."""
    closed = threading.Event()
    failures: list[BaseException] = []

    async def leave() -> None:
        host = make_host()
        await asyncio.gather(*(another_runs(host, number) for number in range(20)))
        await host.close(DEADLINE)
        closed.set()

    async def stay() -> None:
        host = make_host()
        play = Play(host, agents.waits)
        await play.says("begun")
        assert await asyncio.to_thread(closed.wait, DEADLINE)
        await asyncio.gather(*(another_runs(host, number) for number in range(20)))
        play.invocation.send(Stop("cancel"))
        assert (await play.end()).how == "stopped"
        assert await host.close(DEADLINE)

    def engine(story: Callable[[], Any]) -> None:
        try:
            asyncio.run(story())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=engine, args=(story,)) for story in (leave, stay)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_two_hosts_share_a_loop(make_host: Callable[[], Host]) -> None:
    async def case() -> None:
        one, other = make_host(), make_host()
        await asyncio.gather(*(another_runs(host, number) for host in (one, other) for number in range(20)))
        assert await one.close(DEADLINE)
        await another_runs(other)
        assert await other.close(DEADLINE)

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


# closing


def test_closing_stops_all_code_and_says_that_it_ended(make_host: Callable[[], Host]) -> None:
    async def case() -> None:
        host = make_host()
        plays = [Play(host, agent) for agent in (agents.waits, agents.works_until_told) for _ in range(10)]
        for play in plays:
            await play.says("begun")
        assert await host.close(DEADLINE)
        for play in plays:
            assert (await play.end()).how == "stopped"

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


def test_closing_an_idle_or_unused_host_is_nothing(make_host: Callable[[], Host]) -> None:
    async def case() -> None:
        assert await make_host().close(0)
        host = make_host()
        await another_runs(host)
        assert await host.close(0)
        assert await host.close(0)

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


@pytest.mark.parametrize("agent", [agents.blocks, agents.never_ends], ids=["async", "sync"])
def test_closing_does_not_wait_for_code_that_does_not_stop(
    make_host: Callable[[], Host], gates: Callable[[], str], agent: LoadedAgent
) -> None:
    """It returns though the code can end only later, and says that it has not ended."""

    async def case() -> None:
        host, gate = make_host(), gates()
        stubborn = Play(host, agent, {"gate": gate})
        await stubborn.says("begun")
        assert not await host.close(0.01)
        assert stubborn.ended is None
        open_gate(gate)

    asyncio.run(asyncio.wait_for(case(), DEADLINE))
