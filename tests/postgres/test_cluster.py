"""Several servers in one process, on one PostgreSQL: whatever one of them is asked for, another may execute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from cluster import Cluster, Story
from live_server import Server, holds
from postgres_server import Postgres

from runyard import Context, agent, checkpoints
from runyard.checkpoints import Checkpoint, set_to
from runyard.errors import LeaseLost, NotFound
from runyard.storage.contract import STORAGE_PATIENCE

OnCluster = Callable[[Story], None]
EXPIRED = 0.0
"""A lease that is over when it begins."""


class Held:
    """An agent that waits in the middle, and counts what becomes of its attempts."""

    def __init__(self, *, stubborn: bool = False, concurrency: int | None = None) -> None:
        self.began = asyncio.Semaphore(0)
        self.goes_on = asyncio.Event()
        self.executing = 0
        self.most = 0
        self.stopped = 0
        loop = asyncio.get_running_loop()

        @agent(id="held", concurrency=concurrency)
        async def held(input: Any, ctx: Context) -> dict[str, Any]:
            """Waits until it is let go."""
            self.executing += 1
            self.most = max(self.most, self.executing)
            try:
                await ctx.emit({"attempt": ctx.attempt}, name="began")
                loop.call_soon_threadsafe(self.began.release)
                await self._wait(loop, stubborn)
                await ctx.emit({"attempt": ctx.attempt}, name="went on")
                return {"input": input, "attempt": ctx.attempt}
            except asyncio.CancelledError:
                self.stopped += 1
                raise
            finally:
                self.executing -= 1

        self.agent = held

    async def _wait(self, loop: asyncio.AbstractEventLoop, stubborn: bool) -> None:
        gone_on = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.goes_on.wait(), loop))
        while not gone_on.done():
            try:
                await asyncio.shield(gone_on)
            except asyncio.CancelledError:
                if not stubborn:
                    raise


@agent(id="count")
async def count(input: int, ctx: Context) -> dict[str, int]:
    """Emits the numbers below its input."""
    for number in range(input):
        await ctx.emit({"number": number}, name="count")
    return {"counted": input}


async def events_of(server: Server, run_id: str) -> list[tuple[int, str, Any]]:
    """All that a run's stream shows from the first event on: id, event, data."""
    told: list[tuple[int, str, Any]] = []
    async with server.http.stream("GET", f"/runs/{run_id}/stream?since=0", params={"since": 0}, timeout=20) as answer:
        block: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
            elif block:
                if "data" in block:
                    told.append((int(block.get("id", 0)), block["event"], json.loads(block["data"])))
                block = {}
    return told


