"""The differences that are meant: where they show (patterns of a step and of a place in its answer), and why."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tools.oracle.beside.compare import Difference

METADATA = "*metadata."
EXPECTED: tuple[tuple[str, str, str], ...] = (
    *(("*", METADATA + name, "facts of the vendor's platform") for name in (
        "created_by", "langgraph_api_url", "langgraph_api_version", "langgraph_auth_user_id", "langgraph_host",
        "langgraph_plan", "langgraph_request_id", "langgraph_version", "user_id",
    )),
    *(("*", METADATA + name, "our names for the agent and the attempt of a checkpoint")
      for name in ("agent_id", "attempt")),
    ("*", "header.x-pagination-total", "a true total here"),
)  # fmt: skip


def reason(difference: Difference) -> str | None:
    """Why it is expected; None where it is not."""
    for step, place, why in EXPECTED:
        if fnmatchcase(difference.step, step) and fnmatchcase(difference.place, place):
            return why
    return None
