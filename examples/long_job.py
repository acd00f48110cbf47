"""A long job in steps: it counts primes range by range and survives the death of its server.

Kill the server in the middle (`kill -9`), start it again, and the run goes on: the agent is entered from its
first line once more, but every finished step hands back its recorded result instead of being done again.
"""

import asyncio
import json
import math
import os
import time
from dataclasses import dataclass
from typing import TypedDict

from runyard import Context, agent

NUMBERS_PER_ITEM = 20_000


@dataclass(frozen=True)
class Job:
    items: int = 20
    """How many ranges of 20,000 numbers to search."""
    seconds_per_item: float = 0.2
    """The least time a range takes, so that a person can watch, or kill, the job."""
    journal: str | None = None
    """A file that gets one line of JSON for each range that was searched, or none."""

    def __post_init__(self) -> None:
        if self.items < 1:
            raise ValueError(f"items is {self.items}: must be 1 or more")
        if not 0 <= self.seconds_per_item <= 3600:
            raise ValueError(f"seconds_per_item is {self.seconds_per_item}: must be between 0 and 3600")


class Primes(TypedDict):
    primes: int
    below: int


@agent(
    name="Long job",
    description="Counts primes range by range, and continues where it stopped after a crash.",
    timeout=24 * 3600,
    max_attempts=10,
)
async def long_job(input: Job, ctx: Context) -> Primes:
    primes = 0
    for item in range(input.items):
        primes += await ctx.step("search range", search_range, item, input.seconds_per_item, input.journal)
        await ctx.emit({"done": item + 1, "total": input.items, "primes": primes}, name="progress")
    return {"primes": primes, "below": input.items * NUMBERS_PER_ITEM}


async def search_range(item: int, seconds: float, journal: str | None) -> int:
    """The number of primes in the range numbered `item`, counted from 0."""
    ready_at = time.monotonic() + seconds
    start = item * NUMBERS_PER_ITEM
    # In a thread, so that other agents on this event loop go on meanwhile.
    primes = await asyncio.to_thread(count_primes, start, start + NUMBERS_PER_ITEM)
    await asyncio.sleep(max(0.0, ready_at - time.monotonic()))
    if journal is not None:
        # Last of all, because a step that was cut short is done again: only a kill between this line and the
        # record of the step can make a range appear twice.
        append_line(journal, {"item": item, "primes": primes, "pid": os.getpid()})
    return primes


def count_primes(start: int, stop: int) -> int:
    """How many primes p with start <= p < stop there are (a sieve of Eratosthenes over that range alone)."""
    start = max(start, 2)
    is_prime = bytearray(b"\x01") * max(0, stop - start)
    for factor in range(2, math.isqrt(max(0, stop - 1)) + 1):
        first = max(factor * factor, -(-start // factor) * factor)
        is_prime[first - start :: factor] = bytes(len(range(first, stop, factor)))
    return is_prime.count(1)


def append_line(path: str, entry: dict[str, int]) -> None:
    with open(path, "a", encoding="utf-8") as journal:
        journal.write(json.dumps(entry) + "\n")
        journal.flush()
        os.fsync(journal.fileno())
