"""Following a run's events in the terminal, line by line, and saying how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from runyard.cli.show import brief, plain, print_json_line, status

if TYPE_CHECKING:
    from ap_client import ApiClient, EventStream, ServerEvent


with_modes = click.option(
    "--mode",
    "modes",
    type=click.Choice(["values", "updates", "messages", "custom"]),
    multiple=True,
    default=("updates", "messages", "custom"),
    show_default=True,
    help="The events to show; may be given several times.",
)


def follow(client: ApiClient, stream: EventStream, as_json: bool) -> int:
    """Show the events of a run until it ends; with `as_json` one line of JSON each. Returns the exit code."""
    screen = Screen()
    last: ServerEvent | None = None
    try:
        with stream:
            for event in stream:
                last = event
                if as_json:
                    print_json_line({"id": event.id, "event": event.event, "data": event.data})
                else:
                    screen.show(event)
    except KeyboardInterrupt:
        if stream.run_id:
            click.echo(f"\nthe run goes on; see it with: runyard runs tail {stream.run_id}", err=True)
        return 130
    ended: dict[str, Any] = last.data if last is not None and last.event == "end" else {}
    if not as_json:
        screen.finish_line()
        _show_how_it_ended(client, stream.run_id, ended)
    return 0 if ended.get("status") == "success" or ended.get("outcome") == "asked" else 1


def _show_how_it_ended(client: ApiClient, run_id: str | None, ended: dict[str, Any]) -> None:
    from ap_client import BackgroundRunsApi

    if ended.get("outcome") == "asked" and run_id is not None:
        # The stream says that the run asks; the question is part of its output.
        answer = plain(BackgroundRunsApi(client).wait_run(run_id))
        show_end(answer["run"], None, answer.get("interrupts"))
    else:
        show_end({"run_id": run_id, **ended}, None, None)


class Screen:
    """What a person sees of a stream: a line per event, and messages as they are written."""

    def __init__(self) -> None:
        self._writing: str | None = None

    def show(self, event: ServerEvent) -> None:
        if event.event == "messages":
            for message in event.data:
                self._message(message)
            return
        self.finish_line()
        data: dict[str, Any] = event.data
        match event.event:
            case "metadata":
                attempt = data.get("attempt", 1)
                note = f", attempt {attempt}, goes on where it was" if attempt > 1 else ""
                click.echo(click.style(f"run {data.get('run_id')}{note}", dim=True), err=True)
            case "custom":
                click.echo(f"{data.get('name', 'custom')}: {brief(data.get('payload'), 100)}")
            case "updates" | "values":
                click.echo(f"{event.event}: {brief(data, 100)}")
            case "error":
                click.echo(click.style(f"error: {data.get('message')}", fg="red"), err=True)
            case _:
                # `end` is told when the stream is over.
                pass

    def _message(self, message: dict[str, Any]) -> None:
        content = message.get("content")
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        if message.get("delta"):
            if self._writing != message.get("id"):
                self.finish_line()
                click.echo(f"{message.get('role', 'message')}: ", nl=False)
            self._writing = message.get("id")
            click.echo(text, nl=False)
        elif self._writing == message.get("id") and self._writing is not None:
            # The whole message, whose pieces stand there already.
            self.finish_line()
        else:
            self.finish_line()
            click.echo(f"{message.get('role', 'message')}: {text}")

    def finish_line(self) -> None:
        """End the line of a message that is being written."""
        if self._writing is not None:
            click.echo()
        self._writing = None


def show_end(run: dict[str, Any], error: dict[str, Any] | None, questions: Iterable[dict[str, Any]] | None) -> None:
    """Say on standard error how a run ended, and what can be done next."""
    click.echo(f"{status(str(run.get('status', 'unknown')))}  run {run.get('run_id')}", err=True)
    if error:
        click.echo(click.style(f"{error.get('code')}: {error.get('message')}", fg="red"), err=True)
    asked = list(questions or ())
    for question in asked:
        click.echo(f"it asks: {json.dumps(question.get('value'), ensure_ascii=False)}", err=True)
    if asked and run.get("thread_id"):
        agent = run.get("agent_id", "AGENT")
        click.echo(f"answer with: runyard run {agent} --thread {run['thread_id']} --resume JSON", err=True)
