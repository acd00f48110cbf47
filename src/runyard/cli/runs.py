"""`runyard runs`: what ran, what runs, and how to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runyard.cli.connection import with_server
from runyard.cli.follow import follow, with_modes
from runyard.cli.groups import ListingGroup
from runyard.cli.show import ago, plain, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ap_client import ApiClient

EPILOG = """\b
Examples:
  runyard runs                             the newest runs
  runyard runs --status error --json       those that failed, for a program
  runyard runs show 0198...                all about one
  runyard runs tail 0198...                its events, from the start until it ends
  runyard runs cancel 0198... --wait       stop it, and wait until it has stopped
"""


@click.group("runs", cls=ListingGroup, epilog=EPILOG)
def command() -> None:
    """List, show, follow and cancel runs. Without a command it lists."""


@command.command("list")
@click.option("--status", type=click.Choice(["pending", "success", "error", "timeout", "interrupted"]))
@click.option("--agent", "agent_id", metavar="ID", help="Only runs of this agent.")
@click.option("--thread", "thread_id", metavar="ID", help="Only runs of this thread.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_server
def list_runs(client: ApiClient, as_json: bool, **wanted: Any) -> None:
    """List runs, newest first."""
    from ap_client import BackgroundRunsApi

    given = {name: value for name, value in wanted.items() if value is not None}
    runs = plain(BackgroundRunsApi(client).search_runs(given))
    if as_json:
        print_json(runs)
        return
    rows = [
        (
            run["run_id"],
            run.get("agent_id", ""),
            run["status"],
            ago(run["created_at"]),
            run.get("thread_id", ""),
        )
        for run in runs
    ]
    print_table(("run", "agent", "status", "created", "thread"), rows, "no runs; make one: runyard run AGENT")


@command.command("show")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="The run as one JSON object.")
@with_server
def show_run(client: ApiClient, run_id: str, as_json: bool) -> None:
    """Show all about one run."""
    from ap_client import BackgroundRunsApi

    run = plain(BackgroundRunsApi(client).get_run(run_id))
    if as_json:
        print_json(run)
        return
    first = (
        "run_id",
        "agent_id",
        "thread_id",
        "status",
        "outcome",
        "attempt",
        "error",
        "created_at",
        "updated_at",
    )
    print_facts({name: run.get(name) for name in first} | {k: v for k, v in run.items() if k not in first})


@command.command("tail")
@click.argument("run_id")
@click.option("--since", metavar="EVENT", default="0", show_default=True, help="Only events after this id.")
@with_modes
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per event.")
@with_server
def tail_run(client: ApiClient, run_id: str, since: str, modes: tuple[str, ...], as_json: bool) -> int:
    """Show the events of a run, from its start until its end. A broken connection is resumed.

    Exits 0 when the run succeeded or asks a question, else 1.
    """
    from ap_client import BackgroundRunsApi

    return follow(client, BackgroundRunsApi(client).stream_run_events(run_id, since=since, modes=modes), as_json)


@command.command("cancel")
@click.argument("run_id")
@click.option(
    "--action",
    type=click.Choice(["interrupt", "rollback"]),
    default="interrupt",
    show_default=True,
    help="interrupt keeps what the run did; rollback takes it back and deletes the run.",
)
@click.option("--wait", is_flag=True, help="Return when its code has stopped.")
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
@with_server
def cancel_run(client: ApiClient, run_id: str, action: str, wait: bool, as_json: bool) -> None:
    """Cancel a run. A finished one stays as it is, except that its thread's latest can be rolled back."""
    from ap_client import BackgroundRunsApi

    BackgroundRunsApi(client).cancel_run(run_id, wait=wait, action=action)
    if as_json:
        print_json({"run_id": run_id, "action": action, "waited": wait})
    else:
        click.echo(f"run {run_id} {'has stopped' if wait else 'was told to stop'}", err=True)
