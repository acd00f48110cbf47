"""PostgreSQL: an older database is brought up to date with all that is in it, ends with the layout of a new one, and is
served all the while by those who served it before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from postgres_server import Postgres
from test_storage import alone, claimed, wish

from runyard.agents import Agent
from runyard.errors import StorageError, Unavailable
from runyard.events import entry
from runyard.runtime.contract import Record
from runyard.storage.contract import Batch, Ending
from runyard.storage.migrate import Migration, migrations
from runyard.storage.postgres import PostgresStorage, schema
from runyard.storage.postgres.connection import PACKAGE, connect
from runyard.storage.postgres.schema import migrate, schema_version

ALL = migrations(PACKAGE)

LAYOUT = """
SELECT 'column', table_name, column_name, data_type || coalesce(' default ' || column_default, '') || ' ' || is_nullable
    || coalesce(' ' || collation_name, '') || coalesce(' ' || identity_generation, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, pg_get_function_identity_arguments(oid), pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'table', relname, relkind::text, coalesce(array_to_string(reloptions, ','), '')
FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3, 4
"""
COLUMNS = """
SELECT table_name, array_agg(column_name::text) FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'schema_versions' GROUP BY table_name ORDER BY table_name
"""

OnServer = Callable[[Callable[["Databases"], Awaitable[None]]], None]


class Databases:
    """Databases of one case, which go with it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._made: list[str] = []
        self._open: list[Any] = []

    async def new(self) -> str:
        self._made.append(await self._postgres.empty())
        return self._made[-1]

    async def connect(self, url: str) -> Any:
        self._open.append(await asyncpg.connect(url))
        return self._open[-1]

    async def older(self, number: int) -> tuple[str, Any]:
        """One as the version with so many migrations left it."""
        url = await self.new()
        connection = await self.connect(url)
        for migration in ALL[:number]:
            await schema._apply(connection, migration)
        return url, connection

    async def close(self) -> None:
        for connection in self._open:
            connection.terminate()
        for url in self._made:
            await self._postgres.drop(url)


@pytest.fixture
def on_server(postgres: Postgres) -> OnServer:
    def run(case: Callable[[Databases], Awaitable[None]]) -> None:
        async def whole() -> None:
            databases = Databases(postgres)
            try:
                await case(databases)
            finally:
                await databases.close()

        asyncio.run(whole())

    return run


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresStorage]:
    storage = PostgresStorage(url)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def layout(connection: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(LAYOUT)]


async def columns(connection: Any) -> dict[str, list[str]]:
    return {row[0]: row[1] for row in await connection.fetch(COLUMNS)}


async def rows(connection: Any, table: str, names: list[str]) -> list[Any]:
    found = await connection.fetch(f"SELECT {', '.join(names)} FROM {table}")
    return sorted((tuple(row) for row in found), key=repr)


async def use(url: str) -> None:
    """Leaves something in most tables: four runs that executed on a worker whose lease is over, two of which have
    ended, and one that waits."""
    async with opened(url) as storage:
        await storage.join(0.0, ["a"])
        await storage.publish_agents([Agent("a", "a")], 1)
        claims = [await alone(storage, number) for number in range(4)]
        for claim in claims[:2]:
            batch = Batch([entry("custom", 1)], records=[Record("step", "s", 0, b"1", 1)])
            await storage.append(claim.attempt, batch, 2)
            await storage.finish(claim.attempt, Batch(), Ending("completed"), 3)
        await storage.create_run(wish("waits", "t-waits", metadata=b'{"user":"ada"}', claim=False))
        await storage.put_item("", ("n",), "k", b"{}", 4)


def test_every_older_database_ends_with_the_layout_of_a_new_one_and_keeps_its_rows(on_server: OnServer) -> None:
    async def case(databases: Databases) -> None:
        new = await databases.new()
        await use(new)
        lately = await databases.connect(new)
        for number in range(len(ALL) + 1):
            await upgrade(databases, lately, number)

    async def upgrade(databases: Databases, lately: Any, number: int) -> None:
        url, old = await databases.older(number)
        before = await columns(old)
        kept = {table: await rows(lately, table, names) for table, names in before.items()}
        for table, names in before.items():
            if table != "labels":  # triggers write it
                await old.copy_records_to_table(table, records=kept[table], columns=names)
        assert [migration.number for migration in await migrate(old)] == list(range(number + 1, len(ALL) + 1))
        assert await layout(old) == await layout(lately)
        assert {table: await rows(old, table, names) for table, names in before.items()} == kept
        assert await migrate(old) == []
        assert await schema_version(old) == len(ALL)
        async with opened(url) as storage:
            await storage.recover(5, 100)
            assert len(await storage.claim({"a": None}, 9, 6)) == (3 if number else 0)

    on_server(case)


@pytest.mark.parametrize("_", range(6))
def test_of_servers_that_start_at_once_each_migration_is_done_by_one(on_server: OnServer, _: int) -> None:
    """Who has seen an empty database, and waits for the one that migrates, must see what that has done."""

    async def case(databases: Databases) -> None:
        url = await databases.new()
        connections = [await connect(url, "tests") for _ in range(6)]  # as servers do
        applied = await asyncio.gather(*map(migrate, connections))
        numbers = [migration.number for each in applied for migration in each]
        assert sorted(numbers) == list(range(1, len(ALL) + 1))
        await asyncio.gather(*(connection.close() for connection in connections))

    on_server(case)


