"""These tests talk to a whole server in their own process."""

from collections.abc import Iterator

import pytest
from live_fixtures import clock, server
from receiver import Receiver, receiving

__all__ = ["clock", "receiver", "server"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody on loopback who takes every webhook."""
    with receiving() as made:
        yield made
