"""The public suite for LangGraph's checkpointers (`langgraph-checkpoint-conformance`), every group of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer
from langgraph.checkpoint.conformance.validate import validate

from runyard.runtime.langgraph.server_saver import ServerSaver
from tests.langgraph.conftest import OnSaver


@pytest.mark.parametrize("group", [group.value for group in Capability])
def test_every_case_of_the_group_passes(on_saver: OnSaver, group: str) -> None:
    async def case(saver: ServerSaver) -> None:
        async def savers() -> AsyncGenerator[ServerSaver]:
            yield saver

        report = await validate(RegisteredCheckpointer("runyard", savers), capabilities={group})  # pyright: ignore
        result = report.results[group]
        assert result.detected
        assert result.failures == []
        assert result.tests_passed > 0

    on_saver(case)
