"""`runyard run`: run an agent from the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runyard.cli.connection import json_text, with_server
from runyard.cli.follow import follow, show_end, with_modes
from runyard.cli.show import plain, print_json

if TYPE_CHECKING:
    from ap_client import ApiClient

EPILOG = """\b
Examples:
  runyard run echo --input '{"hello": 1}'
  runyard run summarize --input '{"folder": "examples/texts"}' --stream
  runyard run ask_code --message "where is a run cancelled?" --thread 2b0c...
  runyard run refund --thread 2b0c... --resume '"approve"'
"""


@click.command("run", epilog=EPILOG)
@click.argument("agent")
@click.option("--input", "input_text", metavar="JSON", help="The agent's input; - reads it, @FILE reads a file.")
@click.option("--message", "-m", metavar="TEXT", help="A user's message to the agent.")
@click.option("--thread", "thread_id", metavar="ID", help="Run on this thread; it is made where it is new.")
@click.option("--resume", metavar="JSON", help="The answer to the question that the thread asks.")
@click.option("--stream", is_flag=True, help="Show what happens while it happens.")
@with_modes
@click.option("--background", is_flag=True, help="Return at once; the run goes on by itself.")
@click.option("--json", "as_json", is_flag=True, help="For programs: JSON, with --stream one line per event.")
@with_server
def command(
    client: ApiClient,
    agent: str,
    input_text: str | None,
    message: str | None,
    thread_id: str | None,
    resume: str | None,
    stream: bool,
    modes: tuple[str, ...],
    background: bool,
    as_json: bool,
) -> int:
    """Run AGENT and show what comes out.

    Without --stream or --background it waits for the end and prints the values. Exits 0 when the run
    succeeded or asks a question, 1 when it failed, timed out or was cancelled.
    """
    from ap_client import BackgroundRunsApi, RunsApi

    if stream and background:
        raise click.UsageError("--stream and --background exclude each other")
    if resume is not None and thread_id is None:
        raise click.UsageError("--resume needs --thread: a question is asked by a thread")
    wish = _wish(agent, input_text, message, thread_id, resume)
    if stream:
        return follow(client, RunsApi(client).create_and_stream_run_events(wish, modes=modes), as_json)
    if background:
        run = plain(BackgroundRunsApi(client).create_run(wish))
        if as_json:
            print_json(run)
        else:
            click.echo(run["run_id"])
            click.echo(f"it goes on by itself; see it with: runyard runs tail {run['run_id']}", err=True)
        return 0
    answer = plain(RunsApi(client).create_and_wait_run(wish))
    if as_json:
        print_json(answer)
        return 0 if _went_well(answer) else 1
    for entry in answer.get("messages") or ():
        click.echo(f"{entry.get('role', 'message')}: {_text(entry.get('content'))}", err=True)
    print_json(answer.get("values") or {})
    show_end(answer.get("run") or {}, answer.get("error"), answer.get("interrupts"))
    return 0 if _went_well(answer) else 1


def _wish(
    agent: str, input_text: str | None, message: str | None, thread_id: str | None, resume: str | None
) -> dict[str, Any]:
    wish: dict[str, Any] = {"agent_id": agent}
    if input_text is not None:
        wish["input"] = json_text(input_text, "--input")
    if message is not None:
        wish["messages"] = [{"role": "user", "content": message}]
    if thread_id is not None:
        wish |= {"thread_id": thread_id, "if_not_exists": "create"}
    if resume is not None:
        wish["command"] = {"resume": json_text(resume, "--resume")}
    return wish


def _went_well(answer: dict[str, Any]) -> bool:
    status = answer.get("status")
    return status == "success" or (status == "interrupted" and bool(answer.get("interrupts")))


def _text(content: Any) -> str:
    """The text of a message's content: itself, or that of its text blocks."""
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", f"[{block.get('type')}]")) for block in content or ())
