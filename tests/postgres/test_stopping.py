"""A stop that comes at the worst moment: what is told to end ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runyard.storage.postgres.attention import Attention
from runyard.storage.postgres.workers import Workers


def test_a_cancel_that_comes_with_the_answer_is_not_lost() -> None:
    """The loop that renews the lease is cancelled just when its database answers."""

    async def story() -> None:
        workers = Workers("", "", {}, "w", Attention("postgresql://nowhere/", ""))

        class Answering:
            async def all(self, *_: Any) -> list[Any]:
                await asyncio.sleep(0)
                renewing.cancel()
                return [(1,)]

        workers._reader = Answering()  # type: ignore[assignment]
        renewing = asyncio.ensure_future(workers.renew(1.0))
        with pytest.raises(asyncio.CancelledError):
            await renewing

    asyncio.run(story())
