"""A deep agent (`deepagents`): it plans, has a subagent work for it, and keeps its report in a file.

The files and the list of things to do are part of the thread's state: the next run on the thread finds them, and so
does who looks at the thread. The subagent has a conversation of its own, of which only the answer comes back;
with `stream_subgraphs` its events can be watched, too.

    runyard serve examples/graphs/deep_agent.py

    curl -sN localhost:8000/runs/stream -H 'Content-Type: application/json' \
      -d '{"agent_id": "deep_agent", "stream_mode": "updates", "stream_subgraphs": true,
           "messages": [{"role": "user", "content": "Report on the heron."}]}'

From Python:

    with ap_client.Runyard() as ry:
        run = ry.run("deep_agent", messages=[{"role": "user", "content": "Report on the otter."}])
        print(run.result()["files"]["/report.md"]["content"])
"""

from collections.abc import Sequence

from _scripted_model import ScriptedModel, calls, question
from deepagents import create_deep_agent
from langchain.agents.middleware import TodoListMiddleware
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool

SIGHTINGS = {"heron": 3, "otter": 1}


@tool
def sightings(animal: str) -> int:
    """How often an animal was seen this week."""
    return SIGHTINGS.get(animal, 0)


def subject(messages: Sequence[BaseMessage]) -> str:
    return next((animal for animal in SIGHTINGS if animal in question(messages).lower()), "nothing")


def plan(messages: Sequence[BaseMessage]) -> AIMessage:
    steps = ("count sightings", "in_progress"), ("write the report", "pending")
    return calls(("write_todos", {"todos": [{"content": step, "status": status} for step, status in steps]}))


def delegate(messages: Sequence[BaseMessage]) -> AIMessage:
    task = f"Count the sightings of the {subject(messages)}."
    return calls(("task", {"description": task, "subagent_type": "observer"}))


def write(messages: Sequence[BaseMessage]) -> AIMessage:
    found = messages[-1].text
    report = f"# The {subject(messages)}\n\n{found}\n"
    done = [{"content": step, "status": "completed"} for step in ("count sightings", "write the report")]
    return calls(("write_file", {"file_path": "/report.md", "content": report}), ("write_todos", {"todos": done}))


deep_agent = create_deep_agent(
    ScriptedModel(script=[plan, delegate, write, AIMessage("The report is in /report.md.")]),
    system_prompt="You write short reports.",
    middleware=[TodoListMiddleware()],
    subagents=[
        {
            "name": "observer",
            "description": "Counts sightings of animals.",
            "system_prompt": "You count.",
            "model": ScriptedModel(
                script=[
                    lambda messages: calls(("sightings", {"animal": subject(messages)})),
                    lambda messages: AIMessage(f"It was seen {messages[-1].text} times this week."),
                ]
            ),
            "tools": [sightings],
        }
    ],
)
