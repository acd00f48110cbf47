"""What `ctx.message` writes: pieces for those who watch, events of the streaming protocol, and one whole message."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from fake_engine import FakeEngine, play

from runyard import Context, SyncContext, agent
from runyard.runtime.channel import ThreadHost


def run(work: Any, **options: Any) -> FakeEngine:
    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(**options)
        return engine

    return play(story)


def written(write: Callable[[Any], Any], **extra: Any) -> FakeEngine:
    """A run that writes one message with the id `m`."""

    async def work(ctx: Context) -> None:
        async with ctx.message(id="m", **extra) as message:
            await write(message)

    engine = run(work)
    assert engine.ended is not None
    assert engine.ended.how == "completed", engine.ended
    return engine


def told(engine: FakeEngine) -> list[dict[str, Any]]:
    """The data of its `messages` events, without the id that each has."""
    frames = engine.told("messages")
    assert {frame["params"]["data"]["id"] for frame in frames} == {"m"}
    return [{k: v for k, v in frame["params"]["data"].items() if k != "id"} for frame in frames]


def blocks(engine: FakeEngine) -> list[dict[str, Any]]:
    """The blocks as a reader assembles them: each begins, grows and ends before the next one does, in one message."""
    start, *between, finish = told(engine)
    assert start["event"] == "message-start"
    assert finish["event"] == "message-finish"
    made: list[dict[str, Any]] = []
    grown: dict[str, Any] | None = None
    for event in between:
        if event["event"] == "content-block-start":
            assert grown is None
            assert event["index"] == len(made)
            grown = {**event["content"]}
        elif event["event"] == "content-block-finish":
            assert grown is not None
            # What is written in pieces has grown to this; of what is added whole, long values come with its end.
            if not event["content"]["type"].endswith("tool_call"):
                assert grown == event["content"] or not grown.get("text")
                assert set(grown) <= set(event["content"])
            made.append(event["content"])
            grown = None
        else:
            assert grown is not None
            change = event["delta"]
            match change["type"]:
                case "text-delta":
                    grown["text"] += change["text"]
                case "reasoning-delta":
                    grown["reasoning"] = grown.get("reasoning", "") + change["reasoning"]
                case "data-delta":
                    grown["base64"] = grown.get("base64", "") + change["data"]
                case _:
                    grown |= change["fields"]
    assert grown is None
    return made


def whole(engine: FakeEngine) -> dict[str, Any]:
    (message,) = engine.values["messages"]
    assert engine.log("messages")[-1] == [message]
    return message


def pieces(engine: FakeEngine) -> list[Any]:
    """What the run's own stream shows of each piece."""
    *shown, _ = [messages[0] for messages in engine.log("messages")]
    assert all(piece.keys() == {"id", "role", "content", "delta"} and piece["delta"] is True for piece in shown)
    return [piece["content"] for piece in shown]


def test_text_is_told_piece_by_piece_and_its_end_from_the_whole_message() -> None:
    async def write(message: Any) -> None:
        await message.write("hel")
        await message.write("")
        await message.write("lo")

    engine = written(write)
    assert told(engine) == [
        {"event": "message-start", "role": "ai"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "hel"}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "lo"}},
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "hello"}},
        {"event": "message-finish"},
    ]
    assert whole(engine) == {"id": "m", "role": "assistant", "content": "hello"}
    assert pieces(engine) == ["hel", "lo"]
    # The text is kept once as pieces and once as a whole.
    tellings = [bytes(entry.told) for entry in engine.entries if entry.kind == "messages"]
    assert tellings[1] == b"[0]"
    assert tellings[2].startswith(b"[[0],")


def test_reasoning_text_and_calls_are_blocks_and_usage_ends_the_message() -> None:
    ids: list[str] = []

    async def write(message: Any) -> None:
        await message.reason("hm")
        await message.reason("m")
        await message.write("Let me look.")
        ids.append(await message.call("search", {"q": "bees"}))
        ids.append(await message.call("fetch", {}, id="c2"))
        await message.usage(input_tokens=3, output_tokens=4, input_token_details={"cache_read": 1})
        assert message.content == "Let me look."

    engine = written(write)
    first = {"type": "tool_call", "id": ids[0], "name": "search", "args": {"q": "bees"}}
    second = {"type": "tool_call", "id": "c2", "name": "fetch", "args": {}}
    reasoning, text = {"type": "reasoning", "reasoning": "hmm"}, {"type": "text", "text": "Let me look."}
    assert blocks(engine) == [reasoning, text, first, second]
    assert told(engine)[-1]["usage"] == {
        "inputTokens": 3, "outputTokens": 4, "totalTokens": 7, "inputTokenDetails": {"cacheRead": 1},
    }  # fmt: skip
    assert whole(engine) == {
        "id": "m", "role": "assistant", "content": [reasoning, text], "tool_calls": [first, second],
        "usage": {
            "input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "input_token_details": {"cache_read": 1},
        },
    }  # fmt: skip
    assert ids[1] == "c2"
    assert len(ids[0]) == 36
    assert pieces(engine) == [
        [{"type": "reasoning", "reasoning": "hm"}], [{"type": "reasoning", "reasoning": "m"}], "Let me look.",
        [first], [second],
    ]  # fmt: skip