def test_a_run_is_created_streamed_waited_for_and_looked_at_on_any_server(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        a, b = await cluster.api(), await cluster.api()
        held = Held()
        worker = await cluster.worker(held.agent)
        await a.until(lambda: "held" in a.verbs.agents)
        run = await a.run(agent_id="held", input=1, stream_mode=["custom"])
        streaming = [asyncio.ensure_future(events_of(each, run["run_id"])) for each in (a, b, worker)]
        waiting = [asyncio.ensure_future(each.wait(run["run_id"])) for each in (a, b)]
        await held.began.acquire()
        await b.until(lambda: b.app.engine.streams.readers == 1)
        held.goes_on.set()
        shown = await asyncio.gather(*streaming)
        assert shown[0] == shown[1] == shown[2]
        assert [event for _, event, _ in shown[0]] == ["metadata", "custom", "custom", "end"]
        assert [answer["values"] for answer in await asyncio.gather(*waiting)] == [{"input": 1, "attempt": 1}] * 2
        assert (await b.get(f"/runs/{run['run_id']}")).json()["status"] == "success"

    on_cluster(story)


def test_readers_of_a_thread_see_what_all_servers_write_to_it_once_and_in_order(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        workers = [await cluster.worker(count) for _ in range(2)]
        api = await cluster.api()
        await api.until(lambda: "count" in api.verbs.agents)
        thread_id = await api.thread()
        readers = [await each.app.engine.streams.join_thread("", thread_id) for each in (api, *workers)]
        seen: list[list[int]] = [[] for _ in readers]

        async def read(place: int) -> None:
            async for events in readers[place]:
                seen[place] += [event.seq for event in events]

        reading = [asyncio.ensure_future(read(place)) for place in range(len(readers))]
        wish = {"agent_id": "count", "input": 40, "multitask_strategy": "enqueue"}
        servers = [api, *workers]
        runs = await asyncio.gather(*(servers[n % 3].post(f"/threads/{thread_id}/runs", wish) for n in range(9)))
        assert [answer.status_code for answer in runs] == [200] * 9
        for answer in runs:
            assert (await api.wait(answer.json()["run_id"]))["run"]["status"] == "success"
        last = await api.storage.last_seq("", thread_id)
        await api.until(lambda: all(numbers and numbers[-1] == last for numbers in seen))
        assert seen == [list(range(readers[0].mark + 1, last + 1))] * 3
        for reader in readers:
            reader.close()
        await asyncio.gather(*reading)

    on_cluster(story)


def test_a_cancel_reaches_a_run_that_executes_elsewhere_and_waits_for_its_code(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        await cluster.worker(held.agent)
        await api.until(lambda: "held" in api.verbs.agents)
        run = await api.run(agent_id="held", input=1)
        await held.began.acquire()
        answer = await api.post(f"/runs/{run['run_id']}/cancel?wait=true")
        assert answer.status_code in (200, 204), answer.text
        assert (held.stopped, held.executing) == (1, 0)
        assert (await api.get(f"/runs/{run['run_id']}")).json()["status"] == "interrupted"

    on_cluster(story)


def test_a_cancel_from_elsewhere_tells_that_code_has_not_stopped(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(cancel_grace=0.1), Held(stubborn=True)
        await cluster.worker(held.agent, cancel_grace=0.1)
        await api.until(lambda: "held" in api.verbs.agents)
        for action in ("interrupt", "rollback"):
            run = await api.run(agent_id="held", input=1)
            await held.began.acquire()
            answer = await api.post(f"/runs/{run['run_id']}/cancel?wait=true&action={action}")
            assert (answer.status_code, answer.json()["code"]) == (504, "still_stopping"), action
        held.goes_on.set()
        await api.until(lambda: held.executing == 0)

    on_cluster(story)


def test_a_thread_is_deleted_when_the_code_of_its_run_elsewhere_has_stopped(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(cancel_grace=30), Held()
        await cluster.worker(held.agent)
        await api.until(lambda: "held" in api.verbs.agents)
        thread_id = await api.thread()
        await api.run(agent_id="held", input=1, thread_id=thread_id)
        await held.began.acquire()
        answer = await api.http.delete(f"/threads/{thread_id}", timeout=20)
        assert answer.status_code in (200, 204)
        assert held.executing == 0

    on_cluster(story)


def test_an_interrupting_run_stops_one_that_executes_elsewhere(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        await cluster.worker(held.agent, count)
        await api.until(lambda: {"held", "count"} <= api.verbs.agents.keys())
        thread_id = await api.thread()
        first = await api.run(agent_id="held", input=1, thread_id=thread_id)
        await held.began.acquire()
        second = await api.run(agent_id="count", input=1, thread_id=thread_id, multitask_strategy="interrupt")
        assert (await api.wait(second["run_id"]))["run"]["status"] == "success"
        assert (await api.wait(first["run_id"]))["run"]["status"] == "interrupted"

    on_cluster(story)


def test_the_concurrency_of_an_agent_holds_for_all_workers_together(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        held = Held(concurrency=2)
        workers = [await cluster.worker(held.agent) for _ in range(3)]
        runs = [await workers[number % 3].run(agent_id="held", input=number) for number in range(7)]
        await held.began.acquire()
        await held.began.acquire()
        held.goes_on.set()
        ended = [await workers[0].wait(run["run_id"]) for run in runs]
        assert [answer["values"]["input"] for answer in ended] == list(range(7))
        assert held.most == 2

    on_cluster(story)


def test_runs_begin_in_the_order_of_one_line_and_no_worker_executes_more_than_it_may(on_cluster: OnCluster) -> None:
    """Whatever the server that a run came from, its agent and its thread. `max_runs` is how many a worker takes."""

    async def story(cluster: Cluster) -> None:
        servers = [await cluster.api() for _ in range(2)]
        begun: list[int] = []
        held, other = Held(), Held()

        @agent(id="notes")
        async def notes(input: int) -> None:
            begun.append(input)

        workers = [await cluster.worker(each.agent, notes, max_runs=1) for each in (held, other)]
        for each in servers:
            await each.until(lambda: {"held", "notes"} <= each.verbs.agents.keys())  # noqa: B023
        blocking = [await servers[0].run(agent_id="held", input=number) for number in range(2)]
        await held.began.acquire()
        await other.began.acquire()
        thread_id = await servers[1].thread()
        runs: list[str] = []
        for number in range(12):
            place = {"thread_id": thread_id, "multitask_strategy": "enqueue"} if number % 3 == 0 else {}
            run = await servers[number % 2].run(agent_id="notes", input=number, **place)
            runs.append(run["run_id"])
        assert [worker.app.engine.worker.executing for worker in workers] == [1, 1]
        held.goes_on.set()  # one of the two is free now
        for run_id in runs:
            await servers[0].wait(run_id)
        assert begun == list(range(12))
        other.goes_on.set()
        for run in blocking:
            await servers[0].wait(run["run_id"])

    on_cluster(story)


def test_the_cap_on_pending_runs_holds_for_all_servers_together(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        held = Held()
        servers = [await cluster.api(max_pending=6, max_pending_per_owner=6) for _ in range(3)]
        worker = await cluster.worker(held.agent, max_runs=1, max_pending=6, max_pending_per_owner=6)
        for each in servers:
            await each.until(lambda: "held" in each.verbs.agents)  # noqa: B023
        await servers[0].run(agent_id="held", input=0)
        await held.began.acquire()
        wish = {"agent_id": "held", "input": 1}
        answers = [await servers[number % 3].post("/runs", wish) for number in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 6
        assert answers[-1].json()["metadata"] == {"pending": 6, "limit": 6}
        assert (await worker.post("/runs", wish)).status_code == 429
        held.goes_on.set()
        for answer in answers[:6]:
            await servers[1].wait(answer.json()["run_id"])

        async def let_in() -> bool:
            return (await servers[0].post("/runs", wish)).status_code == 200

        await servers[0].until(let_in)

    on_cluster(story)


def test_a_run_of_an_agent_that_no_worker_has_waits_and_is_told(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api = await cluster.api()
        worker = await cluster.worker(count)
        await api.until(lambda: "count" in api.verbs.agents)
        await worker.app.engine.close()
        run = await api.run(agent_id="count", input=3)
        for _ in range(2):
            ready = (await api.get("/ready")).json()
            assert (ready["ready"], ready["unoffered"]) == (True, {"count": 1})
        assert 'runyard_unoffered_runs{agent="count"} 1.0' in (await api.get("/metrics")).text
        await cluster.worker(count)
        assert (await api.wait(run["run_id"]))["values"] == {"counted": 3}
        assert (await api.get("/ready")).json()["unoffered"] == {}

    on_cluster(story)


def test_a_server_without_agents_refuses_what_does_not_fit_their_schemas(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api = await cluster.api()
        await cluster.worker(count)
        await api.until(lambda: "count" in api.verbs.agents)
        wrong = await api.post("/runs", {"agent_id": "count", "input": "many"})
        assert (wrong.status_code, wrong.json()["metadata"]["field"]) == (422, "input")
        unknown = await api.post("/runs", {"agent_id": "other", "input": 1})
        assert unknown.status_code == 404
        found = (await api.post("/agents/search")).json()
        assert [one["agent_id"] for one in found] == ["count"]
        schemas = (await api.get("/agents/count/schemas")).json()
        assert schemas["input_schema"] == {"type": "integer"}

    on_cluster(story)


def test_a_clean_stop_gives_back_what_executes_at_once(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        first = await cluster.worker(held.agent, drain_grace=0, lease=3600)
        await api.until(lambda: "held" in api.verbs.agents)
        run = await api.run(agent_id="held", input=1)
        await held.began.acquire()
        await first.app.engine.close()
        held.goes_on.set()
        await cluster.worker(held.agent)
        ended = await api.wait(run["run_id"])
        assert (ended["run"]["status"], ended["values"]) == ("success", {"input": 1, "attempt": 1})

    on_cluster(story)


def test_a_worker_that_is_taken_for_dead_stops_what_goes_on_elsewhere(on_cluster: OnCluster) -> None:
    """It was stopped or cut off for longer than its lease: what it executed is another's, and its code is stopped."""

    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        late = await cluster.worker(held.agent, lease=3600)
        await api.until(lambda: "held" in api.verbs.agents)
        run = await api.run(agent_id="held", input=1, stream_mode=["custom"])
        await held.began.acquire()
        reading = asyncio.ensure_future(events_of(api, run["run_id"]))
        await late.storage.join(EXPIRED, ["held"])  # its time is over, and it does not know
        late.app.engine.worker._accepting = False
        other = await cluster.worker(held.agent)
        await held.began.acquire()
        assert other.app.engine.worker.executes(run["run_id"])
        claim = next(iter(late.app.engine.worker._executing.values()))[0]
        try:
            await late.storage.append(claim._attempt, claim._pending.take(), 1)
            raise AssertionError("it could write")
        except LeaseLost:
            pass
        await late.app.engine._leases.renew_once()
        await late.until(lambda: held.stopped == 1)
        held.goes_on.set()
        ended = await api.wait(run["run_id"])
        assert (ended["run"]["attempt"], ended["values"]) == (2, {"input": 1, "attempt": 2})
        told = [(event, data.get("attempt") or data.get("payload")) for _, event, data in await reading]
        # What was recorded of the first attempt is not told again.
        assert told == [
            ("metadata", 1), ("custom", {"attempt": 1}), ("metadata", 2), ("custom", {"attempt": 2}), ("end", None),
        ]  # fmt: skip

    on_cluster(story)


def test_who_waits_for_a_cancel_looks_again_as_often_as_it_takes(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held(stubborn=True)
        await cluster.worker(held.agent)
        await api.until(lambda: "held" in api.verbs.agents)
        run = await api.run(agent_id="held", input=1)
        await held.began.acquire()
        streams = api.app.engine.streams
        cancelling = asyncio.ensure_future(api.post(f"/runs/{run['run_id']}/cancel?wait=1"))
        for _ in range(2):
            await api.until(lambda: run["run_id"] in streams._endings)
            streams._look_again()
        held.goes_on.set()
        assert (await cancelling).status_code == 204
        assert (await api.get(f"/runs/{run['run_id']}")).json()["status"] == "success"

    on_cluster(story)


def test_hints_that_do_not_come_cost_latency_only(on_cluster: OnCluster, monkeypatch: Any) -> None:
    for place in ("watched", "streams", "worker"):
        monkeypatch.setattr(f"runyard.{place}.RECHECK", 0.2)

    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        worker = await cluster.worker(held.agent)
        await api.until(lambda: "held" in api.verbs.agents)
        for each in (api, worker):
            each.app.engine._hints._heard = lambda *_: None  # type: ignore[attr-defined]
            connection = each.app.engine._hints._connection  # type: ignore[attr-defined]
            await connection.execute("UNLISTEN *")
        run = await api.run(agent_id="held", input=1)
        await held.began.acquire()
        reading = asyncio.ensure_future(events_of(api, run["run_id"]))
        waiting = asyncio.ensure_future(api.wait(run["run_id"]))
        held.goes_on.set()
        assert (await waiting)["run"]["status"] == "success"
        assert (await reading)[-1][1] == "end"
        cancelled = await api.run(agent_id="held", input=2)
        assert (await api.wait(cancelled["run_id"]))["run"]["status"] == "success"

    on_cluster(story)


def test_a_database_that_comes_back_is_used_again_by_all(on_cluster: OnCluster, postgres: Postgres) -> None:
    """Every connection of all servers is cut, in the middle of everything."""

    async def story(cluster: Cluster) -> None:
        api, held = await cluster.api(), Held()
        worker = await cluster.worker(held.agent, count)
        await api.until(lambda: {"held", "count"} <= api.verbs.agents.keys())
        run = await api.run(agent_id="held", input=1)
        await held.began.acquire()
        waiting = asyncio.ensure_future(api.verbs.wait_run("", run["run_id"]))
        await asyncio.sleep(0)
        for _ in range(2):
            await cut(postgres, cluster.url)
            held.goes_on.set()
        assert (await waiting).run.status == "success"
        await api.until(lambda: works(api))
        assert worker.app.engine.worker.alive

    on_cluster(story)


async def works(server: Server) -> bool:
    answer = await server.post("/runs/wait", {"agent_id": "count", "input": 2})
    if answer.status_code != 200:
        await asyncio.sleep(STORAGE_PATIENCE / 10)
    return answer.status_code == 200


async def cut(postgres: Postgres, url: str) -> None:
    """Ends every connection to a database but this one."""
    connection: Any = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


def test_a_state_that_another_server_has_undone_is_not_shown_from_memory(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        a, b = await cluster.api(), await cluster.api()
        thread_id = await a.thread()
        made: list[Checkpoint] = []
        for number in range(3):
            state = {"n": str(number).encode()}
            made.append(
                checkpoints.plan(
                    checkpoint_id=f"c{number}", thread_id=thread_id, parent=made[-1] if made else None, run_id=None,
                    changes={"n": set_to(state["n"])}, state=state, created_at=number, source="update",
                )
            )  # fmt: skip
            await a.storage.put_checkpoint("", made[-1], number)
        for name in ("c0", "c1", "c2"):
            await a.storage.snapshot("", thread_id, name)
        await b.storage.prune("", thread_id, ["c2"], 5)
        for each in (a, b):
            with pytest.raises(NotFound):
                await each.storage.snapshot("", thread_id, "c1")
            assert (await each.storage.snapshot("", thread_id, "c2")).state == {"n": b"2"}

    on_cluster(story)


def test_every_server_tells_its_runs_by_any_of_them(on_cluster: OnCluster) -> None:
    """A webhook of a run that executes elsewhere is sent once, by whoever comes first."""

    async def story(cluster: Cluster) -> None:
        servers = [await cluster.worker(count, webhook_allow=("127.0.0.1",)) for _ in range(2)]
        run = await servers[0].run(agent_id="count", input=1, webhook="http://127.0.0.1:9/none")
        await servers[1].wait(run["run_id"])

        async def tried() -> bool:
            found = (await servers[1].post("/webhooks/search", {})).json()
            return bool(found) and found[0]["attempts"] == 1

        await servers[1].until(tried)
        await servers[0].until(
            lambda: holds(servers[0].storage.figures(), lambda figures: figures["runs_success"] >= 1)
        )

    on_cluster(story)
