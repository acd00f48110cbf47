"""Finding agents and their schemas."""

from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import Call, Id, RequestOptions, body_of
from ap_client.models.agent import Agent
from ap_client.models.agent_schema import AgentSchema
from ap_client.models.search_agents_request import SearchAgentsRequest


def get_agent(agent_id: Id, **options: Unpack[RequestOptions]) -> Call[Agent]:
    """One agent. Raises NotFoundException when there is none of that id."""
    return Call("GET", "/agents/{agent_id}", Agent, options, ids={"agent_id": agent_id})


def get_agent_schemas(agent_id: Id, **options: Unpack[RequestOptions]) -> Call[AgentSchema]:
    """The JSON Schemas of an agent's input, output, state and config."""
    return Call("GET", "/agents/{agent_id}/schemas", AgentSchema, options, ids={"agent_id": agent_id})


def search_agents(
    search_agents_request: SearchAgentsRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[list[Agent]]:
    """The agents whose name and metadata match."""
    body = body_of(SearchAgentsRequest, search_agents_request, "search_agents_request")
    return Call("POST", "/agents/search", list[Agent], options, body=body, idempotent=True)