def test_only_text_and_calls_leave_the_content_a_text() -> None:
    async def write(message: Any) -> None:
        await message.write("Let me look.")
        await message.call("search", {}, id="c1")

    assert whole(written(write))["content"] == "Let me look."


def test_text_behind_a_call_is_a_block_of_its_own() -> None:
    async def write(message: Any) -> None:
        await message.write("a")
        await message.call("search", {}, id="c1")
        await message.write("b")

    engine = written(write)
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = {"type": "tool_call", "id": "c1", "name": "search", "args": {}}
    assert blocks(engine) == [texts[0], call, texts[1]]
    assert (whole(engine)["content"], whole(engine)["tool_calls"]) == (texts, [call])


def test_calls_that_stream_side_by_side_are_told_one_after_the_other() -> None:
    async def write(message: Any) -> None:
        assert await message.call_piece("", name="search", id="c1", index=0) == "c1"
        assert await message.call_piece('{"q":', index=0) == "c1"
        await message.call_piece('{"u"', name="fetch", id="c2", index=1)
        await message.call_piece(' "a"}', index=0)
        await message.call_piece(': "b"}', index=1)

    engine = written(write)
    calls = [
        {"type": "tool_call", "id": "c1", "name": "search", "args": {"q": "a"}},
        {"type": "tool_call", "id": "c2", "name": "fetch", "args": {"u": "b"}},
    ]
    assert blocks(engine) == calls
    assert (whole(engine)["content"], whole(engine)["tool_calls"]) == ("", calls)
    (first, *_), (second, *_) = pieces(engine)[:2]
    assert first == {"type": "tool_call_chunk", "id": "c1", "name": "search", "args": "", "index": 0}
    assert second == {"type": "tool_call_chunk", "id": "c1", "name": None, "args": '{"q":', "index": 0}


def test_pieces_without_index_or_id_belong_to_the_call_before() -> None:
    ids: list[str] = []

    async def write(message: Any) -> None:
        ids.append(await message.call_piece(name="search"))
        ids.append(await message.call_piece('{"q":1}'))
        await message.call_piece("{}", name="other", id="c2")

    engine = written(write)
    assert ids[0] == ids[1]
    assert [(call["id"], call["args"]) for call in whole(engine)["tool_calls"]] == [(ids[0], {"q": 1}), ("c2", {})]


def test_a_call_whose_arguments_are_no_object_is_an_invalid_one() -> None:
    async def write(message: Any) -> None:
        await message.call_piece('{"q":', name="search", id="c1")

    engine = written(write)
    invalid = {
        "type": "invalid_tool_call", "id": "c1", "name": "search", "args": '{"q":',
        "error": "the arguments are no JSON object",
    }  # fmt: skip
    assert blocks(engine) == [invalid]
    assert whole(engine)["invalid_tool_calls"] == [invalid]


def test_streamed_data_is_encoded_so_that_its_pieces_fit_together() -> None:
    async def write(message: Any) -> None:
        for data in (b"a", b"bcde", b"", b"fg"):
            await message.data("audio", data, mime_type="audio/wav")
        await message.data("audio", b"x", mime_type="audio/wav", id="other")
        await message.write("there")

    engine = written(write)
    first, second, text = blocks(engine)
    assert base64.b64decode(first["base64"]) == b"abcdefg"
    assert (first["mimeType"], second["id"], text["text"]) == ("audio/wav", "other", "there")
    assert whole(engine)["content"] == [
        {"type": "audio", "mime_type": "audio/wav", "base64": base64.b64encode(b"abcdefg").decode()},
        {"type": "audio", "mime_type": "audio/wav", "id": "other", "base64": "eA=="},
        {"type": "text", "text": "there"},
    ]
    assert pieces(engine)[0] == [{"type": "audio", "mime_type": "audio/wav", "base64": "YWJj"}]


@pytest.mark.parametrize(
    ("block", "as_told"),
    [
        ({"type": "image", "url": "http://x", "mime_type": "image/png"},
         {"type": "image", "url": "http://x", "mimeType": "image/png"}),
        ({"type": "weather", "sky": "blue"}, {"type": "non_standard", "value": {"type": "weather", "sky": "blue"}}),
        ({"type": "text", "text": "t", "annotations": []}, {"type": "text", "text": "t", "annotations": []}),
        ({"type": "file", "base64": "YQ=="}, {"type": "file", "base64": "YQ=="}),
    ],
)  # fmt: skip
def test_a_whole_block_is_added_as_it_is(block: dict[str, Any], as_told: dict[str, Any]) -> None:
    async def write(message: Any) -> None:
        await message.write("a")
        await message.add(block)
        await message.write("b")

    engine = written(write)
    assert blocks(engine)[1] == as_told
    assert whole(engine)["content"] == [{"type": "text", "text": "a"}, block, {"type": "text", "text": "b"}]
    assert pieces(engine) == ["a", [block], "b"]


