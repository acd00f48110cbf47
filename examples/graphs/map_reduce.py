"""Which words are most frequent in many texts: each text is counted by a node of its own, all at the same time.

`Send` starts one `count_words` for each text, with only that text as its input. The reducer of `counts` adds up what
they give, in whatever order they end. A run that is cut short does not count again what has been counted.

    runyard serve examples/graphs/map_reduce.py

    curl -s localhost:8000/runs/wait -H 'Content-Type: application/json' \
      -d '{"agent_id": "map_reduce", "input": {"texts": ["the bee and the tree", "the sea", "a bee"], "most": 2}}'

From Python:

    with ap_client.Runyard() as ry:
        print(ry.run("map_reduce", {"texts": ["the bee", "the sea"], "most": 1}).result()["frequent"])
"""

import re
from collections import Counter
from typing import Annotated, NotRequired

from langgraph.graph import START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict


def added(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return dict(Counter(left) + Counter(right))


class Texts(TypedDict):
    """What comes in. `most` is how many words are wanted; 3 where it is absent."""

    texts: list[str]
    most: NotRequired[int]


class State(Texts):
    counts: Annotated[dict[str, int], added]
    frequent: list[str]


class OneText(TypedDict):
    """What one `count_words` is given."""

    text: str


def one_each(state: State) -> list[Send]:
    return [Send("count_words", OneText(text=text)) for text in state["texts"]]


def count_words(state: OneText) -> dict[str, dict[str, int]]:
    return {"counts": dict(Counter(re.findall(r"\w+", state["text"].lower())))}


def choose(state: State) -> dict[str, list[str]]:
    """The most frequent first; of equally frequent ones the first in the alphabet."""
    ordered = sorted(state["counts"].items(), key=lambda pair: (-pair[1], pair[0]))
    return {"frequent": [word for word, _ in ordered[: state.get("most", 3)]]}


_builder = StateGraph(State, input_schema=Texts)
_builder.add_node("count_words", count_words)
_builder.add_node("choose", choose)
_builder.add_conditional_edges(START, one_each, ["count_words"])
_builder.add_edge("count_words", "choose")

map_reduce = _builder.compile()