def test_a_database_of_a_newer_version_is_refused_with_what_to_do(on_server: OnServer) -> None:
    async def case(databases: Databases) -> None:
        url, connection = await databases.older(len(ALL))
        await connection.execute(f"INSERT INTO schema_versions (number, name) VALUES ({len(ALL) + 1}, 'later')")
        told = f"has layout {len(ALL) + 1}, and this Runyard knows {len(ALL)}: a newer version has written it, so start"
        with pytest.raises(StorageError, match=told):
            await PostgresStorage(url).open()

    on_server(case)


def test_a_database_that_has_tables_of_others_is_refused_and_left_as_it_is(on_server: OnServer) -> None:
    async def case(databases: Databases) -> None:
        url = await databases.new()
        connection = await databases.connect(url)
        await connection.execute("CREATE TABLE runs (id integer)")
        with pytest.raises(StorageError, match="give Runyard a database of its own, or a schema"):
            await PostgresStorage(url).open()
        assert [row[1] for row in await layout(connection) if row[0] == "table"] == ["runs"]

    on_server(case)


def test_a_user_who_may_not_make_tables_is_told_what_to_grant(on_server: OnServer) -> None:
    async def case(databases: Databases) -> None:
        url = await databases.new()
        connection = await databases.connect(url)
        role = f"runyard_test_{connection.get_server_pid()}"
        await connection.execute(f"CREATE ROLE {role}")
        try:
            await connection.execute(f"SET ROLE {role}")
            with pytest.raises(StorageError, match=r"GRANT USAGE, CREATE ON SCHEMA \.\.\. TO that user"):
                await migrate(connection)
        finally:
            await connection.execute(f"RESET ROLE; DROP ROLE {role}")

    on_server(case)


# while others serve


LATER = Migration(
    len(ALL) + 1,
    "later.sql",
    "ALTER TABLE runs ADD COLUMN later text; ALTER TABLE threads ADD COLUMN later integer NOT NULL DEFAULT 7; "
    "CREATE TABLE later (id text PRIMARY KEY); CREATE INDEX runs_later ON runs (later) WHERE later IS NOT NULL",
)
"""One that only adds, as all do."""


def test_servers_of_before_go_on_while_a_newer_one_migrates(
    on_server: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case(databases: Databases) -> None:
        url = await databases.new()
        async with opened(url) as storage:
            await storage.join(60.0, ["a"])
            migrated = asyncio.Event()

            async def serve(lane: int) -> int:
                done, left = 0, 5
                while left:
                    left -= migrated.is_set()
                    claim = await claimed(storage, f"r{lane}-{done}", f"t{lane}")
                    await storage.append(claim.attempt, Batch([entry("custom", 1)]), 2)
                    await storage.finish(claim.attempt, Batch(), Ending("completed"), 3)
                    assert (await storage.run("", f"r{lane}-{done}")).status == "success"
                    done += 1
                return done

            serving = [asyncio.ensure_future(serve(lane)) for lane in range(4)]
            await claimed(storage, "first", "t-first")
            monkeypatch.setattr(schema, "migrations", lambda _: [*ALL, LATER])
            assert await migrate(await databases.connect(url)) == [LATER]
            migrated.set()
            assert sum(await asyncio.gather(*serving)) >= 20
            assert await storage.trouble() is None

    on_server(case)


def test_a_change_waits_for_a_moment_only_and_is_tried_again(
    on_server: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "CHANGE_WAITS_MS", 20)
    monkeypatch.setattr(schema, "PAUSE", 0.01)
    monkeypatch.setattr(schema, "TRIES", 3)

    async def case(databases: Databases) -> None:
        url, connection = await databases.older(len(ALL))
        before = await layout(connection)
        monkeypatch.setattr(schema, "migrations", lambda _: [*ALL, LATER])
        holder = await databases.connect(url)
        holding = holder.transaction()
        await holding.start()
        await holder.execute("SELECT count(*) FROM threads")
        with pytest.raises(Unavailable, match="somebody else has held a table for all of 3 tries"):
            await migrate(connection)
        assert await layout(connection) == before
        monkeypatch.setattr(schema, "TRIES", 1000)
        migrating = asyncio.ensure_future(migrate(connection))
        # Others get at the table between two tries.
        assert await (await databases.connect(url)).fetchval("SELECT count(*) FROM threads") == 0
        await holding.rollback()
        assert await migrating == [LATER]

    on_server(case)


def test_a_change_that_waits_for_who_waits_for_it_is_tried_again(
    on_server: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "PAUSE", 0.01)

    async def case(databases: Databases) -> None:
        url, connection = await databases.older(len(ALL))
        monkeypatch.setattr(schema, "migrations", lambda _: [*ALL, LATER])
        holder, watcher = await databases.connect(url), await databases.connect(url)
        await connection.execute("SET deadlock_timeout = '10ms'")  # so that it is the one that gives way
        await holder.execute("SET deadlock_timeout = '60s'")
        async with holder.transaction():
            await holder.execute("SELECT count(*) FROM threads")
            migrating = asyncio.ensure_future(migrate(connection))
            while not await watcher.fetchval("SELECT true FROM pg_locks WHERE NOT granted LIMIT 1"):
                pass
            # It holds `runs` and waits for `threads`.
            assert await holder.fetchval("SELECT count(*) FROM runs") == 0
        assert await migrating == [LATER]

    on_server(case)
