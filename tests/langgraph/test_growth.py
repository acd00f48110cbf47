"""A long conversation: a turn costs what it adds, at the end as at the beginning."""

from __future__ import annotations

import apsw
import msgspec
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from live_server import Starter, play

from runyard import graph
from runyard.storage.sqlite.writer import Writer

EARLY, LATE = 10, 150
CONSTANT = 2_600
"""Bytes that a turn may take beside three times what it adds: three steps' versions and metadata, and the message that
came in once more."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the writer executes, but for the brackets of its transactions."""
    seen: list[str] = []
    prepare = Writer._prepare

    def watched(self: Writer) -> None:
        prepare(self)

        def note(told: dict[str, str]) -> None:
            if not told["trigger"] and not told["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")):
                seen.append(told["sql"])

        self._connection.trace_v2(apsw.SQLITE_TRACE_STMT, note)

    monkeypatch.setattr(Writer, "_prepare", watched)
    return seen


@pytest.mark.sqlite("it counts what the writer of the file executes")
def test_a_turn_costs_what_it_adds(server: Starter, statements: list[str]) -> None:
    def reply(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [AIMessage("an answer of some length. " * 8)]}

    chat = graph(StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply"), id="chat")
    took: dict[int, int] = {}

    async def story() -> None:
        async with server(chat) as s:
            thread = await s.thread()
            for turn in range(LATE + 1):
                before = len(statements)
                message = {"role": "user", "content": "and what does that mean?", "id": f"q{turn}"}
                done = await s.post(f"/threads/{thread}/runs/wait", {"messages": [message]})
                assert done.json()["status"] == "success"
                took[turn] = len(statements) - before
            state = len(msgspec.json.encode(done.json()["messages"]))
            database = apsw.Connection(str(s.storage.path), flags=apsw.SQLITE_OPEN_READONLY)
            kept = database.execute("SELECT sum(length(body)) FROM checkpoints").get
            kept += database.execute("SELECT coalesce(sum(length(value)), 0) FROM pending_writes").get
            database.close()
            assert kept <= 3 * state + CONSTANT * (LATE + 1)

    play(story())
    # Commits gather differently from turn to turn; the number of statements does not depend on what came before.
    assert min(took[turn] for turn in range(LATE - 10, LATE + 1)) <= max(took[turn] for turn in range(1, EARLY))
