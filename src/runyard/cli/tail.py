"""`runyard tail`: a thread while it is worked on: who does what, token by token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runyard.cli.connection import with_server
from runyard.cli.show import print_json_line

if TYPE_CHECKING:
    from ap_client import ApiClient
    from ap_client.thread_events import Missed, ThreadEvent

CHANNELS = ("lifecycle", "messages", "tools", "custom", "input", "values")

EPILOG = """\b
Examples:
  runyard tail 0198...                    what the thread's newest run does, and those after it
  runyard tail 0198... --once             until that run has ended
  runyard tail 0198... --since 0 --once   the whole story, from the thread's first event
  runyard tail 0198... --json             every event of the streaming protocol, a line each
"""


@click.command("tail", epilog=EPILOG)
@click.argument("thread_id")
@click.option("--since", type=click.IntRange(0), metavar="NUMBER", help="Begin behind this event; 0 is the start.")
@click.option("--once", is_flag=True, help="End when a run has ended, and exit 0 where it succeeded or asks, else 1.")
@click.option(
    "--transport",
    type=click.Choice(["sse", "websocket"]),
    default="sse",
    show_default=True,
    help="How to be told.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per event.")
@with_server
def command(client: ApiClient, thread_id: str, since: int | None, once: bool, transport: str, as_json: bool) -> int:
    """Show a thread's runs as a live tree: messages token by token, tools, sub-agents, questions, state.

    In a pipe: a line for each thing when it is complete. A broken connection is resumed. Ends with Ctrl-C; the run
    goes on.
    """
    from ap_client import ThreadStream

    from runyard.cli.tree import picture

    ended = 0
    stream = ThreadStream(client, thread_id, since=since, transport=transport, on_missed=_tell_missed)
    try:
        with stream, picture(sys.stdout.isatty() and not as_json) as shown:
            for event in stream.subscribe(CHANNELS, run_id=None):
                if as_json:
                    print_json_line(_plain(event))
                else:
                    shown.take(event)
                how = _end_of_run(event)
                if how is not None:
                    ended = 1 if how == "failed" else 0
                    if once and not event.is_snapshot:
                        break
    except KeyboardInterrupt:
        return 130
    return ended if once else 0


def _end_of_run(event: ThreadEvent) -> str | None:
    how: Any = event.data.get("event") if event.method == "lifecycle" and not event.namespace else None
    return how if how in ("completed", "failed", "interrupted") else None


def _tell_missed(missed: Missed) -> None:
    count = "some" if missed.count is None else str(missed.count)
    click.echo(f"{count} events are gone: the server keeps them for a time (settings retention)", err=True)


def _plain(event: ThreadEvent) -> dict[str, Any]:
    return {
        "eventId": event.event_id,
        "seq": event.seq,
        "runId": event.run_id,
        "method": event.method,
        "namespace": list(event.namespace),
        "node": event.node,
        "data": event.data,
    }
