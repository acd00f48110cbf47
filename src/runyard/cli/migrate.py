"""`runyard migrate`: bring a database up to date by hand."""

from __future__ import annotations

from typing import Any

import click

from runyard.cli.flags import read_settings, setting_flags
from runyard.settings import without_password

EPILOG = """\b
Examples:
  runyard migrate
  runyard migrate --database sqlite:////data/runyard.db
"""


@click.command("migrate", epilog=EPILOG)
@setting_flags("database")
def command(**flags: Any) -> None:
    """Bring the database to this version's layout.

    `runyard serve` does so itself when it starts; here it happens at a time of your choice, with no server
    running. A database of a newer version is refused.
    """
    settings = read_settings(flags).settings
    from runyard.offline import migrate

    migrate(settings)
    name = without_password(settings.database) if settings.shared else settings.database_path
    click.echo(f"{name} has the layout of this version", err=True)
