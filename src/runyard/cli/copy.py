"""`runyard copy`: everything of an SQLite database goes into a PostgreSQL one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from runyard.settings import without_password

EPILOG = """\b
Examples:
  runyard copy .runyard/runyard.db postgresql://runyard@db.example.com/runyard
  runyard copy sqlite:////data/runyard.db postgresql://runyard@db.example.com/runyard --restart
"""


@click.command("copy", epilog=EPILOG)
@click.argument("source")
@click.argument("target")
@click.option("--restart", is_flag=True, help="Remove what an unfinished copy has brought, and begin anew.")
def command(source: str, target: str, restart: bool) -> None:
    """Copy the SQLite database SOURCE into the PostgreSQL database TARGET.

    SOURCE is a file or its sqlite:/// URL, and no server may have it meanwhile; it is not changed. TARGET is a
    postgresql:// URL of an empty database. Everything goes along: threads, runs, events, states, the store, webhooks.
    A copy that was cut goes on where it stopped when the same command is given again. In the end both are read and
    compared; then servers may begin on TARGET. Runs that waited are executed there, and the numbers of events stay.
    """
    from runyard.offline import copy

    try:
        with _progress() as progress:
            moved = copy(source, target, restart=restart, progress=progress)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        raise
    rows = moved.rows
    told = ", ".join(f"{number:,} of {name}" for name, number in rows.items() if number) or "nothing"
    click.echo(
        f"{without_password(target)} holds all {sum(rows.values()):,} rows ({told}), each the same as in the source; "
        f"{moved.copied:,} were copied now. Serve it with --database, and keep {source} away from servers: a run that "
        "waits would be executed in both",
        err=True,
    )


@contextmanager
def _progress() -> Generator[Callable[[str, int, int], None]]:
    """A bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TextColumn("rows"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("copying", total=None)
        shown = "copying"

        def show(stage: str, done: int, total: int) -> None:
            nonlocal shown
            if stage != shown:
                shown = stage
                bar.reset(task)
            bar.update(task, completed=done, total=total, description=stage)

        yield show
