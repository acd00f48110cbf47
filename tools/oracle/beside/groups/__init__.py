"""What is asked, by group: each a script that one talk goes through."""

from __future__ import annotations

from tools.oracle.beside.groups import (
    assistants,
    commands,
    crons,
    modes,
    odd,
    resuming,
    runs,
    states,
    store,
    strategies,
    streams,
    system,
    threads,
)

GROUPS = {
    "assistants": assistants.script,
    "threads": threads.script,
    "states": states.script,
    "runs": runs.script,
    "resuming": resuming.script,
    "strategies": strategies.script,
    "streams": streams.script,
    "modes": modes.script,
    "commands": commands.script,
    "crons": crons.script,
    "store": store.script,
    "system": system.script,
    "odd": odd.script,
}
