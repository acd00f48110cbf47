"""`runyard serve`: a server, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runyard.cli.flags import read_settings, setting_flags
from runyard.settings import check_exposure

EPILOG = """\b
Examples:
  runyard serve examples/                      every agent in a folder
  runyard serve reports.py:weekly --port 9000  one agent of a file
  runyard serve my_package.agents:support      one agent of a module
  runyard serve                                the agents that runyard.toml names
"""


@click.command("serve", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@setting_flags()
def command(targets: tuple[str, ...], **flags: Any) -> int:
    """Serve agents over HTTP.

    A TARGET is a folder, a file (path/to/file.py), an agent of a file (path/to/file.py:name) or an agent of
    a module (package.module:name). Every flag can be given as RUNYARD_<NAME> in the environment too. Times
    are in seconds, sizes in bytes.

    Ctrl-C or SIGTERM ends it: streams end, running attempts get a while to finish, and what is left goes on
    when the server is started again.
    """
    settings = read_settings(flags, targets).settings
    from runyard.deployment import is_guarded
    from runyard.server import serve

    if not is_guarded(settings.agents, Path.cwd()):
        check_exposure(settings)
    return serve(settings)
