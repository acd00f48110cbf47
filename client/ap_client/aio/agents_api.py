"""Agents: what can be run."""

from ap_client.aio.forms import Api, data, http_info, raw
from ap_client.operations import agents


class AgentsApi(Api):
    """Agents: what can be run."""

    get_agent = data(agents.get_agent)
    get_agent_with_http_info = http_info(agents.get_agent)
    get_agent_without_preload_content = raw(agents.get_agent)

    get_agent_schemas = data(agents.get_agent_schemas)
    get_agent_schemas_with_http_info = http_info(agents.get_agent_schemas)
    get_agent_schemas_without_preload_content = raw(agents.get_agent_schemas)

    search_agents = data(agents.search_agents)
    search_agents_with_http_info = http_info(agents.search_agents)
    search_agents_without_preload_content = raw(agents.search_agents)
