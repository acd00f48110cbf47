from typing import Any

from ap_client.model import Model


class AgentSchema(Model, open=True):
    """The JSON Schemas of an agent's input, output, state and config. Also called `AgentSchemas`."""

    agent_id: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    state_schema: dict[str, Any] | None = None
    config_schema: dict[str, Any] | None = None
