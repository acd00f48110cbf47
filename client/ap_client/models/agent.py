from typing import Any

from ap_client.model import Model
from ap_client.models.agent_capabilities import AgentCapabilities


class Agent(Model, open=True):
    """What can be run."""

    agent_id: str
    name: str
    capabilities: AgentCapabilities
    description: str | None = None
    metadata: dict[str, Any] | None = None
