"""A steady load on a cluster for a long time: do dead rows pile up, does a transaction stay open?

Retention is short, so that as many rows go as come. PostgreSQL cleans by itself, four times as often as it does by
default: within minutes that shows what takes hours otherwise.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

import asyncpg

from chaos.caller import Caller
from chaos.cluster.fleet import Fleet, fleet
from chaos.report import Broken, Progress, Rows, silent
from chaos.soak import CLIENTS, SAMPLE_S, SETTINGS, Samples, client, trend

DATABASE = {"autovacuum_naptime": "15s"}
DEAD_PER_HOUR = 0.5
SIZE_PER_HOUR = 0.5
"""How much of its mean a figure may gain in an hour, as in `chaos.soak`."""
OPEN_S = 5.0
"""Seconds after which a transaction has been open for too long."""
IDLE_S = 1.0
"""Seconds after which a transaction in which nothing is asked for has been left open."""

_DEAD = """
SELECT sum(n_dead_tup)::float, sum(n_live_tup)::float, sum(autovacuum_count)::integer,
       sum(pg_total_relation_size(relid))::float / 1e6
FROM pg_stat_user_tables
"""
_OPEN = """
SELECT count(*) FILTER (WHERE state LIKE 'idle in transaction%' AND now() - state_change > make_interval(secs => $1)),
       coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float, count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'threads'"


@dataclass
class _Found:
    """One of each per sample: seconds, rows, megabytes; and the worst of all."""

    at: list[float] = field(default_factory=list[float])
    dead: list[float] = field(default_factory=list[float])
    size: list[float] = field(default_factory=list[float])
    live: float = 0.0
    cleaned: int = 0
    longest: float = 0.0
    connections: int = 0
    updates: tuple[int, int] = (0, 0)


def run(*, seconds: float, progress: Progress = silent) -> Rows:
    """Works for so many seconds.

    Raises:
        Broken: dead rows pile up, or a transaction was left open.
    """
    return asyncio.run(_soak(seconds, progress))


async def _soak(seconds: float, progress: Progress) -> Rows:
    samples, found = Samples(), _Found()
    settings = {**SETTINGS, "log_level": "info"}
    async with fleet("cluster-soak", 1, settings=settings, database=DATABASE) as those:
        begun = time.monotonic()
        async with Caller(those.urls[0], Random(1)) as one, Caller(those.urls[1], Random(2)) as other:
            clients = [asyncio.ensure_future(client((one, other)[n % 2], samples, n)) for n in range(CLIENTS)]
            try:
                while (now := time.monotonic() - begun) < seconds:
                    progress(f"cluster-soak: {now:.0f} of {seconds:.0f} s, {samples.requests:,} requests")
                    await asyncio.sleep(SAMPLE_S)
                    for each in clients:
                        if each.done():
                            each.result()
                    await _look(those, found, now)
            finally:
                for each in clients:
                    each.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
        those.sound()
    return _judged(samples, found)


async def _look(those: Fleet, found: _Found, now: float) -> None:
    connection = await asyncpg.connect(those.postgres.url)
    try:
        dead, live, cleaned, size = await connection.fetchrow(_DEAD)
        left, longest, connections = await connection.fetchrow(_OPEN, IDLE_S)
        updates = tuple(await connection.fetchrow(_UPDATES))
    finally:
        await connection.close()
    if left:
        raise Broken(f"{left} transactions were left open")
    if longest > OPEN_S:
        raise Broken(f"a transaction has been open for {longest:.1f} s")
    if now > 2 * SAMPLE_S:
        found.at.append(now)
        found.dead.append(dead)
        found.size.append(size)
    found.live, found.cleaned, found.updates = live, cleaned, updates
    found.longest = max(found.longest, longest)
    found.connections = max(found.connections, connections)


def _judged(samples: Samples, found: _Found) -> Rows:
    if len(found.at) < 4:
        raise Broken("cluster-soak: too short for a line through its samples; give it a minute")
    dead, dead_grow = trend(found.at, found.dead, "rows", DEAD_PER_HOUR)
    size, size_grows = trend(found.at, found.size, "MB", SIZE_PER_HOUR)
    rows: Rows = [
        ("requests", f"{samples.requests:,}"),
        ("samples, the second half judged", f"{len(found.at)}"),
        ("dead rows", dead),
        ("most dead rows, beside rows that live", f"{max(found.dead):,.0f}, {found.live:,.0f}"),
        ("tables and indexes", size),
        ("tables cleaned", f"{found.cleaned}"),
        ("updates of threads that touched no index", f"{found.updates[1] / max(found.updates[0], 1):.0%}"),
        ("longest transaction seen", f"{found.longest:.2f} s"),
        (f"transactions left open for {IDLE_S:g} s", "0"),
        ("connections of four servers, at most", f"{found.connections}"),
    ]
    if dead_grow or size_grows:
        raise Broken(f"cluster-soak: {'dead rows' if dead_grow else 'tables'} grow: {rows}")
    return rows
