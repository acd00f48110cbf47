"""What is Runyard's own about a graph's store: leases, threads and loops, time to live, what it refuses, factories."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attempts import Code, open_storage
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from live_server import MovableClock, Starter, play
from typing_extensions import TypedDict

from runyard import StaleAttempt, graph
from runyard.clock import Clock
from runyard.errors import RunyardError, Unavailable
from runyard.items import NamespaceQuery
from runyard.runtime.bridge import Bridge
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Ended, FromAgent, Stop, StoreCall, StoreReply
from runyard.runtime.crew import Crew
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.runtime.langgraph.store import RunStore
from runyard.runtime.signals import NotSerialisable, ValueTooLarge
from runyard.storage.calls import answering
from runyard.storage.sqlite.connection import connect

NS = ("a",)
LIMIT = 16_000_000


class Lane:
    """An attempt's end in the test's own loop, and what it has sent."""

    def __init__(self) -> None:
        self.sent: list[FromAgent] = []
        loop = asyncio.get_running_loop()
        self.end = AgentEnd(loop, Crew(), Bridge(loop), self.sent.append, "r")
        self.store = RunStore(self.end, LIMIT)

    async def calls(self, count: int) -> list[StoreCall]:
        """All that was sent, when it is so many calls."""
        while len(self.sent) < count:
            await asyncio.sleep(0.001)
        return [message for message in self.sent if isinstance(message, StoreCall)]


# the lease


def test_after_the_outcome_the_store_of_a_run_is_stale(server: Starter) -> None:
    async def story() -> None:
        kept: list[RunStore] = []

        async def code(end: AgentEnd) -> None:
            kept.append(RunStore(end, LIMIT))
            await kept[0].aput(NS, "k", {"n": 1})

        agent = Code(code)
        async with server(agent) as s:
            await s.post("/runs/wait")
            agent.done()
            (store,) = kept
            uses: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.aput(NS, "k", {"n": 2}),
                lambda: store.adelete(NS, "k"),
                lambda: store.aget(NS, "k"),
                lambda: store.asearch(NS),
                lambda: store.alist_namespaces(),
                lambda: asyncio.to_thread(store.get, NS, "k"),
                lambda: asyncio.to_thread(store.put, NS, "k", {"n": 3}),
            ]
            for use in uses:
                with pytest.raises(StaleAttempt) as stale:
                    await use()
                assert stale.value.reason == "stale_attempt"
            assert (await s.storage.get_item("", NS, "k", 0)).value == b'{"n":1}'

    play(story())


@pytest.mark.sqlite("it names a file, and opens that again")
@pytest.mark.parametrize("method", ["put", "delete", "get"])
def test_an_attempt_that_lost_its_lease_changes_nothing(method: str, server: Starter, tmp_path: Path) -> None:
    """A read extends the time of an item, which is a write too."""

    async def story() -> None:
        began, lost = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        async def code(end: AgentEnd) -> None:
            store = RunStore(end, LIMIT)
            loop.call_soon_threadsafe(began.set)
            await asyncio.to_thread(lost.wait, 20)
            with pytest.raises(StaleAttempt):
                await getattr(store, f"a{method}")(NS, "k", *([{"n": 2}] if method == "put" else ()))
            # And it knows then.
            with pytest.raises(StaleAttempt):
                await store.aget(NS, "other")

        agent = Code(code, stubborn=True)
        async with server(agent) as s:
            now = Clock().now()
            await s.storage.put_item("", NS, "k", b'{"n":1}', now, expires_at=now + 10**12)
            before = rows(tmp_path)
            run = await s.run()
            await began.wait()
            claim = await s.storage.claim_of(run["run_id"])
            assert claim is not None
            await s.storage.abandon(claim.attempt, now, now)
            lost.set()
            await s.until(lambda: agent.attempts_ended == 1)
            agent.done()
            assert rows(tmp_path) == before

    play(story())


def rows(folder: Path) -> Any:
    connection: Any = connect(folder / "runyard.db", read_only=True)
    try:
        return connection.execute("SELECT * FROM items").fetchall()
    finally:
        connection.close()


def test_whoever_waits_for_a_reply_when_the_attempt_ends_is_told() -> None:
    async def story() -> None:
        lane = Lane()
        in_thread = asyncio.create_task(asyncio.to_thread(lane.store.get, NS, "k"))
        in_loop = asyncio.create_task(lane.store.aget(NS, "k"))
        await lane.calls(2)
        lane.end.finish(Ended("completed"))
        for waiting in (in_thread, in_loop):
            with pytest.raises(StaleAttempt):
                await waiting
        # And so is a call that was on its way.
        told: list[StoreReply | None] = []
        lane.end.when_replied(StoreCall(lane.end.next_call(), "get", NS, "k"), told.append)
        assert told == [None]

    play(story())


def test_a_stop_cancels_whoever_waits_and_leaves_the_store_open() -> None:
    async def story() -> None:
        lane = Lane()
        waiting = asyncio.create_task(lane.store.aget(NS, "k"))
        await lane.calls(1)
        lane.end.deliver(Stop("cancel"))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # Code that tidies up may still use it.
        tidying = asyncio.create_task(lane.store.adelete(NS, "k"))
        call = (await lane.calls(2))[-1]
        lane.end.deliver(StoreReply(call.call))
        await tidying
        lane.end.deliver(Stop("lost"))
        with pytest.raises(StaleAttempt):
            await lane.store.aget(NS, "k")

    play(story())


# threads, loops and batches


def test_a_synchronous_call_in_the_loop_it_waits_for_is_refused(server: Starter) -> None:
    async def story() -> None:
        async def code(end: AgentEnd) -> None:
            store = RunStore(end, LIMIT)
            with pytest.raises(asyncio.InvalidStateError, match=r"await store\.aget"):
                store.get(NS, "k")
            with pytest.raises(asyncio.InvalidStateError):
                store.put(NS, "k", {})
            assert await store.aget(NS, "k") is None

        agent = Code(code)
        async with server(agent) as s:
            await s.post("/runs/wait")
            agent.done()
            store = ServerStore()
            store.attach(answering(s.storage, Clock()))
            with pytest.raises(asyncio.InvalidStateError):
                store.get(NS, "k")

    play(story())


def test_the_store_works_in_an_event_loop_of_the_codes_own(server: Starter) -> None:
    async def story() -> None:
        async def code(end: AgentEnd) -> None:
            store = RunStore(end, LIMIT)

            async def elsewhere() -> list[Any]:
                await asyncio.gather(*(store.aput(NS, key, {"in": key}) for key in "abc"))
                return await asyncio.gather(*(store.aget(NS, key) for key in "abc"))

            found = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
            assert [item.value for item in found] == [{"in": key} for key in "abc"]

        agent = Code(code)
        async with server(agent) as s:
            await s.post("/runs/wait")
            agent.done()

    play(story())


def test_a_batch_is_sent_whole_before_any_reply() -> None:
    async def story() -> None:
        lane = Lane()
        batch = asyncio.create_task(lane.store.abatch([PutOp(NS, str(n), {"n": n}) for n in range(100)]))
        calls = await lane.calls(100)
        assert [call.key for call in calls] == [str(n) for n in range(100)]
        for call in reversed(calls):
            lane.end.deliver(StoreReply(call.call))
        assert await batch == [None] * 100

        mixed = asyncio.create_task(
            lane.store.abatch([PutOp(NS, "k", {}), GetOp(NS, "k"), SearchOp(NS), ListNamespacesOp()])
        )
        reads = (await lane.calls(103))[100:]
        assert [call.method for call in reads] == ["get", "search", "namespaces"]
        for call in reads:
            lane.end.deliver(StoreReply(call.call))
        put = (await lane.calls(104))[-1]
        lane.end.deliver(StoreReply(put.call))
        assert (put.method, await mixed) == ("put", [None, None, [], []])

    play(story())


def test_a_batch_of_which_one_fails_tells_why() -> None:
    async def story() -> None:
        lane = Lane()
        batch = asyncio.create_task(lane.store.abatch([PutOp(NS, "a", {}), PutOp(NS, "b", {})]))
        one, other = await lane.calls(2)
        lane.end.deliver(StoreReply(one.call, error=("storage_error", "the disk is full")))
        lane.end.deliver(StoreReply(other.call))
        with pytest.raises(RunyardError, match="the disk is full") as failed:
            await batch
        assert failed.value.reason == "storage_error"

    play(story())


# what is refused


def test_what_does_not_fit_is_named_by_its_key_and_nothing_of_its_batch_is_put(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_storage(tmp_path) as storage:
            store = ServerStore(max_value_bytes=1000)
            store.attach(answering(storage, Clock()))
            refused: list[tuple[Any, type[Exception], str]] = [
                ({"deep": [object()]}, NotSerialisable, r"the value of item 'bad'\.deep\[0\]"),
                ({"n": float("nan")}, NotSerialisable, r"the value of item 'bad'\.n"),
                ({"text": "a\0b"}, NotSerialisable, "the value of item 'bad'.*NUL"),
                (["no", "mapping"], NotSerialisable, "the value of item 'bad'.*mapping"),
                ({"text": "x" * 1000}, ValueTooLarge, "the value of item 'bad'"),
            ]
            for value, kind, message in refused:
                with pytest.raises(kind, match=message):
                    await store.abatch([PutOp(NS, "good", {}), PutOp(NS, "bad", value)])
            for limit, offset in [(-1, 0), (1, -1)]:
                with pytest.raises(ValueError, match=r"limit|offset"):
                    await store.asearch(NS, limit=limit, offset=offset)
            with pytest.raises(ValueError, match="ttl"):
                await store.aput(NS, "bad", {}, ttl=-1)
            assert await store.asearch(()) == []

    play(story())


def test_what_cannot_be_put_in_order_is_not_found(tmp_path: Path) -> None:
    """LangGraph's in-memory store makes numbers of both, and raises where it cannot; its stores on databases do not."""

    async def story() -> None:
        async with open_storage(tmp_path) as storage:
            store, own = ServerStore(), InMemoryStore()
            store.attach(answering(storage, Clock()))
            for key, value in {"text": "b", "number": 2, "truth": True}.items():
                await store.aput(NS, key, {"v": value})
                own.put(NS, key, {"v": value})
            with pytest.raises(ValueError, match="could not convert"):
                own.search(NS, filter={"v": {"$gt": 1}})
            found = {
                operand: {item.key for item in await store.asearch(NS, filter={"v": {"$gt": operand}})}
                for operand in ("a", 1, 0.5)
            }
            assert found == {"a": {"text"}, 1: {"number"}, 0.5: {"number"}}
            assert await store.asearch(NS, filter={"absent": {"$lt": 1}}) == []
            # True is no number in JSON.
            assert {item.key for item in await store.asearch(NS, filter={"v": 1})} == set()
            assert [item.key for item in own.search(NS, filter={"v": 1})] == ["truth"]

    play(story())


