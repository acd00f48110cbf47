"""What the client for daily use does without a server: its address, its errors, what it shows."""

from __future__ import annotations

from typing import Any

import pytest
from ap_client import Run, RunCancelled, RunFailed, RunLost, RunWaitResponse, Runyard, ServerEvent
from ap_client.handles import RunCore
from ap_client.outcomes import RunAsks, RunError, RunTimedOut, raise_unless_completed
from ap_client.progress import Progress

from .fake import RUN, FakeServer


def test_the_address_and_the_key_are_given_or_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNYARD_URL", raising=False)
    monkeypatch.delenv("RUNYARD_API_KEY", raising=False)
    bare = Runyard().api_client.configuration
    assert (bare.host, bare.access_token) == ("http://127.0.0.1:8000", None)
    monkeypatch.setenv("RUNYARD_URL", "server:9000")
    monkeypatch.setenv("RUNYARD_API_KEY", "of the environment")
    told = Runyard().api_client.configuration
    assert (told.host, told.access_token) == ("http://server:9000", "of the environment")
    given = Runyard("https://other", "mine").api_client.configuration
    assert (given.host, given.access_token) == ("https://other", "mine")


def test_only_what_was_said_is_sent(server: FakeServer) -> None:
    ry = Runyard(api_client=server.client())
    ry.run("echo", modes=["values"])
    assert server.last_body == {"agent_id": "echo", "stream_mode": ["values"]}
    ry.run("echo", 0, config={"a": 1}, if_busy="enqueue", thread=RUN["thread_id"], idempotency_key="k")
    assert server.last_body == {
        "agent_id": "echo",
        "input": 0,
        "config": {"configurable": {"a": 1}},
        "multitask_strategy": "enqueue",
        "thread_id": RUN["thread_id"],
        "if_not_exists": "create",
        "stream_mode": ["updates", "messages", "custom"],
    }
    assert server.last.headers["idempotency-key"] == "k"


@pytest.mark.parametrize(
    ("status", "outcome", "error", "kind", "code"),
    [
        ("error", "failed", {"code": "agent_error", "message": "m"}, RunFailed, "agent_error"),
        ("error", "lost", {"code": "attempts_exhausted", "message": "m"}, RunLost, "attempts_exhausted"),
        ("timeout", "timed_out", None, RunTimedOut, "timed_out"),
        ("interrupted", "cancelled", None, RunCancelled, "cancelled"),
        ("interrupted", "rolled_back", None, RunCancelled, "rolled_back"),
        ("error", "abandoned", None, RunCancelled, "abandoned"),
        ("error", "eaten", None, RunFailed, "eaten"),
        ("error", None, None, RunFailed, "failed"),
        ("timeout", None, None, RunTimedOut, "timed_out"),
        ("interrupted", None, None, RunCancelled, "cancelled"),
    ],
)
def test_an_end_is_its_error(status: str, outcome: str | None, error: Any, kind: type[RunError], code: str) -> None:
    run = RunCore(None, Run.from_dict({**RUN, "status": status, "outcome": outcome}))
    with pytest.raises(RunError) as caught:
        raise_unless_completed(run, RunWaitResponse.from_dict({"status": status, "error": error}))
    assert (type(caught.value), caught.value.code) == (kind, code)


def test_a_question_of_another_server_is_known_by_its_interrupts() -> None:
    run = RunCore(None, Run.from_dict({**RUN, "status": "interrupted"}))
    run.questions = [{"id": "1", "value": "why?"}]
    with pytest.raises(RunAsks, match=r"why\?"):
        raise_unless_completed(run, RunWaitResponse.from_dict({"status": "interrupted"}))


class Paper:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str, style: str = "") -> None:
        self.text += text

    def finish(self) -> None:
        self.text += "<"


def test_nothing_that_an_agent_says_steers_the_terminal_or_stops_the_display() -> None:
    paper = Paper()
    progress = Progress(paper)
    for name, data in [
        ("custom", {"name": "x\x1b[2J", "payload": "\x1b]0;title\x07"}),
        ("messages", [{"id": "1", "role": "assistant", "content": "a\x1b[31m", "delta": True}, 3]),
        ("messages", "text"),
        ("updates", [1]),
        ("values", None),
    ]:
        progress.show(ServerEvent(name, data))
    progress.end(RunWaitResponse.from_dict({"status": "error", "error": {"code": "c", "message": "a\nb"}}))
    assert "\x1b" not in paper.text
    assert paper.text.endswith("c: a b\nerror\n<")