def test_a_call_that_is_added_as_a_block_is_a_call() -> None:
    async def write(message: Any) -> None:
        await message.add({"type": "tool_call", "id": "c1", "name": "search", "args": {"q": 1}})

    assert whole(written(write))["tool_calls"] == [
        {"type": "tool_call", "id": "c1", "name": "search", "args": {"q": 1}}
    ]


def test_calls_and_usage_that_are_given_as_fields_are_told_at_the_end() -> None:
    calls = [{"id": "c1", "name": "search", "args": {}, "type": "tool_call"}]

    async def write(message: Any) -> None:
        await message.write("a")
        await message.call("fetch", {}, id="c0")

    engine = written(write, tool_calls=calls, usage={"input_tokens": 1}, name="Ada")
    assert [block.get("id") for block in blocks(engine)] == [None, "c0", "c1"]
    assert [call["id"] for call in whole(engine)["tool_calls"]] == ["c0", "c1"]
    assert told(engine)[0] == {"event": "message-start", "role": "ai", "metadata": {"name": "Ada"}}
    assert told(engine)[-1]["usage"] == {"inputTokens": 1}
    assert [call["id"] for call in calls] == ["c1"]


def test_a_message_of_a_tool_is_shown_and_not_told() -> None:
    async def work(ctx: Context) -> None:
        async with ctx.message(role="tool", tool_call_id="c1") as message:
            await message.write("42")

    engine = run(work)
    assert engine.told("messages") == []
    assert engine.values["messages"][0]["content"] == "42"


def test_a_message_without_pieces_is_told_as_a_whole() -> None:
    async def write(message: Any) -> None:
        await message.usage(output_tokens=0)

    assert told(written(write)) == [
        {"event": "message-start", "role": "ai"}, {"event": "message-finish", "usage": {"outputTokens": 0}},
    ]  # fmt: skip


def test_a_block_that_raises_ends_its_message_with_an_error() -> None:
    async def work(ctx: Context) -> None:
        try:
            async with ctx.message(id="m") as message:
                await message.write("hel")
                raise ValueError("no")
        except ValueError:
            pass

    engine = run(work)
    *_, finish, error = told(engine)
    assert finish["content"] == {"type": "text", "text": "hel"}
    assert error == {"event": "error", "message": "ValueError: no"}
    assert engine.values == {}


def test_what_is_refused_leaves_the_message_as_it_was() -> None:
    async def write(message: Any) -> None:
        await message.write("a")
        with pytest.raises(Exception, match="surrogate"):
            await message.write("\ud800")
        with pytest.raises(Exception, match="nan"):
            await message.add({"type": "chart", "y": float("nan")})
        with pytest.raises(TypeError):
            await message.write(1)
        with pytest.raises(TypeError):
            await message.add("text")
        with pytest.raises(ValueError, match="must be one of image"):
            await message.data("text", b"a")
        await message.write("b")

    engine = written(write)
    assert blocks(engine) == [{"type": "text", "text": "ab"}]


def test_a_recorded_message_is_neither_told_nor_shown_again_and_its_calls_keep_their_ids() -> None:
    ids: list[str] = []

    async def work(ctx: Context) -> None:
        async with ctx.message() as message:
            await message.write("a")
            ids.append(await message.call("search", {}))
        await ctx.step("s", lambda: 1)
        await ctx.update({"n": 1})

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=4)
        before = len(engine.told("messages"))
        await engine.again()
        assert len(engine.told("messages")) == before
        return engine

    engine = play(story)
    assert engine.values["n"] == 1
    assert ids[0] == ids[1]


def test_a_message_that_was_cut_off_by_a_crash_is_told_anew() -> None:
    async def work(ctx: Context) -> None:
        async with ctx.message() as message:
            await message.write("a")
            await message.write("b")

    async def story(host: ThreadHost) -> FakeEngine:
        engine = FakeEngine(host, agent(work))
        await engine.run(crash_after=1)
        await engine.again()
        return engine

    data = [frame["params"]["data"] for frame in play(story).told("messages")]
    assert [event["event"] for event in data].count("message-start") == 2
    assert data[-1]["event"] == "message-finish"
    assert data[0]["id"] != data[-1]["id"]


def test_a_synchronous_agent_writes_the_same() -> None:
    def work(ctx: SyncContext) -> None:
        with ctx.message(id="m") as message:
            message.reason("hm")
            message.write("a")
            message.data("image", b"abcd", mime_type="image/png")
            message.add({"type": "image", "url": "http://x"})
            message.call("search", {"q": 1}, id="c1")
            message.call_piece("{}", name="fetch", id="c2")
            message.usage(output_tokens=2)

    engine = run(work)
    kinds = [block["type"] for block in blocks(engine)]
    assert kinds == ["reasoning", "text", "image", "image", "tool_call", "tool_call"]
    assert [block["type"] for block in whole(engine)["content"]] == kinds[:4]
    assert told(engine)[-1]["usage"] == {"outputTokens": 2}
