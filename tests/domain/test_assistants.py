"""The rules of assistants: what a run takes of its assistant, and what its own words do to it."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.agents import Agent
from runyard.assistants import default_id, default_of, merged_config, merged_context


def test_a_default_assistant_is_named_by_its_agent() -> None:
    assert default_id("agent") == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    agent = Agent("agent", "My agent", description="d", metadata={"team": "x"})
    default = default_of(agent, "ada", 7)
    assert (default.assistant_id, default.owner, default.agent_id) == (default_id("agent"), "ada", "agent")
    assert (default.version, default.created_at, default.updated_at) == (1, 7, 7)
    assert (default.name, default.description) == ("My agent", "d")
    assert default.metadata == b'{"team":"x","created_by":"system"}'


@pytest.mark.parametrize(
    ("assistant", "run", "expected"),
    [
        ({}, {}, {}),
        ({"recursion_limit": 5}, {}, {"recursion_limit": 5}),
        ({"recursion_limit": 5}, {"recursion_limit": 7}, {"recursion_limit": 7}),
        ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, {"tags": ["a", "b", "c"]}),
        ({"tags": ["a"]}, {"tags": []}, {"tags": []}),
        ({"configurable": {"a": 1, "b": 1}}, {"configurable": {"b": 2}}, {"configurable": {"a": 1, "b": 2}}),
        ({"configurable": {"a": {"x": 1}}}, {"configurable": {"a": {"y": 1}}}, {"configurable": {"a": {"y": 1}}}),
        ({"metadata": {"a": 1}}, {"metadata": {"b": 2}}, {"metadata": {"a": 1, "b": 2}}),
    ],
)
def test_a_run_says_the_last_word(assistant: dict[str, Any], run: dict[str, Any], expected: dict[str, Any]) -> None:
    kept = (repr(assistant), repr(run))
    assert merged_config(assistant, run) == expected
    assert kept == (repr(assistant), repr(run))


def test_contexts_are_merged_key_by_key() -> None:
    assert merged_context({}, None) is None
    assert merged_context({}, {}) == {}
    assert merged_context({"a": 1}, None) == {"a": 1}
    assert merged_context({"a": 1, "b": 1}, {"b": 2}) == {"a": 1, "b": 2}
