"""Graphs that are asked outside of runs: their states as they see them, changes of states, drawings, subgraphs. On a
whole server in this process. That they are in other processes, too, is shown with all that graphs do there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from asking_graphs import AROUND, ASKING, Count, chain, step
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from live_server import MovableClock, Server, Starter, play
from postgres_server import Postgres

from runyard import Context, agent, graph
from runyard.errors import AgentElsewhere, AgentFailed, AgentTimeout, Conflict, InvalidInput, NotFound
from runyard.runtime.chores import Change, StateView
from runyard.server import create_app
from runyard.settings import Settings

GRAPHS = Path(__file__).with_name("chore_graphs.py")


def seen(view: StateView) -> dict[str, Any]:
    told = {"values": view.values, "next": view.next, "interrupts": view.interrupts}
    return msgspec.json.decode(msgspec.json.encode(told))


async def run_on(s: Server, thread_id: str, **wish: Any) -> dict[str, Any]:
    return (await s.post("/runs/wait", {"thread_id": thread_id, **wish})).json()["values"]


async def asking(s: Server) -> str:
    """A thread with an open question."""
    thread_id = await s.thread()
    await run_on(s, thread_id, input={"n": 1, "log": []})
    return thread_id


def change(values: Any = None, as_node: str | None = None) -> list[list[Change]]:
    return [[Change(None if values is None else msgspec.json.encode(values), as_node)]]


# states


def test_a_state_says_what_comes_next_and_why_it_waits(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            view = await s.inspection.state("", thread_id)
            (question,) = view.interrupts
            assert msgspec.json.decode(question.value) == {"sure": 2}
            assert msgspec.json.decode(view.values) == {"n": 2, "log": ["a"]}
            assert list(view.next) == ["ask"]
            (task,) = view.tasks
            assert (task.name, task.interrupts, task.error) == ("ask", [question], None)
            shown = (await s.get(f"/threads/{thread_id}")).json()
            assert [one["id"] for one in shown["interrupts"]] == [question.id]
            assert view.checkpoint is not None
            (newest, *_) = (await s.get(f"/threads/{thread_id}/history")).json()
            assert view.checkpoint.checkpoint_id == newest["checkpoint"]["checkpoint_id"]
            await run_on(s, thread_id, command={"resume": "yes"})
            over = await s.inspection.state("", thread_id)
            assert (over.next, over.tasks, over.interrupts) == ([], [], [])
            assert msgspec.json.decode(over.values) == {"n": 3, "log": ["a", "answered yes", "b"]}
            # The state of then is told as it was.
            then = await s.inspection.state("", thread_id, checkpoint_id=view.checkpoint.checkpoint_id)
            assert seen(then) == seen(view)

    play(story())


def test_an_empty_thread_has_an_empty_state(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await s.thread()
            for agent_id in (None, "asking"):
                view = await s.inspection.state("", thread_id, agent_id=agent_id)
                assert seen(view) == {"values": {}, "next": [], "interrupts": []}
                assert view.checkpoint is None
                assert await s.inspection.history("", thread_id, agent_id=agent_id) == []

    play(story())


def test_what_is_not_there_is_not_found(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            with pytest.raises(NotFound, match="nowhere"):
                await s.inspection.state("", "nowhere")
            with pytest.raises(NotFound, match="never"):
                await s.inspection.state("", thread_id, checkpoint_id="never")
            with pytest.raises(NotFound, match="never"):
                await s.inspection.history("", thread_id, before="never")
            with pytest.raises(NotFound, match="other"):
                await s.inspection.state("", thread_id, agent_id="other")
            with pytest.raises(NotFound):
                await s.inspection.state("somebody", thread_id)
            with pytest.raises(InvalidInput, match="no"):
                await s.inspection.update("", thread_id, change({"n": 1}, "a"), namespace="no:such")

    play(story())


def test_the_states_of_subgraphs_that_wait_are_told_where_asked_for(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(AROUND, id="around")) as s:
            thread_id = await asking(s)
            brief = await s.inspection.state("", thread_id)
            (task,) = brief.tasks
            assert task.state is None
            assert task.checkpoint is not None
            namespace = task.checkpoint.checkpoint_ns
            assert namespace == f"inner:{task.id}"
            (task,) = (await s.inspection.state("", thread_id, subgraphs=True)).tasks
            assert task.state is not None
            assert list(task.state.next) == ["ask"]
            assert msgspec.json.decode(task.state.values) == {"n": 3, "log": ["first", "a"]}
            assert [one.id for one in task.state.interrupts] == [one.id for one in brief.interrupts]
            inner = await s.inspection.state("", thread_id, namespace=namespace)
            assert seen(inner) == seen(task.state)
            told = await s.inspection.history("", thread_id, namespace=namespace)
            assert [list(view.next) for view in told] == [["ask"], ["a"], ["__start__"]]

    play(story())


def test_a_history_is_a_chain_of_the_states_that_there_were(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            await run_on(s, thread_id, command={"resume": "yes"})
            whole = await s.inspection.history("", thread_id, limit=50)
            assert [list(view.next) for view in whole] == [[], ["b"], ["ask"], ["a"], ["__start__"]]
            parents = [None if view.parent_checkpoint is None else view.parent_checkpoint for view in whole]
            assert parents == [view.checkpoint for view in whole[1:]] + [None]
            assert [msgspec.json.decode(view.metadata)["source"] for view in whole] == ["loop"] * 4 + ["input"]
            page = await s.inspection.history("", thread_id, limit=2)
            assert page == whole[:2]
            assert page[-1].checkpoint is not None
            rest = await s.inspection.history("", thread_id, before=page[-1].checkpoint.checkpoint_id)
            assert rest == whole[2:]
            found = await s.inspection.history("", thread_id, metadata={"step": 1})
            assert found == [whole[2]]

    play(story())


def test_a_state_that_a_client_has_changed_is_seen_as_it_is(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            await s.http.patch(f"/threads/{thread_id}", json={"values": {"n": 40}})
            view = await s.inspection.state("", thread_id)
            assert msgspec.json.decode(view.values) == {"n": 40, "log": ["a"]}
            assert len(view.interrupts) == 1
            newest, before, *_ = await s.inspection.history("", thread_id)
            assert newest.values == view.values
            assert newest.checkpoint == view.checkpoint
            assert newest.parent_checkpoint == before.checkpoint
            assert msgspec.json.decode(before.values) == {"n": 2, "log": ["a"]}

    play(story())


def test_messages_are_told_as_everywhere(server: Starter) -> None:
    def reply(state: MessagesState) -> Any:
        return {"messages": [AIMessage("hello", id="m2")]}

    async def story() -> None:
        async with server(graph(StateGraph(MessagesState).add_node(reply).add_edge(START, "reply"), id="chat")) as s:
            thread_id = await s.thread()
            await run_on(s, thread_id, input={"messages": [{"role": "user", "content": "hi", "id": "m1"}]})
            shown = (await s.get(f"/threads/{thread_id}")).json()
            view = await s.inspection.state("", thread_id)
            assert msgspec.json.decode(view.values) == {"messages": shown["messages"]}
            await s.inspection.update("", thread_id, change({"messages": [{"role": "user", "content": "and?"}]}))
            last = msgspec.json.decode((await s.inspection.state("", thread_id)).values)["messages"][-1]
            assert (last["role"], last["content"]) == ("user", "and?")

    play(story())


# updates


def test_an_update_is_as_if_a_node_had_made_it(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            made = await s.inspection.update("", thread_id, change({"n": 10, "log": ["by hand"]}, "ask"))
            view = await s.inspection.state("", thread_id)
            assert seen(view) == {"values": {"n": 12, "log": ["a", "by hand"]}, "next": ["b"], "interrupts": []}
            assert view.checkpoint == made
            thread = (await s.get(f"/threads/{thread_id}")).json()
            assert (thread["status"], thread["values"]) == ("idle", {"n": 12, "log": ["a", "by hand"]})
            assert await run_on(s, thread_id, input=None) == {"n": 13, "log": ["a", "by hand", "b"]}

    play(story())


def test_a_question_stays_open_while_its_node_is_to_execute(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            await s.inspection.update("", thread_id, change({"n": 10, "log": []}))
            thread = (await s.get(f"/threads/{thread_id}")).json()
            assert (thread["status"], len(thread["interrupts"])) == ("interrupted", 1)
            assert list((await s.inspection.state("", thread_id)).next) == ["ask"]
            ended = await run_on(s, thread_id, command={"resume": "yes"})
            assert ended == {"n": 13, "log": ["a", "answered yes", "b"]}

    play(story())


def test_an_update_of_an_earlier_state_is_a_fork(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            await run_on(s, thread_id, command={"resume": "yes"})
            earlier = (await s.inspection.history("", thread_id))[2].checkpoint
            assert earlier is not None
            made = await s.inspection.update(
                "", thread_id, change({"n": 100, "log": ["else"]}, "ask"), checkpoint_id=earlier.checkpoint_id
            )
            view = await s.inspection.state("", thread_id)
            assert (view.checkpoint, view.parent_checkpoint) == (made, earlier)
            assert seen(view) == {"values": {"n": 102, "log": ["a", "else"]}, "next": ["b"], "interrupts": []}

    play(story())


def test_steps_are_made_all_or_none(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await s.thread()
            steps = [*change({"n": 5, "log": []}, "__input__"), *change({"n": 5, "log": []}, "__start__")]
            steps += change({"n": 1, "log": ["a by hand"]}, "a")
            await s.inspection.update("", thread_id, steps, agent_id="asking")
            told = await s.inspection.history("", thread_id, agent_id="asking")
            assert [list(view.next) for view in told] == [["ask"], ["a"], ["__start__"]]
            assert msgspec.json.decode(told[0].values) == {"n": 6, "log": ["a by hand"]}
            await s.http.patch(f"/threads/{thread_id}", json={"metadata": {"graph_id": "asking"}})
            before = await s.inspection.state("", thread_id)
            assert list(before.next) == ["ask"]
            with pytest.raises(InvalidInput, match="nobody"):
                await s.inspection.update("", thread_id, [*change({"n": 1}, "a"), *change({"n": 1}, "nobody")])
            assert await s.inspection.state("", thread_id) == before

    play(story())


def test_a_copy_of_a_state_builds_on_what_that_builds_on(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            head = await s.inspection.state("", thread_id)
            assert head.checkpoint is not None
            await s.inspection.update(
                "", thread_id, change(None, "__copy__"), checkpoint_id=head.checkpoint.checkpoint_id
            )
            copy = await s.inspection.state("", thread_id)
            assert (copy.values, list(copy.next)) == (head.values, ["ask"])
            assert copy.parent_checkpoint == head.parent_checkpoint

    play(story())


def test_the_state_of_a_subgraph_is_updated_where_it_is(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(AROUND, id="around")) as s:
            thread_id = await asking(s)
            (task,) = (await s.inspection.state("", thread_id)).tasks
            namespace = f"inner:{task.id}"
            made = await s.inspection.update(
                "", thread_id, change({"n": 50, "log": ["by hand"]}, "ask"), namespace=namespace
            )
            assert made.checkpoint_ns == namespace
            inner = await s.inspection.state("", thread_id, namespace=namespace)
            assert (msgspec.json.decode(inner.values)["n"], list(inner.next)) == (53, ["b"])
            thread = (await s.get(f"/threads/{thread_id}")).json()
            assert (thread["values"]["n"], thread["status"]) == (2, "interrupted")

    play(story())


def test_an_update_is_told_on_the_log(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(ASKING, id="asking")) as s:
            thread_id = await asking(s)
            before = (await s.storage.events("", thread_id, after=0, run_id=None, limit=100, states=False))[-1].seq
            await s.inspection.update("", thread_id, change({"n": 1, "log": []}, "ask"))
            (event,) = await s.storage.events("", thread_id, after=before, run_id=None, limit=100, states=True)
            assert event.kind == "values"

    play(story())


def test_a_thread_on_which_a_run_executes_is_not_updated(server: Starter) -> None:
    async def story() -> None:
        gate = threading.Event()

        def wait(state: Count) -> dict[str, Any]:
            gate.wait(20)
            return {"n": 1}

        async with server(graph(chain(("wait", wait)), id="slow")) as s:
            thread_id = await s.thread()
            run = await s.run(thread_id=thread_id, input={"n": 1, "log": []})
            try:
                with pytest.raises(Conflict, match="busy"):
                    await s.inspection.update("", thread_id, change({"n": 1}, "wait"), agent_id="slow")
            finally:
                gate.set()
            await s.wait(run["run_id"])
            assert msgspec.json.decode((await s.inspection.state("", thread_id)).values)["n"] == 2

    play(story())


def test_an_update_that_says_not_whose_state_it_is_is_refused(server: Starter) -> None:
    async def story() -> None:
        two = StateGraph(Count).add_node("a", step("a")).add_node("b", step("b")).add_edge(START, "a")
        async with server(graph(two.add_edge(START, "b"), id="two")) as s:
            thread_id = await s.thread()
            with pytest.raises(InvalidInput, match="no agent has run"):
                await s.inspection.update("", thread_id, change({"n": 1}))
            await run_on(s, thread_id, input={"n": 1, "log": []})
            with pytest.raises(InvalidInput, match="Ambiguous"):
                await s.inspection.update("", thread_id, change({"n": 1}))

    play(story())


# what a graph is


def test_a_drawing_opens_subgraphs_as_asked(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(AROUND, id="around")) as s:
            flat = await s.inspection.drawing("", "around")
            assert [node["id"] for node in flat.nodes] == ["__start__", "first", "inner", "last", "__end__"]
            assert {"source": "first", "target": "inner"} in flat.edges
            opened = await s.inspection.drawing("", "around", xray=True)
            assert "inner:ask" in [node["id"] for node in opened.nodes]

    play(story())


def test_subgraphs_are_told_with_their_schemas(server: Starter) -> None:
    async def story() -> None:
        whole = chain(("outer", AROUND.compile()))
        async with server(graph(whole, id="whole")) as s:
            found = await s.inspection.subgraphs("", "whole")
            assert list(found) == ["outer"]
            assert list(await s.inspection.subgraphs("", "whole", recurse=True)) == ["outer", "outer|inner"]
            (one,) = (await s.inspection.subgraphs("", "whole", namespace="outer|inner", recurse=True)).values()
            assert one.input is not None
            assert set(one.input["properties"]) == {"n", "log"}

    play(story())


def test_factories_hear_what_their_graph_is_for_and_how_the_run_was_configured(server: Starter) -> None:
    heard: list[tuple[str, bool, str | None]] = []

    def make(config: Any, runtime: Any) -> Any:
        flavour = config.get("configurable", {}).get("flavour")
        heard.append((runtime.access_context, runtime.execution_runtime is not None, flavour))
        return ASKING

    async def story() -> None:
        async with server(graph(make, id="made")) as s:
            heard.clear()
            thread_id = await s.thread()
            config = {"configurable": {"flavour": "sweet"}}
            await run_on(s, thread_id, input={"n": 1, "log": []}, config=config)
            await s.inspection.state("", thread_id)
            await s.inspection.history("", thread_id)
            await s.inspection.update("", thread_id, change({"n": 1, "log": []}, "ask"))
            await s.inspection.drawing("", "made", configurable={"flavour": "sour"})
            await s.inspection.subgraphs("", "made")
            read, is_asked = ("threads.read", False, "sweet"), "assistants.read"
            assert heard == [
                ("threads.create_run", True, "sweet"), read, read, ("threads.update", False, "sweet"),
                (is_asked, False, "sour"), (is_asked, False, None),
            ]  # fmt: skip

    play(story())


# code that fails, or does not answer


def test_code_that_fails_says_so_and_the_server_goes_on(server: Starter) -> None:
    fails = False

    def make(config: Any) -> Any:
        if fails:
            raise RuntimeError("no graph today")
        return ASKING

    async def story() -> None:
        nonlocal fails
        async with server(graph(make, id="made")) as s:
            thread_id = await asking(s)
            fails = True
            with pytest.raises(AgentFailed, match="no graph today"):
                await s.inspection.state("", thread_id)
            with pytest.raises(AgentFailed, match="no graph today"):
                await s.inspection.drawing("", "made")
            fails = False
            assert list((await s.inspection.state("", thread_id)).next) == ["ask"]

    play(story())


def test_code_that_does_not_answer_in_time_is_let_go(server: Starter, clock: MovableClock) -> None:
    gate, reached = threading.Event(), threading.Event()
    blocks = False

    def make(config: Any) -> Any:
        if blocks:
            reached.set()
            gate.wait(20)
        return ASKING

    async def story() -> None:
        import asyncio

        nonlocal blocks
        async with server(graph(make, id="made"), clock=clock) as s:
            thread_id = await asking(s)
            blocks = True
            asked = asyncio.ensure_future(s.inspection.state("", thread_id))
            await s.until(reached.is_set)
            clock.move(11)
            with pytest.raises(AgentTimeout, match="10 s"):
                await asked
            blocks = False
            # Other lanes answer meanwhile.
            assert list((await s.inspection.state("", thread_id)).next) == ["ask"]
            gate.set()

    play(story())


# on the other database, and where the code is not


async def told_and_changed(s: Server) -> None:
    """All kinds of questions and changes, to a graph with a subgraph."""
    thread_id = await s.thread()
    await run_on(s, thread_id, agent_id="around", input={"n": 1, "log": []})
    view = await s.inspection.state("", thread_id, subgraphs=True)
    (task,) = view.tasks
    assert (list(view.next), task.name, len(view.interrupts)) == (["inner"], "inner", 1)
    assert task.state is not None
    assert seen(task.state)["values"] == {"n": 3, "log": ["first", "a"]}
    await s.inspection.update("", thread_id, change({"n": 5, "log": ["by hand"]}, "ask"), namespace=f"inner:{task.id}")
    (task,) = (await s.inspection.state("", thread_id, subgraphs=True)).tasks
    assert task.state is not None
    assert seen(task.state)["values"] == {"n": 8, "log": ["first", "a", "by hand"]}
    steps = [*change({"n": 10, "log": []}, "inner"), *change({"n": 1, "log": ["end"]}, "last")]
    made = await s.inspection.update("", thread_id, steps)
    told = await s.inspection.history("", thread_id)
    assert [list(one.next) for one in told] == [[], ["last"], ["inner"], ["first"], ["__start__"]]
    assert (told[0].checkpoint, seen(told[0])["values"]) == (made, {"n": 13, "log": ["first", "end"]})
    assert (await s.get(f"/threads/{thread_id}")).json()["status"] == "idle"
    with pytest.raises(InvalidInput, match="nobody"):
        await s.inspection.update("", thread_id, change({"n": 1}, "nobody"))
    assert "inner" in [node["id"] for node in (await s.inspection.drawing("", "around")).nodes]
    assert list(await s.inspection.subgraphs("", "around", recurse=True)) == ["inner"]


def test_graphs_are_asked_on_the_other_database_too(postgres: Postgres) -> None:
    async def story() -> None:
        app = create_app(Settings(agents=(str(GRAPHS),), database=await postgres.emptied()))
        await app.engine.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            await told_and_changed(Server(app, http))
        assert await app.engine.close()

    play(story())


def test_a_server_without_the_code_tells_what_is_stored_and_refuses_the_rest(postgres: Postgres) -> None:
    async def story() -> None:
        database = await postgres.emptied()
        worker = create_app(Settings(agents=(str(GRAPHS),), database=database))
        api = create_app(Settings(database=database, workers=0))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://testserver") as http:
            s = Server(api, http)
            await worker.engine.start()
            await api.engine.start()
            await s.until(lambda: "asking" in api.engine.verbs.agents)
            thread_id = await s.thread()
            await run_on(s, thread_id, agent_id="asking", input={"n": 1, "log": []})
            known = await worker.engine.inspection.state("", thread_id)
            view = await s.inspection.state("", thread_id)
            assert (seen(view)["values"], view.interrupts) == ({"n": 2, "log": ["a"]}, known.interrupts)
            assert [one.interrupts for one in view.tasks] == [view.interrupts]
            told = await s.inspection.history("", thread_id)
            assert [one.checkpoint for one in told] == [
                one.checkpoint for one in await worker.engine.inspection.history("", thread_id)
            ]
            for refused in (
                s.inspection.update("", thread_id, change({"n": 1}, "ask")),
                s.inspection.drawing("", "asking"),
                s.inspection.subgraphs("", "asking"),
            ):
                with pytest.raises(AgentElsewhere, match="asking"):
                    await refused
            await api.engine.close()
            await worker.engine.close()

    play(story())


# agents that are no graphs


def test_function_agents_are_told_of_without_their_code(server: Starter) -> None:
    @agent
    async def counts(input: int, ctx: Context) -> dict[str, Any]:
        await ctx.update({"n": input})
        return {"n": input + int(await ctx.interrupt({"more": True}))}

    async def story() -> None:
        async with server(counts) as s:
            thread_id = await s.thread()
            await run_on(s, thread_id, input=1)
            view = await s.inspection.state("", thread_id)
            assert seen(view)["values"] == {"n": 1}
            assert (list(view.next), [one.name for one in view.tasks]) == (["counts"], ["counts"])
            assert [msgspec.json.decode(one.value) for one in view.interrupts] == [{"more": True}]
            await s.inspection.update("", thread_id, change({"seen": True}))
            assert len((await s.inspection.state("", thread_id)).interrupts) == 1
            await run_on(s, thread_id, command={"resume": 2})
            over = await s.inspection.state("", thread_id)
            assert (msgspec.json.decode(over.values)["n"], list(over.next), list(over.tasks)) == (3, [], [])
            told = await s.inspection.history("", thread_id, limit=3)
            assert len(told) == 3
            assert told[0] == over
            assert told[0].parent_checkpoint == told[1].checkpoint
            drawn = await s.inspection.drawing("", "counts")
            assert [node["id"] for node in drawn.nodes] == ["__start__", "counts", "__end__"]
            assert await s.inspection.subgraphs("", "counts") == {}

    play(story())
