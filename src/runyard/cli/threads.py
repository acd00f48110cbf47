"""`runyard threads`: conversations, their state and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runyard.cli.connection import with_server
from runyard.cli.groups import ListingGroup
from runyard.cli.show import ago, brief, plain, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ap_client import ApiClient

EPILOG = """\b
Examples:
  runyard threads                          the newest threads
  runyard threads --status interrupted     those that wait for an answer
  runyard threads show 0198...             the state of one
  runyard threads history 0198...          how it came to be, newest first
"""


@click.group("threads", cls=ListingGroup, epilog=EPILOG)
def command() -> None:
    """List and show threads and their history. Without a command it lists."""


@command.command("list")
@click.option("--status", type=click.Choice(["idle", "busy", "interrupted", "error"]))
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_server
def list_threads(client: ApiClient, as_json: bool, **wanted: Any) -> None:
    """List threads, newest first."""
    from ap_client import ThreadsApi

    given = {name: value for name, value in wanted.items() if value is not None}
    threads = plain(ThreadsApi(client).search_threads(given))
    if as_json:
        print_json(threads)
        return
    rows = [
        (thread["thread_id"], thread["status"], ago(thread["updated_at"]), brief(thread.get("values")))
        for thread in threads
    ]
    empty = "no threads; a run makes one: runyard run AGENT --thread ID"
    print_table(("thread", "status", "updated", "values"), rows, empty)


@command.command("show")
@click.argument("thread_id")
@click.option("--json", "as_json", is_flag=True, help="The thread as one JSON object.")
@with_server
def show_thread(client: ApiClient, thread_id: str, as_json: bool) -> None:
    """Show a thread and its state."""
    from ap_client import ThreadsApi

    thread = plain(ThreadsApi(client).get_thread(thread_id))
    if as_json:
        print_json(thread)
    else:
        print_facts(thread)


@command.command("history")
@click.argument("thread_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", metavar="CHECKPOINT", help="Only what is older than this checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_server
def show_history(client: ApiClient, thread_id: str, limit: int, before: str | None, as_json: bool) -> None:
    """Show the states that a thread had, newest first."""
    from ap_client import ThreadsApi

    states = plain(ThreadsApi(client).get_thread_history(thread_id, limit=limit, before=before))
    if as_json:
        print_json(states)
        return
    rows = [
        (
            state["checkpoint"]["checkpoint_id"],
            *_origin(state.get("metadata") or {}),
            brief(state.get("values")),
        )
        for state in states
    ]
    print_table(("checkpoint", "step", "source", "values"), rows, "this thread has no state yet")


def _origin(metadata: dict[str, Any]) -> tuple[str, str]:
    """The number of a checkpoint's step and what made it, as texts."""
    return str(metadata.get("step", "")), str(metadata.get("source", ""))
