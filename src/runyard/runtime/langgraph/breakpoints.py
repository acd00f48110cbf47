"""Static breakpoints (`interrupt_before`, `interrupt_after`) as questions: the thread shows where the graph stands, and
any answer lets it go on."""

from __future__ import annotations

import msgspec

from runyard.checkpoints import BREAKPOINT, Question


def breakpoint_at(name: str, nodes: list[str]) -> Question:
    """The question of a graph that stands at the state `name`, with `nodes` to execute next."""
    return Question(f"{BREAKPOINT}{name}", msgspec.Raw(msgspec.json.encode({"breakpoint": True, "next": nodes})))


def is_breakpoint(question_id: str) -> bool:
    """Whether a question is one of these."""
    return question_id.startswith(BREAKPOINT)
