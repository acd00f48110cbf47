"""`runyard demo`: a tour through a real server, which proves what it says."""

from __future__ import annotations

from pathlib import Path

import click

from runyard.cli.connection import Failed

EPILOG = """\b
Examples:
  runyard demo           about fifteen seconds; leaves nothing behind
  runyard demo --keep    the same, and the server stays up to play with (KEEP=1 make demo)
"""


@click.command("demo", epilog=EPILOG)
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave the server up, and say how to talk to it.")
def command(keep: bool) -> None:
    """Start a server and drive real background runs through it.

    A streamed run, ten runs at once, a question to a person, a cancel that takes everything back, and a
    server that is killed in the middle of a run. Every claim is checked; it exits 1 when one does not hold.
    """
    from runyard.cli.demo.tour import give_tour

    give_tour(examples_folder(), keep)


def examples_folder() -> Path:
    """The example agents: packed into the package, or those of the checkout it is installed from."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "long_job.py").is_file():
            return folder
    raise Failed(f"the example agents are missing: they should be in {package / 'examples'}")
