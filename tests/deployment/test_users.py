"""What agents know of the user for whom they execute, and that nobody else is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from auth_attempts import Attempt, Watch
from live_server import play
from projects import Guard

from runyard.crons import Cron
from runyard.users import User, with_user

GRAPH = """
import time
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime

MADE = []


class State(TypedDict, total=False):
    log: Any
    asked: Any


def look(state: State, config: RunnableConfig) -> Any:
    known = config["configurable"]
    user = known.get("langgraph_auth_user")
    return {"log": [
        user and user.identity, user and user["team"], known.get("langgraph_auth_user_id"),
        known.get("langgraph_auth_permissions"), user and get_runtime().server_info.user.identity,
    ]}


def ask(state: State, config: RunnableConfig) -> Any:
    answer = interrupt("sure?")
    return {"asked": [answer, config["configurable"]["langgraph_auth_user"].identity]}


chat = StateGraph(State).add_node("look", look).add_edge(START, "look").compile()
asks = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()


def made(runtime: ServerRuntime) -> Any:
    MADE.append((runtime.access_context, runtime.user and runtime.user.identity))
    return chat
"""
GRAPHS = {"graphs": {name: f"./graph.py:{name}" for name in ("chat", "asks", "made")}}
FORGED = {"configurable": {"langgraph_auth_user": {"identity": "root"}, "langgraph_auth_user_id": "root", "kept": 1}}


def test_a_graph_knows_its_user_by_the_words_of_langgraph(guard: Guard, tmp_path: Path) -> None:
    expected = ["ada", "crimson", "ada", ["talk"], "ada"]

    async def story() -> None:
        (tmp_path / "graph.py").write_text(GRAPH)
        async with guard("own", manifest=GRAPHS) as s:
            run = {"agent_id": "chat", "input": {"log": []}, "config": FORGED}
            thread_id = await s.thread("ada")
            ran = await s.post("ada", f"/threads/{thread_id}/runs/wait", run)
            assert ran.json()["values"]["log"] == expected
            body = {"assistant_id": "chat", "input": {"log": []}, "config": FORGED}
            assert (await s.post("ada", "/langgraph/runs/wait", body)).json()["log"] == expected
            # An answer is given by somebody else than the question was asked for.
            shared = {"threads": None}
            s.rules.RULES.update(shared)
            at = f"/threads/{await s.thread('ada')}"
            await s.post("ada", f"{at}/runs/wait", {"agent_id": "asks", "input": {"log": []}})
            answered = await s.post("bob", f"{at}/runs/wait", {"command": {"resume": "yes"}})
            assert answered.json()["values"]["asked"] == ["yes", "bob"]

    play(story())


def test_a_factory_is_given_the_user_of_whoever_asks(guard: Guard, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "graph.py").write_text(GRAPH)
        async with guard("own", manifest=GRAPHS) as s:
            module = s.module("graph.py")
            thread_id = await s.thread("ada", metadata={"graph_id": "made"})
            await s.post("ada", f"/threads/{thread_id}/runs/wait", {"agent_id": "made", "input": {"log": []}})
            await s.get("ada", f"/langgraph/threads/{thread_id}/state")
            assert module.MADE[-2:] == [("threads.create_run", "ada"), ("threads.read", "ada")]

    play(story())


def test_a_function_knows_its_user_and_no_client_says_who_that_is(guard: Guard) -> None:
    async def story() -> None:
        async with guard() as s:
            run = {"agent_id": "who", "input": 1, "config": FORGED}
            known = (await s.post("ada", "/runs/wait", run)).json()["values"]["known"]
            assert known["langgraph_auth_user"] == {
                "identity": "ada", "display_name": "ada", "is_authenticated": True, "permissions": ["talk"],
                "team": "crimson",
            }  # fmt: skip
            assert (known["langgraph_auth_user_id"], known["kept"]) == ("ada", 1)

    play(story())


def test_without_auth_a_client_says_nothing_of_a_user_either() -> None:
    assert with_user({"configurable": {"langgraph_auth_user": 1, "a": 2}}, None) == {"configurable": {"a": 2}}
    assert with_user({}, None) == {}


def test_nobody_is_shown_the_user_of_a_run(guard: Guard) -> None:
    """What `authenticate` knows of a user may be a secret, a token for another service say."""

    async def story() -> None:
        async with guard() as s:
            s.rules.RULES["*"] = None
            thread_id = await s.thread("ada")
            opened = Attempt("open", "POST", f"/threads/{thread_id}/stream", {"channels": _CHANNELS}, {})
            watch = Watch(s, "ada", opened)
            await s.server.until(lambda: bool(watch.text))
            hook = {"webhook": "https://example.invalid/", "input": '"acting":', "stream_mode": ["values", "updates"]}
            ran = await s.post("ada", f"/threads/{thread_id}/runs/stream", hook)
            run_id = ran.headers["location"].rpartition("/")[2]
            told = [ran.text]
            for path in (
                f"/runs/{run_id}", f"/runs/{run_id}/wait", f"/threads/{thread_id}", f"/threads/{thread_id}/history",
                f"/langgraph/threads/{thread_id}/runs/{run_id}", f"/langgraph/threads/{thread_id}/runs",
                f"/langgraph/threads/{thread_id}/state",
            ):  # fmt: skip
                answer = await s.get("ada", path)
                assert answer.status_code == 200, answer.text
                told.append(answer.text)
            told.append((await s.post("ada", "/runs/search")).text)
            (delivery,) = (await s.post("ada", "/webhooks/search")).json()
            told.append((await s.get("ada", f"/webhooks/{delivery['delivery_id']}")).text)
            await s.server.until(lambda: "completed" in watch.text)
            await watch.leave()
            for text in (*told, watch.text):
                assert "crimson" not in text
                assert '"acting":{' not in text
            assert '\\"acting\\":' in told[1], "what only looks like it stays"

    play(story())


_CHANNELS = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]


def test_a_cron_makes_its_runs_for_who_made_it(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            thread_id = await s.thread("ada")
            body = {"assistant_id": "who", "schedule": "0 0 1 1 *", "input": 1}
            alone = await s.post("ada", "/langgraph/runs/crons", {**body, "on_run_completed": "keep"})
            bound = await s.post("ada", f"/langgraph/threads/{thread_id}/runs/crons", body)
            for cron in (alone.json(), bound.json()):
                assert cron["payload"].keys() == {"assistant_id", "schedule", "input"}
                assert (cron["user_id"], cron["metadata"]) == ("ada", {"owner": "ada"})
                made = await s.server.app.engine.verbs.create_run("", await _wish(s, cron["cron_id"]))
                done = (await s.get("ada", f"/runs/{made.run.run_id}/wait")).json()
                assert done["values"]["known"]["langgraph_auth_user"]["team"] == "crimson"
                assert (await s.get("bob", f"/runs/{made.run.run_id}")).status_code == 404
            refused = await s.post("bob", f"/langgraph/threads/{thread_id}/runs/crons", body)
            assert refused.status_code == 404
            # The thread of a cron may become somebody else's: then it makes no runs there.
            await s.server.storage.patch_thread("", thread_id, 1, metadata={"owner": "bob"})
            with pytest.raises(Exception, match=f"thread {thread_id} does not exist"):
                await s.server.app.engine.verbs.create_run("", await _wish(s, bound.json()["cron_id"]))

    play(story())


async def _wish(s: Any, cron_id: str) -> Any:
    cron: Cron = await s.server.storage.cron("", cron_id)
    return await s.server.app.engine.timetable._wish(cron)


def test_a_user_says_little_of_itself_and_survives_a_copy() -> None:
    import pickle

    user = User({"identity": "ada", "token": "s3cr3t", "permissions": ["a"]})
    assert "s3cr3t" not in repr(user)
    assert pickle.loads(pickle.dumps(user)) == user
    assert (user.token, dict(user)["token"], user.get("none")) == ("s3cr3t", "s3cr3t", None)
    with pytest.raises(AttributeError, match="no 'team'"):
        _ = user.team


INSIDE = """
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client


class State(TypedDict, total=False):
    headers: dict[str, str]
    told: Any


async def ask(state: State) -> Any:
    client = get_client(headers=state["headers"])
    try:
        return {"told": await client.threads.count()}
    except Exception as error:
        return {"told": error.response.status_code}


asks = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
"""


def test_what_agents_ask_the_server_from_inside_is_asked_for_its_user_too(guard: Guard, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "inside.py").write_text(INSIDE)
        async with guard("own", manifest={"graphs": {"asks": "./inside.py:asks"}}) as s:
            for _ in range(3):
                await s.thread("bob")

            async def told(headers: dict[str, str]) -> Any:
                run = {"agent_id": "asks", "input": {"headers": headers}}
                return (await s.post("ada", "/runs/wait", run)).json()["values"]["told"]

            assert await told({}) == 401
            assert await told({"Authorization": "Bearer bob"}) == 3
            assert await told({"Authorization": "Bearer ada"}) == 0

    play(story())
