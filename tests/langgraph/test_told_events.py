"""What graphs tell whose models tell events of their own (`astream_events(version="v3")`), whose code names what it
writes, and which were compiled with transformers. On a whole server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from live_server import Starter, play
from scripted import GO, Scripted, calls, events_of, log_of, look, run_told, said, talker, words
from test_told_messages import LISTS, USAGE

from runyard import graph
from tests.protocol_checks import check

pytest.importorskip("langgraph.stream")  # LangGraph 1.2 and newer have such events

from langgraph.stream import CustomTransformer, StreamChannel, StreamTransformer, UpdatesTransformer


def listener(model: Any, *, waits: bool = True) -> Any:
    """A graph of one node, which hears what the model writes."""

    async def hear(state: MessagesState) -> dict[str, Any]:
        stream = await model.astream_events(state["messages"], version="v3")
        async for _ in stream:
            pass
        return {"messages": [await stream.output]}

    def hear_blocking(state: MessagesState) -> dict[str, Any]:
        stream = model.stream_events(state["messages"], version="v3")
        for _ in stream:
            pass
        return {"messages": [stream.output]}

    return StateGraph(MessagesState).add_node("hear", hear if waits else hear_blocking).add_edge(START, "hear")


@pytest.mark.parametrize("waits", [True, False])
def test_what_a_model_tells_by_events_is_told_as_what_it_writes_in_pieces(server: Starter, waits: bool) -> None:
    def model() -> Any:
        return Scripted(scripts=[words("one two three", usage_metadata=USAGE)])

    async def story() -> None:
        async with server(
            graph(listener(model(), waits=waits), id="hear"), graph(talker(model(), "hear"), id="talk")
        ) as s:
            answer, events = await run_told(s, agent_id="hear", **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert (message.text, message.ended) == ("one two three", True)
            assert message.metadata == {"provider": "nobody", "model": "scripted-1", "modelType": "chat"}
            _, pieces = await run_told(s, agent_id="talk", **GO)
            assert without_ids(said(events, "messages")) == without_ids(said(pieces, "messages"))
            assert {event["params"]["node"] for event in events if event["method"] == "messages"} == {"hear"}

    play(story())


def without_ids(told: list[Any]) -> list[Any]:
    return [{key: value for key, value in data.items() if key != "id"} for data in told]


def test_run_streams_have_the_pieces_and_nothing_again(server: Starter) -> None:
    async def story() -> None:
        model = Scripted(scripts=[words("one two three", usage_metadata=USAGE)])
        async with server(graph(listener(model), id="hear")) as s:
            run = await s.run(**GO)
            answer = await s.wait(run["run_id"])
            told = [msgspec.json.decode(event.data) for event in await log_of(s, run) if event.kind == "messages"]
            assert all(message["delta"] for (message,) in told)
            assert "".join(message["content"] for (message,) in told) == "one two three"
            assert (told[-1][0]["last"], told[-1][0]["usage"]) == (True, USAGE)
            assert {message["id"] for (message,) in told} == {answer["messages"][-1]["id"]}

    play(story())


@pytest.mark.parametrize("form", [form for form in LISTS if form != "nobody's"])
def test_blocks_of_every_kind_are_told(server: Starter, form: str) -> None:
    contents, metadata, blocks = LISTS[form]
    model = Scripted(scripts=[[AIMessageChunk(content, response_metadata=metadata) for content in contents]])

    async def story() -> None:
        async with server(graph(listener(model), id="hear")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert [block["type"] for block in message.blocks] == [block["type"] for block in blocks]
            assert message.text == "".join(block.get("text", "") for block in blocks)
            assert message.reasoning == "".join(block.get("reasoning", "") for block in blocks)

    play(story())


def test_parallel_calls_of_tools_are_told_one_after_the_other(server: Starter) -> None:
    script = calls(
        (0, "c0", "look", ""), (1, "c1", "look", '{"at"'), (0, None, None, '{"at": 1}'), (1, None, None, ":2}")
    )
    model = Scripted(scripts=[[*words("I look"), *script]])

    async def story() -> None:
        async with server(graph(listener(model), id="hear")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert [(call["id"], call["args"]) for call in message.calls] == [("c0", {"at": 1}), ("c1", {"at": 2})]

    play(story())


def test_a_model_that_fails_ends_its_message(server: Starter) -> None:
    model = Scripted(scripts=[[*words("one two"), RuntimeError("no more")]])

    async def story() -> None:
        async with server(graph(listener(model), id="hear")) as s:
            run = await s.run(**GO)
            assert (await s.wait(run["run_id"]))["run"]["status"] == "error"
            (message,) = check(await events_of(s, run)).messages.values()
            assert message.text == "one two"
            assert message.error is not None
            assert "no more" in message.error

    play(story())


class Native(Scripted):
    """A model that makes its events itself."""

    async def _astream_chat_model_events(self, messages: Any, **_: Any) -> AsyncIterator[Any]:
        for event in self._next():
            yield event


def block(kind: str, index: int, **more: Any) -> dict[str, Any]:
    return {"event": f"content-block-{kind}", "index": index, **more}


NATIVE: list[dict[str, Any]] = [
    {"event": "message-start", "role": "ai", "id": "own", "metadata": {"model": "native-1"}},
    block("start", 0, content={"type": "text", "text": ""}),
    block("delta", 0, delta={"type": "text-delta", "text": "I "}),
    block("start", 1, content={"type": "tool_call_chunk", "id": "c0", "name": "look", "args": ""}),
    block("delta", 1, delta={"type": "tool-call-delta", "args": '{"at"'}),
    block("delta", 1, delta={"type": "block-delta", "fields": {"type": "tool_call_chunk", "args": '{"at": 1}'}}),
    block("delta", 1, delta={"type": "of-tomorrow"}),
    block("finish", 0, content={"type": "text", "text": "I "}),
    block("finish", 1, content={"type": "tool_call", "id": "c0", "name": "look", "args": {"at": 1}}),
    block("start", 2, content={"type": "tool_call", "id": "c1", "name": "look", "args": {}}),
    block("finish", 2, content={"type": "tool_call", "id": "c1", "name": "look", "args": {"at": 2}}),
    block("start", 3, content={"type": "text", "text": ""}),
    block("finish", 3, content={"type": "text", "text": "look", "annotations": [{"type": "citation"}]}),
    block("start", 4, content={"type": "audio", "mime_type": "audio/wav"}),
    block("delta", 4, delta={"type": "data-delta", "data": "AAEC"}),
    block("finish", 4, content={"type": "audio", "mime_type": "audio/wav", "base64": "AAEC"}),
    block("finish", 5, content={"type": "image", "url": "https://example.org/a.png"}),
    {"event": "message-finish", "usage": USAGE},
]


def test_events_that_a_model_makes_itself_are_told_as_they_are(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(listener(Native(scripts=[NATIVE])), id="hear")) as s:
            answer, events = await run_told(s, **GO)
            (message,) = check(events).messages.values()
            assert message.id == answer["messages"][-1]["id"] == "own"
            assert message.metadata["model"] == "native-1"
            assert [(call["id"], call["args"]) for call in message.calls] == [("c0", {"at": 1}), ("c1", {"at": 2})]
            assert message.usage == {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
            assert [one["type"] for one in message.blocks] == [
                "text", "tool_call", "tool_call", "text", "audio", "image",
            ]  # fmt: skip
            assert message.blocks[3] == {"type": "text", "text": "look", "annotations": [{"type": "citation"}]}

    play(story())


def test_a_graph_inside_that_is_heard_by_events_tells_its_models(server: Starter) -> None:
    inner = talker(Scripted(scripts=[words("from inside")])).compile()

    async def hears(state: MessagesState) -> dict[str, Any]:
        run = await inner.astream_events({"messages": state["messages"]}, version="v3")
        return {"messages": (await run.output())["messages"]}

    async def story() -> None:
        async with server(graph(StateGraph(MessagesState).add_node(hears).add_edge(START, "hears"), id="hears")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert message.text == "from inside"
            assert message.namespace[0].startswith("hears:")

    play(story())


def test_what_code_names_is_told_by_its_name(server: Starter) -> None:
    def writes(state: MessagesState) -> dict[str, Any]:
        write = get_stream_writer()
        write({"name": "progress", "done": 1})
        write({"name": 5})
        write("plain")
        return {"messages": [AIMessage("done")]}

    async def story() -> None:
        async with server(
            graph(StateGraph(MessagesState).add_node(writes).add_edge(START, "writes"), id="writes")
        ) as s:
            _, events = await run_told(s, **GO)
            assert said(events, "custom")[:3] == [
                {"name": "progress", "payload": {"name": "progress", "done": 1}},
                {"payload": {"name": 5}},
                {"payload": "plain"},
            ]

    play(story())


# transformers that a graph was compiled with


class Shouts(StreamTransformer):
    """Makes texts louder, holds values that are secret back, and counts."""

    required_stream_modes = ("messages", "values", "tools")

    def init(self) -> dict[str, Any]:
        self._count: StreamChannel[int] = StreamChannel("counted")
        self._seen = 0
        return {"counted": self._count}

    def process(self, event: Any) -> bool:
        data = event["params"]["data"]
        if event["method"] == "messages":
            payload = data[0]
            if isinstance(payload, dict) and payload["event"] == "content-block-delta":
                payload["delta"] = {**payload["delta"], "text": payload["delta"]["text"].upper()}
                self._seen += 1
        elif event["method"] == "values":
            self._count.push(self._seen)
        elif event["method"] == "tools":
            return data["event"] != "tool-finished"
        return event["method"] != "custom" or data != "secret"


def shouting(state: MessagesState) -> dict[str, Any]:
    write = get_stream_writer()
    write("secret")
    write("open")
    return {"messages": [Scripted(scripts=[words("one two", usage_metadata=USAGE)]).invoke(state["messages"])]}


def looking(state: MessagesState) -> dict[str, Any]:
    look.invoke({"at": interrupt("where?")})
    return {}


def test_what_a_graph_tells_goes_through_its_transformers(server: Starter) -> None:
    builder = StateGraph(MessagesState).add_node(shouting).add_node(looking)
    builder.add_edge(START, "shouting").add_edge("shouting", "looking")
    transformed = builder.compile(transformers=[CustomTransformer, UpdatesTransformer, Shouts])

    async def story() -> None:
        async with server(graph(transformed, id="shouts")) as s:
            thread_id = await s.thread()
            run = await s.run(thread_id=thread_id, **GO)
            answer = await s.wait(run["run_id"])
            assert answer["run"]["outcome"] == "asked"
            events = await events_of(s, run)
            (message,) = check(events).messages.values()
            assert (message.text, message.ended, message.usage and message.usage["inputTokens"]) == ("ONE TWO", True, 3)
            assert "one two" in msgspec.json.encode(answer["messages"][-1]["content"]).decode()
            assert message.id == answer["messages"][-1]["id"]
            assert said(events, "custom")[:3] == [
                {"name": "counted", "payload": 0}, {"payload": "open"}, {"name": "counted", "payload": 2},
            ]  # fmt: skip
            assert [update["node"] for update in said(events, "updates")] == ["shouting"]
            again = await s.run(thread_id=thread_id, command={"resume": 3})
            assert (await s.wait(again["run_id"]))["run"]["status"] == "success"
            told = said(await events_of(s, again), "tools")
            assert [tool["event"] for tool in told] == ["tool-started"]
            assert told[0]["input"] == {"at": 3}

    play(story())


def test_a_transformer_that_raises_ends_the_run(server: Starter) -> None:
    class Raises(StreamTransformer):
        def init(self) -> dict[str, Any]:
            return {}

        def process(self, event: Any) -> bool:
            raise ValueError("that must not be told")

    async def story() -> None:
        builder = StateGraph(MessagesState).add_node(shouting).add_edge(START, "shouting")
        async with server(graph(builder.compile(transformers=[Raises]), id="raises")) as s:
            run = await s.run(**GO)
            ended = await s.wait(run["run_id"])
            assert (ended["run"]["status"], ended["run"]["error"]["code"]) == ("error", "agent_error")
            assert "must not be told" in ended["run"]["error"]["message"]
            check(await events_of(s, run))

    play(story())


def test_names_are_removed_from_what_an_agent_streams(server: Starter) -> None:
    agents = pytest.importorskip("langchain.agents")
    middleware = pytest.importorskip("langchain.agents.middleware")
    model = Scripted(scripts=[words("write to mia@example.org or call")])
    hides = middleware.PIIMiddleware("email", strategy="redact", apply_to_output=True, apply_to_input=False)
    agent = agents.create_agent(model, [], middleware=[hides])

    async def story() -> None:
        async with server(graph(agent, id="discreet")) as s:
            _, events = await run_told(s, **GO)
            told = msgspec.json.encode([said(events, "messages"), said(events, "updates")]).decode()
            assert "REDACTED_EMAIL" in told
            assert "mia@" not in msgspec.json.encode(said(events, "messages")).decode()

    play(story())
