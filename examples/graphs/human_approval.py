"""A purchase that people approve: two are asked at the same time, each answers when it suits them.

The run ends `interrupted` with both questions on its thread. They are answered by their ids, together or one by one;
what one has said is kept while the other is waited for, through restarts too. An answer that makes no sense is asked
for again. A small purchase is approved without a question.

    runyard serve examples/graphs/human_approval.py

    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "human_approval", "thread_id": "00000000-0000-4000-8000-000000000003",
           "if_not_exists": "create", "input": {"item": "a lathe", "cents": 420000}}'

Answer with the ids that came with the questions, both or one of them:

    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "human_approval", "thread_id": "00000000-0000-4000-8000-000000000003",
           "command": {"resume": {"<id>": "approve", "<other id>": "reject"}}}'

From Python:

    with ap_client.Runyard() as ry:
        run = ry.run("human_approval", {"item": "a lathe", "cents": 420_000}, thread=ry.thread())
        while run.wait().interrupts:
            question = run.questions[0]
            run = run.answer(input(question["value"]["question"]), question["id"])
        print(run.result()["decision"])
"""

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

LIMIT_CENTS = 10_000
"""What may be bought without asking anybody."""

ANSWERS = ("approve", "reject")


class Wish(TypedDict):
    """What comes in."""

    item: str
    cents: int


class Purchase(Wish):
    """The state: the wish, who said what to it, what became of it."""

    answers: Annotated[dict[str, str], operator.or_]
    decision: str


def who_is_asked(state: Purchase) -> list[str]:
    return ["ask_manager", "ask_finance"] if state["cents"] > LIMIT_CENTS else ["decide"]


def ask(role: str, state: Purchase) -> dict[str, Any]:
    """Asks until there is an answer that makes sense."""
    asked = {"role": role, "question": f"Buy {state['item']} for EUR {state['cents'] / 100:.2f}?"}
    answer = interrupt(asked)
    while answer not in ANSWERS:
        answer = interrupt({**asked, "problem": f"{answer!r} is no answer: say {' or '.join(ANSWERS)}"})
    return {"answers": {role: answer}}


def ask_manager(state: Purchase) -> dict[str, Any]:
    return ask("manager", state)


def ask_finance(state: Purchase) -> dict[str, Any]:
    return ask("finance", state)


def decide(state: Purchase) -> dict[str, str]:
    """One `reject` is enough."""
    against = sorted(role for role, answer in state["answers"].items() if answer == "reject")
    return {"decision": f"rejected by {' and '.join(against)}" if against else "approved"}


_builder = StateGraph(Purchase, input_schema=Wish)
_builder.add_node("ask_manager", ask_manager)
_builder.add_node("ask_finance", ask_finance)
_builder.add_node("decide", decide)
_builder.add_conditional_edges(START, who_is_asked, ["ask_manager", "ask_finance", "decide"])
_builder.add_edge(["ask_manager", "ask_finance"], "decide")

human_approval = _builder.compile()
