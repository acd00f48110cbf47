"""`runyard agents`: what a server can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runyard.cli.connection import with_server
from runyard.cli.groups import ListingGroup
from runyard.cli.show import plain, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ap_client import ApiClient

EPILOG = """\b
Examples:
  runyard agents                 what this server can run
  runyard agents show refund     one agent, with the schemas of its input and output
"""


@click.group("agents", cls=ListingGroup, epilog=EPILOG)
def command() -> None:
    """List the agents of a server and show what they take. Without a command it lists."""


@command.command("list")
@click.option("--name", metavar="TEXT", help="Only agents whose name holds this text.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_server
def list_agents(client: ApiClient, name: str | None, limit: int, as_json: bool) -> None:
    """List agents."""
    from ap_client import AgentsApi

    wanted = {"limit": limit} if name is None else {"limit": limit, "name": name}
    agents = plain(AgentsApi(client).search_agents(wanted))
    if as_json:
        print_json(agents)
        return
    rows = [(agent["agent_id"], agent["name"], agent.get("description") or "") for agent in agents]
    print_table(("agent", "name", "description"), rows, "no agents; serve some: runyard serve examples/")


@command.command("show")
@click.argument("agent_id")
@click.option("--json", "as_json", is_flag=True, help="The agent and its schemas as one JSON object.")
@with_server
def show_agent(client: ApiClient, agent_id: str, as_json: bool) -> None:
    """Show an agent and the schemas of what it takes and gives."""
    from ap_client import AgentsApi

    api = AgentsApi(client)
    facts = plain(api.get_agent(agent_id)) | plain(api.get_agent_schemas(agent_id))
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)
