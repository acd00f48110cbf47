"""A conversation with a model that looks things up: the loop of model and tools, drawn by hand.

The model's answer streams token by token, its call of a tool and the result are messages of the thread like any other,
and the next run on the thread goes on with the conversation.

    runyard serve examples/graphs/chat_with_tools.py

    curl -sN localhost:8000/runs/stream -H 'Content-Type: application/json' \
      -d '{"agent_id": "chat_with_tools", "stream_mode": ["messages", "updates"],
           "messages": [{"role": "user", "content": "How many lamps have we got?"}]}'

From Python:

    with ap_client.Runyard() as ry:
        talk = ry.thread()
        talk.run("chat_with_tools", messages=[{"role": "user", "content": "And how many chairs?"}]).show()
"""

import re
from collections.abc import Sequence

from _scripted_model import ScriptedModel, calls, question
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

STOCK = {"lamp": 12, "chair": 4, "table": 0}


@tool
def count_stock(item: str) -> int:
    """How many of an item lie in the store room."""
    if item not in STOCK:
        raise ValueError(f"no item {item!r}: the store room has {', '.join(STOCK)}")
    return STOCK[item]


def look_up(messages: Sequence[BaseMessage]) -> AIMessage:
    """The script's first line: a call of the tool where the question is about an item, else an answer."""
    asked = re.search(r"how many (\w+?)s?\b", question(messages), re.IGNORECASE)
    if asked is None:
        return AIMessage("Ask me how many of something we have.")
    return calls(("count_stock", {"item": asked[1].lower()}), text="Let me look.")


def tell(messages: Sequence[BaseMessage]) -> AIMessage:
    """Its second: what the tool found, in a sentence."""
    found = messages[-1].text
    return AIMessage(f"There are {found} of them in the store room." if found.isdigit() else f"Sorry: {found}")


MODEL = ScriptedModel(script=[look_up, tell]).bind_tools([count_stock])


async def model(state: MessagesState) -> MessagesState:
    """One turn of the model."""
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


_builder = StateGraph(MessagesState)
_builder.add_node("model", model)
_builder.add_node("tools", ToolNode([count_stock], handle_tool_errors=lambda error: str(error)))
_builder.add_edge(START, "model")
_builder.add_conditional_edges("model", tools_condition)
_builder.add_edge("tools", "model")

chat_with_tools = _builder.compile()
