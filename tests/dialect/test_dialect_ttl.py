"""How long threads are kept, through LangGraph's SDK, on a server whose time is moved."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from dialect_agents import asks, counts
from dialect_server import Dialect, dialect_server
from langgraph.graph import END, START, StateGraph
from langgraph_sdk.errors import NotFoundError
from live_server import MovableClock
from typing_extensions import TypedDict

from runyard import graph
from runyard.clock import rfc3339

MINUTE = 60.0
Pass = Callable[[float], None]


class Counted(TypedDict, total=False):
    seen: Annotated[list[int], operator.add]


class Memory(TypedDict, total=False):
    notes: Annotated[list[str], operator.add]


def remembers() -> Any:
    """A graph with a subgraph that has its state from run to run."""
    inner = StateGraph(Memory)
    inner.add_node("note", lambda state: {"notes": ["noted"]})
    inner.add_edge(START, "note")
    inner.add_edge("note", END)
    memory = inner.compile(checkpointer=True)
    outer = StateGraph(Counted)
    outer.add_node("inner", lambda state: {"seen": [len(memory.invoke({})["notes"])]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", END)
    return outer.compile()


@pytest.fixture(scope="module")
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, clock: MovableClock) -> Iterator[Dialect]:
    agents = [counts, asks, graph(remembers(), id="remembers")]
    with dialect_server(tmp_path_factory.mktemp("ttl"), agents=agents, clock=clock) as found:
        yield found


@pytest.fixture
def after(served: Dialect, clock: MovableClock) -> Pass:
    """`after(minutes)`: so much time has passed, and a sweep has ended since."""

    async def moved(minutes: float) -> None:
        clock.move(minutes * MINUTE)
        await served.app.engine.reaper.run_once()

    return lambda minutes: served.on_server(moved(minutes))


def is_there(served: Dialect, thread_id: str) -> bool:
    return served.http.get(f"/threads/{thread_id}").status_code == 200


def ttl_of(served: Dialect, thread_id: str) -> Any:
    return served.sync.threads.get(thread_id, include=["ttl"])["ttl"]  # type: ignore[typeddict-item]


def sums(served: Dialect, thread_id: str) -> list[int]:
    """What the states of a history hold, newest first."""
    return [state["values"]["sum"] for state in served.sync.threads.get_history(thread_id)]


def count(served: Dialect, thread_id: str, times: int = 1) -> None:
    for _ in range(times):
        served.sync.runs.wait(thread_id, "counts", input={"n": 1})


def test_a_time_is_told_as_it_was_given(served: Dialect, clock: MovableClock) -> None:
    given = served.sync.threads.create(ttl=1.5)  # type: ignore[arg-type]
    thread_id = given["thread_id"]
    assert "ttl" not in given
    assert "ttl" not in served.sync.threads.get(thread_id)
    expires_at = rfc3339(clock.now() + 90_000_000)
    assert ttl_of(served, thread_id) == {"strategy": "delete", "ttl_minutes": 1.5, "expires_at": expires_at}
    served.sync.threads.update(thread_id, metadata={}, ttl={"ttl": 10, "strategy": "keep_latest"})
    assert (ttl_of(served, thread_id)["strategy"], ttl_of(served, thread_id)["ttl_minutes"]) == ("keep_latest", 10)
    for unchanged in ({"metadata": {"a": 1}}, {}):
        served.http.patch(f"/threads/{thread_id}", json=unchanged)
        assert ttl_of(served, thread_id)["ttl_minutes"] == 10
    assert served.http.patch(f"/threads/{thread_id}", json={"ttl": 0.1}).status_code == 200
    assert ttl_of(served, thread_id)["ttl_minutes"] == 0.1
    served.sync.threads.update(thread_id, metadata={}, ttl={"ttl": None})
    assert ttl_of(served, thread_id) is None
    served.sync.threads.update(thread_id, metadata={}, ttl=7)
    assert served.http.patch(f"/threads/{thread_id}", json={"ttl": None}).status_code == 200
    assert ttl_of(served, thread_id) is None


def test_a_thread_goes_when_it_has_not_changed_for_its_time(served: Dialect, after: Pass) -> None:
    short, other = served.thread(ttl=5), served.thread()
    after(4)
    count(served, short)
    after(4)
    assert served.sync.threads.create(thread_id=short, if_exists="do_nothing", ttl=500)["values"] == {
        **served.sync.threads.get(short)["values"]
    }
    assert ttl_of(served, short)["ttl_minutes"] == 5
    run = served.sync.runs.list(short)[0]
    after(1)
    with pytest.raises(NotFoundError):
        served.sync.threads.get(short)
    with pytest.raises(NotFoundError):
        served.sync.runs.get(short, run["run_id"])
    assert is_there(served, other)
    # Its id is free, for a run that makes its thread, too; that has no time of its own.
    served.sync.runs.wait(short, "counts", input={"n": 1}, if_not_exists="create")
    assert (ttl_of(served, short), sums(served, short)) == (None, [1])
    after(10_000)
    assert is_there(served, short)


def test_a_history_is_cut_and_grows_and_is_cut_again(served: Dialect, after: Pass) -> None:
    thread_id = served.thread(ttl={"ttl": 5, "strategy": "keep_latest"}, metadata={"who": "mia"})
    count(served, thread_id, 3)
    copy = served.sync.threads.copy(thread_id)["thread_id"]
    after(4)
    assert sums(served, thread_id) == [3, 2, 1]
    after(1)
    assert sums(served, thread_id) == [3]
    told = served.sync.threads.get(thread_id)
    assert (told["values"]["sum"], told["metadata"]["who"], told["status"]) == (3, "mia", "idle")
    assert len(served.sync.runs.list(thread_id)) == 3
    assert (ttl_of(served, copy), sums(served, copy)) == (None, [3, 2, 1])
    after(100)
    count(served, thread_id)
    assert sums(served, thread_id) == [4, 3]
    after(4)
    assert sums(served, thread_id) == [4, 3]
    after(1)
    assert sums(served, thread_id) == [4]
    count(served, copy)
    assert sums(served, copy)[:2] == [4, 3]


def test_a_delayed_run_and_a_cron_keep_their_thread(served: Dialect, after: Pass) -> None:
    delayed, fires = served.thread(ttl=5), served.thread(ttl=5)
    run = served.sync.runs.create(delayed, "counts", input={}, after_seconds=3600 * 24)
    cron: Any = served.sync.crons.create_for_thread(fires, "counts", schedule="0 0 1 1 *", input={})
    after(60)
    assert is_there(served, delayed)
    assert is_there(served, fires)
    served.sync.runs.cancel(delayed, run["run_id"], wait=True)
    served.sync.crons.delete(cron["cron_id"])
    after(60)
    assert not is_there(served, delayed)
    assert not is_there(served, fires)


def test_a_question_that_nobody_answers_goes_with_its_thread_and_is_never_cut(served: Dialect, after: Pass) -> None:
    goes, stays = served.thread(ttl=5), served.thread(ttl={"ttl": 5, "strategy": "keep_latest"})
    count(served, stays)
    for thread_id in (goes, stays):
        served.sync.runs.wait(thread_id, "asks", input={})
    after(60)
    assert not is_there(served, goes)
    assert len(served.sync.threads.get_history(stays)) > 1
    answered: Any = served.sync.runs.wait(stays, "asks", command={"resume": "yes"})
    assert answered["answer"] == "yes"
    after(5)
    assert len(served.sync.threads.get_history(stays)) == 1


@pytest.mark.parametrize("how", ["its time", "pruned"])
def test_a_subgraph_remembers_what_came_before_the_cut(how: str, served: Dialect, after: Pass) -> None:
    thread_id = served.thread(ttl={"ttl": 5, "strategy": "keep_latest"})
    for _ in range(2):
        values: Any = served.sync.runs.wait(thread_id, "remembers", input={})
    assert values["seen"] == [1, 2]
    if how == "pruned":
        served.sync.threads.prune([thread_id], strategy="keep_latest")
    else:
        after(5)
    assert len(served.sync.threads.get_history(thread_id)) == 1
    values = served.sync.runs.wait(thread_id, "remembers", input={})
    assert values["seen"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ttl", "named"),
    [
        (0, "ttl"), (-1, "ttl"), (1e9, "ttl"), ("soon", "ttl"), (True, "ttl"), ([], "ttl"), ({}, "ttl"),
        ({"ttl": 0}, "ttl.ttl"), ({"ttl": -5}, "ttl.ttl"), ({"ttl": 1e9}, "ttl.ttl"), ({"ttl": "1"}, "ttl.ttl"),
        ({"strategy": "delete"}, "ttl"), ({"ttl": 1, "strategy": "burn"}, "ttl.strategy"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_its_name(ttl: Any, named: str, served: Dialect) -> None:
    thread_id = str(uuid.uuid4())
    kept = served.thread(ttl=5)
    for answer in (
        served.http.post("/threads", json={"thread_id": thread_id, "ttl": ttl}),
        served.http.patch(f"/threads/{kept}", json={"ttl": ttl}),
    ):
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(named), answer.text
    assert not is_there(served, thread_id)
    assert ttl_of(served, kept)["ttl_minutes"] == 5


def test_what_is_no_number_is_refused(served: Dialect) -> None:
    for text in ("NaN", "Infinity", "1e999"):
        body = f'{{"ttl": {text}}}'
        answer = served.http.post("/threads", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, text


def test_the_other_face_has_no_such_field(served: Dialect) -> None:
    answer = served.native.post("/threads", json={"ttl": 5})
    assert (answer.status_code, "ttl" in answer.text) == (422, True)
