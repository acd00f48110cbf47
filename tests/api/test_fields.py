"""Each accepted field of a run, by what would be missing without it."""

from __future__ import annotations

import asyncio
from typing import Any

from live_server import MovableClock, Server, Starter, holds, play

from runyard import Context, Retry, agent


@agent
async def echo(
    ctx: Context, input: Any = None, messages: list[dict[str, Any]] | None = None, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    await ctx.emit("seen", name="sight")
    return {"input": input, "said": [m["content"] for m in messages or []], "config": config, "meta": ctx.metadata}


@agent
async def hold(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


@agent
async def steps(ctx: Context) -> None:
    for number in range(10):
        await ctx.update({"n": number})


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    return {"answer": await ctx.interrupt("sure?")}


async def begun(s: Server, run: dict[str, Any]) -> None:
    await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))


def test_input_messages_config_and_metadata_reach_the_agent_and_are_echoed(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            wish = {
                "input": [1],
                "messages": [{"role": "user", "content": "hi"}],
                "config": {"configurable": {"a": 1}, "tags": ["t"]},
                "metadata": {"m": 1},
            }
            done = (await s.post("/runs/wait", wish)).json()
            assert done["values"] == {"input": [1], "said": ["hi"], "config": {"a": 1}, "meta": {"m": 1}}
            assert done["messages"][0]["content"] == "hi"
            assert done["run"]["config"] == wish["config"]
            assert done["run"]["metadata"] == {"m": 1}

    play(story())


def test_agent_id_chooses(server: Starter) -> None:
    async def story() -> None:
        async with server(echo, steps) as s:
            done = (await s.post("/runs/wait", {"agent_id": "steps"})).json()
            assert (done["run"]["agent_id"], done["values"]) == ("steps", {"n": 9})
            assert (await s.post("/runs", {"agent_id": "nobody"})).json()["code"] == "agent_not_found"

    play(story())


def test_stream_mode_chooses_the_events(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            for modes, wanted in (("custom", {"custom"}), (["values", "updates"], {"values", "updates"})):
                text = (await s.post("/runs/stream", {"stream_mode": modes})).text
                shown = {line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")}
                assert shown == {"metadata", "end", *wanted}

    play(story())


def test_recursion_limit_ends_a_run_of_many_steps(server: Starter) -> None:
    async def story() -> None:
        async with server(steps) as s:
            done = (await s.post("/runs/wait", {"config": {"recursion_limit": 3}})).json()
            assert (done["status"], done["error"]["code"], done["values"]) == ("error", "recursion_limit", {"n": 2})

    play(story())


def test_if_not_exists_makes_the_thread(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread = "01a20c2f-0000-7000-8000-00000000abcd"
            refused = await s.post("/runs", {"thread_id": thread})
            assert refused.json()["code"] == "thread_not_found"
            made = await s.post("/runs/wait", {"thread_id": thread, "if_not_exists": "create"})
            assert made.json()["run"]["thread_id"] == thread
            assert (await s.get(f"/threads/{thread}")).status_code == 200

    play(story())


def test_on_completion_keeps_or_deletes_the_thread(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            kept = (await s.post("/runs/wait", {"on_completion": "keep"})).json()["run"]["thread_id"]
            assert (await s.get(f"/threads/{kept}")).status_code == 200
            lost = (await s.post("/runs/wait", {})).json()["run"]["thread_id"]
            assert (await s.get(f"/threads/{lost}")).status_code == 404
            thread = await s.thread()
            done = (await s.post("/runs/wait", {"thread_id": thread, "on_completion": "delete"})).json()
            assert (await s.get(f"/threads/{thread}")).status_code == 404
            assert (await s.get(f"/runs/{done['run']['run_id']}")).json()["status"] == "success"

    play(story())


def test_after_seconds_waits_and_leaves_the_thread_idle(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            thread = await s.thread()
            run = await s.run(thread_id=thread, after_seconds=60)
            assert (await s.get(f"/threads/{thread}")).json()["status"] == "idle"
            clock.move(59)
            assert (await s.get(f"/runs/{run['run_id']}")).json()["attempt"] == 0
            waiting = asyncio.ensure_future(s.wait(run["run_id"]))
            while not waiting.done():
                clock.move(1)
                await asyncio.sleep(0.002)
            assert waiting.result()["status"] == "success"

    play(story())


def test_multitask_strategies(server: Starter) -> None:
    async def story() -> None:
        async with server(hold, echo) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread)
            await begun(s, first)
            busy = await s.post("/runs", {"thread_id": thread})
            assert (busy.status_code, busy.json()["code"]) == (409, "thread_busy")
            queued = await s.run(thread_id=thread, multitask_strategy="enqueue")
            assert queued["status"] == "pending"
            last = await s.run(thread_id=thread, agent_id="echo", multitask_strategy="rollback", input="new")
            assert (await s.wait(last["run_id"]))["values"]["input"] == "new"
            for gone in (first, queued):
                assert (await s.get(f"/runs/{gone['run_id']}")).status_code == 404
            second = await s.run(thread_id=thread, agent_id="hold")
            await begun(s, second)
            after = await s.run(thread_id=thread, agent_id="echo", multitask_strategy="interrupt")
            await s.wait(after["run_id"])
            assert (await s.get(f"/runs/{second['run_id']}")).json()["outcome"] == "cancelled"
            assert (await s.get(f"/threads/{thread}")).json()["values"]["begun"] is True

    play(story())


def test_command_answers_updates_and_is_refused_where_nothing_is_asked(server: Starter) -> None:
    async def story() -> None:
        async with server(ask) as s:
            thread = await s.thread()
            refused = await s.post("/runs", {"thread_id": thread, "command": {"resume": 1}})
            assert (refused.status_code, refused.json()["code"]) == (409, "not_interrupted")
            asked = (await s.post("/runs/wait", {"thread_id": thread})).json()
            assert asked["interrupts"][0]["value"] == "sure?"
            command = {"resume": {asked["interrupts"][0]["id"]: "yes"}, "update": {"more": 1}}
            done = (await s.post("/runs/wait", {"thread_id": thread, "command": command})).json()
            assert done["values"] == {"answer": "yes", "more": 1}
            assert (await s.get(f"/threads/{thread}")).json()["status"] == "idle"

    play(story())


def test_checkpoint_goes_back_in_time(server: Starter) -> None:
    async def story() -> None:
        async with server(echo, steps) as s:
            thread = await s.thread()
            await s.post("/runs/wait", {"thread_id": thread, "agent_id": "steps"})
            history = (await s.get(f"/threads/{thread}/history")).json()
            early = next(state for state in history if state["values"] == {"n": 4})
            fork = {"thread_id": thread, "agent_id": "echo", "checkpoint": early["checkpoint"]}
            assert (await s.post("/runs/wait", fork)).json()["values"]["n"] == 4
            patched = await s.http.patch(
                f"/threads/{thread}", json={"values": {"x": 1}, "checkpoint": history[-1]["checkpoint"]}
            )
            assert patched.json()["values"] == {"n": 0, "x": 1}

    play(story())


def test_an_idempotency_key_gives_the_run_that_answered_the_question_since(server: Starter) -> None:
    async def story() -> None:
        async with server(ask) as s:
            thread = await s.thread()
            await s.wait((await s.run(thread_id=thread))["run_id"])
            resume = {"thread_id": thread, "command": {"resume": "yes"}}
            key = {"idempotency-key": "k"}
            first = await s.post("/runs", resume, headers=key)
            await s.wait(first.json()["run_id"])
            again = await s.post("/runs", resume, headers=key)
            assert (again.status_code, again.json()["run_id"]) == (200, first.json()["run_id"])
            assert (await s.post("/runs", resume)).json()["code"] == "not_interrupted"

    play(story())


def test_an_idempotency_key_gives_the_same_run(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            key = {"idempotency-key": "k"}
            first = await s.post("/runs", {"input": 1}, headers=key)
            again = await s.post("/runs", {"input": 1}, headers=key)
            assert again.json()["run_id"] == first.json()["run_id"]
            assert again.headers["idempotent-replayed"] == "true"
            assert (await s.post("/runs", {"input": 2}, headers=key)).json()["code"] == "idempotency_mismatch"

    play(story())


def test_an_agents_timeout_and_retry_policy(server: Starter, clock: MovableClock) -> None:
    tries: list[int] = []

    @agent(timeout=30)
    async def slow(ctx: Context) -> None:
        await ctx.update({"begun": True})
        await asyncio.Event().wait()

    @agent(max_attempts=3, retry=Retry(on=("ConnectionError",), initial=10, jitter=0))
    async def flaky(ctx: Context) -> dict[str, Any]:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise ConnectionResetError("again")
        return {"tries": tries}

    async def story() -> None:
        async with server(slow, flaky, clock=clock) as s:
            for name in ("slow", "flaky"):
                run = await s.run(agent_id=name)
                waiting = asyncio.ensure_future(s.wait(run["run_id"]))
                while not waiting.done():
                    clock.move(1)
                    await asyncio.sleep(0.002)
                done = waiting.result()
                if name == "slow":
                    assert (done["status"], done["error"]["code"]) == ("timeout", "timeout")
                else:
                    assert done["values"] == {"tries": [1, 2, 3]}

    play(story())


def test_threads_are_patched_copied_searched_and_deleted(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread = await s.thread(metadata={"user": "ada"})
            body = {"values": {"a": 1}, "messages": [{"role": "user", "content": "hi", "id": "m1"}]}
            patched = (await s.http.patch(f"/threads/{thread}", json=body)).json()
            assert (patched["values"], patched["messages"][0]["id"]) == ({"a": 1}, "m1")
            again = {"messages": [{"role": "user", "content": "hello", "id": "m1"}], "metadata": {"more": 1}}
            patched = (await s.http.patch(f"/threads/{thread}", json=again)).json()
            assert [m["content"] for m in patched["messages"]] == ["hello"]
            assert patched["metadata"] == {"user": "ada", "more": 1}
            copy = (await s.post(f"/threads/{thread}/copy")).json()
            assert copy["values"] == {"a": 1}
            for query, count in (
                ({"metadata": {"user": "ada"}}, 2),
                ({"values": {"a": 2}}, 0),
                ({"status": "idle"}, 2),
            ):
                assert len((await s.post("/threads/search", query)).json()) == count
            assert (await s.http.delete(f"/threads/{thread}")).status_code == 204
            assert len((await s.get(f"/threads/{copy['thread_id']}/history")).json()) == 2

    play(story())


def test_the_store_keeps_finds_and_forgets(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            for n in range(3):
                item = {"namespace": ["users", f"u{n}"], "key": "k", "value": {"n": n}}
                assert (await s.http.put("/store/items", json=item)).status_code == 204
            found = await s.get("/store/items?key=k&namespace=users&namespace=u1")
            assert found.json()["value"] == {"n": 1}
            query = {"namespace_prefix": ["users"], "filter": {"n": {"$gte": 1}}}
            items = (await s.post("/store/items/search", query)).json()["items"]
            assert [item["value"]["n"] for item in items] == [2, 1]
            assert (await s.post("/store/namespaces", {"max_depth": 1})).json() == [["users"]]
            gone = await s.http.request("DELETE", "/store/items", json={"namespace": ["users", "u1"], "key": "k"})
            assert gone.status_code == 204

    play(story())