# time to live


MINUTE = 60.0


async def kept_for_two_minutes(store: BaseStore, clock: MovableClock) -> None:
    """On a clock that stands still unless it is moved."""

    async def there(key: str, refresh: bool | None = None) -> bool:
        return await store.aget(NS, key, refresh_ttl=refresh) is not None

    await store.aput(NS, "read", {"n": 1}, ttl=2)
    await store.aput(NS, "found", {"n": 2}, ttl=2.0)
    await store.aput(NS, "looked at", {"n": 3}, ttl=2)
    await store.aput(NS, "put again", {"n": 4}, ttl=2)
    await store.aput(NS, "now for ever", {"n": 5}, ttl=2)
    await store.aput(NS, "for ever", {"n": 6})
    await store.aput(NS, "half a minute", {"n": 7}, ttl=0.5)
    created = await store.aget(NS, "put again", refresh_ttl=False)
    assert created is not None
    clock.move(1 * MINUTE)
    assert not await there("half a minute")
    assert await there("read")
    assert await there("looked at", refresh=False)
    assert [item.key for item in await store.asearch(NS, filter={"n": 2})] == ["found"]
    assert len(await store.asearch(NS, limit=100, refresh_ttl=False)) == 6
    await store.aput(NS, "put again", {"n": 4}, ttl=2)
    await store.aput(NS, "now for ever", {"n": 5}, ttl=None)
    clock.move(1.5 * MINUTE)
    assert not await there("looked at")
    assert await there("read", refresh=False)
    assert await there("found", refresh=False)
    # Reading is no update.
    read = await store.aget(NS, "read", refresh_ttl=False)
    assert read is not None
    assert read.updated_at == read.created_at
    again = await store.aget(NS, "put again", refresh_ttl=False)
    assert again is not None
    assert (again.created_at, again.updated_at > created.updated_at) == (created.created_at, True)
    clock.move(100 * MINUTE)
    assert {item.key for item in await store.asearch(NS)} == {"for ever", "now for ever"}
    # What has expired and is put again is new.
    await store.aput(NS, "put again", {})
    new = await store.aget(NS, "put again")
    assert new is not None
    assert new.created_at == new.updated_at


