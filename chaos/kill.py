"""Crash stories under load: a server is killed again and again, and held to what it has promised its clients.

The check uses the clients' own journals, the journal that the agents' steps left outside the server, and the public
API of the server that was started last.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.caller import Caller
from chaos.clients import Clients, Journal
from chaos.judge import SETTLING_S, Steps, judge, settled
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server


@dataclass
class _Story:
    ready: list[float] = field(default_factory=list[float])
    checked: int = 0
    repeated: int = 0
    unanswered: int = 0


def run(*, seed: int, seconds: float, interval: float, clients: int = 2, progress: Progress = silent) -> Rows:
    """Kills for so many seconds, once per interval; so many clients of each kind are at work.

    Raises:
        Broken: a promise did not hold.
    """
    story = _Story()
    with tempfile.TemporaryDirectory(prefix="runyard-kill-") as folder:
        server = Server(Path(folder))
        try:
            journal = asyncio.run(_tell(story, server, Path(folder), seed, seconds, interval, clients, progress))
        except Exception as error:
            found = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            again = f"again: make chaos ARGS='kill --seed {seed} --minutes {seconds / 60:g} --every {interval:g}'"
            raise Broken(f"{type(found).__name__}: {found}\n{again}\n{server.log_end()}") from error
        finally:
            server.end()
    ready = sorted(story.ready)
    return [
        ("kills", f"{len(ready)}"),
        ("runs accepted, each there and ended once", f"{len(journal.runs):,}"),
        ("threads idle, every note once and in order", f"{len(journal.threads):,}"),
        ("followers that saw every event once and in order", f"{journal.followed:,}"),
        ("steps done again, none of them finished before", f"{story.repeated:,} of {story.checked:,}"),
        ("requests sent again", f"{story.unanswered:,}"),
        ("answers lost on purpose", f"{journal.lost_on_purpose:,}"),
        ("ready again: median, longest", f"{ready[len(ready) // 2]:.2f} s, {ready[-1]:.2f} s"),
        ("starts that took more than 1 s", f"{sum(time > 1 for time in ready)} of {len(ready)}"),
        ("seed", str(seed)),
    ]


async def _tell(
    story: _Story,
    server: Server,
    folder: Path,
    seed: int,
    seconds: float,
    interval: float,
    each: int,
    progress: Progress,
) -> Journal:
    dice = Random(seed)
    steps = folder / "steps"
    await server.start()
    async with Caller(server.url, dice) as caller:
        crowd = Clients(caller, dice, steps)
        working = asyncio.ensure_future(crowd.work(each))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not working.done():
            await asyncio.wait((working,), timeout=interval * (0.5 + dice.random()))
            server.kill()
            story.ready.append(await server.start())
            progress(f"kill: {len(story.ready)} kills, {len(crowd.journal.runs):,} runs")
        crowd.stop.set()
        await asyncio.wait_for(working, SETTLING_S)
        progress("kill: checking")
        await settled(caller)
        await judge(caller, crowd.journal)
        taken = Steps.of(steps)
        if taken.overtaken:
            raise Broken(f"{taken.overtaken} steps were begun by code of a server that was dead")
        story.checked, story.repeated = taken.done, taken.repeated
        story.unanswered = caller.unanswered
        return crowd.journal
