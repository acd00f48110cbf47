"""`runyard backup`: a copy of the database, while it is being served or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from runyard.cli.flags import read_settings, setting_flags

EPILOG = """\b
Examples:
  runyard backup /backup/runyard.db
  runyard backup runyard.db --force --database sqlite:////data/runyard.db
"""


@click.command("backup", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@setting_flags("database")
def command(file: Path, force: bool, **flags: Any) -> None:
    """Copy the database to FILE.

    The copy holds everything that was acknowledged before the backup began. The server goes on meanwhile; it may also
    be stopped. The copy is checked, and appears as FILE when it is whole: one file, to be put in the database's place
    with nothing beside it, and served.
    """
    settings = read_settings(flags).settings
    from runyard.offline import backup

    os.nice(10)  # whoever serves comes first
    with _progress() as progress:
        holds = backup(settings, file, overwrite=force, progress=progress)
    unfinished = f" ({holds['unfinished']:,} unfinished)" if holds["unfinished"] else ""
    click.echo(
        f"{file} holds {_counted(holds['threads'], 'thread')}, {_counted(holds['runs'], 'run')}{unfinished} and "
        f"{_counted(holds['items'], 'item')} in {holds['bytes']:,} bytes, and is sound",
        err=True,
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    """A bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, pages: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(40), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("copying", total=None)

        def show(done: int, pages: int) -> None:
            what = "checking" if done == pages else "copying"
            bar.update(task, completed=done, total=pages, description=what)

        yield show
