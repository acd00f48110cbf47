"""A supervisor hands over to two subgraphs, each with a state of its own.

The supervisor is a model whose tool calls say who goes on. The researcher is a subgraph as a plain node: an edge leads
back to the supervisor. The writer hands back by itself, with a `Command` that goes to the parent graph. What they keep
to themselves (`sources`, `draft`) is not in the thread's state. With `stream_subgraphs` their events come
too, named after the place they come from: `updates|researcher:...`.

    runyard serve examples/graphs/supervisor.py

    curl -sN localhost:8000/runs/stream -H 'Content-Type: application/json' \
      -d '{"agent_id": "supervisor", "stream_mode": "updates", "stream_subgraphs": true,
           "input": {"messages": [{"role": "user", "content": "Write about the tides."}]}}'

From Python:

    with ap_client.Runyard() as ry:
        run = ry.run("supervisor", messages=[{"role": "user", "content": "Write about bees."}])
        print(run.result()["text"])
"""

from typing import Any, Literal

from _scripted_model import ScriptedModel, calls, question
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

LIBRARY = {
    "tides": ["The moon pulls the ocean.", "The tide rises twice a day."],
    "bees": ["A bee visits a thousand flowers a day.", "A hive is warm all winter."],
}


class State(MessagesState):
    """What all share: the conversation, what was found, what was written."""

    notes: list[str]
    text: str


class Research(MessagesState):
    """The researcher's own."""

    sources: list[str]
    notes: list[str]


class Writing(TypedDict):
    """The writer's own."""

    notes: list[str]
    draft: str


SUPERVISOR = ScriptedModel(
    script=[
        calls(("hand_over", {"to": "researcher"})),
        calls(("hand_over", {"to": "writer"})),
        AIMessage("The text is written."),
    ]
)
WRITER = ScriptedModel(script=[lambda messages: AIMessage("In short: " + messages[-1].text)])


async def supervisor_node(state: State) -> Command[Literal["researcher", "writer", "__end__"]]:
    """Asks the model who is next."""
    said = await SUPERVISOR.ainvoke(state["messages"])
    if not said.tool_calls:
        return Command(goto=END, update={"messages": [said]})
    call = said.tool_calls[0]
    handed = ToolMessage(f"{call['args']['to']} has taken over", tool_call_id=call["id"])
    return Command(goto=call["args"]["to"], update={"messages": [said, handed]})


def find_sources(state: Research) -> dict[str, list[str]]:
    asked = question(state["messages"]).lower()
    return {"sources": [topic for topic in LIBRARY if topic in asked]}


def take_notes(state: Research) -> dict[str, list[str]]:
    return {"notes": [fact for source in state["sources"] for fact in LIBRARY[source]]}


async def write_draft(state: Writing) -> dict[str, str]:
    notes = HumanMessage(" ".join(state["notes"]) or "nothing is known.")
    return {"draft": (await WRITER.ainvoke([notes])).text}


def hand_back(state: Writing) -> Command[Any]:
    return Command(graph=Command.PARENT, goto="supervisor", update={"text": state["draft"]})


_researcher = StateGraph(Research).add_sequence([find_sources, take_notes]).add_edge(START, "find_sources")
_writer = StateGraph(Writing).add_sequence([write_draft, hand_back]).add_edge(START, "write_draft")

_builder = StateGraph(State)
_builder.add_node("supervisor", supervisor_node)
_builder.add_node("researcher", _researcher.compile())
_builder.add_node("writer", _writer.compile(), destinations=("supervisor",))
_builder.add_edge(START, "supervisor")
_builder.add_edge("researcher", "supervisor")

supervisor = _builder.compile()
