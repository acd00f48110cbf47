"""`runyard worker`: executes runs that servers on the same database take, until it is told to stop."""

from __future__ import annotations

from typing import Any

import click

from runyard.cli.flags import read_settings, setting_flags
from runyard.settings import check_exposure

EPILOG = """\b
Examples:
  runyard worker examples/ --database postgresql://db.example/runyard --port 8001
  runyard serve --workers 0 --database postgresql://db.example/runyard   the API, without agents of its own
"""


@click.command("worker", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@setting_flags()
def command(targets: tuple[str, ...], **flags: Any) -> int:
    """Execute runs beside servers on the same database.

    It takes the arguments of `runyard serve`, and a PostgreSQL database. Over HTTP it answers /ok, /ready and /metrics
    only. Ctrl-C or SIGTERM ends it: running attempts get a while to finish, and what is left goes on elsewhere.
    """
    settings = read_settings(flags, targets).settings
    check_exposure(settings)
    from runyard.server import work

    return work(settings)
