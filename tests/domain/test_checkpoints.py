"""Differences of states: what is set, appended and removed, step by step and in one go."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from runyard.checkpoints import Changes, State, append, apply, fold, remove, render, set_to

CHANGE = st.one_of(
    st.builds(
        lambda value: set_to(msgspec.json.encode(value)), st.lists(st.integers(0, 9), max_size=2) | st.integers()
    ),
    st.just("append"),
    st.just(remove()),
)
STEPS = st.lists(st.dictionaries(st.sampled_from("abc"), CHANGE, max_size=3), max_size=6)


@given(STEPS)
def test_a_chain_folds_to_what_its_steps_make(steps: list[dict[str, object]]) -> None:
    state: State = {"a": b"[1]"}
    bodies = [("full", render(state))]
    for step in steps:
        changes: Changes = {}
        for channel, change in step.items():
            if change != "append":
                changes[channel] = change  # pyright: ignore
            elif state.get(channel, b"[]")[:1] == b"[":
                changes[channel] = append(len(msgspec.json.decode(state.get(channel, b"[]"))), b"[7]")
        state = apply(state, changes)
        bodies.append(("delta", msgspec.json.encode(changes)))
    assert fold(bodies) == state


def test_a_removed_channel_is_gone_and_can_come_again() -> None:
    state: State = {"a": b"1", "b": b"[1]"}
    gone = apply(state, {"b": remove(), "absent": remove()})
    assert gone == {"a": b"1"}
    assert state == {"a": b"1", "b": b"[1]"}
    deltas = [{"b": append(1, b"[2]")}, {"b": remove()}, {"b": append(0, b"[3]")}]
    assert fold([("full", render(state)), *(("delta", msgspec.json.encode(delta)) for delta in deltas)]) == {
        "a": b"1",
        "b": b"[3]",
    }
