"""Moving house: everything of an SQLite file is in a PostgreSQL database afterwards, however often the copy was cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cluster import clustered
from filling import filled
from live_server import Starter
from postgres_server import Postgres
from test_cluster import events_of

from runyard import Context, agent, offline
from runyard.errors import InvalidInput, RunyardError, StorageError, Unavailable
from runyard.moving import Moved, move
from runyard.storage import copying
from runyard.storage.copying import ELSEWHERE, LEFT_OUT, STAY, Digest, Table, plan, portions
from runyard.storage.postgres import PostgresStorage
from runyard.storage.postgres.copy_target import CopyTarget
from runyard.storage.sqlite.connection import FileLock, connect
from runyard.storage.sqlite.copy_source import CopySource
from runyard.vectors import unpacked


class Cut(Exception):
    """The copy ends here."""


def quietly(*_: Any) -> None:
    """Nobody looks."""


def copied(source: Path, target: str, *, restart: bool = False, progress: Any = quietly) -> Moved:
    return move(source, target, restart=restart, progress=progress)


@pytest.fixture
def new(postgres: Postgres) -> Iterator[str]:
    """A database with nothing in it, not even the schema."""
    url = asyncio.run(postgres.empty())
    yield url
    asyncio.run(postgres.drop(url))


@pytest.fixture
def target(postgres: Postgres) -> str:
    """A database with the schema."""
    return asyncio.run(postgres.emptied())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database that holds something of everything."""
    filled(tmp_path / "runyard.db")
    return tmp_path / "runyard.db"


def ask(url: str, statement: str, *values: Any) -> list[Any]:
    """What a database answers, also in the middle of something else."""
    found: list[Any] = []

    async def whole() -> None:
        connection: Any = await asyncpg.connect(url)
        found.extend(tuple(row) for row in await connection.fetch(statement, *values))
        await connection.close()

    asking = threading.Thread(target=lambda: asyncio.run(whole()))
    asking.start()
    asking.join()
    return found


def change(path: Path, statement: str) -> None:
    connection: Any = connect(path)
    connection.execute(statement).fetchall()
    connection.close()


async def planned(source: Path, target: str) -> tuple[Table, ...]:
    here, there = CopySource(source), CopyTarget(target, "test")
    here.open()
    await there.open()
    try:
        await there.prepare()
        return plan(here.tables(), await there.tables(), await there.keys())
    finally:
        await there.close()
        here.close()


def is_the_same(source: Path, target: str) -> dict[str, int]:
    """Holds every row of both against each other; the number of rows of each table."""
    here: Any = connect(source, read_only=True)
    counts: dict[str, int] = {}
    names = here.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'").fetchall()
    for name in {name for (name,) in names if not name.startswith("sqlite_")} - STAY.keys():
        columns = [row[0] for row in here.execute("SELECT name FROM pragma_table_info(?)", (name,))]
        there = list(columns)
        if name == "checkpoints":
            columns, there = [*columns, "rowid"], [*columns, "number"]
        rows = here.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall()
        if name == "vectors":
            rows = [(*row[:-1], unpacked(row[-1])) for row in rows]
        found = ask(target, f"SELECT {', '.join(there)} FROM {name}")
        assert sorted(map(repr, found)) == sorted(map(repr, rows)), name
        counts[name] = len(rows)
    here.close()
    return counts


# what goes along


