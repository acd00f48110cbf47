"""The rules of assistants: the default one of an agent."""

from __future__ import annotations

from runyard.agents import Agent
from runyard.assistants import default_id, default_of


def test_a_default_assistant_is_named_by_its_agent() -> None:
    assert default_id("agent") == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    agent = Agent("agent", "My agent", description="d", metadata={"team": "x"})
    default = default_of(agent, "ada", 7)
    assert (default.assistant_id, default.owner, default.agent_id) == (default_id("agent"), "ada", "agent")
    assert (default.version, default.created_at, default.updated_at) == (1, 7, 7)
    assert (default.name, default.description) == ("My agent", "d")
    assert default.metadata == b'{"team":"x","created_by":"system"}'
