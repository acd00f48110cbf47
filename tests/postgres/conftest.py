"""Clusters for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from cluster import Story, clustered
from postgres_server import Postgres


@pytest.fixture
def on_cluster(postgres: Postgres) -> Callable[[Story], None]:
    """Runs a story on a cluster of an empty database."""

    async def whole(story: Story) -> None:
        async with clustered(await postgres.emptied()) as cluster:
            await story(cluster)

    return lambda story: asyncio.run(whole(story))