def test_every_table_and_column_goes_along_or_stays_for_a_reason(source: Path, target: str) -> None:
    """A migration that adds a table to one database only, or a column that the other has not, fails here."""
    tables = asyncio.run(planned(source, target))
    here: Any = connect(source, read_only=True)
    names = {name for (name,) in here.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    there = {row[0] for row in ask(target, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert {table.name for table in tables} == names - STAY.keys()
    assert {table.name for table in tables} == there - STAY.keys() - {"schema_versions", "copy_progress"}
    assert names | there >= STAY.keys()
    columns = {
        tuple(row)
        for row in ask(target, "SELECT table_name, column_name FROM information_schema.columns")
    }  # fmt: skip
    assert columns >= ELSEWHERE.keys() | LEFT_OUT.keys()
    for table in tables:
        assert here.execute(f"SELECT count(*) FROM {table.name}").fetchall()[0][0] > 0, f"{table.name} is not filled"


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        ({"a": {"k": "TEXT"}, "b": {"k": "TEXT"}}, {"a": {"k": "text"}}, "has the table 'b'"),
        ({"a": {"k": "TEXT"}}, {"a": {"k": "text"}, "c": {"k": "text"}}, "has the table 'c'"),
        ({"a": {"k": "TEXT", "x": "TEXT"}}, {"a": {"k": "text"}}, "has the column 'x' of a"),
        ({"a": {"k": "TEXT"}}, {"a": {"k": "text", "y": "text"}}, "has the column 'y' of a"),
        ({"a": {"k": "TEXT"}}, {"a": {"k": "jsonb"}}, "is TEXT in one database and jsonb in the other"),
    ],
)
def test_what_only_one_of_the_databases_has_is_refused_by_its_name(here: Any, there: Any, told: str) -> None:
    with pytest.raises(StorageError, match=told):
        plan(here, there, {name: ["k"] for name in there})


@pytest.mark.parametrize("seed", range(2))
def test_a_copy_holds_every_row_and_every_value(tmp_path: Path, target: str, seed: int) -> None:
    filled(tmp_path / "a.db", rows=25, seed=seed)
    before = (tmp_path / "a.db").read_bytes()
    moved = copied(tmp_path / "a.db", target)
    assert is_the_same(tmp_path / "a.db", target) == moved.rows
    assert moved.copied == sum(moved.rows.values())
    assert (tmp_path / "a.db").read_bytes() == before
    # Numbers go on behind those that there are.
    for table in ("runs", "checkpoints", "outbox"):
        last = ask(target, f"SELECT max(number) FROM {table}")[0][0]
        assert ask(target, f"SELECT nextval(pg_get_serial_sequence('{table}', 'number'))")[0][0] == last + 1
    assert ask(target, "SELECT to_regclass('copy_progress')") == [(None,)]
    found = ask(target, "SELECT count(*) FROM labels WHERE name = 'user' AND value = 'ada'")[0][0]
    here: Any = connect(tmp_path / "a.db", read_only=True)
    assert found == here.execute("SELECT count(*) FROM labels WHERE name = 'user' AND value = 'ada'").fetchall()[0][0]
    here.close()


def test_an_empty_database_is_copied_too(tmp_path: Path, new: str) -> None:
    filled(tmp_path / "a.db", rows=0)
    assert sum(copied(tmp_path / "a.db", new).rows.values()) == 0
    assert ask(new, "SELECT nextval(pg_get_serial_sequence('runs', 'number'))") == [(1,)]


def test_rows_are_read_along_an_index_and_never_sorted(source: Path, target: str) -> None:
    tables = asyncio.run(planned(source, target))
    reading = CopySource(source)
    reading.open()
    for table in tables:
        for behind in (False, True):
            values = (1,) * table.keys if behind else ()
            statement = f"EXPLAIN QUERY PLAN {reading._statement(table, behind)}"
            steps = [row[3] for row in reading._connection.execute(statement, values)]
            assert not any("TEMP B-TREE" in step for step in steps), (table.name, steps)
            assert not behind or all(step.startswith("SEARCH") for step in steps), (table.name, steps)
    reading.close()


def test_portions_are_bounded_in_rows_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "ROWS", 3)
    monkeypatch.setattr(copying, "BYTES", 10)
    rows = [(b"x" * size,) for size in (1, 1, 1, 1, 12, 1, 9, 1)]
    assert [len(portion) for portion in portions(iter(rows))] == [3, 2, 2, 1]


def test_a_checksum_depends_on_values_and_order_and_not_on_portions() -> None:
    def checksum(*portions: list[Any]) -> str:
        digest = Digest()
        for portion in portions:
            digest.add(portion)
        return digest.checksum()

    whole = checksum([("a", 1, None), ("b", 2, b"x")])
    assert checksum([("a", 1, None)], [("b", 2, b"x")]) == whole
    others = [
        [("b", 2, b"x"), ("a", 1, None)], [("a", 1, None), ("b", 2, "x")], [("a", 1, 0), ("b", 2, b"x")],
        [("a", 1), (None, "b", 2, b"x")], [("a", 1, None)],
    ]  # fmt: skip
    assert whole not in {checksum(other) for other in others}


# a copy that is cut


