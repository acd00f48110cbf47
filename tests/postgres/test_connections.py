"""Connections to PostgreSQL: how many, how they are named, how long they wait, TLS, poolers, and what is said when
there is none."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trustme
from fronts import Handler, Pooler, Tls, front, nobody, refuses, through
from postgres_server import Postgres

from runyard.cli import run_command
from runyard.databases import postgres_adapters
from runyard.errors import InvalidInput, RunyardError, StorageError, Unavailable
from runyard.hints.postgres import PostgresHints
from runyard.storage.postgres import PostgresStorage, connection

OnDatabase = Callable[[Callable[[str], Awaitable[None]]], None]
SECRET = "hunter2"


@pytest.fixture
def on_database(postgres: Postgres) -> OnDatabase:
    """Runs a case with the URL of a database with the schema."""

    def run(case: Callable[[str], Awaitable[None]]) -> None:
        async def whole() -> None:
            await case(await postgres.emptied())

        asyncio.run(whole())

    return run


@contextlib.asynccontextmanager
async def opened(url: str, **more: Any) -> Any:
    storage = PostgresStorage(url, **more)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def asked(url: str, question: str, *values: Any) -> list[Any]:
    there: Any = await asyncpg.connect(url)
    try:
        return await there.fetch(question, *values)
    finally:
        await there.close()


NAMES = "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name <> ''"


# how many, how named, how long


def test_the_database_lists_what_each_connection_is_for(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        adapters = postgres_adapters(url, "worker", connections=4, statement_timeout=60)
        await adapters.storage.open()
        await adapters.hints.open()
        found = await asked(url, NAMES)
        names = sorted(re.sub(r" \d[\w.]*", "", row[0]) for row in found if f" {version('runyard')}, " in row[0])
        await adapters.hints.close()
        await adapters.storage.close()
        assert names == [
            "runyard worker, hints",
            "runyard worker, lease",
            "runyard worker, reader",
            "runyard worker, writer",
        ]

    on_database(case)


def test_a_server_has_no_more_connections_than_it_may(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with opened(f"{url}&application_name=bounded", connections=5) as storage:
            await asyncio.gather(*(storage.figures() for _ in range(40)))
            names = [row[0] for row in await asked(url, NAMES)]
            assert sorted(names) == ["bounded, lease", "bounded, reader", "bounded, reader", "bounded, writer"]

    on_database(case)


def test_every_wait_in_the_database_has_an_end(on_database: OnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection._SETTINGS, "lock_timeout", "1234")

    async def case(url: str) -> None:
        async with opened(url, statement_timeout=7.5) as storage:
            for each, idle in ((storage._writer._connection, "3s"), (storage._pool, "30s")):
                shown = [
                    await each.fetchval(f"SHOW {name}")
                    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
                ]
                assert shown == ["7500ms", "1234ms", idle]

    on_database(case)


def test_a_statement_that_takes_too_long_is_given_up_and_the_next_goes_on(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with opened(url, statement_timeout=0.05) as storage:

            async def slow(t: Any) -> None:
                await t._work.begin()
                await t._work.connection.execute("SELECT pg_sleep(5)")

            with pytest.raises(Unavailable, match="gave a statement up") as caught:
                await storage._writer.do(slow)
            assert caught.value.reason == "database_busy"
            assert await storage.trouble() is None

    on_database(case)


def test_who_waits_for_a_turn_that_does_not_come_is_told_so_after_one_wait(
    on_database: OnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection._SETTINGS, "lock_timeout", "100")

    async def case(url: str) -> None:
        async with opened(url) as storage:
            held: Any = await asyncpg.connect(url)
            async with held.transaction():
                await held.execute(
                    f"SELECT pg_advisory_xact_lock({connection.LOCK_SPACE}, hashtext('write ' || current_schema()))"
                )
                begins: list[int] = []
                began = storage._writer._one_by_one

                async def counted(group: Any) -> None:
                    begins.append(len(group))
                    await began(group)

                storage._writer._one_by_one = counted
                answers = await asyncio.gather(
                    *(storage.cancel("", f"r{n}", "interrupt", 1, None) for n in range(3)), return_exceptions=True
                )
                assert [getattr(answer, "reason", answer) for answer in answers] == ["database_busy"] * 3
                assert begins == []
            await held.close()
            assert await storage.trouble() is None

    on_database(case)


def test_what_the_url_sets_for_sessions_is_set(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with opened(f"{url}&options=-c%20work_mem%3D7MB") as storage:
            for each in (storage._writer._connection, storage._pool):
                assert await each.fetchval("SHOW work_mem") == "7MB"

    on_database(case)


def test_a_schema_of_the_url_has_all_that_is_made(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        there = f"{url}&options=-c%20search_path%3Dyard"
        with pytest.raises(StorageError, match="CREATE SCHEMA makes it"):
            await PostgresStorage(there).open()
        await asked(url, "CREATE SCHEMA yard")
        async with opened(there) as storage:
            await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
            assert await storage.thread("", "t")
        assert (await asked(url, "SELECT count(*) FROM yard.threads"))[0][0] == 1
        assert (await asked(url, "SELECT count(*) FROM public.threads"))[0][0] == 0
        await asked(url, "DROP SCHEMA yard CASCADE")

    on_database(case)


# TLS


class Certificates:
    def __init__(self, folder: Path) -> None:
        authority, other = trustme.CA(), trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        self.authority, self.other = folder / "authority.pem", folder / "other.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        other.cert_pem.write_to_path(str(self.other))


def test_tls_is_as_the_url_says_on_every_connection(on_database: OnDatabase, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)

    async def case(url: str) -> None:
        for query in (
            "sslmode=require",
            f"sslmode=verify-ca&sslrootcert={certificates.authority}",
            f"sslmode=verify-full&sslrootcert={certificates.authority}",
        ):
            tls = Tls(url, certificates.context)
            async with front(tls) as port:
                there = through(url, port, query)
                hints = PostgresHints(there)
                async with opened(there) as storage:
                    await hints.open()
                    assert await storage.figures()
                    assert hints._connection is not None
                    await hints.close()
            assert (tls.secured, tls.plain) == (4, 0), query

    on_database(case)


@pytest.mark.parametrize(
    ("query", "host", "told"),
    [
        ("sslmode=verify-full&sslrootcert={other}", "localhost", "certificate is not trusted"),
        ("sslmode=verify-full&sslrootcert={authority}", "127.0.0.1", "the host in the URL has to be a name"),
        ("sslmode=require&sslrootcert={other}", "localhost", "certificate is not trusted"),
        ("sslmode=verify-full", "localhost", "root certificate file"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_refused(
    on_database: OnDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, host: str, told: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    certificates = Certificates(tmp_path)

    async def case(url: str) -> None:
        async with front(Tls(url, certificates.context)) as port:
            asks = query.format(other=certificates.other, authority=certificates.authority)
            with pytest.raises(RunyardError, match=told) as caught:
                await PostgresStorage(through(url, port, asks, host, SECRET)).open()
            assert SECRET not in caught.value.message

    on_database(case)


def test_a_database_without_tls_is_refused_where_it_is_required(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with front(Tls(url, None)) as port:
            with pytest.raises(Unavailable, match="it does not take TLS; turn ssl on there"):
                await PostgresStorage(through(url, port, "sslmode=require")).open()
            async with opened(through(url, port, "sslmode=prefer")) as storage:
                assert await storage.figures()

    on_database(case)


# poolers


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("in_turn", [False, True])
def test_a_pooler_that_gives_sessions_to_transactions_is_refused(
    on_database: OnDatabase, in_turn: bool, others: int
) -> None:
    async def case(url: str) -> None:
        pooler = Pooler(url, transaction=True, in_turn=in_turn)
        async with front(pooler) as port:
            users: list[Any] = [await asyncpg.connect(through(url, port)) for _ in range(others)]
            for each in users:
                await each.execute("BEGIN")
            for each in users:
                await each.execute("COMMIT")
            with pytest.raises(InvalidInput, match="pool_mode=session") as caught:
                await PostgresStorage(through(url, port, password=SECRET)).open()
            assert SECRET not in caught.value.message
            # Others will have the sessions that were looked at.
            user: Any = await asyncpg.connect(through(url, port))
            assert await user.fetchval("SHOW enable_seqscan") == "on"
            for each in (user, *users):
                await each.close()
        pooler.close()

    on_database(case)


def test_a_pooler_that_keeps_sessions_is_as_good_as_none(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with front(Pooler(url, transaction=False)) as port:
            there = through(url, port)
            async with opened(there) as storage:
                one, two = PostgresHints(there), PostgresHints(there)
                await one.open()
                await two.open()
                heard = asyncio.get_running_loop().create_future()
                two.subscribe("ready", heard.set_result)
                one.tell_others(["ready"])
                assert await heard == "ready"
                await asyncio.gather(one.close(), two.close())
                assert await storage.trouble() is None
                assert await storage._writer._connection.fetchval("SHOW statement_timeout") == "1min"

    on_database(case)


def test_a_pooler_that_does_not_pass_on_what_the_url_sets_is_told(on_database: OnDatabase) -> None:
    async def case(url: str) -> None:
        async with front(Pooler(url, transaction=False)) as port:
            with pytest.raises(Unavailable, match="does not pass on what the URL sets"):
                await PostgresStorage(through(url, port, "search_path=yard")).open()

    on_database(case)


# what is said when there is none


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (refuses("28P01", 'password authentication failed for user "mia"'), "check the user and the password"),
        (refuses("28000", "no pg_hba.conf entry for host"), "its pg_hba.conf has no line for this user"),
        (refuses("3D000", 'database "runs" does not exist'), "make the database first: createdb"),
        (refuses("42501", "permission denied for database"), "the user needs CONNECT on the database"),
        (refuses("53300", "sorry, too many clients already"), "each server takes up to database_connections"),
        (refuses("57P03", "the database system is starting up"), "it will be ready in a moment"),
        (nobody, "no answer within 0.1 s"),
    ],
)  # fmt: skip
def test_a_database_that_does_not_let_us_in_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, handler: Handler, told: str
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.1)

    async def case() -> None:
        async with front(handler) as port:
            url = f"postgresql://mia:{SECRET}@127.0.0.1:{port}/runs?sslmode=disable"
            with pytest.raises(Unavailable, match=told) as caught:
                await PostgresStorage(url).open()
            assert caught.value.reason == "database_unreachable"
            assert caught.value.message.endswith(f"[postgresql://mia:...@127.0.0.1:{port}/runs?sslmode=disable]")

    asyncio.run(case())


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("localhost:1/runs", "nobody listens there; is PostgreSQL started"),
        ("/runs?host=/nowhere", "nobody listens there"),
        ("nowhere.invalid/runs", "its host has no address; check the name"),
    ],
)
def test_a_database_that_is_not_there_is_told_on_the_command_line(
    place: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["migrate", "--database", f"postgresql://mia:{SECRET}@{place}"]) == 1
    said = capfd.readouterr().err
    assert told in said
    assert SECRET not in said
    assert "mia:...@" in said


@pytest.mark.parametrize(
    ("of_it", "kind", "told"),
    [
        ({"server_version": "14.9"}, StorageError, "PostgreSQL 14; Runyard needs 15 or newer"),
        ({"in_hot_standby": "on"}, Unavailable, "the database is a standby"),
    ],
)
def test_a_database_that_cannot_serve_is_refused_at_once(
    on_database: OnDatabase, of_it: dict[str, str], kind: type[RunyardError], told: str
) -> None:
    async def case(url: str) -> None:
        async with front(Pooler(url, transaction=False, told=of_it)) as port:
            with pytest.raises(kind, match=told):
                await PostgresStorage(through(url, port)).open()

    on_database(case)
