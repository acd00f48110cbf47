"""Everything here is on PostgreSQL: clusters, and single servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from cluster import Story, clustered
from live_fixtures import clock, server
from postgres_server import Postgres

__all__ = ["clock", "server"]


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of the test's database, which holds nothing."""
    return asyncio.run(postgres.emptied())


@pytest.fixture
def on_cluster(postgres: Postgres) -> Callable[[Story], None]:
    """Runs a story on a cluster of an empty database."""

    async def whole(story: Story) -> None:
        async with clustered(await postgres.emptied()) as cluster:
            await story(cluster)

    return lambda story: asyncio.run(whole(story))
