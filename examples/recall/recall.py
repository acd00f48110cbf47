"""A graph that recalls the notes that are nearest to a question, however many it has taken.

`store.index` in `langgraph.json` says what makes vectors of notes: here a toy that counts words, elsewhere a model.
Input is a `note` to keep, or a `question`. It takes `pip install 'runyard[langgraph,vectors]'`.

    runyard serve examples/recall/langgraph.json

    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "recall", "input": {"note": "The ferry to the island leaves at nine."}}'
    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "recall", "input": {"question": "When does the ferry leave?"}}'

Without the graph, over HTTP:

    curl -s localhost:8000/store/items/search -H 'Content-Type: application/json' \
      -d '{"namespace_prefix": ["notes"], "query": "ferry", "limit": 3}'
"""

import uuid

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

NOTES = ("notes",)


class Recall(TypedDict, total=False):
    """A note to keep or a question, and the notes that are nearest to it."""

    note: str
    question: str
    found: list[str]


async def keep(state: Recall, runtime: Runtime) -> Recall:
    """Keeps a note, once however often it is told."""
    assert runtime.store is not None
    note = state.get("note")
    if note is not None:
        await runtime.store.aput(NOTES, str(uuid.uuid5(uuid.NAMESPACE_OID, note)), {"text": note})
    return {}


async def look(state: Recall, runtime: Runtime) -> Recall:
    """Finds the three nearest notes that have anything to do with the question."""
    assert runtime.store is not None
    if "question" not in state:
        return {"found": []}
    near = await runtime.store.asearch(NOTES, query=state["question"], limit=3)
    return {"found": [item.value["text"] for item in near if item.score and item.score > 0]}


recall = (
    StateGraph(Recall)
    .add_node("keep", keep)
    .add_node("look", look)
    .add_edge(START, "keep")
    .add_edge("keep", "look")
    .compile()
)
