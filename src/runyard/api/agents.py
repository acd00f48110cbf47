"""Agents: list, look at."""

from __future__ import annotations

from msgspec import UNSET

from runyard import agents
from runyard.api import answers, wire
from runyard.api.authorization.assistants import agents_within, see_agent
from runyard.api.authorization.filters import shows
from runyard.api.call import Call
from runyard.api.operation import operation
from runyard.errors import agent_not_found


@operation("Agents", needs="read", body=wire.AGENT_SEARCH, answer=list[answers.Agent], errors=(404,))
async def search_agents(call: Call) -> None:
    """Search Agents

    Lists the agents of this server, by id.
    """
    body = await call.body(wire.AGENT_SEARCH)
    name = None if body.name is UNSET else body.name
    metadata = None if body.metadata is UNSET else body.metadata
    value = {"graph_id": None, "metadata": dict(metadata or {}), "limit": body.limit, "offset": body.offset}
    seen = await agents_within(call.api.guard, value)
    loaded = call.api.verbs.agents
    found = [agent for agent_id in sorted(loaded) if agents.matches(agent := loaded[agent_id].agent, name, metadata)]
    found = [agent for agent in found if shows(agent.metadata, seen)]
    page = found[body.offset : body.offset + body.limit]
    await call.answer(answers.array(map(answers.agent, page)))


@operation("Agents", needs="read", answer=answers.Agent, errors=(404,))
async def get_agent(call: Call) -> None:
    """Get Agent"""
    await call.answer(answers.agent(await _agent(call)))


@operation("Agents", needs="read", answer=answers.AgentSchema, errors=(404,))
async def get_agent_schemas(call: Call) -> None:
    """Get Agent Schemas

    The JSON Schemas of what an agent takes and gives.
    """
    await call.answer(answers.agent_schema(await _agent(call)))


async def _agent(call: Call) -> agents.Agent:
    agent_id = call.params["agent_id"]
    loaded = call.api.verbs.agents
    if agent_id not in loaded:
        raise agent_not_found(agent_id, sorted(loaded))
    agent = loaded[agent_id].agent
    await see_agent(call.api.guard, agent)
    return agent