def test_a_copy_that_is_cut_again_and_again_goes_on_where_it_was(
    source: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS", 7)
    written: list[int] = []

    def cut_after_a_portion(stage: str, done: int, total: int) -> None:
        written.append(done)
        if stage == "copying" and done > written[0]:
            raise Cut

    cuts = 0
    while True:
        written.clear()
        try:
            moved = copied(source, target, progress=cut_after_a_portion)
            break
        except Cut:
            cuts += 1
            progress = ask(target, "SELECT sum(rows)::integer, count(*) FROM copy_progress")[0]
            assert progress[0] == written[-1]
    assert cuts > 15
    assert moved.copied == 0
    assert is_the_same(source, target) == moved.rows


def test_a_copy_that_is_cut_while_it_is_checked_is_checked_again(source: Path, target: str) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        if stage == "checking" and done:
            raise Cut

    with pytest.raises(Cut):
        copied(source, target, progress=cut)
    with pytest.raises(StorageError, match="`runyard copy` come to its end"):
        asyncio.run(PostgresStorage(target).open())
    assert copied(source, target).copied == 0
    is_the_same(source, target)


def test_an_unfinished_copy_of_another_database_is_not_mixed_with(source: Path, target: str, tmp_path: Path) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        if done:
            raise Cut

    filled(tmp_path / "other.db", seed=9)
    with pytest.raises(Cut):
        copied(tmp_path / "other.db", target, progress=cut)
    with pytest.raises(InvalidInput, match=r"unfinished copy of .*other\.db: .*--restart"):
        copied(source, target)
    assert copied(source, target, restart=True).copied > 0
    is_the_same(source, target)


# what was changed meanwhile is found


CHANGES = {
    "events": "UPDATE events SET body = set_byte(body, 0, get_byte(body, 0) # 1) WHERE body <> ''",
    "runs": "UPDATE runs SET last_seq = last_seq # 1 WHERE number = 4",
    "items": "DELETE FROM items WHERE ctid = (SELECT min(ctid) FROM items)",
    "traces": "INSERT INTO traces VALUES ('~~~', 'x')",
    "agents": "UPDATE agents SET updated_at = 1 WHERE agent_id = (SELECT max(agent_id) FROM agents)",
}


def test_whatever_differs_in_the_end_is_found_and_said(source: Path, target: str) -> None:
    """A flipped byte, another number, a row less, a row more."""

    def meddle(stage: str, done: int, total: int) -> None:
        if stage == "checking" and not done:
            for statement in CHANGES.values():
                ask(target, statement)

    with pytest.raises(StorageError, match=r"is not to be served: .*--restart") as failed:
        copied(source, target, progress=meddle)
    told = failed.value.message.partition("served: ")[2].split("; ")
    assert [part.split()[0] for part in told if "checksum" in part] == sorted(CHANGES)
    assert "runs has 12 rows" in failed.value.message
    assert "they differ from the row of 4 on" in failed.value.message
    with pytest.raises(StorageError, match="copy into the database is under way, or was cut"):
        asyncio.run(PostgresStorage(target).open())
    with pytest.raises(StorageError, match="is not to be served"):
        copied(source, target)
    copied(source, target, restart=True)
    is_the_same(source, target)


def test_a_source_that_was_changed_between_two_parts_of_its_copy_is_found(source: Path, target: str) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        if stage == "checking":
            raise Cut

    with pytest.raises(Cut):
        copied(source, target, progress=cut)
    change(source, "INSERT INTO traces VALUES ('', 'late')")
    with pytest.raises(StorageError, match=r"traces has 13 rows .* 12 .* they differ from the row of '' on"):
        copied(source, target)


# what is refused


def test_a_database_that_a_server_has_is_not_copied(source: Path, target: str) -> None:
    lock = FileLock(source)
    lock.acquire()
    with pytest.raises(Unavailable, match=r"a server \(process \d+\) has the database .*: stop it, then copy"):
        copied(source, target)
    lock.release()
    copied(source, target)


def test_no_server_begins_on_a_database_that_is_being_copied(source: Path, target: str) -> None:
    def try_to_serve(stage: str, done: int, total: int) -> None:
        with pytest.raises(Unavailable):
            FileLock(source).acquire()
        raise Cut

    with pytest.raises(Cut):
        copied(source, target, progress=try_to_serve)


def test_a_target_that_holds_something_is_refused(source: Path, target: str, postgres: Postgres) -> None:
    asyncio.run(postgres.execute("INSERT INTO traces VALUES ('mine', 'x')", target))
    with pytest.raises(InvalidInput, match=r"holds rows of its own \(of traces\).*name an empty database"):
        copied(source, target)
    with pytest.raises(InvalidInput, match="holds rows of its own"):
        copied(source, target, restart=True)
    assert ask(target, "SELECT * FROM traces") == [("mine", "x")]


def test_a_target_that_servers_use_is_refused(source: Path, target: str) -> None:
    async def served() -> None:
        storage = PostgresStorage(target)
        await storage.open()
        try:
            with pytest.raises(InvalidInput, match="TARGET is in use: servers have"):
                await asyncio.to_thread(copied, source, target)
        finally:
            await storage.close()

    asyncio.run(served())
    copied(source, target)


def test_two_copies_into_one_target_do_not_meet(source: Path, target: str) -> None:
    def second(stage: str, done: int, total: int) -> None:
        with pytest.raises(Unavailable, match="another copy into the target is under way"):
            in_a_thread(lambda: copied(other, target))

    other = source.with_name("other.db")
    filled(other, rows=1)
    copied(source, target, progress=second)


def in_a_thread(whole: Callable[[], Any]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            whole()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize(
    ("number", "told"), [(0, "is no database of Runyard"), (3, "runyard migrate --database"), (999, "newer version")]
)
def test_another_schema_is_refused_with_what_to_do(source: Path, target: str, number: int, told: str) -> None:
    change(source, f"PRAGMA user_version = {number}")
    with pytest.raises(StorageError, match=told):
        copied(source, target)


def test_a_target_of_a_newer_version_is_refused(source: Path, target: str, postgres: Postgres) -> None:
    asyncio.run(postgres.execute("INSERT INTO schema_versions VALUES (999, 'later')", target))
    try:
        with pytest.raises(StorageError, match="a newer version has written it"):
            copied(source, target)
    finally:
        asyncio.run(postgres.execute("DELETE FROM schema_versions WHERE number = 999", target))


def test_a_row_that_postgresql_cannot_hold_is_named(source: Path, target: str) -> None:
    change(source, "INSERT INTO traces VALUES ('0' || char(0), 'x')")
    with pytest.raises(StorageError, match=r"refuses a row of traces, that of '0\\x00'.*in the source"):
        copied(source, target)
    change(source, "DELETE FROM traces WHERE context = 'x'")
    copied(source, target)
    is_the_same(source, target)


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (("a.db", "b.db"), "runyard backup"),
        (("postgresql://a/a", "postgresql://b/b"), "pg_dump"),
        (("postgresql://a/a", "b.db"), "no way back"),
        (("sqlite:////none/a.db", "postgresql://b/b"), "there is no such file"),
        (("/none/a.db", "postgres://b/b"), "there is no such file"),
    ],
)
def test_other_ways_are_refused_with_what_there_is_instead(way: tuple[str, str], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        offline.copy(*way, restart=False, progress=quietly)


def test_a_database_that_goes_away_meanwhile_is_told_with_what_to_do(source: Path, target: str) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        ask(
            target,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

    with pytest.raises(RunyardError, match="the same command goes on where it stopped"):
        copied(source, target, progress=cut)
    copied(source, target)
    is_the_same(source, target)


# afterwards


@agent(id="adder")
async def adder(input: int, ctx: Context) -> dict[str, Any]:
    """Adds to what the thread has; asks where that is too much."""
    total = (ctx.state.get("total") or 0) + input
    await ctx.update({"total": total})
    if total > 10:
        await ctx.interrupt({"too much": total})
    return {"total": total}


def test_servers_on_the_target_go_on_with_everything(server: Starter, target: str, tmp_path: Path) -> None:
    """Threads go on, a question is answered, runs that waited are executed, keys and cursors are valid."""
    known: dict[str, Any] = {}

    async def before() -> None:
        async with server(adder, database=f"sqlite:///{tmp_path}/runyard.db") as s:
            thread_id = await s.thread(metadata={"user": "ada"})
            known["thread"] = thread_id
            for number in (2, 3):
                run = await s.run(agent_id="adder", input=number, thread_id=thread_id)
                known["last"] = (await s.wait(run["run_id"]))["run"]
            known["events"] = await events_of(s, run["run_id"])
            asking = await s.thread()
            known["asking"] = asking
            await s.wait((await s.run(agent_id="adder", input=11, thread_id=asking))["run_id"])
            known["seq"] = await s.storage.last_seq("", thread_id)
            await s.http.put("/store/items", json={"namespace": ["a", "b"], "key": "k", "value": {"v": 1}})
            later = {"agent_id": "adder", "input": 5, "thread_id": thread_id, "after_seconds": 0.5}
            known["later"] = (await s.post("/runs", later, headers={"Idempotency-Key": "once"})).json()
            known["wish"] = later

    async def after() -> None:
        async with clustered(target) as cluster:
            a, b = await cluster.api(), await cluster.worker(adder)
            await a.until(lambda: "adder" in a.verbs.agents)
            again = await a.post("/runs", known["wish"], headers={"Idempotency-Key": "once"})
            assert again.json()["run_id"] == known["later"]["run_id"]
            assert (await a.wait(known["later"]["run_id"]))["values"] == {"total": 10}
            assert await events_of(b, known["last"]["run_id"]) == known["events"]
            assert await a.storage.last_seq("", known["thread"]) > known["seq"]
            resumed = await a.run(agent_id="adder", thread_id=known["asking"], command={"resume": "yes"})
            assert (await b.wait(resumed["run_id"]))["values"] == {"total": 11}
            item = await a.get("/store/items?key=k&namespace=a&namespace=b")
            assert item.json()["value"] == {"v": 1}
            found = (await a.post("/threads/search", {"metadata": {"user": "ada"}})).json()
            assert [thread["thread_id"] for thread in found] == [known["thread"]]

    asyncio.run(before())
    copied(tmp_path / "runyard.db", target)
    asyncio.run(after())
