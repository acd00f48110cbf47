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
from typing import Any

from chaos.caller import Caller
from chaos.clients import Clients, Journal
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server

SETTLING_S = 60.0
"""Seconds that everything accepted has to end in, once nobody kills any more."""
PAGE = 1000


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
        await _settled(caller)
        await _check(caller, crowd.journal)
        story.checked, story.repeated = _check_steps(steps)
        story.unanswered = caller.unanswered
        return crowd.journal


async def _settled(caller: Caller) -> None:
    deadline = time.monotonic() + SETTLING_S
    while True:
        left = await caller.call("POST", "/runs/search", {"status": "pending", "limit": 5})
        if not left.body:
            return
        if time.monotonic() > deadline:
            raise Broken(f"these runs do not end: {left.body}")
        await asyncio.sleep(0.05)


async def _check(caller: Caller, journal: Journal) -> None:
    found = await _all_runs(caller)
    promised = set(journal.runs.values())
    if len(promised) != len(journal.runs):
        raise Broken("two keys gave the same run")
    if missing := promised - found.keys():
        raise Broken(f"{len(missing)} accepted runs are gone, one is {min(missing)}")
    if more := found.keys() - promised:
        raise Broken(f"{len(more)} runs were made that no key stands for, one is {found[min(more)]}")
    for run_id, status in journal.expected.items():
        if status is not None and found[run_id]["status"] != status:
            raise Broken(f"run {run_id} should be {status}: {found[run_id]}")
    await asyncio.gather(*(_check_run(caller, run_id, journal.values.get(run_id)) for run_id in found))
    for thread_id, notes in journal.threads.items():
        thread = (await caller.call("GET", f"/threads/{thread_id}")).body
        if thread["status"] != "idle" or thread["values"].get("notes", []) != notes:
            raise Broken(f"thread {thread_id} should be idle with {notes}: {thread}")
    busy = await caller.call("POST", "/threads/search", {"status": "busy", "limit": 5})
    if busy.body:
        raise Broken(f"threads are busy with nothing: {busy.body}")
    for key, number in journal.items.items():
        item = (await caller.call("GET", f"/store/items?namespace=counters&key={key}")).body
        if item["value"]["number"] != number:
            raise Broken(f"item {key} should hold {number}: {item}")


async def _all_runs(caller: Caller) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while True:
        page = await caller.call("POST", "/runs/search", {"limit": PAGE, "offset": len(found)})
        for run in page.body:
            found[run["run_id"]] = run
        if len(page.body) < PAGE:
            return found


async def _check_run(caller: Caller, run_id: str, values: Any) -> None:
    """The run, its wait and its log agree, and it ended once."""
    run = (await caller.call("GET", f"/runs/{run_id}")).body
    waited = (await caller.call("GET", f"/runs/{run_id}/wait")).body
    events = await caller.events(run_id)
    ends = [data for _, name, data in events if name == "end"]
    ids = [number for number, _, _ in events]
    if len(ends) != 1 or events[-1][1] != "end" or ids != sorted(set(ids)):
        raise Broken(f"run {run_id} has the events {events}")
    if not run["status"] == waited["status"] == ends[0]["status"]:
        raise Broken(f"run {run_id} is {run['status']}, its wait says {waited['status']}, its stream {ends[0]}")
    attempts = [data["attempt"] for _, name, data in events if name == "metadata"]
    # An attempt that was given back is made again under its number.
    if attempts != sorted(attempts) or (attempts and attempts[-1] not in (run["attempt"], run["attempt"] + 1)):
        raise Broken(f"run {run_id} is at attempt {run['attempt']}, its log has {attempts}")
    if values is not None and waited["values"] != values:
        raise Broken(f"run {run_id} should give {values}: {waited}")


def _check_steps(path: Path) -> tuple[int, int]:
    """How many steps were done, and how many of them again. A step that has another one behind it had finished: it
    may not come again."""
    done = repeated = 0
    last: dict[str, int] = {}
    for line in path.read_text().splitlines():
        key, number, _ = line.split()
        step = int(number)
        before = last.get(key, -1)
        if step not in (before, before + 1):
            raise Broken(f"the run of {key} took step {step} after step {before}")
        done += 1
        repeated += step == before
        last[key] = step
    return done, repeated
