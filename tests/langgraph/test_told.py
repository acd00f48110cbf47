"""What graphs tell in the streaming protocol: models, tools, subgraphs, questions. On a whole server in this
process."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

import msgspec
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt
from live_server import Starter, play
from told import Scripted, calls, events_of, log_of, run_told, said, words
from typing_extensions import TypedDict

from runyard import graph
from tests.protocol_checks import check

GO = {"messages": [{"role": "user", "content": "go", "id": "u"}]}
USAGE: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def talker(model: Any, name: str = "talk") -> Any:
    """A graph of one node, which asks the model."""

    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(name, talk).add_edge(START, name)


# messages


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


# tools


@tool
def look(at: int) -> str:
    """Looks somewhere."""
    if at < 0:
        raise ValueError("nothing is there")
    return f"it rains at {at}"


def agent_of(model: Any, *tools: Any) -> Any:
    """A model that calls tools until it calls none."""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node("think", think)
    builder.add_node("tools", ToolNode(list(tools), handle_tool_errors=True))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", lambda state: "tools" if state["messages"][-1].tool_calls else "__end__")
    builder.add_edge("tools", "think")
    return builder


def test_tools_are_told_by_the_ids_of_the_calls(server: Starter) -> None:
    asks = calls((0, "c1", "look", '{"at": 1}'), (1, "c2", "look", '{"at": -1}'))
    model = Scripted(scripts=[asks, words("it rains")])

    async def story() -> None:
        async with server(graph(agent_of(model, look), id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            one, other = told.tools["c1"], told.tools["c2"]
            assert (one.name, one.input, one.namespace) == ("look", {"at": 1}, ())
            assert (one.output["role"], one.output["content"], one.output["tool_call_id"]) == (
                "tool",
                "it rains at 1",
                "c1",
            )
            assert other.error == "ValueError: nothing is there"
            # First the model has said what it asks for, then the tools begin; they have ended when it goes on.
            order = [event["params"]["data"] for event in events if event["method"] in ("messages", "tools")]
            kinds = [data["event"] for data in order]
            assert kinds.index("message-finish") < kinds.index("tool-started")
            last = max(at for at, kind in enumerate(kinds) if kind in ("tool-finished", "tool-error"))
            assert last < len(kinds) - 1 - kinds[::-1].index("message-start")
            assert {message.role for message in told.messages.values()} == {"ai"}

    play(story())


def test_a_tool_that_gives_a_command_is_told_with_its_message(server: Starter) -> None:
    @tool
    def note(at: int) -> Any:
        """Notes."""
        return Command(update={"messages": [ToolMessage("noted", tool_call_id="c1")]})

    model = Scripted(scripts=[calls((0, "c1", "note", '{"at": 1}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, note), id="agent")) as s:
            told = check((await run_told(s, **GO))[1])
            assert told.tools["c1"].output["content"] == "noted"

    play(story())


def test_a_tool_that_code_calls_itself_is_told_too(server: Starter) -> None:
    async def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(await look.ainvoke({"at": 5}))]}

    node = StateGraph(MessagesState).add_node("call", call).add_edge(START, "call")

    async def story() -> None:
        async with server(graph(node, id="call")) as s:
            (called,) = check((await run_told(s, **GO))[1]).tools.values()
            assert (called.name, called.output) == ("look", "it rains at 5")

    play(story())


def test_a_tool_that_asks_is_told_again_when_it_has_its_answer(server: Starter) -> None:
    @tool
    def book(at: int) -> str:
        """Books."""
        return f"booked, {interrupt('sure?')}"

    model = Scripted(scripts=[calls((0, "c1", "book", '{"at": 1}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, book), id="agent")) as s:
            thread = await s.thread()
            first = (await s.post(f"/threads/{thread}/runs", GO)).json()
            await s.wait(first["run_id"])
            told = check(await events_of(s, first))
            assert (told.status, told.tools["c1"].ended) == ("interrupted", False)
            second = (await s.post(f"/threads/{thread}/runs", {"command": {"resume": "yes"}})).json()
            await s.wait(second["run_id"])
            told = check(await events_of(s, second))
            assert (told.status, told.tools["c1"].output["content"]) == ("completed", "booked, yes")

    play(story())


# subgraphs


class Count(TypedDict):
    n: Annotated[int, operator.add]


def one(state: Count) -> dict[str, Any]:
    return {"n": 1}


def inner(name: str | None = None, node: Any = one) -> Any:
    builder = StateGraph(Count).add_node("x", node).add_edge(START, "x")
    return builder.compile(name=name) if name else builder.compile()


def around(graph: Any, node: str = "sub") -> Any:
    builder = StateGraph(Count).add_node("a", one).add_node(node, graph)
    return builder.add_edge(START, "a").add_edge("a", node)


def test_subgraphs_two_deep_begin_and_end_in_each_other(server: Starter) -> None:
    outer = around(around(inner("leaf"), "deep").compile(name="branch"))

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            events = (await run_told(s, input={"n": 0}))[1]
            told = check(events)
            branch, leaf = told.graph("sub"), told.graph("sub", "deep")
            assert (branch.name, branch.status, branch.cause) == (
                "branch",
                "completed",
                {"type": "edge", "fromNode": "a"},
            )
            assert (leaf.name, leaf.status, leaf.cause) == ("leaf", "completed", {"type": "edge", "fromNode": "a"})
            order = [(data["event"], data.get("graphName")) for data in said(events, "lifecycle")]
            assert order == [
                ("started", "outer"), ("running", None), ("started", "branch"), ("started", "leaf"),
                ("completed", "leaf"), ("completed", "branch"), ("completed", None),
            ]  # fmt: skip

    play(story())


def test_a_subgraph_without_a_name_has_that_of_its_node(server: Starter) -> None:
    async def story() -> None:
        async with server(graph(around(inner()), id="outer")) as s:
            assert check((await run_told(s, input={"n": 0}))[1]).graph("sub").name == "sub"

    play(story())


def test_a_subgraph_that_fails_is_told_with_its_error(server: Starter) -> None:
    def fail(state: Count) -> dict[str, Any]:
        raise ValueError("no way")

    async def story() -> None:
        async with server(graph(around(around(inner("leaf", fail), "deep").compile()), id="outer")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            for place in (("sub",), ("sub", "deep")):
                assert (told.graph(*place).status, told.graph(*place).error) == ("failed", "ValueError: no way")
            assert told.status == "failed"

    play(story())


def test_a_fan_out_tells_a_graph_for_each_with_what_sent_it(server: Starter) -> None:
    def spread(state: Count) -> list[Send]:
        return [Send("sub", {"n": number}) for number in range(3)]

    builder = StateGraph(Count).add_node("a", one).add_node("sub", inner("leaf")).add_edge(START, "a")
    builder.add_conditional_edges("a", spread, ["sub"])

    async def story() -> None:
        async with server(graph(builder, id="outer")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            assert [graph.cause for graph in told.graphs.values()] == [{"type": "send", "fromNode": "a"}] * 3
            assert {graph.status for graph in told.graphs.values()} == {"completed"}

    play(story())


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_graph_that_a_tool_calls_is_caused_by_the_call(server: Starter, in_thread: bool) -> None:
    helper_model = Scripted(scripts=[words("wet"), words("very wet")])

    def talk_in_thread(state: MessagesState) -> dict[str, Any]:
        return {"messages": [helper_model.invoke(state["messages"])]}

    in_turn = StateGraph(MessagesState).add_node("talk", talk_in_thread).add_edge(START, "talk")
    helper = (in_turn if in_thread else talker(helper_model)).compile(name="helper")

    @tool
    async def ask(at: int) -> str:
        """Asks."""
        return (await helper.ainvoke({"messages": [("user", "go")]}))["messages"][-1].content

    @tool("ask")
    def ask_in_thread(at: int) -> str:
        """Asks."""
        return helper.invoke({"messages": [("user", "go")]})["messages"][-1].content

    asks = calls((0, "c1", "ask", '{"at": 1}'))
    model = Scripted(scripts=[asks, calls((0, "c2", "ask", '{"at": 2}')), words("done")])

    async def story() -> None:
        async with server(graph(agent_of(model, ask_in_thread if in_thread else ask), id="agent")) as s:
            answer, events = await run_told(s, **GO)
            told = check(events)
            told.reads_as(answer["messages"])
            assert [(graph.name, graph.cause) for graph in told.graphs.values()] == [
                ("helper", {"type": "toolCall", "toolCallId": "c1"}),
                ("helper", {"type": "toolCall", "toolCallId": "c2"}),
            ]
            inside = {message.text for message in told.messages.values() if message.namespace}
            assert inside == {"wet", "very wet"}
            order = [(event["method"], event["params"]["data"]["event"]) for event in events
                     if event["method"] in ("tools", "lifecycle") and
                     (event["method"] == "tools" or event["params"]["namespace"])]  # fmt: skip
            assert order == [("tools", "tool-started"), ("lifecycle", "started"), ("lifecycle", "completed"),
                             ("tools", "tool-finished")] * 2  # fmt: skip

    play(story())


def test_a_graph_that_a_node_streams_itself_sees_nothing_of_it(server: Starter) -> None:
    """What is told goes through the run's own stream, never through one that the code reads."""
    leaf = around(inner("leaf"), "deep").compile(name="branch")
    seen: list[Any] = []

    async def read(state: Count) -> dict[str, Any]:
        async for told in leaf.astream({"n": 1}, stream_mode=["custom", "updates"], subgraphs=True):
            seen.append(told)
        return {"n": 1}

    node = StateGraph(Count).add_node("read", read).add_edge(START, "read")

    async def story() -> None:
        async with server(graph(node, id="read")) as s:
            told = check((await run_told(s, input={"n": 0}))[1])
            assert {graph.name for graph in told.graphs.values()} == {"branch", "leaf"}
            assert {mode for _, mode, _ in seen} == {"updates"}

    play(story())


