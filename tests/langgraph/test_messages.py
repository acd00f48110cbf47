"""Messages come back as they were, whichever side they came from."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from langchain_core import messages as lc
from strategies import MESSAGES

from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.messages import NotAMessage, exactly, from_protocol, piece, to_protocol


@given(MESSAGES)
@settings(max_examples=200, deadline=None)
def test_a_message_survives_the_protocol_whole(message: lc.BaseMessage) -> None:
    form = exactly(message)
    if form is None:  # kept in another way
        assert "\\u0000" in json.dumps(message.model_dump()) or message.model_dump().get("role") == ""
        return
    back = from_protocol(msgspec.json.decode(msgspec.json.encode(form)))
    assert back == message
    assert type(back) is type(message)
    assert pickle.loads(pickle.dumps(back)).__dict__ == message.__dict__
    assert back.model_dump() == message.model_dump()
    assert to_protocol(back) == form


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"role": "human", "content": "a"}, lc.HumanMessage("a")),
        ({"type": "ai", "content": "a"}, lc.AIMessage("a")),
        ({"role": "assistant", "content": None}, lc.AIMessage("")),
        ({"role": "user", "content": "a", "id": 7}, lc.HumanMessage("a", id="7")),
        (
            {"role": "developer", "content": "a"},
            lc.SystemMessage("a", additional_kwargs={"__openai_role__": "developer"}),
        ),
        ({"role": "critic", "content": "a"}, lc.ChatMessage("a", role="critic")),
        ({"role": "user", "content": "a", "mood": "b"}, lc.HumanMessage("a", additional_kwargs={"mood": "b"})),
        (
            {"role": "user", "content": "a", "metadata": {"from": "web"}},
            lc.HumanMessage("a", additional_kwargs={"metadata": {"from": "web"}}),
        ),
        ({"role": "tool", "content": "a", "tool_call_id": "1"}, lc.ToolMessage("a", tool_call_id="1")),
    ],
)
def test_clients_write_messages_in_their_own_ways(data: dict[str, Any], expected: lc.BaseMessage) -> None:
    assert from_protocol(data) == expected


def test_tool_calls_of_openai_are_read() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "rain", "arguments": '{"city": "Ulm"}'}},
        {"id": "2", "type": "function", "function": {"name": "rain", "arguments": '{"city'}},
    ]
    message = from_protocol({"role": "assistant", "content": None, "tool_calls": calls})
    assert isinstance(message, lc.AIMessage)
    assert message.tool_calls == [{"name": "rain", "args": {"city": "Ulm"}, "id": "1", "type": "tool_call"}]
    assert [call["args"] for call in message.invalid_tool_calls] == ['{"city']


def test_what_a_client_sent_beside_the_known_is_given_back() -> None:
    shown = to_protocol(from_protocol({"role": "user", "content": "a", "mood": "b", "metadata": {"from": "web"}}))
    assert shown["metadata"] == {"from": "web", "additional_kwargs": {"mood": "b"}}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"content": "a"}, "role"),
        ({"role": "user", "content": 1}, "content"),
        ({"role": "user", "content": [1]}, "content[0]"),
        ({"role": "user", "content": "a", "id": {}}, "id"),
        ({"role": "user", "content": "a", "metadata": 1}, "metadata"),
        ({"role": "user", "content": "a", "metadata": {"additional_kwargs": 1}}, "metadata.additional_kwargs"),
        ({"role": "assistant", "content": "a", "tool_calls": {}}, "tool_calls"),
        ({"role": "assistant", "content": "a", "tool_calls": [{"args": {}}]}, "tool_calls[0].name"),
        ({"role": "assistant", "content": "a", "usage": 1}, "usage"),
        ({"role": "tool", "content": "a", "status": "odd"}, "status"),
        ({"role": "remove", "content": ""}, "id"),
        ({"role": "remove", "content": "", "id": "1", "chunk": True}, "chunk"),
        ({"role": "function", "content": ""}, "name"),
    ],
)
def test_what_is_no_message_is_refused_by_its_field(data: dict[str, Any], field: str) -> None:
    with pytest.raises(NotAMessage) as caught:
        from_protocol(data)
    assert str(caught.value).split(" ", 1)[0] == field


def test_a_piece_says_only_what_it_adds() -> None:
    first = lc.AIMessageChunk(
        content="", id="m", tool_call_chunks=[lc.tool.tool_call_chunk(name="a", args="{", index=0)]
    )
    last = lc.AIMessageChunk(content="b", id="m", chunk_position="last", response_metadata={"finish": "stop"})
    assert piece(first) == {
        "role": "assistant",
        "content": "",
        "id": "m",
        "delta": True,
        "tool_call_chunks": [{"name": "a", "args": "{", "id": None, "index": 0, "type": "tool_call_chunk"}],
    }
    assert piece(last) == {
        "role": "assistant",
        "content": "b",
        "id": "m",
        "delta": True,
        "last": True,
        "metadata": {"response_metadata": {"finish": "stop"}},
    }


def test_what_json_cannot_hold_is_shown_nevertheless() -> None:
    class Own(lc.HumanMessage):
        pass

    odd = lc.ToolMessage("a", tool_call_id="1", artifact={1, 2})
    assert exactly(odd) is None
    assert to_protocol(odd)["artifact"] == [1, 2]
    assert exactly(Own("a")) is None
    assert to_protocol(Own("a"))["content"] == "a"
    assert piece(lc.AIMessageChunk(content="a", response_metadata={"at": {1}}))["metadata"] == {
        "response_metadata": {"at": [1]}
    }


def changed(message: Any, **fields: Any) -> Any:
    """The message with fields that LangChain does not look at any more when they are set."""
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize(
    "message",
    [
        lc.ChatMessage("a", role=""),
        changed(lc.HumanMessage("a"), id=5),
        changed(lc.HumanMessage("a"), name=5),
        changed(lc.HumanMessage("a"), content=None),
        changed(lc.HumanMessage("a"), content=[["a"]]),
        changed(lc.HumanMessage("a"), additional_kwargs=None),
        changed(lc.HumanMessage("a"), additional_kwargs=[1]),
        changed(lc.HumanMessage("a"), response_metadata=None),
        changed(lc.HumanMessage("a"), response_metadata=[1]),
        changed(lc.AIMessage("a"), tool_calls=None),
        changed(lc.AIMessage("a"), tool_calls=[1]),
        changed(lc.AIMessage("a"), tool_calls=[{"name": "f"}]),
        changed(lc.AIMessage("a"), invalid_tool_calls=[1]),
        changed(lc.AIMessage("a"), usage_metadata=[1]),
        changed(lc.AIMessageChunk(content="a"), tool_call_chunks=[1]),
        changed(lc.AIMessageChunk(content="a"), chunk_position="first"),
        changed(lc.ToolMessage("a", tool_call_id="1"), status="odd"),
        changed(lc.ToolMessage("a", tool_call_id="1"), tool_call_id=1),
        changed(lc.FunctionMessage("a", name="f"), name=None),
        changed(lc.RemoveMessage(id="1"), id=None),
        lc.ToolMessage.model_construct(content="a"),
    ],
    ids=repr,
)
def test_a_message_that_its_class_would_not_make_is_kept_in_another_way(message: lc.BaseMessage) -> None:
    assert exactly(message) is None
    assert {"role", "content"} <= to_protocol(message).keys()
    codec = Codec()
    again = codec.decode_write(codec.encode_write([message]))
    assert again == [message]
