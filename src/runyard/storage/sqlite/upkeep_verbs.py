"""Publishing agents, and proving that the file can be written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.agents import Agent
from runyard.storage.sqlite.writer import Transaction

_encode = msgspec.json.Encoder().encode


def publish_agents(t: Transaction, agents: Sequence[Agent], now: int) -> None:
    for agent in agents:
        t.run("publish_agent", (agent.agent_id, _encode(agent), now))


def prove(t: Transaction) -> None:
    """Writes a page without changing anything: it fails where a write of anything else would."""
    version = t.connection.pragma("user_version")
    t.connection.pragma("user_version", version)