def test_a_question_inside_a_subgraph_interrupts_it_and_the_answer_starts_it_again(server: Starter) -> None:
    def ask(state: Count) -> dict[str, Any]:
        return {"n": interrupt("how many?")}

    outer = around(around(inner("leaf", ask), "deep").compile(name="branch"))

    async def story() -> None:
        async with server(graph(outer, id="outer")) as s:
            thread = await s.thread()
            first = (await s.post(f"/threads/{thread}/runs", {"input": {"n": 0}})).json()
            await s.wait(first["run_id"])
            events = await events_of(s, first)
            told = check(events)
            assert [told.graph("sub").status, told.graph("sub", "deep").status] == ["interrupted"] * 2
            assert [data["payload"] for data in said(events, "input.requested")] == ["how many?"]
            (asked,) = (one for one in await log_of(s, first) if one.kind == "asked")
            (question,) = msgspec.json.decode(asked.data)["questions"]
            assert [segment.partition(":")[0] for segment in question["namespace"].split("|")] == ["sub", "deep"]
            second = (await s.post(f"/threads/{thread}/runs", {"command": {"resume": 5}})).json()
            done = await s.wait(second["run_id"])
            told = check(await events_of(s, second))
            assert [told.graph("sub").status, told.graph("sub", "deep").status] == ["completed"] * 2
            assert done["values"]["n"] == 10

    play(story())


# ends


def test_a_cancel_ends_what_has_begun(server: Starter) -> None:
    begun = asyncio.Event()

    async def hold() -> None:
        begun.set()
        await asyncio.Event().wait()

    helper = talker(Scripted(scripts=[[*words("one two"), hold]])).compile(name="helper")

    @tool
    async def ask(at: int) -> str:
        """Asks."""
        return (await helper.ainvoke({"messages": [("user", "go")]}))["messages"][-1].content

    model = Scripted(scripts=[calls((0, "c1", "ask", '{"at": 1}'))])

    async def story() -> None:
        async with server(graph(agent_of(model, ask), id="agent")) as s:
            run = await s.run(**GO)
            await s.until(begun.is_set)
            assert (await s.post(f"/runs/{run['run_id']}/cancel?wait=true")).status_code == 204
            told = check(await events_of(s, run))
            assert told.status == "interrupted"
            assert told.graph("tools").status == "interrupted"
            (message,) = (message for message in told.messages.values() if message.namespace)
            assert "one two".startswith(message.text)
            assert message.error is not None
            assert told.tools["c1"].error is not None

    play(story())
