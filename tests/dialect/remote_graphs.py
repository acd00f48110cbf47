"""Graphs that others reach from elsewhere: as a `RemoteGraph`, or as what a deep agent starts beside itself."""

from __future__ import annotations

import threading
from typing import Any

from asking_graphs import AROUND, ASKING

from runyard import graph

AGENTS = [graph(ASKING, id="asking"), graph(AROUND, id="around")]

HELPS = threading.Event()
"""Lets the helper of a deep agent answer."""


def deep_agents() -> list[Any]:
    """A deep agent that has another one look for an answer, and says when it has it."""
    from deepagents import create_deep_agent
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Scripted(BaseChatModel):
        helps: bool

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            said = self.helper(messages) if self.helps else self.boss(messages[-1])
            return ChatResult(generations=[ChatGeneration(message=said)])

        def helper(self, messages: list[BaseMessage]) -> AIMessage:
            HELPS.wait(20)
            asked = [message.text for message in messages if message.type == "human"]
            return AIMessage(f"42, to {' and '.join(asked)}")

        def boss(self, last: BaseMessage) -> AIMessage:
            if isinstance(last, ToolMessage):
                return AIMessage(f"I have: {last.text}")
            if "task-notification" in last.text:
                return AIMessage("the helper says 42" if "42" in last.text else "the helper has failed")
            tool, _, rest = last.text.partition(" ")
            task, _, message = rest.partition(" ")
            given: dict[str, Any] = {"task_id": task}
            if tool == "start_async_task":
                given = {"description": rest, "subagent_type": "helper"}
            elif message:
                given["message"] = message
            elif tool == "list_async_tasks":
                given = {}
            return AIMessage("", tool_calls=[{"id": "call", "name": tool, "args": given}])

    helper = {"name": "helper", "description": "looks things up", "graph_id": "helper"}
    boss = create_deep_agent(model=Scripted(helps=False), subagents=[helper], name="boss")  # pyright: ignore[reportArgumentType]
    return [graph(boss, id="boss"), graph(create_deep_agent(model=Scripted(helps=True), name="helper"), id="helper")]
