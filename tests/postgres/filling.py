"""An SQLite database that holds something of everything: rows of any values that the schema allows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from runyard.storage.sqlite.connection import connect, migrate
from runyard.vectors import unit_vector

TEXTS = ("", "a", "B", "ä", "z\u0301", "\u2028", "𐍈", "-", "a b", "~", "%s", "\\", "'", '"', "\t\n", "ﬀ", "\ue000")
INTEGERS = (0, 1, -1, 7, 2**31 - 1, -(2**31))
LARGE = (2**53 + 1, 2**63 - 1, -(2**63))
BYTES = (b"", b"\0", b"\xff\xfe", b"{}", b"\0\0\1", "ä".encode())
METADATA = (b"{}", b'{"user":"ada","n":1}', b'{"nul":"a\\u0000b","long":"%s"}' % (b"x" * 300))
SMALL = {"attempt", "max_attempts", "losses", "concurrency", "attempts", "last_status"}
"""What PostgreSQL keeps in 32 bits."""
FLAGS = {
    "asking", "hidden", "unswept", "stateless", "resumes", "ready", "trimmed", "gone", "outside", "sending",
    "enabled",
}  # fmt: skip


def filled(path: Path, rows: int = 12, seed: int = 1) -> None:
    """Makes the file, with so many rows in each table."""
    connection: Any = connect(path)
    migrate(connection)
    chance = random.Random(seed)
    names = connection.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'").fetchall()
    with connection:
        for (table,) in names:
            if table.startswith("sqlite_") or table == "labels":
                continue
            columns = connection.execute('SELECT name, type, "notnull" FROM pragma_table_info(?)', (table,)).fetchall()
            for number in range(rows):
                row = {name: value(chance, name, kind, bool(must)) for name, kind, must in columns}
                row.update(fitting(chance, table, number))
                marks = ", ".join("?" * len(row))
                statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
                connection.execute(statement, tuple(row.values())).fetchall()
        # The order in which checkpoints were stored is not that of their ids, nor without gaps.
        connection.execute("DELETE FROM checkpoints WHERE rowid % 5 = 0").fetchall()
    connection.close()


def value(chance: random.Random, name: str, kind: str, must: bool) -> Any:
    """Any value of a column."""
    if not must and chance.random() < 0.3:
        return None
    if name == "metadata":
        return chance.choice(METADATA)
    if name in FLAGS:
        return chance.randint(0, 1)
    match kind:
        case "INTEGER":
            return chance.choice(INTEGERS if name in SMALL else INTEGERS + LARGE)
        case "BLOB":
            return chance.choice(BYTES) + chance.randbytes(chance.randint(0, 40))
        case _:
            return "".join(chance.choice(TEXTS) for _ in range(chance.randint(0, 4)))


def fitting(chance: random.Random, table: str, number: int) -> dict[str, Any]:
    """What the schema asks of a row: that it has a key of its own, and is consistent."""
    unique = f"{chance.choice(TEXTS)}{number}"
    match table:
        case "threads":
            return {
                "thread_id": unique, "status": chance.choice(("idle", "busy", "interrupted", "error")),
                "floor_seq": number, "last_seq": 2**60 + number, "updated_at": 2**61,
                **chance.choice(
                    ({"ttl": None, "ttl_strategy": None}, {"ttl": 2**60, "ttl_strategy": "delete"},
                     {"ttl": 1, "ttl_strategy": "keep_latest", "cut_at": 2**61})
                ),
            }  # fmt: skip
        case "runs":
            return {
                "number": number * 3 + 1, "run_id": unique, "thread_id": unique, "attempt": number, "losses": number,
                **chance.choice(
                    (
                        {"status": "pending", "due_at": None, "ready": 1, **STILL},
                        {"status": "pending", "due_at": 5, "ready": 0, **STILL},
                        {"status": "running", "ready": 0, "due_at": None, **STILL},
                        {"status": "success", "outcome": "completed", "ended_at": 9, "ready": 0, "cancel": None},
                        {"status": "error", "outcome": "lost", "ended_at": 9, "ready": 0, "cancel": "rollback"},
                    )
                ),
            }  # fmt: skip
        case "checkpoints":
            kind = chance.choice(("full", "delta"))
            return {"checkpoint_id": f"{99 - number}{unique}", "kind": kind, "parent_id": "p", "source": "step"}
        case "events":
            return {"thread_id": unique, "first_seq": number + 1, "last_seq": 2**60 + number}
        case "outbox":
            ends = {"due_at": None, "delivered_at": None, "parked_at": None, "last_status": 500, "sending": 0}
            ends[chance.choice(("due_at", "delivered_at", "parked_at"))] = 2**62
            ends.update({"last_status": 200, "last_error": None} if ends["delivered_at"] else {})
            return {"number": 2**40 + number, "delivery_id": unique, "run_id": unique, "attempts": number, **ends}
        case "notices":
            return {"number": 2**40 + number}
        case "agents":
            return {"agent_id": unique}
        case "assistants":
            return {"assistant_id": unique}
        case "assistant_versions":
            return {"assistant_id": unique, "version": number + 1}
        case "crons":
            fires = chance.choice(({"enabled": 1, "next_at": 2**62}, {"enabled": 0, "next_at": None}))
            return {"cron_id": unique, "on_run_completed": chance.choice((None, "delete", "keep")), **fires}
        case "vectors":
            numbers = [chance.uniform(-1, 1) for _ in range(chance.randint(1, 5))]
            return {"key": unique, "number": number + 1, "vector": unit_vector(numbers, len(numbers))}
        case "traces":
            return {"run_id": unique}
        case "records":
            return {"invocation": unique}
        case "pending_writes" | "inherited" | "idempotency" | "items":
            key = {"pending_writes": "task_id", "inherited": "checkpoint_id"}.get(table, "key")
            return {key: unique}
        case _:
            return {}


STILL: dict[str, Any] = {"outcome": None, "ended_at": None, "deleted_at": None, "cancel": "interrupt"}
