"""Commands over both transports: what each does, what it answers, and every code of what can be wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgi_client import Puppet, Socket, connect, speak
from live_server import Server, Starter, holds, play
from streaming_frames import PARAMETERS, check_command, check_response
from watching import everything, log_of, send, word

from runyard import Context, agent
from runyard.settings import ApiKey

ABSENT = "01a20c2f-0000-7000-8000-000000000000"
Ask = Callable[..., Awaitable[dict[str, Any]]]
both = pytest.mark.parametrize("transport", ["http", "websocket"])


async def asker(s: Server, thread: str, transport: str) -> Ask:
    """Asks over a transport; commands and responses are checked."""
    socket = speak(s, thread) if transport == "websocket" else None

    async def ask(method: str, **params: Any) -> dict[str, Any]:
        before = await s.storage.last_seq("", thread)
        response = await (send(s, thread, method, **params) if socket is None else socket.ask(method, **params))
        if response["type"] == "success":
            check_command({"method": method, "params": params})
        check_response(response, method)
        if response["type"] == "success":
            assert before <= response["meta"]["appliedThroughSeq"] <= await s.storage.last_seq("", thread)
        return response

    return ask


@agent
async def adds(input: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    return {"sum": state.get("sum", 0) + input["n"], "fileId": input.get("fileId")}


@agent
async def two_questions(ctx: Context) -> dict[str, Any]:
    async def ask(name: str) -> Any:
        async with ctx.agent(name) as sub:
            return await sub.interrupt({"of": name})

    first, second = await asyncio.gather(ask("first"), ask("second"))
    return {"first": first, "second": second}


@agent
async def talks(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"heard": [message["content"] for message in messages]}


async def ended(s: Server, response: dict[str, Any]) -> dict[str, Any]:
    """How the run of a response ended."""
    assert response["type"] == "success", response
    return await s.wait(response["result"]["runId"])


async def at_rest(s: Server, thread: str, status: str = "idle") -> dict[str, Any]:
    await s.until(lambda: holds(s.storage.thread("", thread), lambda found: found.status == status))
    return (await s.get(f"/threads/{thread}")).json()


@both
def test_run_start_makes_the_thread_and_begins_runs_behind_each_other(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(adds) as s:
            ask = await asker(s, ABSENT, transport)
            first = await ask("run.start", assistantId="adds", input={"n": 1, "fileId": "mime_type"})
            second = await ask("run.start", assistantId="adds", input={"n": 2}, metadata={"toolCallId": 1})
            assert (await ended(s, first))["values"] == {"sum": 1, "fileId": "mime_type"}
            assert (await ended(s, second))["values"] == {"sum": 3, "fileId": None}
            run = (await s.get(f"/runs/{second['result']['runId']}")).json()
            assert (run["metadata"], run["thread_id"]) == ({"toolCallId": 1}, ABSENT)

    play(story())


@both
def test_run_start_takes_messages_apart_from_the_rest_of_the_input(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(talks) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            for number, role in enumerate([{"role": "user"}, {"role": "human"}, {"type": "human"}]):
                message = {**role, "content": f"hello {number}"}
                done = await ended(s, await ask("run.start", assistantId="talks", input={"messages": [message]}))
                assert done["values"]["heard"][-1] == f"hello {number}"
            wrong = await ask("run.start", assistantId="talks", input={"messages": [{"content": 1}]})
            assert (wrong["error"], wrong["metadata"]["field"][:17]) == ("invalid_argument", "input.messages[0]")

    play(story())


@both
def test_run_start_answers_the_open_question(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(everything, adds) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            assert (await ended(s, await ask("run.start", assistantId="everything", input={})))["status"] == (
                "interrupted"
            )
            done = await ended(s, await ask("run.start", assistantId="everything", input={"interruptId": [1]}))
            assert (done["status"], done["values"]["answer"]) == ("success", {"interruptId": [1]})
            frames = await log_of(s, thread, channels=["input", "lifecycle"], namespaces=[[]], depth=0)
            assert list(map(word, frames)) == [
                "started", "running", "input.requested", "interrupted", "input.answered", "started", "running",
                "completed",
            ]  # fmt: skip
            asked, answered = frames[2]["params"]["data"], frames[4]["params"]["data"]
            assert answered["interruptIds"] == [asked["interruptId"]]
            assert asked["payload"] == {"interruptId": 1}

    play(story())


@both
def test_one_run_takes_all_answers_and_what_changes_with_them(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(two_questions) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            await ended(s, await ask("run.start", assistantId="two_questions", input=None))
            asked = (await at_rest(s, thread, "interrupted"))["interrupts"]
            ids = {question["value"]["of"]: question["id"] for question in asked}
            ambiguous = await ask("run.start", assistantId="two_questions", input=1)
            assert ambiguous["error"] == "invalid_argument"
            wrong = [{"namespace": [], "interruptId": ids["first"], "response": 1},
                     {"namespace": [], "interruptId": "x", "response": 2}]  # fmt: skip
            response = await ask("input.respond", responses=wrong)
            assert (response["error"], response["metadata"]["interrupt_id"]) == ("no_such_interrupt", "x")
            wrong[1]["interruptId"] = ids["second"]
            assert (await ask("input.respond", responses=wrong, update={"runId": 1}))["result"] == {}
            values = (await at_rest(s, thread))["values"]
            assert values == {"runId": 1, "first": 1, "second": 2}
            runs = (await s.get(f"/threads/{thread}/runs")).json()
            assert len(runs) == 2
            frames = await log_of(s, thread, channels=["input"])
            requested = [frame["params"] for frame in frames if frame["method"] == "input.requested"]
            assert {params["data"]["interruptId"] for params in requested} == set(ids.values())
            assert sorted(frames[-1]["params"]["data"]["interruptIds"]) == sorted(ids.values())
            again = await ask("input.respond", namespace=[], interruptId=ids["first"], response=1)
            assert again["error"] == "no_such_interrupt"

    play(story())


@both
def test_an_answer_that_says_where_the_question_was_asked_has_to_be_right(server: Starter, transport: str) -> None:
    @agent
    async def asks_below(ctx: Context) -> Any:
        async with ctx.agent("clerk") as clerk:
            return {"answer": await clerk.interrupt("sure?")}

    async def story() -> None:
        async with server(asks_below) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            await ended(s, await ask("run.start", assistantId="asks_below", input=None))
            (frame,) = await log_of(s, thread, channels=["input"])
            place, id = frame["params"]["namespace"], frame["params"]["data"]["interruptId"]
            assert [segment.partition(":")[0] for segment in place] == ["clerk"]
            for wrong in (["clerk"], [*place, "x"], ["nobody:1"]):
                refused = await ask("input.respond", namespace=wrong, interruptId=id, response=1)
                assert (refused["error"], refused["metadata"]["namespace"]) == ("no_such_namespace", wrong)
                refused = await ask("input.respond", responses=[{"namespace": wrong, "interruptId": id, "response": 1}])
                assert refused["error"] == "no_such_namespace"
            done = await ask("input.respond", namespace=place, interruptId=id, response=1)
            assert done["type"] == "success"
            assert (await at_rest(s, thread))["values"] == {"answer": 1}

    play(story())


@both
def test_one_of_several_questions_can_be_answered(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(two_questions) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            await ended(s, await ask("run.start", assistantId="two_questions", input=None))
            for left in (1, 0):
                asked = (await s.get(f"/threads/{thread}")).json()["interrupts"]
                assert len(asked) == left + 1
                response = await ask("input.respond", namespace=[], interruptId=asked[0]["id"], response=left)
                assert response["type"] == "success"
                await at_rest(s, thread, "interrupted" if left else "idle")
            assert set((await at_rest(s, thread))["values"]) == {"first", "second"}

    play(story())


@both
def test_the_tree_of_a_run(server: Starter, transport: str) -> None:
    async def story() -> None:
        puppet = Puppet()

        async def below(ctx: Context) -> None:
            async with ctx.agent("child") as child, child.agent("grandchild") as grandchild:
                await grandchild.emit("deep")
                async for order in puppet.given():
                    await order(ctx)

        async with server(puppet.agent) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            puppet.do(below)
            begun = await ask("run.start", assistantId="puppet", input=None)
            await s.until(lambda: holds(s.storage.last_seq("", thread), lambda seq: seq == 5))
            tree = (await ask("agent.getTree"))["result"]["tree"]
            assert (tree["graphName"], tree["status"], tree["namespace"]) == ("puppet", "running", [])
            assert tree["metadata"] == {"run_id": begun["result"]["runId"], "attempt": 1}
            (child,) = tree["children"]
            (grandchild,) = child["children"]
            assert (child["graphName"], child["status"]) == ("child", "started")
            assert (grandchild["graphName"], grandchild["status"]) == ("grandchild", "started")
            assert grandchild["namespace"][:1] == child["namespace"]
            puppet.end()
            puppet.end()
            await ended(s, begun)
            tree = (await ask("agent.getTree", runId=begun["result"]["runId"]))["result"]["tree"]
            assert (tree["status"], tree["children"][0]["status"]) == ("completed", "completed")
            other = await s.run()
            for run_id in (ABSENT, other["run_id"]):
                assert (await ask("agent.getTree", runId=run_id))["error"] == "no_such_run"
            puppet.end()
            await s.wait(other["run_id"])
            assert (await (await asker(s, await s.thread(), transport))("agent.getTree"))["error"] == "no_such_run"

    play(story())


@both
def test_states_and_forks(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            empty = (await ask("state.get", namespace=[]))["result"]
            assert empty == {"values": {}}
            assert (await ask("state.listCheckpoints"))["result"] == {"checkpoints": []}
            for number in (1, 2, 4):
                await ended(s, await ask("run.start", assistantId="adds", input={"n": number}))
            looked = await ask("state.get", namespace=[])
            state = looked["result"]
            assert looked["meta"]["appliedThroughSeq"] == await s.storage.last_seq("", thread) > 0
            listed = (await ask("state.listCheckpoints"))["result"]["checkpoints"]
            history = (await s.get(f"/threads/{thread}/history")).json()
            assert [one["id"] for one in listed] == [one["checkpoint"]["checkpoint_id"] for one in history]
            assert state == {"values": {"sum": 7, "fileId": None}, "checkpoint": {"id": listed[0]["id"]}}
            assert (await ask("state.get", namespace=[], keys=["sum", "x"]))["result"]["values"] == {"sum": 7}
            assert (await ask("state.get", namespace=[], keys=[]))["result"]["values"] == {}
            limited = await ask("state.listCheckpoints", limit=1, before=listed[0]["id"], namespace=[])
            assert limited["result"]["checkpoints"] == [listed[1]]
            for method in ("state.get", "state.listCheckpoints"):
                assert (await ask(method, namespace=["child"]))["error"] == "no_such_namespace"
            first = next(one["id"] for one, at in zip(listed, history, strict=True) if at["values"].get("sum") == 1)
            forked = await ask("state.fork", checkpointId=first, input={"n": 100})
            assert forked["result"]["threadId"] == thread
            assert (await ended(s, forked))["values"]["sum"] == 101
            config = {"configurable": {"checkpoint_id": first, "thread_id": thread}}
            again = await ask("run.start", assistantId="adds", input={"n": 10}, config=config)
            assert (await ended(s, again))["values"]["sum"] == 11
            for method, params in [
                ("state.fork", {"checkpointId": ABSENT}),
                ("run.start", {"assistantId": "adds", "input": {"n": 1},
                               "config": {"configurable": {"checkpoint_id": ABSENT}}}),
                ("state.listCheckpoints", {"before": ABSENT}),
            ]:  # fmt: skip
                assert (await ask(method, **params))["error"] == "no_such_checkpoint", method

    play(story())


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("run.start", {"input": 1}, "assistantId"),
    ("run.start", {"assistantId": 1}, "assistantId"),
    ("run.start", {"assistantId": None}, "assistantId"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1}, "config": []}, "config"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1}, "config": {"tags": 1}}, "config.tags"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1}, "metadata": "x"}, "metadata"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1}, "multitaskStrategy": "queue"}, "multitaskStrategy"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1},
                   "config": {"configurable": {"thread_id": ABSENT}}}, "config.configurable.thread_id"),
    ("run.start", {"assistantId": "adds", "input": {"n": 1},
                   "config": {"configurable": {"checkpoint_id": 5}}}, "config.configurable.checkpoint_id"),
    ("input.respond", {}, "interruptId"),
    ("input.respond", {"namespace": [], "interruptId": "x"}, "response"),
    ("input.respond", {"namespace": [], "interruptId": 1, "response": 1}, "interruptId"),
    ("input.respond", {"responses": []}, "responses"),
    ("input.respond", {"responses": [{}]}, "responses[0].interruptId"),
    ("input.respond", {"responses": [{"interruptId": "x", "response": 1}], "interruptId": "x"}, "interruptId"),
    ("input.respond", {"interruptId": "x", "response": 1, "update": [1]}, "update"),
    ("input.respond", {"interruptId": "x", "response": 1, "goto": 1}, "goto"),
    ("agent.getTree", {"runId": 1}, "runId"),
    ("agent.getTree", {"runId": "x"}, "runId"),
    ("state.get", {"namespace": "x"}, "namespace"),
    ("state.get", {"namespace": [1]}, "namespace[0]"),
    ("state.get", {"namespace": [], "keys": "a"}, "keys"),
    ("state.listCheckpoints", {"limit": -1}, "limit"),
    ("state.listCheckpoints", {"limit": "1"}, "limit"),
    ("state.listCheckpoints", {"before": "x"}, "before"),
    ("state.fork", {}, "checkpointId"),
    ("state.fork", {"checkpointId": 1}, "checkpointId"),
    ("state.fork", {"checkpointId": "x"}, "checkpointId"),
]  # fmt: skip


@both
def test_what_is_wrong_with_a_command_is_said_with_the_field(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            for method, params, field in WRONG:
                response = await ask(method, **params)
                assert response["type"] == "error", (method, params)
                assert response["error"] == "invalid_argument", (method, params, response)
                assert response["metadata"]["field"] == field, (method, params, response)
            assert await s.storage.last_seq("", thread) == 0

    play(story())


@both
def test_every_code(server: Starter, transport: str) -> None:
    """Those that have a test of their own are left out: no_such_checkpoint, no_such_namespace."""

    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, drain_grace=0) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            await ask("run.start", assistantId="puppet", input=None)

            async def refused(method: str, **params: Any) -> tuple[str, str]:
                response = await ask(method, **params)
                assert response["message"]
                return response["error"], response["code"]

            assert await refused("run.stop") == ("unknown_command", "unknown_command")
            assert await refused("") == ("unknown_command", "unknown_command")
            assert await refused("run.start", assistantId="x", input=1) == ("invalid_argument", "agent_not_found")
            busy = await refused("run.start", assistantId="puppet", input=1, multitaskStrategy="reject")
            assert busy == ("invalid_argument", "thread_busy")
            assert await refused("agent.getTree", runId=ABSENT) == ("no_such_run", "run_not_found")
            none = await refused("input.respond", namespace=[], interruptId="x", response=1)
            assert none == ("no_such_interrupt", "no_such_interrupt")
            if transport == "http":
                for method in ("subscription.subscribe", "subscription.unsubscribe", "subscription.reconnect"):
                    assert (await refused(method))[0] == "not_supported"
            else:
                gone = await refused("subscription.unsubscribe", subscriptionId=ABSENT)
                assert gone == ("no_such_subscription", "subscription_not_found")
                assert (await refused("subscription.unsubscribe"))[0] == "no_such_subscription"
            puppet.end()
            await at_rest(s, thread)
            if transport == "http":
                await s.app.engine.drain()
                late = await refused("run.start", assistantId="puppet", input=None)
                assert late == ("unknown_error", "unavailable")

    play(story())


def test_parameters_that_mean_nothing_are_passed_over_and_named(server: Starter) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await s.thread()
            config = {"tags": ["a"], "callbacks": 1}
            done = await send(
                s, thread, "run.start", assistantId="adds", input={"n": 1}, config=config, streamMode=["values"], x=1
            )
            assert sorted(done["meta"]["ignored"]) == ["config.callbacks", "streamMode", "x"]
            await ended(s, done)
            assert "ignored" not in (await send(s, thread, "state.get", namespace=[]))["meta"]

    play(story())


@both
def test_who_reads_on_from_an_answer_is_told_the_whole_run_that_it_began(server: Starter, transport: str) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await s.thread()
            ask = await asker(s, thread, transport)
            for _ in range(2):
                begun = await ask("run.start", assistantId="adds", input={"n": 1})
                await ended(s, begun)
                behind = begun["meta"]["appliedThroughSeq"]
                told = [frame["params"]["data"]["event"] for frame in await log_of(s, thread, since=behind)
                        if frame["method"] == "lifecycle"]  # fmt: skip
                assert told == ["started", "running", "completed"]

    play(story())


def test_fields_of_a_subscription_that_mean_nothing_are_passed_over_and_named(server: Starter) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await s.thread()
            done = await ended(s, await send(s, thread, "run.start", assistantId="adds", input={"n": 1}))
            wish = {"channels": ["values"], "fields": ["n"], "runId": "x"}
            stream = connect(s, "POST", f"/threads/{thread}/stream", wish)
            await s.until(lambda: bool(stream.received))
            assert stream.headers["runyard-ignored"] == "fields, runId"
            await stream.leave()
            socket = speak(s, thread)
            response = await socket.ask("subscription.subscribe", **wish)
            assert sorted(response["meta"]["ignored"]) == ["fields", "runId"]
            id = response["result"]["subscriptionId"]
            response = await socket.ask("subscription.unsubscribe", subscriptionId=id, now=True)
            assert response["meta"]["ignored"] == ["now"]
            response = await socket.ask("subscription.reconnect", runId=done["run"]["run_id"], subscriptions=[], when=1)
            assert response["meta"]["ignored"] == ["when"]
            await socket.leave()

    play(story())


# who may


def keys() -> tuple[ApiKey, ...]:
    return (ApiKey("writes", "mia", "write"), ApiKey("reads", "mia", "read"), ApiKey("other", "noah", "write"))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def say(s: Server, thread: str, key: str, method: str, **params: Any) -> Any:
    body = {"id": 1, "method": method, "params": params}
    return await s.post(f"/threads/{thread}/commands", body, headers=bearer(key))


def test_a_key_that_reads_watches_and_looks_and_no_more(server: Starter) -> None:
    async def story() -> None:
        async with server(adds, api_keys=keys()) as s:
            thread = (await s.post("/threads", {}, headers=bearer("writes"))).json()["thread_id"]
            begun = (await say(s, thread, "writes", "run.start", assistantId="adds", input={"n": 1})).json()
            await s.until(lambda: holds(s.storage.run("mia", begun["result"]["runId"]), lambda found: found.finished))
            socket = speak(s, thread, **bearer("reads"))
            told = await socket.ask("subscription.subscribe", channels=["values"], since=0)
            assert told["result"]["replayedEvents"] == 1
            checkpoint = (await socket.ask("state.listCheckpoints"))["result"]["checkpoints"][0]["id"]
            for method, params in [
                ("agent.getTree", {}), ("state.get", {"namespace": []}), ("state.listCheckpoints", {}),
                ("run.start", {"assistantId": "adds", "input": {"n": 1}}), ("state.fork", {"checkpointId": checkpoint}),
                ("input.respond", {"namespace": [], "interruptId": "x", "response": 1}),
            ]:  # fmt: skip
                expected = None if method in ("agent.getTree", "state.get", "state.listCheckpoints") else (
                    "permission_denied"
                )  # fmt: skip
                over_http = check_response((await say(s, thread, "reads", method, **params)).json())
                over_socket = check_response(await socket.ask(method, **params))
                assert (over_http.get("error"), over_socket.get("error")) == (expected, expected), method
            await socket.leave()

    play(story())


def test_another_owners_thread_is_not_there(server: Starter) -> None:
    async def story() -> None:
        async with server(adds, api_keys=keys()) as s:
            thread = (await s.post("/threads", {}, headers=bearer("writes"))).json()["thread_id"]
            foreign = speak(s, thread, **bearer("other"))
            own = speak(s, thread, **bearer("writes"))
            for socket in (foreign, own):
                await socket.ask("subscription.subscribe", channels=["lifecycle", "values"], since=0)
            await own.ask("run.start", assistantId="adds", input={"n": 1})
            await s.until(lambda: any(word(event) == "completed" for event in own.events))
            assert foreign.events == []
            for method in ("state.get", "state.listCheckpoints", "agent.getTree"):
                assert (await say(s, thread, "other", method)).status_code == 404
                assert (await foreign.ask(method))["error"] == "no_such_run"
            # A thread's id is one owner's: to another it says no more than that it cannot be made.
            response = (await say(s, thread, "other", "run.start", assistantId="adds", input={"n": 5})).json()
            assert "mia" not in json.dumps(response)
            assert [word(event) for event in own.events].count("completed") == 1
            await foreign.leave()
            await own.leave()

    play(story())


def test_without_a_key_nothing_opens(server: Starter) -> None:
    async def story() -> None:
        async with server(adds, api_keys=keys()) as s:
            thread = ABSENT
            assert (await s.post(f"/threads/{thread}/stream", {"channels": ["values"]})).status_code == 401
            assert (await s.post(f"/threads/{thread}/commands", {"id": 1, "method": "state.get"})).status_code == 401
            socket = await speak(s, thread).end()
            assert (socket.accepted, socket.status, json.loads(socket.refusal)["code"]) == (False, 401, "unauthorized")

    play(story())


def test_all_commands_of_the_protocol_are_known(server: Starter) -> None:
    async def story() -> None:
        async with server(adds) as s:
            thread = await a_thread_with_a_run(s)
            socket = speak(s, thread)
            for method in PARAMETERS:
                for response in (await socket.ask(method), (await http(s, thread, method))):
                    assert response.get("error") != "unknown_command"
            assert isinstance(socket, Socket)
            await socket.leave()

    play(story())


async def http(s: Server, thread: str, method: str) -> dict[str, Any]:
    return (await s.post(f"/threads/{thread}/commands", {"id": 1, "method": method})).json()


async def a_thread_with_a_run(s: Server) -> str:
    thread = await s.thread()
    await ended(s, await send(s, thread, "run.start", assistantId="adds", input={"n": 1}))
    return thread
