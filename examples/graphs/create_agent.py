"""LangChain's `create_agent`: a model, tools, an answer of a fixed form, and a limit on calls by middleware.

It compares two cities: one message calls the tool for both of them, and both calls are carried out at the same time.
What the agent found is in the state as `structured_response`, beside the conversation.

    runyard serve examples/graphs/create_agent.py

    curl -sN localhost:8000/runs/stream -H 'Content-Type: application/json' \
      -d '{"agent_id": "create_agent", "stream_mode": ["messages", "updates"],
           "messages": [{"role": "user", "content": "Which is larger, Oslo or Bergen?"}]}'

From Python:

    with ap_client.Runyard() as ry:
        run = ry.run("create_agent", messages=[{"role": "user", "content": "Which is larger, Bergen or Tromso?"}])
        print(run.result()["structured_response"])
"""

from collections.abc import Sequence

from _scripted_model import ScriptedModel, calls, question
from langchain import agents
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

INHABITANTS = {"Oslo": 717_710, "Bergen": 291_940, "Tromso": 78_745}


class Larger(BaseModel):
    """Which of two cities is the larger one."""

    city: str
    inhabitants: int


@tool
async def inhabitants(city: str) -> int:
    """How many people live in a city."""
    return INHABITANTS[city]


def look_up(messages: Sequence[BaseMessage]) -> AIMessage:
    """The script's first line: a call for each city of the question, in one message."""
    named = [city for city in INHABITANTS if city in question(messages)]
    return calls(*(("inhabitants", {"city": city}) for city in named), text="I look them up.")


def compare(messages: Sequence[BaseMessage]) -> AIMessage:
    """Its second: the answer, in the form that was asked for."""
    asked = next(message for message in reversed(messages) if isinstance(message, AIMessage))
    results = messages[messages.index(asked) + 1 :]
    found = {message.tool_call_id: int(message.text) for message in results if isinstance(message, ToolMessage)}
    sizes = {call["args"]["city"]: found[str(call["id"])] for call in asked.tool_calls}
    city = max(sizes, key=lambda city: sizes[city])
    return calls(("Larger", {"city": city, "inhabitants": sizes[city]}))


create_agent = agents.create_agent(
    ScriptedModel(script=[look_up, compare]),
    [inhabitants],
    system_prompt="You know how many people live where.",
    response_format=ToolStrategy(Larger),
    middleware=[ModelCallLimitMiddleware(run_limit=5)],
)
