"""The earlier name of `AgentSchema`."""

from ap_client.models.agent_schema import AgentSchema as AgentSchemas

__all__ = ["AgentSchemas"]
