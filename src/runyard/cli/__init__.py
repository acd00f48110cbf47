"""The command line: a file per group. Each parses, then calls the server or the client.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import sys

import click

from runyard.cli.groups import LazyGroup
from runyard.errors import InvalidInput, RunyardError

COMMANDS = {
    "agents": "List the agents of a server and show what they take.",
    "backup": "Copy the database while it is being served.",
    "copy": "Copy an SQLite database into a PostgreSQL one.",
    "demo": "Start a server and drive real background runs through it.",
    "doctor": "Say what is configured here, and what is wrong.",
    "migrate": "Bring the database to this version's layout.",
    "run": "Run an agent and show what comes out.",
    "runs": "List, show, follow and cancel runs.",
    "serve": "Serve agents over HTTP.",
    "tail": "Show a thread's runs as a live tree.",
    "threads": "List and show threads and their history.",
    "webhooks": "List, show and re-send what webhooks are told.",
    "worker": "Execute runs beside servers on the same database.",
}

EPILOG = """\b
Examples:
  runyard serve examples/                     serve the agents of a folder
  runyard run echo --input '{"hello": 1}'     run one, and wait for its output
  runyard runs                                see what ran
"""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    package=__name__,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="runyard", message="runyard %(version)s")
def cli() -> None:
    """Runyard serves agents that run in the background."""


def main() -> None:
    """The entry point. Exits 0 when all went well, 1 when something failed, 2 when the wish was nonsense."""
    sys.exit(run_command())


def run_command(arguments: list[str] | None = None) -> int:
    """Run a command line; errors become a sentence on standard error. Returns the exit code."""
    try:
        code: object = cli.main(arguments, prog_name="runyard", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("aborted", err=True)
        return 130
    except RunyardError as error:
        click.echo(f"error: {error.message}", err=True)
        return 2 if isinstance(error, InvalidInput) else 1
    except BrokenPipeError:
        # `runyard runs | head` is no failure; the rest of the output has no reader.
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0
