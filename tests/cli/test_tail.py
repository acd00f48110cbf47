"""What `runyard tail` shows of a thread's events: the scene that is put together, the lines in a pipe, the tree."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
from ap_client.assembly import MessageState
from ap_client.thread_events import ThreadEvent, read_event
from rich.console import Console
from rich.live import Live

from runyard.cli.scene import Branch, Notice, Question, Scene, ToolCall
from runyard.cli.tree import MOST_ITEMS, MOST_TEXT, Drawn, Lines, drawn

CHILD = ("helper:1",)
NUMBERS = itertools.count(1)


def told(method: str, data: Any, namespace: tuple[str, ...] = (), run: str = "r1") -> ThreadEvent:
    """An event as the client reads it."""
    number = next(NUMBERS)
    params = {"namespace": list(namespace), "timestamp": 1, "data": data}
    event = read_event(
        {"type": "event", "eventId": str(number), "seq": number, "runId": run, "method": method, "params": params}
    )
    assert isinstance(event, ThreadEvent)
    return event


def lifecycle(event: str, namespace: tuple[str, ...] = (), run: str = "r1", **more: Any) -> ThreadEvent:
    return told("lifecycle", {"event": event, **more}, namespace, run)


def message(
    text: str, namespace: tuple[str, ...] = (), id: str = "m", end: str = "message-finish"
) -> list[ThreadEvent]:
    """A message of one text, begun and ended."""
    block = {"type": "text", "text": text}
    events = [
        {"event": "message-start", "role": "ai"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}},
        {"event": "content-block-finish", "index": 0, "content": block},
        {"event": end, **({"message": "no luck"} if end == "error" else {})},
    ]
    return [told("messages", {**event, "id": id}, namespace) for event in events]


def tool(event: str, id: str = "c", namespace: tuple[str, ...] = (), **more: Any) -> ThreadEvent:
    return told("tools", {"event": event, "toolCallId": id, **more}, namespace)


def a_run() -> list[ThreadEvent]:
    """Something of each kind."""
    return [
        lifecycle("started", graphName="lead"),
        lifecycle("running"),
        *message("hello\nthere"),
        tool("tool-started", toolName="search", input={"q": 1}),
        lifecycle("started", CHILD, graphName="helper", cause={"type": "toolCall", "toolCallId": "c"}),
        *message("within", CHILD, "m2"),
        lifecycle("completed", CHILD),
        tool("tool-output-delta", delta="so far"),
        tool("tool-finished", output={"found": 2}),
        told("custom", {"name": "progress", "payload": 0.5}),
        told("custom", {"payload": "plain"}),
        told("values", {"n": 1, "messages": [{"content": "hello"}]}),
        told("input.requested", {"interruptId": "i", "payload": "why?"}),
        lifecycle("interrupted"),
    ]


def scene_of(events: list[ThreadEvent]) -> Scene:
    scene = Scene("r1")
    for event in events:
        scene.take(event)
    return scene


def lines_of(events: list[ThreadEvent]) -> list[str]:
    written = io.StringIO()
    lines = Lines(Console(file=written, highlight=False, markup=False, emoji=False, width=10_000, no_color=True))
    for event in events:
        lines.take(event)
    return written.getvalue().splitlines()


def picture_of(scene: Scene, *, whole: bool = True) -> str:
    written = io.StringIO()
    Console(file=written, width=100, no_color=True).print(drawn(scene, whole=whole))
    return written.getvalue()


# the scene


def test_a_scene_has_who_did_what_below_whom_in_order() -> None:
    scene = scene_of(a_run())
    assert (scene.root.name, scene.root.status, scene.over, scene.attempt) == ("lead", "interrupted", True, 1)
    kinds = [type(item) for item in scene.root.items]
    assert kinds == [MessageState, ToolCall, Branch, Notice, Notice, Question]
    child = scene.root.items[2]
    assert isinstance(child, Branch)
    assert (child.name, child.status, [type(item) for item in child.items]) == ("helper", "completed", [MessageState])
    call = scene.root.items[1]
    assert call == ToolCall("c", "search", {"q": 1}, {"found": 2}, None, ["so far"], done=True)
    assert scene.state == {"n": 1, "messages": [{"content": "hello"}]}
    assert [branch.name for branch in scene.root.walk()] == ["lead", "helper"]


def test_a_question_is_answered_by_a_later_run() -> None:
    scene = scene_of(a_run())
    scene.take(told("input.answered", {"interruptIds": ["x", "i"]}, run="r2"))
    question = scene.root.items[-1]
    assert isinstance(question, Question)
    assert question.answered


def test_a_branch_that_nobody_began_is_there_with_those_above_it() -> None:
    scene = scene_of([told("custom", {"payload": 1}, ("a:1", "b:2"))])
    (above,) = scene.root.items
    assert isinstance(above, Branch)
    (below,) = above.items
    assert isinstance(below, Branch)
    assert (above.name, below.name, len(below.items)) == ("a", "b", 1)


def test_a_state_of_a_sub_agent_is_not_the_threads() -> None:
    assert scene_of([told("values", {"n": 1}), told("values", {"n": 2}, CHILD)]).state == {"n": 1}


def test_a_second_attempt_drops_the_message_that_was_half_written() -> None:
    scene = scene_of([lifecycle("started"), lifecycle("running"), *message("half")[:3], lifecycle("running")])
    assert scene.attempt == 2
    (half,) = scene.root.items
    assert isinstance(half, MessageState)
    assert half.status not in ("streaming", "complete")


@pytest.mark.parametrize("how", ["completed", "failed", "interrupted"])
def test_a_run_is_over_by_its_root_alone(how: str) -> None:
    scene = scene_of([lifecycle("started"), lifecycle("running"), lifecycle(how, CHILD)])
    assert not scene.over
    scene.take(lifecycle(how))
    assert scene.over


# in a pipe


def test_in_a_pipe_each_thing_is_a_line_when_it_is_complete() -> None:
    assert lines_of(a_run()) == [
        "○ lead started",
        "  assistant: hello",
        "    there",
        '  ⚙ search({"q": 1})',
        "  ○ helper started",
        "    assistant: within",
        "  ✓ helper completed",
        '  ⚙ search({"q": 1}) → {"found": 2}',
        "  progress: 0.5",
        '  custom: "plain"',
        '  ? "why?"  (question i)',
        "■ lead interrupted",
        'state {"n": 1}',
    ]


def test_what_fails_says_why() -> None:
    told_lines = lines_of(
        [
            lifecycle("started", graphName="lead"),
            lifecycle("running"),
            tool("tool-started", toolName="search"),
            tool("tool-error", message="no net"),
            *message("half", end="error"),
            lifecycle("failed", error="ValueError: no luck"),
        ]
    )
    assert told_lines[1:3] == ["  ⚙ search()", '  ⚙ search() failed: "no net"']
    assert "half (failed: no luck)" in told_lines[3]
    assert told_lines[-1] == "✗ lead failed: ValueError: no luck"


def test_a_later_attempt_is_said_and_so_is_the_next_run() -> None:
    first = [lifecycle("started", graphName="a"), lifecycle("running"), lifecycle("running"), lifecycle("completed")]
    second = [lifecycle("started", run="r2", graphName="b"), lifecycle("completed", run="r2")]
    assert lines_of([*first, *second]) == [
        "○ a started", "● a running, attempt 2", "✓ a completed, attempt 2", "○ b started", "✓ b completed",
    ]  # fmt: skip


def test_nothing_that_was_told_moves_the_terminal() -> None:
    evil = "\x1b[2Jgone\x07"
    events = [lifecycle("started", graphName="lead"), *message(evil), lifecycle("failed", error=evil)]
    shown = "\n".join(lines_of(events)) + picture_of(scene_of(events))
    assert "gone" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


# on a terminal


def test_on_a_terminal_a_run_is_a_tree() -> None:
    shown = picture_of(scene_of(a_run()))
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[0] == "■ lead  interrupted"
    assert any(line.endswith("✓ helper  completed") for line in lines)
    assert next(line for line in lines if "within" in line).startswith(("│   ", "    "))
    assert lines[-1] == 'state {"n": 1}'
    for part in ("assistant: hello", "search", "progress: 0.5", '? "why?"'):
        assert part in shown


def test_while_a_run_is_at_work_only_the_newest_of_it_is_drawn() -> None:
    events = [lifecycle("started"), *(told("custom", {"payload": f"n{number}."}) for number in range(MOST_ITEMS + 3))]
    scene = scene_of(events)
    assert "… 3 before" in picture_of(scene, whole=False)
    assert '"n2."' not in picture_of(scene, whole=False)
    assert '"n2."' in picture_of(scene)
    long = scene_of(message("BEGIN " + "x" * MOST_TEXT)[:3])
    assert "BEGIN" not in picture_of(long, whole=False)
    assert "BEGIN" in picture_of(long)


def test_runs_that_have_ended_stand_above_the_one_that_works() -> None:
    written = io.StringIO()
    console = Console(file=written, width=100, no_color=True, force_terminal=False)
    with Live(console=console, auto_refresh=False) as live:
        shown = Drawn(console, live)
        for event in [*a_run(), lifecycle("started", run="r2", graphName="second"), lifecycle("running", run="r2")]:
            shown.take(event)
        assert "■ lead  interrupted" in written.getvalue()
        assert "second" not in written.getvalue()
        shown.end()
    assert "● second  running" in written.getvalue()
