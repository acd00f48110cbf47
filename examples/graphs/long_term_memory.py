"""A model that remembers what it was told, in every conversation with the same person.

A thread has its own state; the store belongs to all. A tool puts facts there, under the name of the person, and what is
there comes before each conversation. Who speaks is said by the run's `context`. `GET /store/items` and the
other routes of the store see the same facts.

    runyard serve examples/graphs/long_term_memory.py

    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "long_term_memory", "context": {"user": "ada"},
           "messages": [{"role": "user", "content": "Remember that I drink tea."}]}'
    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "long_term_memory", "context": {"user": "ada"},
           "messages": [{"role": "user", "content": "What do you know of me?"}]}'

From Python, what it knows of her:

    with ap_client.Runyard() as ry:
        print([item.value["fact"] for item in ry.store.search(["memories", "ada"])])
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from _scripted_model import ScriptedModel, calls, question
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode, ToolRuntime, tools_condition
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore


@dataclass
class Speaker:
    """Who speaks: the context of a run."""

    user: str


def memories_of(user: str) -> tuple[str, str]:
    """The namespace of what is known of a person."""
    return ("memories", user)


@tool
async def remember(fact: str, store: Annotated[BaseStore, InjectedStore()], runtime: ToolRuntime[Speaker]) -> str:
    """Keep a fact about the person who speaks."""
    # A key made of the fact: it is kept once, however often it is told.
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, fact))
    await store.aput(memories_of(runtime.context.user), key, {"fact": fact})
    return "kept"


def listen(messages: Sequence[BaseMessage]) -> AIMessage:
    """The script's first line: keeps what is to be kept, else tells what it knows."""
    told = re.search(r"remember that (.+?)\.?$", question(messages), re.IGNORECASE)
    if told is not None:
        return calls(("remember", {"fact": told[1]}))
    known = [message.text for message in messages if isinstance(message, SystemMessage)]
    return AIMessage(f"You told me: {'; '.join(known)}." if known else "You have told me nothing yet.")


MODEL = ScriptedModel(script=[listen, AIMessage("I will remember it.")]).bind_tools([remember])


async def model(state: MessagesState, runtime: Runtime[Speaker]) -> MessagesState:
    """One turn of the model, which is told first what is known of the person."""
    assert runtime.store is not None
    known = await runtime.store.asearch(memories_of(runtime.context.user), limit=100)
    facts = sorted(str(item.value["fact"]) for item in known)
    return {"messages": [await MODEL.ainvoke([*map(SystemMessage, facts), *state["messages"]])]}


_builder = StateGraph(MessagesState, context_schema=Speaker)
_builder.add_node("model", model)
_builder.add_node("tools", ToolNode([remember]))
_builder.add_edge(START, "model")
_builder.add_conditional_edges("model", tools_condition)
_builder.add_edge("tools", "model")

long_term_memory = _builder.compile()
