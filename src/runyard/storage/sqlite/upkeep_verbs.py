"""Publishing agents, and retention in small batches."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.agents import Agent
from runyard.storage.contract import Retention
from runyard.storage.sqlite.writer import Transaction

_encode = msgspec.json.Encoder().encode


def publish_agents(t: Transaction, agents: Sequence[Agent], now: int) -> None:
    for agent in agents:
        t.run("publish_agent", (agent.agent_id, _encode(agent), now))


def prove(t: Transaction) -> None:
    """Writes a page without changing anything: it fails where a write of anything else would."""
    version = t.connection.pragma("user_version")
    t.connection.pragma("user_version", version)


def purge_batch(t: Transaction, now: int, keys_before: int) -> Retention:
    """Removes one batch of what has expired; all zeros when nothing is left."""
    runs = t.all("expired_runs", (now,))
    for run_id, owner, thread_id, first_seq, last_seq, stateless in runs:
        t.run("delete_events", (owner, thread_id, first_seq, last_seq, run_id))
        t.run("forget_records", (run_id,))
        t.run("delete_run", (run_id,))
        if stateless:
            t.run("delete_checkpoints", (owner, thread_id))
            t.run("delete_hidden_thread", (owner, thread_id))
    threads = 0
    for owner, thread_id in t.all("unreachable_checkpoints", (now,)):
        t.run("delete_gone_events", (owner, thread_id))
        if t.one("copied_elsewhere", (owner, thread_id)) is None:
            t.run("delete_gone_checkpoints", (owner, thread_id))
            threads += 1
    before = t.connection.total_changes()
    t.run("delete_expired_items", (now,))
    items = t.connection.total_changes() - before
    t.run("delete_old_keys", (keys_before,))
    return Retention(len(runs), 0, threads, items, t.connection.total_changes() - before - items)
