"""Messages that are put into a run whose server dies."""

from __future__ import annotations

from pathlib import Path

from ap_client import ThreadStream
from server_process import STORY_AGENTS, Serve, journal, wait_until


def test_what_was_accepted_is_taken_once_through_kill_9(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    book, door = tmp_path / "journal", tmp_path / "door"
    with ThreadStream(server.client, agent_id="notes", transport="websocket", since=0) as stream:
        messages, lifecycle, custom = stream.messages(), stream.lifecycle(), stream.custom()
        stream.start({"hold": 1, "path": str(door), "journal": str(book)})
        next(custom)
        stream.inject("a")
        stream.inject("b")
        wait_until(lambda: journal(book)[-1:] == ["begin b"], "the second note has begun", server.log_text)
        stream.inject("c")  # nobody takes it before the server dies
        server.kill9()
        door.touch()
        server.restart()
        wait_until(lambda: journal(book)[-1:] == ["end c"], "the third note is done", server.log_text)
        stream.inject("d", role="system")
        stream.inject("stop")
        told = [next(lifecycle).event]
        while told[-1] != "completed":
            told.append(next(lifecycle).event)
        values = stream.state().values
        said = [next(messages).read() for _ in range(5)]
    assert told == ["started", "running", "running", "completed"]
    assert (values["taken"], values["attempt"]) == (["a", "b", "c", "d"], 2)
    assert journal(book) == ["begin a", "end a", "begin b", "begin b", "end b", "begin c", "end c", "begin d", "end d"]
    assert [(message.role, message.text) for message in said] == [
        ("human", "a"), ("human", "b"), ("human", "c"), ("system", "d"), ("human", "stop"),
    ]  # fmt: skip
    assert [message["content"] for message in values["messages"]] == ["a", "b", "c", "d", "stop"]
