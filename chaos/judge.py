"""What servers that were killed, stopped and cut off are held to, when the dust has settled.

What a client was promised is in its journal; what the agents' code did to the world outside is in that of their steps,
which outlives every crash.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.caller import Caller
from chaos.clients import Journal
from chaos.report import Broken

SETTLING_S = 60.0
"""Seconds that everything accepted has to end in, once nobody does any harm any more."""
PAGE = 1000


async def settled(caller: Caller) -> None:
    """Waits until no run is pending.

    Raises:
        Broken: one stays so.
    """
    deadline = time.monotonic() + SETTLING_S
    while True:
        left = await caller.call("POST", "/runs/search", {"status": "pending", "limit": 5})
        if not left.body:
            return
        if time.monotonic() > deadline:
            raise Broken(f"these runs do not end: {left.body}")
        await asyncio.sleep(0.05)


async def judge(caller: Caller, journal: Journal) -> None:
    """Holds the server to a journal, by its public API.

    Raises:
        Broken: a promise did not hold.
    """
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
    await asyncio.gather(*(_judge_run(caller, run_id, journal.values.get(run_id)) for run_id in found))
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


async def _judge_run(caller: Caller, run_id: str, values: Any) -> None:
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


@dataclass
class Steps:
    """What the journal of steps tells."""

    done: int = 0
    repeated: int = 0
    """Steps that were done again, none of them finished before."""
    overtaken: int = 0
    """Steps that code began after the run had gone on elsewhere: it stood still, and did not know. Each is the only one
    of its execution."""
    _of_runs: dict[str, dict[str, list[int]]] = field(
        default_factory=lambda: defaultdict[str, dict[str, list[int]]](lambda: defaultdict(list))
    )

    @classmethod
    def of(cls, path: Path) -> Steps:
        """Holds executions of a run to what they may do, whenever they did it.

        Raises:
            Broken: a step was left out, or done again by another execution although it had been finished.
        """
        steps = cls()
        if path.exists():
            for line in path.read_text().splitlines():
                key, number, execution, _ = line.split()
                steps._begun(key, int(number), execution)
        for key, executions in steps._of_runs.items():
            _never_again(key, executions)
        return steps

    def _begun(self, key: str, number: int, execution: str) -> None:
        executions = self._of_runs[key]
        own = executions[execution]
        if own and number != own[-1] + 1:
            raise Broken(f"an execution of the run of {key} took step {number} after its step {own[-1]}")
        others = [taken for name, taken in executions.items() if name != execution and taken]
        self.done += 1
        self.repeated += any(number in taken for taken in others)
        # Later ones come later in the dictionary.
        later = [*executions][[*executions].index(execution) + 1 :]
        self.overtaken += any(executions[name][-1] >= number for name in later)
        own.append(number)


def _never_again(key: str, executions: dict[str, list[int]]) -> None:
    """A step that has another one behind it had been finished: recorded, under the lease. No other execution may take
    the run on from before it."""
    finished = [number for taken in executions.values() for number in taken[:-1]]
    if len(finished) != len(set(finished)):
        raise Broken(f"steps of the run of {key} were finished twice: {executions}")
    taken = {number for numbers in executions.values() for number in numbers}
    if taken != set(range(max(taken) + 1)):
        raise Broken(f"steps of the run of {key} were left out: {executions}")
