"""A fleet at work while something is done to it, and what it is held to afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from chaos.caller import Caller
from chaos.clients import Clients, Journal
from chaos.cluster.fleet import Fleet
from chaos.judge import SETTLING_S, Steps, judge, settled
from chaos.report import Rows


@dataclass
class Endured:
    """What was found out."""

    journal: Journal
    steps: Steps
    events: int
    unanswered: int

    def rows(self) -> Rows:
        """What every ordeal has in common. Nothing of it could be told if one had not been kept."""
        journal, steps = self.journal, self.steps
        return [
            ("runs accepted; lost, stuck, ended twice", f"{len(journal.runs):,}; 0, 0, 0"),
            ("threads idle, every note once and in order", f"{len(journal.threads):,}"),
            ("followers that saw every event once and in order", f"{journal.followed:,}"),
            ("events in the log, numbered without a gap or a double", f"{self.events:,}"),
            ("steps done again, none of them finished before", f"{steps.repeated:,} of {steps.done:,}"),
            ("steps begun by code that did not know it had lost its run", f"{steps.overtaken:,}"),
            ("requests sent again", f"{self.unanswered:,}"),
        ]


Harm = Callable[[Caller, float], Awaitable[None]]
"""What is done to the fleet, until a time (of `time.monotonic`)."""


async def endure(
    fleet: Fleet, harm: Harm, *, seconds: float, dice: Random, clients: int, caller: Caller | None = None
) -> Endured:
    """Clients work for so many seconds, so many of each kind, while harm is done; then the dust settles.

    Raises:
        Broken: a promise did not hold.
    """
    path = fleet.folder / "steps"
    async with caller or Caller(fleet.urls, dice) as caller:
        crowd = Clients(caller, dice, path)
        working = asyncio.ensure_future(crowd.work(clients))
        harming = asyncio.ensure_future(harm(caller, time.monotonic() + seconds))
        await asyncio.wait((working, harming), return_when=asyncio.FIRST_COMPLETED)
        crowd.stop.set()
        if working.done():
            harming.cancel()
        else:
            await harming
        await asyncio.wait_for(working, SETTLING_S)
        await fleet.ready()
        await settled(caller)
        await judge(caller, crowd.journal)
        return Endured(crowd.journal, Steps.of(path), await fleet.audit(), caller.unanswered)
