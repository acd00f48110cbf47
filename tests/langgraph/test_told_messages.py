"""What graphs tell of messages in the streaming protocol. On a whole server in this process."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

import msgspec
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from live_server import Starter, play
from scripted import GO, Scripted, calls, log_of, run_told, said, talker, words
from typing_extensions import TypedDict

from runyard import graph
from tests.protocol_checks import check

USAGE: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def test_a_text_is_told_piece_by_piece_with_its_usage(server: Starter) -> None:
    model = Scripted(scripts=[words("one two three", usage_metadata=USAGE)])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            (id,) = (message["id"] for message in answer["messages"] if message["role"] == "assistant")
            assert said(events, "messages") == [
                {"event": "message-start", "role": "ai", "id": id,
                 "metadata": {"provider": "nobody", "model": "scripted-1", "modelType": "chat"}},
                {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}, "id": id},
                *({"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}, "id": id}
                  for text in ("one ", "two ", "three")),
                {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "one two three"},
                 "id": id},
                {"event": "message-finish", "id": id,
                 "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}},
            ]  # fmt: skip
            check(events).reads_as(answer["messages"])
            assert {event["params"]["node"] for event in events if event["method"] == "messages"} == {"talk"}

    play(story())


def test_reasoning_comes_before_the_text_in_a_block_of_its_own(server: Starter) -> None:
    def thought(text: str) -> AIMessageChunk:
        return AIMessageChunk("", additional_kwargs={"reasoning_content": text})

    model = Scripted(scripts=[[thought("let me "), thought("see"), *words("it rains")]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert message.blocks == [{"type": "reasoning", "reasoning": "let me see"},
                                      {"type": "text", "text": "it rains"}]  # fmt: skip

    play(story())


LISTS: dict[str, tuple[list[list[Any]], dict[str, Any], list[Any]]] = {
    "standard": (
        [
            [{"type": "reasoning", "reasoning": "hm", "index": 0}],
            [{"type": "reasoning", "reasoning": "m", "extras": {"signature": "s"}, "index": 0}],
            [{"type": "text", "text": "it ", "index": 1}],
            [{"type": "text", "text": "rains", "index": 1}],
            [{"type": "text", "text": "", "annotations": [{"type": "citation", "cited_text": "wet"}], "index": 1}],
            [{"type": "text", "text": "a lot", "index": 2}],
        ],
        {"output_version": "v1"},
        [
            {"type": "reasoning", "reasoning": "hmm", "extras": {"signature": "s"}},
            {"type": "text", "text": "it rains", "annotations": [{"type": "citation", "citedText": "wet"}]},
            {"type": "text", "text": "a lot"},
        ],
    ),
    "anthropic": (
        [
            [{"type": "thinking", "thinking": "hm", "index": 0}],
            [{"type": "thinking", "thinking": "m", "index": 0}],
            [{"type": "thinking", "signature": "s", "index": 0}],
            [{"type": "text", "text": "it ", "index": 1}],
            [{"type": "text", "text": "rains", "index": 1}],
        ],
        {"model_provider": "anthropic"},
        [
            {"type": "reasoning", "reasoning": "hmm", "extras": {"signature": "s"}},
            {"type": "text", "text": "it rains"},
        ],
    ),
    "nobody's": (
        [
            [{"type": "thinking", "thinking": "hm", "index": 0}],
            ["it ", "rains"],
            [{"type": "weather", "mm": 3}],
        ],
        {},
        [
            {"type": "reasoning", "reasoning": "hm"},
            {"type": "text", "text": "it rains"},
            {"type": "non_standard", "value": {"type": "weather", "mm": 3}},
        ],
    ),
    "media": (
        [
            [{"type": "image", "base64": "AAEC", "mime_type": "image/png", "index": 0}],
            [{"type": "image", "base64": "AwQF", "index": 0}],
            [{"type": "audio", "url": "https://example.org/a.wav"}],
        ],
        {"output_version": "v1"},
        [
            {"type": "image", "base64": "AAECAwQF", "mimeType": "image/png"},
            {"type": "audio", "url": "https://example.org/a.wav"},
        ],
    ),
}


@pytest.mark.parametrize("form", LISTS)
def test_every_form_of_content_is_told_in_standard_blocks(server: Starter, form: str) -> None:
    contents, metadata, blocks = LISTS[form]
    model = Scripted(scripts=[[AIMessageChunk(content, response_metadata=metadata) for content in contents]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert message.blocks == blocks

    play(story())


def test_a_whole_message_is_told_in_standard_blocks_too(server: Starter) -> None:
    content: Any = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "it rains"},
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}}]  # fmt: skip
    call: Any = {"name": "look", "args": {"at": 1}, "id": "c1"}
    whole = AIMessage(content, id="m", tool_calls=[call], response_metadata={"model_provider": "anthropic"})
    parts: Any = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a"}},
    ]

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(parts, id="h"), whole, ToolMessage("wet", tool_call_id="c1", id="t")]}

    node = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")

    async def story() -> None:
        async with server(graph(node, id="answer")) as s:
            told = check((await run_told(s, **GO))[1])
            assert {id: message.role for id, message in told.messages.items()} == {"h": "human", "m": "ai"}
            assert told.messages["m"].blocks == [
                {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s"}},
                {"type": "text", "text": "it rains"},
                {"type": "tool_call", "id": "c1", "name": "look", "args": {"at": 1}},
            ]
            assert [block["type"] for block in told.messages["h"].blocks] == ["text", "image"]

    play(story())


def test_calls_of_tools_in_parallel_never_interleave(server: Starter) -> None:
    script = [
        *words("let me look"),
        *calls((0, "c1", "look", ""), (1, "c2", "find", '{"a'), (0, None, None, '{"at"'), (1, None, None, '": [1,'),
               (0, None, None, ": 1}"), (1, None, None, "2]}")),
    ]  # fmt: skip
    model = Scripted(scripts=[script])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            (message,) = told.messages.values()
            assert [block["type"] for block in message.blocks] == ["text", "tool_call", "tool_call"]
            assert [(call["id"], call["args"]) for call in message.calls] == [("c1", {"at": 1}), ("c2", {"a": [1, 2]})]

    play(story())


def test_two_calls_of_one_index_are_two_calls(server: Starter) -> None:
    script = calls((0, "c1", "look", '{"at":1}'), (0, "c2", "look", '{"at":2}'))
    model = Scripted(scripts=[script])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            (message,) = check((await run_told(s, **GO))[1]).messages.values()
            assert [(call["id"], call["args"]["at"]) for call in message.calls] == [("c1", 1), ("c2", 2)]

    play(story())


def test_the_pieces_of_a_call_are_one_message_whatever_ids_they_have(server: Starter) -> None:
    model = Scripted(scripts=[[AIMessageChunk("one ", id="provider-1"), *words("two three")]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            assert [(message.id, message.text) for message in told.messages.values()] == [
                ("provider-1", "one two three")
            ]
            assert answer["messages"][-1]["id"] == "provider-1"
            log = await log_of(s, answer["run"])
            assert {msgspec.json.decode(one.data)[0]["id"] for one in log if one.kind == "messages"} == {"provider-1"}

    play(story())


def test_a_model_that_fails_ends_its_message_with_an_error_and_the_next_one_is_another(server: Starter) -> None:
    model = Scripted(scripts=[[*words("one two"), ValueError("no more")], words("three")])

    async def talk(state: MessagesState) -> dict[str, Any]:
        try:
            await model.ainvoke(state["messages"])
        except ValueError:
            return {"messages": [await model.ainvoke(state["messages"])]}
        raise AssertionError("it did not fail")

    node = StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk")

    async def story() -> None:
        async with server(graph(node, id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            failed, good = told.messages.values()
            assert (failed.text, failed.error) == ("one two", "ValueError: no more")
            assert (good.text, good.error) == ("three", None)
            order = said(events, "messages")
            error = order.index({"event": "error", "message": "ValueError: no more", "id": failed.id})
            assert error < [data["id"] for data in order].index(good.id)

    play(story())


def test_a_run_that_fails_with_its_model_tells_both(server: Starter) -> None:
    model = Scripted(scripts=[[*words("one two"), ValueError("no more")]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            (message,) = (told := check((await run_told(s, **GO))[1])).messages.values()
            assert (message.error, told.status) == ("ValueError: no more", "failed")

    play(story())


@pytest.mark.parametrize("in_thread", [False, True])
def test_models_side_by_side_in_one_node_are_told_apart(server: Starter, in_thread: bool) -> None:
    class Two(TypedDict):
        messages: Annotated[list[Any], operator.add]

    one, other = (Scripted(scripts=[words(text)]) for text in ("one two three", "four five six"))

    async def both(state: Two) -> dict[str, Any]:
        return {"messages": list(await asyncio.gather(one.ainvoke("go"), other.ainvoke("go")))}

    def in_turn(state: Two) -> dict[str, Any]:
        return {"messages": [one.invoke("go"), other.invoke("go")]}

    node = StateGraph(Two).add_node("talk", in_turn if in_thread else both).add_edge(START, "talk")

    async def story() -> None:
        async with server(graph(node, id="talk")) as s:
            told = check((await run_told(s, input={"messages": []}))[1])
            assert sorted(message.text for message in told.messages.values()) == ["four five six", "one two three"]

    play(story())


def test_a_message_that_was_streamed_and_is_put_into_the_state_is_told_once(server: Starter) -> None:
    model = Scripted(scripts=[words("one two")])
    builder = talker(model)
    builder.add_node("again", lambda state: {"messages": [state["messages"][-1]]})
    builder.add_edge("talk", "again")

    async def story() -> None:
        async with server(graph(builder, id="talk")) as s:
            events = (await run_told(s, **GO))[1]
            check(events)
            assert [data["event"] for data in said(events, "messages")].count("message-start") == 1

    play(story())


def test_a_model_that_does_not_stream_is_told_whole(server: Starter) -> None:
    class Whole(Scripted):
        disable_streaming: Any = True

    model = Whole(scripts=[[AIMessage("it rains", id="m", usage_metadata=USAGE)]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            assert told.messages["m"].text == "it rains"

    play(story())


def test_a_piece_that_a_node_gives_is_ended_with_the_node(server: Starter) -> None:
    def give(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessageChunk("one two", id="m")]}

    builder = StateGraph(MessagesState).add_node("give", give).add_edge(START, "give")
    builder.add_node("then", lambda state: {"messages": [AIMessage("three", id="n")]})
    builder.add_edge("give", "then")

    async def story() -> None:
        async with server(graph(builder, id="give")) as s:
            events = (await run_told(s, **GO))[1]
            told = check(events)
            assert [message.text for message in told.messages.values()] == ["one two", "three"]
            ends = [data["id"] for data in said(events, "messages") if data["event"] == "message-finish"]
            assert ends == ["m", "n"]

    play(story())


def test_text_that_json_cannot_hold_is_told_as_it_is_shown(server: Starter) -> None:
    model = Scripted(scripts=[[AIMessageChunk("nul \0 "), AIMessageChunk("half \ud800")]])

    async def story() -> None:
        async with server(graph(talker(model), id="talk")) as s:
            (message,) = check((await run_told(s, **GO))[1]).messages.values()
            assert message.text == "nul \ufffd half ?"

    play(story())


def test_a_piece_that_nobody_can_read_ends_the_message_and_not_the_run(server: Starter) -> None:
    odd = AIMessageChunk("two ")
    odd.tool_call_chunks = [{"index": [], "id": "c", "name": "look", "args": ""}]  # pyright: ignore[reportAttributeAccessIssue]
    node = StateGraph(MessagesState).add_node("talk", lambda state: {"messages": [odd]}).add_edge(START, "talk")
    odd.id = "m"

    async def story() -> None:
        async with server(graph(node, id="talk")) as s:
            told = check((await run_told(s, **GO))[1])
            assert "cannot be told" in (told.messages["m"].error or "")

    play(story())