def test_the_servers_store_keeps_items_for_a_time_after_their_last_use(tmp_path: Path, clock: MovableClock) -> None:
    async def story() -> None:
        async with open_storage(tmp_path) as storage:
            store = ServerStore()
            store.attach(answering(storage, clock))
            await kept_for_two_minutes(store, clock)

    play(story())


def test_a_runs_store_keeps_items_for_a_time_after_their_last_use(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async def code(end: AgentEnd) -> None:
            await kept_for_two_minutes(RunStore(end, LIMIT), clock)

        agent = Code(code)
        async with server(agent, clock=clock) as s:
            await s.post("/runs/wait")
            agent.done()

    play(story())


# graphs and their factories


class Told(TypedDict, total=False):
    told: list[Any]


def test_nodes_have_the_store_and_its_items_are_the_servers(server: Starter) -> None:
    def sync_node(state: Told, runtime: Runtime[Any]) -> Told:
        assert runtime.store is not None
        runtime.store.put(("notes", "sync"), "k", {"by": "sync"})
        return {}

    async def async_node(state: Told, runtime: Runtime[Any]) -> Told:
        assert isinstance(runtime.store, RunStore)
        await runtime.store.aput(("notes", "async"), "k", {"by": "async"})
        return {"told": sorted(item.value["by"] for item in await runtime.store.asearch(("notes",)))}

    builder = StateGraph(Told).add_node("one", sync_node).add_node("two", async_node)
    builder.add_edge(START, "one").add_edge("one", "two")

    async def story() -> None:
        async with server(graph(builder, id="notes")) as s:
            done = (await s.post("/runs/wait", {"input": {"told": []}})).json()
            assert done["values"] == {"told": ["async", "sync"]}
            item = (await s.get("/store/items?namespace=notes&namespace=sync&key=k")).json()
            assert item["value"] == {"by": "sync"}

    play(story())


def test_a_factory_has_the_servers_store_and_a_run_its_own(server: Starter) -> None:
    pytest.importorskip("langgraph_sdk.runtime", reason="a factory's runtime came with a later LangGraph")
    told: list[str] = []
    stores: list[BaseStore] = []

    async def make(runtime: Any) -> Any:
        stores.append(runtime.store)
        try:
            await runtime.store.aput(("factory",), "k", {"made": len(stores)})
        except Unavailable as error:
            told.append(error.message)
        else:
            told.append("put")

        async def node(state: Told, runtime: Runtime[Any]) -> Told:
            assert isinstance(runtime.store, RunStore)
            found = await runtime.store.aget(("factory",), "k")
            return {"told": [found.value if found else None]}

        # Fenced all the same, though the factory gives it the one that is not.
        return StateGraph(Told).add_node("one", node).add_edge(START, "one").compile(store=runtime.store)

    async def story() -> None:
        async with server(graph(make, id="made")) as s:
            done = (await s.post("/runs/wait", {"input": {"told": []}})).json()
            assert "loaded" in told[0]
            assert told[-1] == "put"
            assert done["values"]["told"] == [{"made": len(stores)}]
            assert all(isinstance(store, ServerStore) for store in stores)
            # It outlives the run that it was made for.
            await stores[-1].aput(("factory",), "later", {})
            assert await s.storage.namespaces("", NamespaceQuery(), 0) == [("factory",)]
        # The server has stopped.
        with pytest.raises(RunyardError):
            await stores[-1].aget(("factory",), "k")

    play(story())


def test_after_the_servers_loop_its_store_says_so(tmp_path: Path) -> None:
    store = ServerStore()

    async def attach() -> None:
        async with open_storage(tmp_path) as storage:
            store.attach(answering(storage, Clock()))

    asyncio.run(attach())
    with pytest.raises(Unavailable, match="stopped"):
        store.get(NS, "k")
