"""Publishing agents."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.agents import Agent
from runyard.storage.verbs.transaction import Transaction

_encode = msgspec.json.Encoder().encode


async def publish_agents(t: Transaction, agents: Sequence[Agent], now: int) -> None:
    for agent in agents:
        await t.run("publish_agent", (agent.agent_id, _encode(agent), now))
