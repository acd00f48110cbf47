"""SQLite: an older file is brought up to date with all that is in it, and ends with the layout of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runyard.errors import StorageError
from runyard.storage.migrate import migrations, named_queries
from runyard.storage.sqlite.connection import PACKAGE, connect, migrate, schema_version

ALL = migrations(PACKAGE)


def older(path: Path, number: int) -> Any:
    """A file as the version with so many migrations left it."""
    connection: Any = connect(path)
    for migration in ALL[:number]:
        connection.execute(migration.sql).fetchall()
    connection.execute(f"PRAGMA user_version={number}").fetchall()
    return connection


def layout(connection: Any) -> list[Any]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("number", range(len(ALL) + 1))
def test_every_older_file_ends_with_the_layout_of_a_new_one(number: int, tmp_path: Path) -> None:
    new: Any = connect(tmp_path / "new.db")
    migrate(new)
    old = older(tmp_path / "old.db", number)
    assert [migration.number for migration in migrate(old)] == list(range(number + 1, len(ALL) + 1))
    assert layout(old) == layout(new)
    assert schema_version(old) == len(ALL)
    assert migrate(old) == []


def test_metadata_of_before_is_found_by_its_labels(tmp_path: Path) -> None:
    labels = next(migration.number for migration in ALL if "labels" in migration.name)
    connection = older(tmp_path / "runyard.db", labels - 1)
    metadata = b'{"user":"ada","n":1,"long":"%s"}' % (b"x" * 201)
    connection.execute(
        "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status) "
        "VALUES ('o', 't', 5, 5, ?, 'idle'), ('o', 'u', 6, 6, x'7b7d', 'idle')",
        (metadata,),
    )
    connection.execute(
        "INSERT INTO runs (number, run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, "
        "request, max_attempts, invocation, first_seq, line, strategy) "
        "VALUES (7, 'r', 't', 'o', 'a', 'pending', 1, 1, ?, x'7b7d', 3, 'r', 0, 1, 'reject')",
        (metadata,),
    )
    migrate(connection)
    found = connection.execute("SELECT * FROM labels ORDER BY kind").fetchall()
    assert found == [("o", "run", "user", "ada", 7, "r"), ("o", "thread", "user", "ada", 5, "t")]


def test_states_of_before_are_the_threads_own_in_the_order_of_storing(tmp_path: Path) -> None:
    graphs = next(migration.number for migration in ALL if "graph_states" in migration.name)
    connection = older(tmp_path / "runyard.db", graphs - 1)
    names = ["z", "a", "m"]
    connection.executemany(
        "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, created_at, step, source, kind, body, full_size, "
        "chain_size) VALUES (?, '', 't', 1, 0, 'step', 'full', x'7b7d', 2, 0)",
        [(name,) for name in names],
    )
    migrate(connection)
    where = {"owner": "", "thread_id": "t", "below": 2**63 - 1, "limit": 9}
    history = named_queries(PACKAGE)["history"]
    found = connection.execute(history, {**where, "namespace": ""}).fetchall()
    assert [row[0] for row in found] == names[::-1]
    assert connection.execute(history, {**where, "namespace": "node:1"}).fetchall() == []
    assert connection.execute(named_queries(PACKAGE)["has_inner"], where).fetchall() == [(0,)]


def test_giving_free_pages_back_changes_no_order(tmp_path: Path) -> None:
    """The order of histories is that of row numbers."""
    connection: Any = connect(tmp_path / "runyard.db")
    migrate(connection)
    connection.executemany(
        "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, created_at, step, source, kind, body, full_size, "
        "chain_size) VALUES (?, '', 't', 1, 0, 'step', 'full', x'7b7d', 2, 0)",
        [(str(99 - number),) for number in range(50)],
    )
    connection.execute("DELETE FROM checkpoints WHERE rowid % 3 = 0").fetchall()
    numbered = connection.execute("SELECT rowid, checkpoint_id FROM checkpoints ORDER BY rowid").fetchall()
    connection.execute("VACUUM").fetchall()
    assert connection.execute("SELECT rowid, checkpoint_id FROM checkpoints ORDER BY rowid").fetchall() == numbered


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    connection = older(tmp_path / "runyard.db", len(ALL))
    connection.execute(f"PRAGMA user_version={len(ALL) + 1}").fetchall()
    with pytest.raises(StorageError, match="written by a newer version"):
        migrate(connection)
