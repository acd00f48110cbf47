"""Agents of the stories about processes."""

from __future__ import annotations

import ctypes
import logging
import os
import signal

from story_agents import write_line

from runyard import SyncContext, agent


@agent
def crashes() -> None:
    """As native code does that reads where it must not."""
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()


@agent
def logs(ctx: SyncContext) -> None:
    logging.getLogger("mine").warning("a word of mine")


@agent
def holds_the_lock(input: str, ctx: SyncContext) -> None:
    """Native code that lets no other thread of its process do anything, at the first attempt."""
    write_line(input, "begun")
    if ctx.attempt == 1:
        ctypes.PyDLL(None).sleep(60)
