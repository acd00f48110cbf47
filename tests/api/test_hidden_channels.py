"""What a runtime hides in a state is shown to nobody, is kept for the runtime, and cannot be given by anybody else."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from live_server import Server, Starter, play

from runyard import Context, agent, checkpoints
from runyard.checkpoints import HIDDEN, NAME, State, set_to

SECRET = b'"hidden-from-all"'
SHOWN = ("hidden-from-all", "\\u0001", "\x01")


@agent
async def look(ctx: Context, state: dict[str, Any], input: Any = None) -> dict[str, Any]:
    await ctx.update({"first": True})
    seen = {"role": "assistant", "content": "done", "id": "m2"}
    return {"seen": sorted({*state, *ctx.state}), "length": len(ctx.state), "messages": [seen]}


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    before = sorted(ctx.state)
    answer = await ctx.interrupt("sure?")
    return {"before": before, "seen": sorted(ctx.state), "answer": answer}


@agent
async def hide(ctx: Context) -> dict[str, Any]:
    return {HIDDEN + "mine": 1}


@agent
async def hide_a_step(ctx: Context) -> None:
    await ctx.update({NAME: "mine"})


HIDDEN_STATE: State = {
    "n": b"1",
    "messages": b'[{"role":"user","content":"hi","id":"m1"}]',
    HIDDEN + "versions": SECRET,
}


async def graph_thread(s: Server, namespace: str = "", thread_id: str | None = None) -> tuple[str, str]:
    """A thread as a graph leaves it: its id and that of its state."""
    thread_id = thread_id or await s.thread()
    name = str(uuid.uuid4())
    state = {**HIDDEN_STATE, NAME: b'"%s"' % name.encode()}
    checkpoint = checkpoints.plan(
        checkpoint_id=name, thread_id=thread_id, parent=None, state=state, run_id=None, created_at=1, source="step",
        changes={channel: set_to(value) for channel, value in state.items()}, namespace=namespace,
    )  # fmt: skip
    await s.storage.put_checkpoint("", checkpoint, 1)
    return thread_id, name


def clean(text: str) -> bool:
    return not any(word in text for word in SHOWN)


def test_no_answer_shows_what_is_hidden(server: Starter) -> None:
    async def story() -> None:
        async with server(look, ask, webhook_allow=("127.0.0.1",)) as s:
            thread, name = await graph_thread(s)
            shown = await s.get(f"/threads/{thread}")
            assert (shown.json()["values"], len(shown.json()["messages"])) == ({"n": 1}, 1)
            assert clean(shown.text)
            run = await s.run(agent_id="look", thread_id=thread, webhook="http://127.0.0.1:9/")
            done = await s.get(f"/runs/{run['run_id']}/wait")
            assert clean(done.text)
            assert done.json()["values"]["seen"] == ["first", "messages", "n"]
            assert done.json()["values"]["length"] == 3
            hook = await s.get(f"/webhooks/msg_{run['run_id'].replace('-', '')}")
            assert (hook.json()["event"]["data"]["values"]["n"], clean(hook.text)) == (1, True)
            notice = await s.storage.notice("", f"msg_{run['run_id'].replace('-', '')}")
            assert not any(name.startswith(HIDDEN) for name in notice.state)
            modes = {"stream_mode": ["values", "updates", "messages"]}
            live = await s.post("/runs/stream", {"agent_id": "look", "thread_id": thread, **modes})
            replayed = await s.get(f"/runs/{run['run_id']}/stream?since=0")
            for stream in (live, replayed):
                assert '"n":1' in stream.text
                assert clean(stream.text)
            asked = await s.post("/runs/wait", {"agent_id": "ask", "thread_id": thread})
            answered = await s.post(
                "/runs/wait", {"agent_id": "ask", "thread_id": thread, "command": {"resume": 1, "update": {"u": 1}}}
            )
            assert answered.json()["values"]["before"] == ["first", "length", "messages", "n", "seen"]
            assert answered.json()["values"]["seen"] == ["first", "length", "messages", "n", "seen", "u"]
            patched = await s.http.patch(f"/threads/{thread}", json={"values": {"p": 1}})
            copied = await s.post(f"/threads/{thread}/copy")
            history = await s.get(f"/threads/{thread}/history")
            found = await s.post("/threads/search", {"values": {"p": 1}})
            assert (len(history.json()) > 5, len(found.json())) == (True, 2)
            for answer in (asked, answered, patched, copied, history, found):
                assert answer.status_code == 200
                assert clean(answer.text)
            assert (await s.post("/threads/search", {"values": {NAME: name}})).json() == []
            # The runtime still has it, after all this.
            head = (await s.storage.thread("", copied.json()["thread_id"])).head
            state = (await s.storage.snapshot("", copied.json()["thread_id"], head or "")).state
            assert (state[HIDDEN + "versions"], checkpoints.name_of(state)) == (SECRET, name)

    play(story())


def test_nobody_can_send_what_would_be_hidden(server: Starter) -> None:
    async def story() -> None:
        async with server(look) as s:
            thread = await s.thread()
            for answer, field in (
                (await s.http.patch(f"/threads/{thread}", json={"values": {"a": 1, NAME: "x"}}), "values"),
                (
                    await s.post(
                        "/runs", {"agent_id": "look", "thread_id": thread, "command": {"update": {HIDDEN + "x": 1}}}
                    ),
                    "command.update",
                ),
            ):
                assert answer.status_code == 422
                assert answer.json()["metadata"]["field"] == field
                assert f"{field} has the key" in answer.json()["message"]
            assert (await s.get(f"/threads/{thread}")).json()["values"] == {}
            # Elsewhere in a name, and below the top, it is a character like others.
            kept = await s.http.patch(f"/threads/{thread}", json={"values": {"a\x01": {NAME: 1}}})
            assert kept.json()["values"] == {"a\x01": {NAME: 1}}

    play(story())


@pytest.mark.parametrize("name", ["hide", "hide_a_step"])
def test_no_function_can_give_it_either(server: Starter, name: str) -> None:
    async def story() -> None:
        async with server(hide, hide_a_step) as s:
            done = (await s.post("/runs/wait", {"agent_id": name})).json()
            assert (done["status"], done["error"]["code"]) == ("error", "not_serialisable")
            assert "no channel's name begins with" in done["error"]["message"]

    play(story())


def test_a_state_of_a_subgraph_is_none_that_a_client_can_go_back_to(server: Starter) -> None:
    async def story() -> None:
        async with server(look) as s:
            thread, _ = await graph_thread(s)
            _, inner = await graph_thread(s, "node:1", thread)
            assert len((await s.get(f"/threads/{thread}/history")).json()) == 1
            back = {"checkpoint": {"checkpoint_id": inner}}
            for answer in (
                await s.http.patch(f"/threads/{thread}", json={**back, "values": {"a": 1}}),
                await s.post("/runs", {"agent_id": "look", "thread_id": thread, **back}),
                await s.get(f"/threads/{thread}/history?before={inner}"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (404, "checkpoint_not_found")

    play(story())


def test_the_history_of_a_stateless_run_is_shown_to_nobody(server: Starter) -> None:
    async def story() -> None:
        async with server(look) as s:
            done = (await s.post("/runs/wait", {"agent_id": "look"})).json()
            answer = await s.get(f"/threads/{done['run']['thread_id']}/history")
            assert (answer.status_code, answer.json()["code"]) == (404, "thread_not_found")

    play(story())
