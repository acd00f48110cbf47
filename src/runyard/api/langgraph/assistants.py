"""Assistants: an agent with a configuration of its own. Each agent has one by default, which has none."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from runyard.api.context import ApiContext
from runyard.errors import NotFound

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Of the ids of default assistants: clients find those that they know from LangGraph Platform."""


class Assistant(msgspec.Struct, frozen=True):
    """What a run takes of its assistant: what it says itself comes on top."""

    assistant_id: str
    agent_id: str
    config: dict[str, Any] = {}
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}


def default_id(agent_id: str) -> str:
    """The id of an agent's default assistant."""
    return str(uuid.uuid5(NAMESPACE, agent_id))


async def find(api: ApiContext, owner: str, assistant_id: str) -> Assistant:
    """The assistant of an id, or the default one of the agent of that id.

    Raises:
        NotFound: assistant_not_found.
    """
    for agent_id in api.verbs.agents:
        if assistant_id in (agent_id, default_id(agent_id)):
            return Assistant(default_id(agent_id), agent_id)
    raise NotFound(
        f"assistant_id is {assistant_id[:80]!r}: there is no such assistant, and no such agent; "
        f"agents: {', '.join(sorted(api.verbs.agents)) or 'none'}",
        code="assistant_not_found",
        field="assistant_id",
    )
